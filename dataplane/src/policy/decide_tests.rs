use super::*;
use crate::address::Address;
use crate::policy::answer::Answer;
use crate::policy::testing::{Sample, Who};
use crate::policy::{ANY_ID, GateMode, HitAction, Interval, Level, TableChange};
use crate::policy::{Behind, PolicyTable, TableError};
use crate::verdict::{Gate, Verdict, WireId};

fn decide(table: &PolicyTable, source: &str, destination: &str, service: u32) -> Decision {
    let resolve = |text: &str| table.resolve(Address::from(text.parse::<std::net::IpAddr>().unwrap()));
    let service =
        ServiceKey::new(u8::try_from(service >> 16).unwrap(), u16::try_from(service & 0xffff).unwrap());
    table.decide(resolve(source), resolve(destination), service)
}

const HTTPS: u32 = 6 << 16 | 443;
const ALL: (u32, u32) = (0, ServiceKey::MAX);

fn rule(n: u32) -> RuleId {
    RuleId(RuleId::FIRST.0 + n)
}

#[test]
fn first_rule_of_any_layer_wins() {
    let table = Sample::new()
        .workload(&["10.0.0.1", "2001:db8::1"])
        .workload(&["10.0.0.2"])
        .workload(&["10.0.0.3"])
        .rule(Who::Workload(2), Who::Any, ALL, HitAction::Deny)
        .allow(Who::Workload(0), Who::Workload(1), (HTTPS, HTTPS))
        .allow(Who::Any, Who::Workload(1), (HTTPS, HTTPS + 7))
        .rule(Who::Any, Who::Any, (6 << 16, HTTPS), HitAction::Deny)
        .build();
    for (name, source, destination, service, verdict, expected) in [
        ("narrow pair", "10.0.0.1", "10.0.0.2", HTTPS, Verdict::Allow, rule(1)),
        ("same from the v6 address", "2001:db8::1", "10.0.0.2", HTTPS, Verdict::Allow, rule(1)),
        ("any to narrow", "10.0.0.1", "10.0.0.2", HTTPS + 7, Verdict::Allow, rule(2)),
        ("any to any", "10.0.0.1", "10.0.0.2", 6 << 16, Verdict::Deny, rule(3)),
        ("earlier deny", "10.0.0.3", "10.0.0.2", HTTPS, Verdict::Deny, rule(0)),
        ("after the last port", "10.0.0.1", "10.0.0.2", HTTPS + 8, Verdict::Deny, RuleId::DEFAULT_DENY),
        ("before the first", "10.0.0.1", "10.0.0.2", 1, Verdict::Deny, RuleId::DEFAULT_DENY),
        ("unknown source", "10.9.0.1", "10.0.0.2", HTTPS, Verdict::Allow, rule(2)),
        ("no end known", "10.9.0.1", "10.9.0.2", 1, Verdict::Deny, RuleId::UNMANAGED_DENY),
        ("ends known to nobody but a rule", "10.9.0.1", "10.9.0.2", HTTPS, Verdict::Deny, rule(3)),
    ] {
        let decision = decide(&table, source, destination, service);
        assert_eq!((decision.verdict, decision.rule), (verdict, expected), "{name}");
    }
}

#[test]
fn mode_turns_a_hit_into_an_answer() {
    let allow = Hit::new(rule(0), HitAction::Allow, false).unwrap();
    let deny = Hit::new(rule(1), HitAction::Deny, false).unwrap();
    let infrastructure = Hit::new(rule(2), HitAction::Allow, true).unwrap();
    let none = Hit::NONE;
    for (mode, hit, peer, passes, expected, potential) in [
        (GateMode::Off, deny, true, true, RuleId::OFF_PASS, false),
        (GateMode::Full, allow, true, true, rule(0), false),
        (GateMode::Full, deny, true, false, rule(1), false),
        (GateMode::Full, none, true, false, RuleId::DEFAULT_DENY, false),
        (GateMode::Selective, allow, true, true, rule(0), false),
        (GateMode::Selective, deny, true, false, rule(1), false),
        (GateMode::Selective, none, true, true, RuleId::SELECTIVE_PASS, false),
        (GateMode::Observe, allow, true, true, rule(0), false),
        (GateMode::Observe, deny, true, true, rule(1), true),
        (GateMode::Observe, none, true, true, RuleId::DEFAULT_DENY, true),
        (GateMode::Quarantine, infrastructure, true, true, rule(2), false),
        (GateMode::Quarantine, allow, true, false, RuleId::QUARANTINE, false),
        (GateMode::Quarantine, deny, true, false, RuleId::QUARANTINE, false),
        (GateMode::Quarantine, none, true, false, RuleId::QUARANTINE, false),
        (GateMode::Unmanaged, allow, false, true, rule(0), false),
        (GateMode::Unmanaged, deny, true, false, rule(1), false),
        (GateMode::Unmanaged, none, true, true, RuleId::UNMANAGED_PASS, false),
        (GateMode::Unmanaged, none, false, false, RuleId::UNMANAGED_DENY, false),
    ] {
        let verdict = if passes { Verdict::Allow } else { Verdict::Deny };
        let potential = potential.then_some(expected);
        let expected = Answer { verdict, rule: expected, potential, says_revoke: false };
        assert_eq!(answer(mode, hit, peer), expected, "{mode:?} {hit:?} {peer}");
    }
}

#[test]
fn two_gates_make_a_decision() {
    let say = |verdict, rule, potential| Answer { verdict, rule, potential, says_revoke: false };
    let pass = |rule| say(Verdict::Allow, rule, None);
    let closed = |rule| say(Verdict::Deny, rule, None);
    let rejected = |rule| say(Verdict::Reject, rule, None);
    let observed = |rule| say(Verdict::Allow, rule, Some(rule));
    let default = RuleId::SELECTIVE_PASS;
    for (name, egress, ingress, expected) in [
        ("egress first", closed(rule(0)), closed(rule(1)), (Verdict::Deny, Gate::Egress, rule(0), None)),
        ("ingress closed", pass(rule(0)), closed(rule(1)), (Verdict::Deny, Gate::Ingress, rule(1), None)),
        (
            "ingress rejects",
            pass(rule(0)),
            rejected(rule(1)),
            (Verdict::Reject, Gate::Ingress, rule(1), None),
        ),
        (
            "the gate that is named says how it closes",
            closed(rule(0)),
            rejected(rule(1)),
            (Verdict::Deny, Gate::Egress, rule(0), None),
        ),
        ("ingress named", pass(rule(0)), pass(rule(1)), (Verdict::Allow, Gate::Ingress, rule(1), None)),
        ("rule before default", pass(rule(0)), pass(default), (Verdict::Allow, Gate::Egress, rule(0), None)),
        (
            "two defaults",
            pass(RuleId::OFF_PASS),
            pass(default),
            (Verdict::Allow, Gate::Ingress, default, None),
        ),
        (
            "egress potential first",
            observed(rule(0)),
            observed(rule(1)),
            (Verdict::Allow, Gate::Ingress, rule(1), Some(rule(0))),
        ),
        (
            "ingress potential kept under an egress deny",
            closed(rule(0)),
            observed(rule(1)),
            (Verdict::Deny, Gate::Egress, rule(0), Some(rule(1))),
        ),
    ] {
        let decision = combine(egress, ingress).0;
        let got = (decision.verdict, decision.gate, decision.rule, decision.potential);
        assert_eq!(got, expected, "{name}");
    }
}

#[test]
fn hits_order_by_rule_and_keep_their_parts() {
    let largest = Hit::new(Hit::MAX_RULE, HitAction::Deny, true).unwrap();
    assert!(largest < Hit::NONE);
    assert_eq!(largest.rule(), Hit::MAX_RULE);
    assert_eq!(Hit::new(RuleId(Hit::MAX_RULE.0 + 1), HitAction::Allow, false), None);
    let [first, second] = [(rule(0), HitAction::Deny, true), (rule(1), HitAction::Allow, false)]
        .map(|(rule, action, tier)| Hit::new(rule, action, tier).unwrap());
    assert!(first < second, "the earlier rule is the smaller hit whatever else it says");
}

#[test]
fn table_knows_bindings_and_ether_types() {
    let mac = [2, 0, 0, 0, 0, 1];
    let table = Sample::new()
        .workload_bound(&["10.0.0.1"], Behind::Wire(WireId(3)), &[mac])
        .mode(GateMode::Quarantine)
        .ether_type(0x88cc)
        .build();
    let endpoint = table.resolve(Address::v4([10, 0, 0, 1]));
    assert_eq!(table.binding(endpoint).behind, Behind::Wire(WireId(3)));
    assert_eq!(table.binding(endpoint).macs, [mac]);
    assert_eq!(table.binding(table.resolve(Address::v4([10, 0, 0, 2]))).behind, Behind::NotTold);
    assert!(table.passes_ether_type(0x88cc));
    assert!(!table.passes_ether_type(0x88cd));
    assert_eq!(decide(&table, "10.0.0.9", "10.0.0.1", HTTPS).rule, RuleId::QUARANTINE);
}

#[test]
fn parts_that_contradict_themselves_are_refused() {
    let twice = Sample::new().workload(&["10.0.0.1"]).workload(&["10.0.0.1"]).parts();
    let v4 = Address::v4([10, 0, 0, 1]);
    assert_eq!(PolicyTable::new(twice).unwrap_err(), TableError::AddressTwice(v4));

    let mut dangling = Sample::new().workload(&["10.0.0.1"]).parts();
    dangling.rules = 0;
    assert_eq!(PolicyTable::new(dangling).unwrap_err(), TableError::Reference("rules"));

    let mut unknown_rule = Sample::new().allow(Who::Any, Who::Any, ALL).parts();
    unknown_rule.rules -= 1;
    assert_eq!(PolicyTable::new(unknown_rule).unwrap_err(), TableError::Reference("entries"));

    let mut beyond = Sample::new().allow(Who::Any, Who::Any, ALL).parts();
    let piece = |first, n| {
        let hit = Hit::new(rule(n), HitAction::Allow, false).unwrap();
        Interval { first, last: first, egress: hit, ingress: hit }
    };
    beyond.entries[0].1 = Chunk::default().block(0, &[piece(1, 0), piece(2, 1)]).unwrap();
    assert_eq!(PolicyTable::new(beyond).unwrap_err(), TableError::Reference("entries"));
}

#[test]
fn between_two_cuts_nothing_changes() {
    let table = Sample::new()
        .workload(&["10.0.0.1"])
        .workload(&["10.0.0.2"])
        .rule(Who::Any, Who::Workload(1), (100, 200), HitAction::Deny)
        .allow(Who::Workload(0), Who::Workload(1), (150, 300))
        .allow(Who::Any, Who::Any, (250, 260))
        .build();
    let resolve = |text: &str| table.resolve(Address::from(text.parse::<std::net::IpAddr>().unwrap()));
    for (source, destination) in
        [("10.0.0.1", "10.0.0.2"), ("10.0.0.2", "10.0.0.1"), ("10.9.0.1", "10.0.0.2")]
    {
        let (from, to) = (resolve(source), resolve(destination));
        let mut cuts = Vec::new();
        table.cuts(from, to, &mut cuts);
        let at = |key| table.decide(from, to, ServiceKey::from_value(key).unwrap());
        let changes: Vec<u32> = (1..1000).filter(|key| at(*key) != at(key - 1)).collect();
        assert_eq!(cuts[0], 0);
        assert!(!changes.is_empty() && changes.iter().all(|key| cuts.contains(key)), "{changes:?} {cuts:?}");
    }
}

#[test]
fn a_gate_that_passes_asks_the_next_stage() {
    let hits: Vec<Hit> = [HitAction::Pass, HitAction::Allow, HitAction::Pass, HitAction::Reject]
        .into_iter()
        .zip(0..)
        .map(|(action, n)| Hit::new(rule(n), action, false).unwrap())
        .collect();
    // Stage 0 passes both gates, stage 1 opens egress and passes ingress, stage 2 rejects both.
    let mut parts = Sample::new().workload(&["10.0.0.1"]).workload(&["10.0.0.2"]).parts();
    parts.rules += 4;
    for (stage, (egress, ingress)) in (0..).zip([(hits[0], hits[0]), (hits[1], hits[2]), (hits[3], hits[3])])
    {
        let one = Interval { first: 0, last: HTTPS + u32::from(stage), egress, ingress };
        let any = Layer { from: Level::Any, to: Level::Any };
        let block = parts.intervals.block(0, &[one]).unwrap();
        parts.entries.push((DecisionKey::new(stage, any, ANY_ID, ANY_ID), block));
    }
    let table = PolicyTable::new(parts).unwrap();
    for (name, service, expected) in [
        ("egress stops at stage 1, ingress goes on to 2", HTTPS, (Verdict::Reject, Gate::Ingress, rule(3))),
        ("no hit in stage 0 goes on too", HTTPS + 1, (Verdict::Reject, Gate::Ingress, rule(3))),
        ("no hit in stages 0 and 1", HTTPS + 2, (Verdict::Reject, Gate::Egress, rule(3))),
        ("no hit at all", HTTPS + 3, (Verdict::Deny, Gate::Egress, RuleId::DEFAULT_DENY)),
    ] {
        let decision = decide(&table, "10.0.0.1", "10.0.0.2", service);
        assert_eq!((decision.verdict, decision.gate, decision.rule), expected, "{name}");
    }
}

#[test]
fn the_rule_that_allows_says_what_revocation_does() {
    let table = Sample::new()
        .workload(&["10.0.0.1"])
        .workload(&["10.0.0.2"])
        .allow(Who::Workload(0), Who::Any, (1, 9))
        .on_revoke(OnRevoke::Drain(30))
        .rule(Who::Any, Who::Any, (10, 19), HitAction::Deny)
        .on_revoke(OnRevoke::Keep)
        .allow(Who::Any, Who::Any, ALL)
        .build();
    for (name, service, expected) in [
        ("drained", 5, OnRevoke::Drain(30)),
        ("a deny has nothing to revoke", 15, OnRevoke::Cut),
        ("not told", 25, OnRevoke::Cut),
    ] {
        assert_eq!(decide(&table, "10.0.0.1", "10.0.0.2", service).on_revoke, expected, "{name}");
    }
}

#[test]
fn a_listener_is_another_as_destination_of_its_services() {
    let table = Sample::new()
        .workload(&["10.0.0.1"])
        .workload(&["10.0.0.2", "2001:db8::2"])
        .listening((HTTPS, HTTPS + 1), 2)
        .workload(&["10.0.0.3"])
        .allow(Who::Any, Who::Workload(2), ALL)
        .allow(Who::Workload(1), Who::Any, (1, 1))
        .build();
    for (name, source, destination, service, verdict) in [
        ("for its services", "10.0.0.1", "10.0.0.2", HTTPS, Verdict::Allow),
        ("also by its other address", "10.0.0.1", "2001:db8::2", HTTPS + 1, Verdict::Allow),
        ("not for others", "10.0.0.1", "10.0.0.2", HTTPS + 2, Verdict::Deny),
        ("as a source it is itself", "10.0.0.2", "10.0.0.3", 1, Verdict::Allow),
    ] {
        assert_eq!(decide(&table, source, destination, service).verdict, verdict, "{name}");
    }
    let resolve = |last| table.resolve(Address::v4([10, 0, 0, last]));
    assert_eq!(resolve(2).owner().map(crate::policy::Owner::index), Some(1));
    let mut cuts = Vec::new();
    table.cuts(resolve(1), resolve(2), &mut cuts);
    assert!(cuts.contains(&HTTPS) && cuts.contains(&(HTTPS + 2)));
}

#[test]
fn a_changed_table_decides_anew_and_leaves_the_old_one() {
    let old = Sample::new()
        .workload(&["10.0.0.1"])
        .workload(&["10.0.0.2", "2001:db8::2"])
        .workload(&["10.0.0.3"])
        .allow(Who::Workload(0), Who::Workload(1), ALL)
        .build();
    let parts = |address: &str| Sample::new().workload(&[address]).parts().workloads.remove(0);
    let hit = Hit::new(rule(0), HitAction::Reject, false).unwrap();
    let rejecting = Interval { first: 0, last: 9, egress: Hit::NONE, ingress: hit };
    // The first takes the second's place, with its own address; the second and third go, and all their addresses.
    let address = |text: &str| Address::from(text.parse::<std::net::IpAddr>().unwrap());
    let change = TableChange {
        remove: vec![address("2001:db8::2"), address("10.0.0.3"), address("10.0.0.1")],
        put: vec![(0, parts("10.0.0.2"))],
        workloads: 1,
        entries: vec![(
            DecisionKey::new(0, Layer { from: Level::Any, to: Level::Narrow }, ANY_ID, 1),
            Chunk::default().block(1, &[rejecting]).unwrap(),
        )],
        intervals: Chunk::default(),
    };
    let new = old.changed(change).unwrap();
    assert_eq!((new.workloads(), old.workloads()), (1, 3));
    assert_eq!(new.owner(address("10.0.0.2")), Some(0));
    assert_eq!(old.owner(address("10.0.0.2")), Some(1));
    assert_eq!([new.owner(address("10.0.0.1")), new.owner(address("2001:db8::2"))], [None, None]);
    assert_eq!(decide(&old, "10.0.0.1", "10.0.0.2", 5).verdict, Verdict::Allow);
    assert_eq!(
        decide(&new, "10.0.0.1", "10.0.0.2", 5).verdict,
        Verdict::Reject,
        "the new entry's layer is probed"
    );
    let gap = TableChange { put: vec![(7, parts("10.0.0.9"))], workloads: 8, ..TableChange::default() };
    assert_eq!(new.changed(gap).unwrap_err(), TableError::Reference("workloads"));
}
