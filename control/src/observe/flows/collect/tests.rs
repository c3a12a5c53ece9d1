use dataplane::address::Address;
use dataplane::counters::WorkerCounters;
use dataplane::flow::{FlowKey, Orientation};
use dataplane::records::Ending;
use dataplane::verdict::{DraftAnswers, Gate, WireId};

use super::*;
use crate::policy::{CompileOptions, SourceFile, compile, load_texts};

struct ByNumber;

impl Wording for ByNumber {
    fn rule(&self, epoch: Epoch, rule: RuleId) -> Arc<str> {
        format!("{}/{}", epoch.0, rule.0).into()
    }
}

fn event(occasion: Occasion, verdict: Verdict) -> FlowEvent {
    let now = Now::read();
    FlowEvent {
        at: now,
        occasion,
        key: FlowKey {
            wire: WireId(0),
            protocol: 6,
            first: Address::v4([10, 0, 0, 1]),
            second: Address::v4([10, 0, 0, 2]),
            first_port: 443,
            second_port: 50_000,
        },
        initiator: Orientation::FromSecond,
        epoch: Epoch(1),
        verdict,
        gate: Some(Gate::Ingress),
        rule: RuleId(9),
        potential: None,
        drafts: DraftAnswers::agreeing(Answer::Allow).with(0, Answer::Deny),
        packets: [2, 3],
        bytes: [200, 300],
        first_seen: now.as_millis32().wrapping_sub(5000),
        last_seen: now.as_millis32(),
    }
}

fn worker() -> Worker {
    let records = Arc::new(Records::with_room(1, 8));
    Worker { wire: WireId(0), queue: 0, counters: Arc::new(WorkerCounters::default()), records }
}

#[test]
fn beginnings_count_flows_and_ends_count_bytes() {
    let one = worker();
    one.records.happened(event(Occasion::Denied, Verdict::Deny), &one.counters);
    for occasion in
        [Occasion::Opened, Occasion::Redecided, Occasion::Ended(Ending::Finished), Occasion::Opened]
    {
        one.records.happened(event(occasion, Verdict::Allow), &one.counters);
    }
    let before = Timestamp::now();
    let mut collector = Collector::new(RecordLog::new(before));
    collector.collect(&[one], &ByNumber);
    let mut all: Vec<_> = collector.log().each().collect();
    all.sort_by_key(|record| record.verdict);
    let sums: Vec<_> = all.iter().map(|r| (r.verdict, r.flows, r.packets, r.bytes)).collect();
    assert_eq!(sums, [(Verdict::Allow, 2, 5, 500), (Verdict::Deny, 1, 5, 500)]);
    let first = &all[0];
    assert_eq!(
        (first.source.to_string(), first.destination.to_string()),
        ("10.0.0.2".into(), "10.0.0.1".into())
    );
    assert_eq!((first.service, &*first.rule), (6 << 16 | 443, "1/9"));
    assert!(first.first_seen < before && before.duration_since(first.first_seen).as_secs() >= 4);
    assert!(collector.log().completeness().is_complete());
}

#[test]
fn what_workers_had_no_room_for_is_missed_exactly_once() {
    let workers = [worker(), worker()];
    let mut collector = Collector::new(RecordLog::new(Timestamp::now()));
    for round in 1..=3u64 {
        for one in &workers {
            (0..20)
                .for_each(|_| one.records.happened(event(Occasion::Opened, Verdict::Allow), &one.counters));
        }
        collector.collect(&workers, &ByNumber);
        let flows: u64 = collector.log().each().map(|record| record.flows).sum();
        assert_eq!((flows, collector.log().completeness().missed), (round * 16, round * 24));
    }
}

#[test]
fn drafts_are_known_by_their_numbers() {
    let table = || {
        let text = "ringfence: 1\nrules: []\n".to_owned();
        let policy =
            load_texts(&[SourceFile { name: "p".into(), text }]).unwrap_or_else(|e| panic!("{e}")).policy;
        Arc::new(compile(&policy, &CompileOptions::default()).unwrap().table)
    };
    let publisher = Publisher::new(1);
    publisher.publish_with(table(), vec![(40, table())]);
    let one = worker();
    let mut collector = Collector::new(RecordLog::new(Timestamp::now()));
    one.records.happened(event(Occasion::Opened, Verdict::Allow), &one.counters);
    one.records
        .happened(FlowEvent { epoch: Epoch(7), ..event(Occasion::Opened, Verdict::Allow) }, &one.counters);
    collector.learn(&publisher);
    let workers = [one];
    collector.collect(&workers, &ByNumber);
    let said = |collector: &Collector| -> Vec<_> {
        collector
            .log()
            .each()
            .flat_map(|record| record.drafts)
            .map(|t| (t.draft, t.answer, t.flows))
            .collect()
    };
    assert_eq!(said(&collector), [(40, Answer::Deny, 1)], "of an epoch that is known");
    publisher.publish_with(table(), vec![(41, table())]);
    collector.learn(&publisher);
    assert_eq!(said(&collector), [], "the draft is gone");
}
