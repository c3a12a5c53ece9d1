//! What drawing the map and proposing rules cost: over an estate of any size and a full log of flow records. Prints how
//! long each takes, and what was proposed.
//!
//! `cargo run --release -p bench --example map [-- WORKLOADS [RULES]]`

use std::net::IpAddr;
use std::time::Instant;

use bench::estate;
use control::observe::flows::{Facts, FlowRecord, KINDS_MAX};
use control::observe::map::{EDGES_MAX, Question, State, decide, draw, state};
use control::policy::propose::{Observation, Terms, Tightness, propose};
use control::policy::{CompileOptions, compile};
use dataplane::verdict::Verdict;
use jiff::Timestamp;

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, otherwise| arguments.get(at).map_or(Ok(otherwise), |text| text.parse::<u32>());
    let (workloads, rules) = (number(0, 10_000)?, number(1, 1_000)?);
    let policy = estate::policy(workloads, rules);
    let compiled = compile(&policy, &CompileOptions::default())?;
    let records = records(workloads, rules);
    println!("{workloads} workloads, {rules} rules, {} record kinds", records.len());
    let keys = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    for (by, tier, draft) in [("app", "role", false), ("app", "role", true), ("env", "", false)] {
        let question = Question {
            by: keys(&[by]),
            tier: keys(&[tier]).into_iter().filter(|key| !key.is_empty()).collect(),
            limit: EDGES_MAX,
            ..Question::default()
        };
        let start = Instant::now();
        let map = draw(&records, &policy, draft.then(|| compiled.named()), &question);
        let took = start.elapsed();
        println!(
            "map by {by}, tier {tier:?}, draft {draft}: {took:.1?}, {} groups, {} edges, {} left out",
            map.groups.len(),
            map.edges.len(),
            map.left_out.edges
        );
    }
    let observations: Vec<Observation> = records
        .iter()
        .map(|record| {
            let said = decide(compiled.named(), record.source, record.destination, record.service).0;
            Observation {
                source: record.source.into(),
                destination: record.destination.into(),
                service: record.service,
                flows: record.flows,
                allowed: said == State::Allowed,
                needed: state(record) != State::Blocked,
            }
        })
        .collect();
    for tightness in Tightness::ALL {
        let terms = Terms { tightness, keys: keys(&["app", "role", "env", "loc"]), tier: keys(&["role"]) };
        let start = Instant::now();
        let plan = propose(&policy, &observations, &terms);
        let took = start.elapsed();
        let sum =
            |count: fn(&control::policy::propose::Proposed) -> u64| plan.rules.iter().map(count).sum::<u64>();
        println!(
            "propose at {}: {took:.1?}, {} rules (exact: {}), {} tuples, {} unseen, {} refused",
            tightness.name(),
            plan.rules.len(),
            plan.exact,
            sum(|rule| rule.allows),
            sum(|rule| rule.unseen),
            plan.refused.len()
        );
    }
    Ok(())
}

/// A full log: nine flows of ten as the estate's rules speak, from any of the workloads they name; the rest between any
/// two, or from outside.
fn records(workloads: u32, rules: u32) -> Vec<FlowRecord> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = move |limit: u32| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        u32::try_from(state % u64::from(limit.max(1))).unwrap_or(0)
    };
    let at = Timestamp::now();
    (0..u32::try_from(KINDS_MAX).unwrap_or(u32::MAX))
        .map(|n| {
            let spoken = estate::spoken(below(rules), workloads);
            let of = |(application, role): (u32, u32), pick: u32| {
                let first = application * estate::PER_APPLICATION;
                let same = (first..workloads.min(first + estate::PER_APPLICATION))
                    .filter(|workload| estate::place(*workload).1 == role);
                let same: Vec<u32> = same.collect();
                same.get(pick as usize % same.len().max(1)).copied().unwrap_or(first)
            };
            let (mut from, to) =
                (IpAddr::V4(estate::v4(of(spoken.from, below(20)))), of(spoken.to, below(20)));
            match n % 20 {
                0 => from = estate::v4(below(workloads)).into(),
                1 => from = IpAddr::V4(std::net::Ipv4Addr::from(0xc633_6400 + below(256))),
                _ => {}
            }
            FlowRecord {
                source: from,
                destination: estate::v4(to).into(),
                service: 6 << 16 | u32::from(spoken.port),
                verdict: Verdict::Allow,
                rule: format!("rule-{}", n % rules.max(1)).into(),
                potential: (n % 3 == 0).then(|| "default/deny".into()),
                flows: 1 + u64::from(below(1000)),
                packets: 10,
                bytes: 1000,
                first_seen: at,
                last_seen: at,
                drafts: Vec::new(),
                facts: Facts::default(),
                tier: None,
                folded: None,
            }
        })
        .collect()
}
