use dataplane::flow::{Handshake, RoundTrip};
use dataplane::records::Ending;
use dataplane::verdict::{Gate, Side};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn kind(n: u32) -> FlowKind {
    FlowKind {
        source: IpAddr::V4(n.into()),
        destination: IpAddr::V4([10, 0, 0, 1].into()),
        service: 6 << 16 | 443,
        verdict: Verdict::Allow,
        rule: "web".into(),
        potential: None,
    }
}

fn one(second: i64) -> Addition {
    Addition { flows: 1, packets: 3, bytes: 180, first_seen: at(second), last_seen: at(second + 1) }
}

#[test]
fn equal_flows_are_one_record() {
    let mut log = RecordLog::new(at(0));
    for second in [5, 3, 9] {
        log.add(kind(1), &one(second));
    }
    log.add(kind(2), &one(4));
    log.seen_until(at(10), 0);
    let mut records: Vec<_> = log.each().collect();
    records.sort_by_key(|record| record.source);
    let sums: Vec<_> = records.iter().map(|r| (r.flows, r.packets, r.bytes)).collect();
    assert_eq!(sums, [(3, 9, 540), (1, 3, 180)]);
    assert_eq!((records[0].first_seen, records[0].last_seen), (at(3), at(10)));
    assert_eq!(log.completeness(), Completeness { from: at(0), to: at(10), missed: 0, gaps: 0, folded: 0 });
    log.expire(at(9 + 30 * 86_400));
    let left: Vec<_> = log.each().map(|record| record.source).collect();
    assert_eq!(left, [IpAddr::V4(1.into())], "the other was last seen too long ago");
    assert_eq!(log.completeness().from, at(9));
}

#[test]
fn drafts_are_tallied_where_they_differ() {
    let mut log = RecordLog::new(at(0));
    log.add(kind(1), &one(1));
    for (draft, answer) in [(3, Answer::Deny), (3, Answer::Deny), (4, Answer::Reject), (3, Answer::Reject)] {
        log.add_draft(&kind(1), draft, answer);
    }
    log.add_draft(&kind(2), 3, Answer::Deny);
    let tallies = |log: &RecordLog| -> Vec<_> {
        log.each().flat_map(|record| record.drafts).map(|t| (t.draft, t.answer, t.flows)).collect()
    };
    let all = [(3, Answer::Deny, 2), (4, Answer::Reject, 1), (3, Answer::Reject, 1)];
    assert_eq!(tallies(&log), all);
    log.keep_drafts(&[4]);
    assert_eq!(tallies(&log), [(4, Answer::Reject, 1)]);
}

#[test]
fn a_flood_of_kinds_stays_bounded_and_is_counted_as_missed() {
    let mut log = RecordLog::new(at(0));
    let kinds = u32::try_from(KINDS_MAX).unwrap() + 10_000;
    for n in 0..kinds {
        log.add(kind(n), &one(i64::from(n)));
    }
    assert!(log.kinds.len() <= KINDS_MAX);
    let kept: u64 = log.each().map(|record| record.flows).sum();
    assert_eq!(kept + log.completeness().missed, u64::from(kinds));
    assert!(log.kinds.contains_key(&kind(kinds - 1)), "the newest stays");
    assert!(!log.kinds.contains_key(&kind(0)), "the oldest goes");
}

/// Two applications, told apart by the last bit of the address.
fn app(address: IpAddr) -> Arc<str> {
    let IpAddr::V4(address) = address else { return "v6".into() };
    if address.octets()[3] % 2 == 0 { "app=even".into() } else { "app=odd".into() }
}

#[test]
fn a_flood_of_kinds_is_folded_by_labels_and_nothing_is_missed() {
    let mut log = RecordLog::new(at(0));
    let kinds = u32::try_from(KINDS_MAX).unwrap() + 10_000;
    for n in 0..kinds {
        let kind = kind(n);
        log.make_room(&kind, app);
        log.add(kind.clone(), &one(i64::from(n)));
        let details = Details { sent_packets: 2, sent_bytes: 120, epoch: 1 + n, ..Details::default() };
        log.add_details(&kind, 1, &details, || Some("application".into()));
        log.add_draft(&kind, 7, Answer::Deny);
    }
    let known = log.completeness();
    assert!(log.kinds.len() <= KINDS_MAX && known.missed == 0);
    let folded: Vec<_> = log.each().filter(|record| record.folded.is_some()).collect();
    assert_eq!(folded.len(), 2, "{folded:?}");
    for record in &folded {
        let fold = record.folded.as_ref().unwrap();
        assert_eq!(app(record.source), fold.source, "the example is one of them");
        assert_eq!((fold.records, record.facts.sent_bytes), (record.flows, 120 * record.flows));
        assert_eq!(record.drafts, [DraftTally { draft: 7, answer: Answer::Deny, flows: record.flows }]);
        assert_eq!((record.tier.as_deref(), record.facts.epochs[0] <= 2), (Some("application"), true));
    }
    assert_eq!(known.folded, folded.iter().map(|record| record.flows).sum::<u64>());
    let sum = |count: fn(&FlowRecord) -> u64| log.each().map(|record| count(&record)).sum::<u64>();
    let n = u64::from(kinds);
    assert_eq!((sum(|r| r.flows), sum(|r| r.packets), sum(|r| r.bytes)), (n, 3 * n, 180 * n));
    assert!(log.kinds.contains_key(&kind(kinds - 1)) && !log.kinds.contains_key(&kind(0)));
}

#[test]
fn too_many_label_tuples_are_missed_and_counted() {
    let mut log = RecordLog::new(at(0));
    let kinds = u32::try_from(KINDS_MAX + fold::FOLDS_MAX).unwrap() + 30_000;
    for n in 0..kinds {
        let kind = kind(n);
        log.make_room(&kind, |address| address.to_string().into());
        log.add(kind, &one(i64::from(n)));
    }
    assert!(log.kinds.len() <= KINDS_MAX && log.folded.len() <= fold::FOLDS_MAX);
    let held: u64 = log.each().map(|record| record.flows).sum();
    let known = log.completeness();
    assert!(known.missed > 0 && known.folded > 0);
    assert_eq!(held + known.missed, u64::from(kinds));
}

#[test]
fn facts_add_up() {
    let mut log = RecordLog::new(at(0));
    log.add(kind(1), &one(1));
    let trip = |responder, initiator| Some(RoundTrip { responder, initiator });
    for (epoch, side, gate, flows, outcome, round_trip) in [
        (5, Some(Side::Inside), Some(Gate::Egress), 1, None, None),
        (4, Some(Side::Outside), Some(Gate::Ingress), 1, None, None),
        (9, None, None, 0, Some(Outcome::Finished), trip(100, 50)),
        (0, None, None, 0, Some(Outcome::Refused), trip(300, 100)),
    ] {
        let details = Details { epoch, side, gate, outcome, round_trip, ..Details::default() };
        log.add_details(&kind(1), flows, &details, || None);
    }
    let facts = log.each().next().unwrap().facts;
    assert_eq!(facts.epochs, [4, 9]);
    assert_eq!([facts.from_inside, facts.from_outside, facts.at_egress, facts.at_ingress], [1; 4]);
    assert_eq!((facts.outcomes.finished, facts.outcomes.refused, facts.outcomes.all()), (1, 1, 2));
    let expected = RoundTrips { count: 2, least_us: 150, sum_us: 550, responder_us: 400 };
    assert_eq!(facts.round_trips, expected);
}

#[test]
fn outcomes_tell_how_a_connection_began_and_ended() {
    use Handshake::{Answered, Completed, Missed, Unanswered};
    for (ending, handshake, expected) in [
        (Ending::Finished, Some(Completed), Outcome::Finished),
        (Ending::Reset, Some(Completed), Outcome::Reset),
        (Ending::Reset, Some(Missed), Outcome::Reset),
        (Ending::Reset, Some(Unanswered), Outcome::Refused),
        (Ending::Reset, Some(Answered), Outcome::Refused),
        (Ending::TimedOut, Some(Unanswered), Outcome::Unanswered),
        (Ending::TimedOut, Some(Answered), Outcome::HalfOpen),
        (Ending::TimedOut, Some(Completed), Outcome::TimedOut),
        (Ending::TimedOut, None, Outcome::TimedOut),
        (Ending::Evicted, None, Outcome::Evicted),
        (Ending::Cut, Some(Completed), Outcome::Cut),
    ] {
        assert_eq!(Outcome::of(ending, handshake), expected, "{ending:?} {handshake:?}");
    }
}
