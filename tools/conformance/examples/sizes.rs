//! How compile time, table size, the cost of a decision and of a change grow with the policy. Prints tables; run with
//! `cargo run --release -p conformance --example sizes`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use conformance::random::Random;
use control::policy::valid::{
    Action, Gates, Labels, Network, Origin, Prefix, Requirement, Rule, Selector, ServiceRange, Tier,
    ValidPolicy, Workload,
};
use control::policy::{CompileOptions, Compiler, WorkloadChange, compile};
use dataplane::address::Address;
use dataplane::policy::{PolicyTable, Publisher, ServiceKey};

fn origin() -> Origin {
    Origin { file: "generated".into(), line: 1, column: 1 }
}

fn address(n: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(n).unwrap_or(0)))
}

fn workload(n: usize, labels: Labels) -> Workload {
    Workload {
        name: format!("w{n}"),
        labels,
        addresses: vec![address(n)],
        macs: Vec::new(),
        wire: None,
        listeners: Vec::new(),
        origin: origin(),
    }
}

/// An estate of applications of ten workloads, five environments, twenty locations; each workload has a unique label.
fn estate(workloads: usize, rules: usize) -> ValidPolicy {
    let apps = (workloads / 10).max(1);
    let one = |value: String| BTreeSet::from([value]);
    let labels = |n: usize| {
        BTreeMap::from([
            ("app".to_owned(), one(format!("app{}", n / 10))),
            ("env".to_owned(), one(format!("env{}", n % 5))),
            ("loc".to_owned(), one(format!("loc{}", n / 10 % 20))),
            ("role".to_owned(), one(format!("role{}", n % 10 / 3))),
            ("uid".to_owned(), one(format!("{n}"))),
        ])
    };
    let network = |n: usize| Network {
        name: format!("n{n}"),
        labels: BTreeMap::from([("zone".to_owned(), one(format!("zone{}", n % 7)))]),
        prefixes: vec![Prefix { address: address((1 << 24) + n * 256), len: 24 }],
        origin: origin(),
    };
    let rules = (0..rules).map(|n| rule(n, apps)).collect();
    ValidPolicy {
        workloads: (0..workloads).map(|n| workload(n, labels(n))).collect(),
        networks: (0..1000).map(network).collect(),
        tiers: vec![Tier { name: "application".to_owned(), rules }],
        ..ValidPolicy::default()
    }
}

/// What rule `n` says: mostly application to application; one in fifty is wide, one in a hundred any. A policy of
/// fewer rules is the beginning of one of more.
struct Spoken {
    kind: usize,
    /// Application and role on both ends.
    from: (usize, usize),
    to: (usize, usize),
    port: u16,
    ports: u32,
}

fn spoken(n: usize, apps: usize) -> Spoken {
    let mut random = Random::new(n as u64);
    let mut end = || (random.below(apps), random.below(4));
    let (from, to) = (end(), end());
    let port = u16::try_from(1 + random.below(9000)).unwrap_or(1);
    Spoken { kind: random.below(100), from, to, port, ports: u32::from(random.one_in(4)) }
}

fn rule(n: usize, apps: usize) -> Rule {
    let Spoken { kind, from, to, port, ports } = spoken(n, apps);
    let is = |key: &str, value: String| Requirement::In(key.to_owned(), vec![value]);
    let narrow = |(app, role): (usize, usize)| Selector {
        requirements: vec![is("app", format!("app{app}")), is("role", format!("role{role}"))],
    };
    let wide = |(app, _): (usize, usize)| match app % 3 {
        0 => Selector { requirements: vec![is("env", format!("env{}", app % 5))] },
        1 => Selector { requirements: vec![is("loc", format!("loc{}", app % 20))] },
        _ => Selector { requirements: vec![is("zone", format!("zone{}", app % 7))] },
    };
    let (from, to) = match kind {
        0 => (Selector::default(), narrow(to)),
        1 | 2 => (wide(from), wide(to)),
        3 | 4 => (wide(from), narrow(to)),
        _ => (narrow(from), narrow(to)),
    };
    let port = (6 << 16) + u32::from(port);
    Rule {
        name: format!("r{n}"),
        from: vec![from],
        to: vec![to],
        services: vec![ServiceRange { first: port, last: port + ports }],
        action: Action::Allow,
        gates: Gates { egress: true, ingress: true },
        origin: origin(),
        ..Rule::default()
    }
}

/// A workload of an application and role.
fn member((app, role): (usize, usize)) -> usize {
    app * 10 + role * 3
}

/// The processor time of this thread so far, nanoseconds: unlike the clock, it does not count other programs.
fn processor_time() -> u128 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|run| run.parse().ok()).unwrap_or(0)
}

type Flow = (Address, Address, ServiceKey);

/// Flows between random workloads: nearly all of them denied by default.
fn random_flows(workloads: usize) -> Vec<Flow> {
    let mut random = Random::new(2);
    let mut some = || Address::from(address(random.below(workloads)));
    let mut ports = Random::new(3);
    let flow = |_| {
        let port = u16::try_from(1 + ports.below(9000)).unwrap_or(1);
        (some(), some(), ServiceKey::new(6, port))
    };
    (0..1 << 16).map(flow).collect()
}

/// What the rules of the largest policy allow, each flow another rule: the same flows whatever the policy, so that
/// only the table differs.
fn spoken_flows(workloads: usize, most: usize) -> Vec<Flow> {
    let apps = (workloads / 10).max(1);
    let mut random = Random::new(4);
    let flow = |_| {
        let Spoken { from, to, port, .. } = spoken(random.below(most), apps);
        let [from, to] = [from, to].map(|end| Address::from(address(member(end))));
        (from, to, ServiceKey::new(6, port))
    };
    (0..1 << 16).map(flow).collect()
}

/// Nanoseconds for each decision, address lookups included, and how many of a hundred are allowed.
fn decide(table: &PolicyTable, flows: &[Flow]) -> (u128, usize) {
    let rounds = (1_usize << 20) / flows.len();
    let mut allowed = 0;
    let mut best = u128::MAX;
    for _ in 0..3 {
        allowed = 0;
        let begin = processor_time();
        for _ in 0..rounds {
            for (source, destination, service) in flows {
                let decision = table.decide(table.resolve(*source), table.resolve(*destination), *service);
                allowed += usize::from(std::hint::black_box(decision).verdict.is_allow());
            }
        }
        best = best.min((processor_time() - begin) / (rounds * flows.len()) as u128);
    }
    (best, allowed * 100 / (rounds * flows.len()))
}

/// Adds, relabels and removes workloads one at a time, each compiled, published, read by a worker and the table
/// before dropped; prints the time until the worker had read it, microseconds.
fn changes(policy: ValidPolicy, name: &str) -> Result<(), Box<dyn std::error::Error>> {
    let workloads = policy.workloads.len();
    let apps = (workloads / 10).max(1);
    let (mut compiler, compiled) = Compiler::new(policy, &CompileOptions::default())?;
    let publisher = Publisher::new(1);
    let mut reader = publisher.reader(0);
    publisher.publish(compiled.table);
    reader.read();
    let mut random = Random::new(5);
    let (mut took, mut entries) = (Vec::new(), 0);
    for n in 0..3000 {
        let new = format!("new{n}");
        let labelled = |name: String, at: usize, random: &mut Random| {
            let one = |value: String| BTreeSet::from([value]);
            // One in four is in two applications at once, as no other workload is: its entries must be made.
            let in_apps = (0..=usize::from(random.one_in(4))).map(|_| format!("app{}", random.below(apps)));
            let labels = BTreeMap::from([
                ("app".to_owned(), in_apps.collect()),
                ("env".to_owned(), one(format!("env{}", random.below(5)))),
                ("loc".to_owned(), one(format!("loc{}", random.below(20)))),
                ("role".to_owned(), one(format!("role{}", random.below(4)))),
            ]);
            WorkloadChange::Put(Box::new(Workload { name, ..workload(at, labels) }))
        };
        let at = random.below(workloads);
        let change = match n % 3 {
            0 => labelled(new, (1 << 23) + n, &mut random),
            1 => labelled(format!("w{at}"), at, &mut random),
            _ => WorkloadChange::Remove(format!("new{}", n - 2)),
        };
        let begin = Instant::now();
        let applied = compiler.apply(change)?;
        publisher.publish(applied.table);
        reader.read();
        took.push(begin.elapsed().as_micros());
        entries += applied.entries;
        drop(publisher.retire());
    }
    took.sort_unstable();
    let at = |hundredths: usize| took.get(took.len() * hundredths / 100).copied().unwrap_or(0);
    println!(
        "{name}: p50 {} µs, p99 {} µs, largest {} µs, {entries} entries made in {} changes",
        at(50),
        at(99),
        took.last().copied().unwrap_or(0),
        took.len()
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const MOST: usize = 500_000;
    println!(
        "workloads    rules  compile ms  classes  entries    MiB  bytes/rule  ns random  ns spoken (allowed)  ns hot"
    );
    for (workloads, rules) in [
        (1000, 10),
        (1000, 1000),
        (10_000, 10_000),
        (100_000, 10),
        (100_000, 1000),
        (100_000, 10_000),
        (100_000, 100_000),
        (100_000, MOST),
        (1_000_000, 10),
        (1_000_000, 100_000),
    ] {
        let policy = estate(workloads, rules);
        let begin = processor_time();
        let compiled = compile(&policy, &CompileOptions::default())?;
        let took = processor_time() - begin;
        drop(policy);
        let table = &compiled.table;
        let (random, _) = decide(table, &random_flows(workloads));
        let spoken = spoken_flows(workloads, if workloads < 100_000 { rules } else { MOST });
        let (each, allowed) = decide(table, &spoken);
        let (hot, _) = decide(table, &spoken[..10_000]);
        let stats = compiled.stats;
        println!(
            "{workloads:>9} {rules:>8} {:>11.1} {:>8} {:>8} {:>6.1} {:>11} {random:>10} {each:>10} ({allowed:>6} %) {hot:>7}",
            took as f64 / 1e6,
            stats.classes,
            stats.entries,
            stats.bytes as f64 / f64::from(1 << 20),
            stats.bytes / rules,
        );
    }
    println!("\none workload added, relabelled or removed, until a worker has read the table:");
    for (workloads, rules) in [(10_000, 10_000), (100_000, 10_000), (100_000, 100_000), (1_000_000, 10_000)] {
        changes(estate(workloads, rules), &format!("{workloads} workloads, {rules} rules"))?;
    }
    Ok(())
}
