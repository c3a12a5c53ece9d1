//! More kinds of flow than the record keeps apart: what is left of them is labels, and a candidate is held against
//! those.

use dataplane::address::Address;
use dataplane::flow::{FlowKey, Orientation};
use dataplane::records::{FlowEvent, Occasion, Records};
use dataplane::verdict::{DraftAnswers, Verdict};

use super::*;
use crate::observe::flows::KINDS_MAX;

const POLICY: &str = "ringfence: 1
workloads:
  - {name: db, labels: {role: db}, addresses: [192.0.2.1]}
networks:
  - {name: clients, cidrs: [10.0.0.0/8], labels: {zone: clients}}
rules:
  - {name: clients-to-db, from: {zone: clients}, to: {role: db}, service: tcp/5432}
";

/// Flow `n` of a client to the database.
fn opened(n: u32, epoch: Epoch, rule: RuleId) -> FlowEvent {
    let now = dataplane::clock::Now::read();
    let [_, a, b, c] = n.to_be_bytes();
    FlowEvent {
        at: now,
        occasion: Occasion::Opened,
        key: FlowKey {
            wire: WireId(0),
            protocol: 6,
            first: Address::v4([10, a, b, c]),
            second: Address::v4([192, 0, 2, 1]),
            first_port: 40_000,
            second_port: 5432,
        },
        initiator: Orientation::FromFirst,
        epoch,
        verdict: Verdict::Allow,
        gate: None,
        rule,
        potential: None,
        drafts: DraftAnswers::default(),
        packets: [1, 0],
        bytes: [60, 0],
        first_seen: now.as_millis32(),
        last_seen: now.as_millis32(),
    }
}

#[test]
fn folded_records_are_told_apart_and_simulated_by_their_labels() {
    let scratch = Scratch::new();
    let config = scratch.write(POLICY);
    let workers = workers(1);
    let worker = workers[0].clone();
    let engine = start_with(&scratch.0, workers, &config, false).unwrap();
    let now = engine.in_force().unwrap();
    let (id, _) = (0u32..).zip(now.rules.iter()).find(|(_, info)| &*info.name == "clients-to-db").unwrap();
    let flows = u32::try_from(KINDS_MAX).unwrap() + 100;
    for n in 0..flows {
        worker.records.happened(opened(n, now.snapshot.epoch, RuleId(id)), &worker.counters);
        if (n as usize).is_multiple_of(Records::EVENTS / 2) {
            engine.collect_flows();
        }
    }
    let (known, folded) = engine.with_records(|log| {
        let folded: Vec<_> = log.each().filter_map(|record| record.folded).collect();
        (log.completeness(), folded)
    });
    assert_eq!((known.missed, known.folded), (0, KINDS_MAX as u64 / 8));
    let [one] = folded.as_slice() else { panic!("{folded:?}") };
    assert_eq!((&*one.source, &*one.destination), ("network clients", "role=db"));

    let closed = POLICY.replace("tcp/5432", "tcp/5433");
    let candidate = check(files(&closed), engine.wire_names()).unwrap();
    let simulation = engine.simulate(&now, candidate.side());
    assert_eq!((simulation.denied, simulation.recorded.folded), (u64::from(flows), known.folded));
}
