//! A valid policy to the published table, and before it the YAML to the valid policy.

use std::hint::black_box;
use std::time::Duration;

use bench::estate;
use bench::sizes;
use control::policy::valid::Workload;
use control::policy::{CompileOptions, Compiler, SourceFile, WorkloadChange, compile, load_texts};
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use dataplane::policy::Publisher;

/// Rules and workloads of the policies that are compiled.
const POLICIES: &[(u32, u32)] = &[
    (1_000, 1_000),
    (10_000, 1_000),
    (100_000, 1_000),
    (1_000, 100_000),
    (10_000, 100_000),
    (100_000, 100_000),
    (500_000, 100_000),
    (10_000, 1_000_000),
    (500_000, 1_000_000),
];
/// Rules and workloads of the estates in which one workload changes.
const ESTATES: &[(u32, u32)] = &[(1_000, 1_000), (10_000, 100_000), (100_000, 100_000), (10_000, 1_000_000)];
/// Rules and workloads of the files that are loaded.
const SIZES: &[u32] = &[1_000, 10_000, 100_000];

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("compile");
    group.sampling_mode(SamplingMode::Flat).sample_size(10).measurement_time(Duration::from_secs(3));
    for &(rules, workloads) in sizes(POLICIES) {
        let policy = estate::policy(workloads, rules);
        let stats = compile(&policy, &CompileOptions::default()).expect("within the limits").stats;
        println!(
            "{rules} rules, {workloads} workloads: {} bytes a rule, {stats:?}",
            stats.bytes / rules as usize
        );
        group.throughput(Throughput::Elements(rules.into()));
        group.bench_function(format!("{rules} rules, {workloads} workloads"), |b| {
            b.iter_with_large_drop(|| compile(black_box(&policy), &CompileOptions::default()));
        });
    }
    group.finish();
}

/// One workload added, relabelled or removed, in turn, until a worker has read the table; the table before is
/// dropped within. The distribution, with p99, is what `cargo run --release -p conformance --example sizes` prints.
pub(crate) fn bench_change(c: &mut Criterion) {
    let mut group = c.benchmark_group("change");
    for &(rules, workloads) in sizes(ESTATES) {
        let policy = estate::policy(workloads, rules);
        let (mut compiler, compiled) =
            Compiler::new(policy, &CompileOptions::default()).expect("within the limits");
        let publisher = Publisher::new(1);
        let mut reader = publisher.reader(0);
        publisher.publish(compiled.table);
        reader.read();
        let mut n = 0;
        group.bench_function(format!("{rules} rules, {workloads} workloads"), |b| {
            b.iter(|| {
                n += 1;
                let applied = compiler.apply(change(n, workloads)).expect("a change that fits");
                publisher.publish(applied.table);
                reader.read();
                drop(publisher.retire());
            });
        });
    }
    group.finish();
}

/// A workload comes with the labels of another application, gets those of a third, and goes.
fn change(n: u32, workloads: u32) -> WorkloadChange {
    let name = format!("new{}", n / 3);
    if n % 3 == 2 {
        return WorkloadChange::Remove(name);
    }
    let like = estate::workload(n.wrapping_mul(0x9e37_79b1) % workloads);
    let addresses = vec![estate::v4(1 << 23).into(), estate::v6(1 << 23).into()];
    WorkloadChange::Put(Box::new(Workload { name, addresses, ..like }))
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
