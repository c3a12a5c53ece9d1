//! The first verdict of a flow, by size of policy: two addresses to endpoints, endpoints and service to a decision.
//! The claim is that the cost does not grow with rules; what grows with workloads is the memory that lookups touch.

use std::hint::black_box;
use std::net::IpAddr;

use bench::estate::{self, member, spoken, v4, v6};
use bench::sizes;
use control::policy::{CompileOptions, compile};
use criterion::{BenchmarkId, Criterion, Throughput};
use dataplane::address::Address;
use dataplane::policy::{PolicyTable, ServiceKey};
use dataplane::verdict::Verdict;

/// Questions per iteration: new flows that one worker sees in some milliseconds, so what they touch stays in the cache.
/// `cargo run --release -p conformance --example sizes` also asks about uniformly random pairs.
const QUESTIONS: u32 = 4096;

/// Source, destination and service of a new flow.
type Question = (Address, Address, ServiceKey);

/// Rules, with 100,000 workloads.
const RULES: &[u32] = &[10, 1_000, 10_000, 100_000];
/// Workloads, with 10,000 rules.
const WORKLOADS: &[u32] = &[1_000, 10_000];
/// The questions are about what so many rules say, whether the policy has them all or only the first few: the same
/// pairs for every number of rules, so that only the tables differ.
const SPOKEN: u32 = 100_000;

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("decide");
    group.throughput(Throughput::Elements(QUESTIONS.into()));
    let by_rules = sizes(RULES).iter().map(|&rules| (if bench::quick() { 100 } else { 100_000 }, rules));
    let by_workloads = sizes(WORKLOADS).iter().map(|&workloads| (workloads, 10_000));
    let by_workloads = by_workloads.filter(|_| !bench::quick());
    for (workloads, rules) in by_rules.chain(by_workloads) {
        let policy = estate::policy(workloads, rules);
        let table = compile(&policy, &CompileOptions::default()).expect("within the limits").table;
        for (family, address) in FAMILIES {
            let questions = questions(workloads, rules, *address);
            check(&table, &questions);
            let name = format!("{rules} rules, {workloads} workloads");
            group.bench_with_input(BenchmarkId::new(*family, name), &questions, |b, questions| {
                b.iter(|| {
                    for &(source, destination, service) in questions {
                        let [from, to] = [source, destination].map(|address| table.resolve(address));
                        black_box(table.decide(from, to, service));
                    }
                });
            });
        }
    }
    group.finish();
}

/// Family, and the address of a workload in it.
type Family = (&'static str, fn(u32) -> Address);

const FAMILIES: &[Family] = &[("IPv4", |n| IpAddr::V4(v4(n)).into()), ("IPv6", |n| IpAddr::V6(v6(n)).into())];

/// Half of the questions are what some rule says, scattered over all rules; half are between random workloads, most of
/// them denied by default. One in sixteen is about the first rules, which every policy has.
fn questions(workloads: u32, rules: u32, address: fn(u32) -> Address) -> Vec<Question> {
    (0..QUESTIONS)
        .map(|n| {
            let scattered = n.wrapping_mul(0x9e37_79b1);
            let rule = if n % 16 == 2 { n / 16 % rules.min(10) } else { scattered % SPOKEN };
            let rule = spoken(rule, workloads);
            let (from, to) = if n % 2 == 0 {
                (member(rule.from, n), member(rule.to, n))
            } else {
                (scattered % workloads, scattered.rotate_left(16) % workloads)
            };
            (address(from), address(to), ServiceKey::new(6, rule.port))
        })
        .collect()
}

/// A bench of nothing but denials, or of nothing but allows, would say little.
fn check(table: &PolicyTable, questions: &[Question]) {
    let allowed = questions
        .iter()
        .filter(|(source, destination, service)| {
            let [from, to] = [*source, *destination].map(|address| table.resolve(address));
            table.decide(from, to, *service).verdict == Verdict::Allow
        })
        .count();
    assert!((1..questions.len()).contains(&allowed), "{allowed} of {} allowed", questions.len());
}
