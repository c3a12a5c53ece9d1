//! How compile time, table size and the cost of a decision grow with the policy. Prints a table; run with
//! `cargo run --release -p conformance --example sizes`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use conformance::random::Random;
use control::policy::valid::{
    Action, Gates, Network, Origin, Prefix, Requirement, Rule, Selector, ServiceRange, Tier, ValidPolicy,
    Workload,
};
use control::policy::{CompileOptions, compile};
use dataplane::address::Address;
use dataplane::policy::ServiceKey;

fn origin() -> Origin {
    Origin { file: "generated".into(), line: 1, column: 1 }
}

fn address(n: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(n).unwrap_or(0)))
}

/// An estate of applications of ten workloads, five environments, twenty locations; each workload has a unique label.
fn estate(workloads: usize, rules: usize) -> ValidPolicy {
    let apps = (workloads / 10).max(1);
    let one = |value: String| BTreeSet::from([value]);
    let workload = |n: usize| Workload {
        name: format!("w{n}"),
        labels: BTreeMap::from([
            ("app".to_owned(), one(format!("app{}", n / 10))),
            ("env".to_owned(), one(format!("env{}", n % 5))),
            ("loc".to_owned(), one(format!("loc{}", n / 10 % 20))),
            ("role".to_owned(), one(format!("role{}", n % 10 / 3))),
            ("uid".to_owned(), one(format!("{n}"))),
        ]),
        addresses: vec![address(n)],
        macs: Vec::new(),
        wire: None,
        listeners: Vec::new(),
        origin: origin(),
    };
    let network = |n: usize| Network {
        name: format!("n{n}"),
        labels: BTreeMap::from([("zone".to_owned(), one(format!("zone{}", n % 7)))]),
        prefixes: vec![Prefix { address: address((1 << 24) + n * 256), len: 24 }],
        origin: origin(),
    };
    let mut random = Random::new(1);
    let rules = (0..rules).map(|n| rule(&mut random, n, apps)).collect();
    ValidPolicy {
        workloads: (0..workloads).map(workload).collect(),
        networks: (0..1000).map(network).collect(),
        tiers: vec![Tier { name: "application".to_owned(), rules }],
        ..ValidPolicy::default()
    }
}

/// Mostly application to application; one in fifty is wide, one in a hundred any.
fn rule(random: &mut Random, n: usize, apps: usize) -> Rule {
    let is = |key: &str, value: String| Requirement::In(key.to_owned(), vec![value]);
    let narrow = |random: &mut Random| Selector {
        requirements: vec![
            is("app", format!("app{}", random.below(apps))),
            is("role", format!("role{}", random.below(4))),
        ],
    };
    let wide = |random: &mut Random| match random.below(3) {
        0 => Selector { requirements: vec![is("env", format!("env{}", random.below(5)))] },
        1 => Selector { requirements: vec![is("loc", format!("loc{}", random.below(20)))] },
        _ => Selector { requirements: vec![is("zone", format!("zone{}", random.below(7)))] },
    };
    let (from, to) = match random.below(100) {
        0 => (Selector::default(), narrow(random)),
        1 | 2 => (wide(random), wide(random)),
        3 | 4 => (wide(random), narrow(random)),
        _ => (narrow(random), narrow(random)),
    };
    let port = (6 << 16) + u32::try_from(1 + random.below(9000)).unwrap_or(1);
    Rule {
        name: format!("r{n}"),
        from: vec![from],
        to: vec![to],
        services: vec![ServiceRange { first: port, last: port + u32::from(random.one_in(4)) }],
        action: Action::Allow,
        gates: Gates { egress: true, ingress: true },
        origin: origin(),
        ..Rule::default()
    }
}

/// The processor time of this thread so far, nanoseconds: unlike the clock, it does not count other programs.
fn processor_time() -> u128 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|run| run.parse().ok()).unwrap_or(0)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("workloads    rules  compile ms  classes  entries  intervals      MiB  resolve+decide ns");
    for (workloads, rules) in [
        (1000, 10),
        (1000, 1000),
        (10_000, 10_000),
        (100_000, 10),
        (100_000, 10_000),
        (100_000, 100_000),
        (1_000_000, 100_000),
    ] {
        let policy = estate(workloads, rules);
        let begin = processor_time();
        let compiled = compile(&policy, &CompileOptions::default())?;
        let took = processor_time() - begin;
        let mut random = Random::new(2);
        let flows: Vec<_> = (0..1 << 16)
            .map(|_| {
                let (source, destination) = (random.below(workloads), random.below(workloads));
                let port = u16::try_from(1 + random.below(9000)).unwrap_or(1);
                (
                    Address::from(address(source)),
                    Address::from(address(destination)),
                    ServiceKey::new(6, port),
                )
            })
            .collect();
        let table = &compiled.table;
        let begin = processor_time();
        let rounds: u32 = 8;
        for _ in 0..rounds {
            for (source, destination, service) in &flows {
                std::hint::black_box(table.decide(
                    table.resolve(*source),
                    table.resolve(*destination),
                    *service,
                ));
            }
        }
        let each = (processor_time() - begin) / u128::from(rounds) / flows.len() as u128;
        let stats = compiled.stats;
        println!(
            "{workloads:>9} {rules:>8} {:>11.1} {:>8} {:>8} {:>10} {:>8.1} {each:>18}",
            took as f64 / 1e6,
            stats.classes,
            stats.entries,
            stats.intervals,
            stats.bytes as f64 / f64::from(1 << 20),
        );
    }
    Ok(())
}
