//! A valid policy to the published table, and before it the YAML to the valid policy.

use std::hint::black_box;
use std::time::Duration;

use bench::estate;
use bench::sizes;
use control::policy::{CompileOptions, SourceFile, compile, load_texts};
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};

const SIZES: &[u32] = &[1_000, 10_000, 100_000];

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("compile");
    group.sampling_mode(SamplingMode::Flat).sample_size(10).measurement_time(Duration::from_secs(3));
    for &workloads in sizes(SIZES) {
        for &rules in sizes(SIZES) {
            let policy = estate::policy(workloads, rules);
            let stats = compile(&policy, &CompileOptions::default()).expect("within the limits").stats;
            println!("{rules} rules, {workloads} workloads: {stats:?}");
            group.throughput(Throughput::Elements(rules.into()));
            group.bench_function(format!("{rules} rules, {workloads} workloads"), |b| {
                b.iter_with_large_drop(|| compile(black_box(&policy), &CompileOptions::default()));
            });
        }
    }
    group.finish();
}

pub(crate) fn bench_load(c: &mut Criterion) {
    let mut group = c.benchmark_group("load");
    group.sampling_mode(SamplingMode::Flat).sample_size(10).measurement_time(Duration::from_secs(3));
    for &size in sizes(SIZES) {
        let files = [SourceFile { name: "estate.yaml".into(), text: estate::yaml(size, size) }];
        load_texts(&files).expect("valid");
        group.throughput(Throughput::Elements(size.into()));
        group.bench_function(BenchmarkId::new("yaml", format!("{size} rules, {size} workloads")), |b| {
            b.iter_with_large_drop(|| load_texts(black_box(&files)));
        });
    }
    group.finish();
}
