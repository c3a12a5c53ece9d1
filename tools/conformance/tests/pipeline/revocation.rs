//! A new policy takes hold on the next packet of either direction.

use dataplane::policy::PolicyTable;
use dataplane::verdict::{DropReason, OnRevoke, RuleId, Side};
use testkit::Packet;
use testkit::rig::{Fate, Rig, RigOptions};

use crate::{WEB_TO_DB, compiled, compiled_with, reason, rig};

const NOTHING: &str = "
rules:
  - {name: web-to-nobody, from: {role: web}, to: {role: web}, service: any}
";

const ONLY_RADIUS: &str = "
rules:
  - {name: web-to-radius, from: {role: web}, to: {role: db}, service: udp/1812}
";

#[test]
fn a_revoked_flow_dies_at_the_next_packet_whichever_way() {
    let table = [("request first", true), ("reply first", false)];
    for (name, request_first) in table {
        let ask = Packet::udp("10.0.0.1:9", "10.0.0.2:514").build();
        let answer = Packet::udp("10.0.0.2:514", "10.0.0.1:9").build();
        let mut rig = rig(WEB_TO_DB);
        assert!(rig.send(Side::Inside, &ask).is_forwarded());
        assert!(rig.send(Side::Outside, &answer).is_forwarded());
        rig.publisher.publish(compiled(NOTHING).table);
        let order = if request_first { [true, false] } else { [false, true] };
        for inside in order {
            let (side, packet) = if inside { (Side::Inside, &ask) } else { (Side::Outside, &answer) };
            let fate = rig.send(side, packet);
            assert_eq!(reason(&fate), Some(DropReason::Revoked), "{name}");
            assert!(matches!(fate, Fate::Dropped(_, Some(_))), "{name}: names the default");
        }
        assert_eq!(rig.counters.flows_cut.get(), 1, "{name}: cut once");
    }
}

#[test]
fn a_flow_that_the_new_policy_allows_goes_on_without_a_loss() {
    let mut rig = rig(WEB_TO_DB);
    let radius = Packet::udp("10.0.0.1:9", "10.0.0.2:1812").build();
    let syslog = Packet::udp("10.0.0.1:9", "10.0.0.2:514").build();
    for packet in [&radius, &syslog] {
        assert!(rig.send(Side::Inside, packet).is_forwarded());
    }
    for round in 0..50 {
        rig.publisher.publish(compiled(ONLY_RADIUS).table);
        assert!(rig.send(Side::Inside, &radius).is_forwarded(), "round {round}");
        assert_eq!(reason(&rig.send(Side::Inside, &syslog)), Some(DropReason::Revoked), "round {round}");
        assert_eq!(rig.publisher.retire().len(), usize::from(round > 0) + usize::from(round == 0));
    }
    assert_eq!(rig.counters.flows_opened.get(), 2, "no flow was opened again");
    assert_eq!(rig.counters.flows_cut.get(), 1);
}

#[test]
fn a_cut_tcp_connection_stays_dead_until_a_new_syn() {
    let syn = Packet::tcp("10.0.0.1:999", "10.0.0.2:80").syn().seq(100).build();
    let answer = Packet::tcp("10.0.0.2:80", "10.0.0.1:999").syn().seq(500).ack(101).build();
    let data = Packet::tcp("10.0.0.1:999", "10.0.0.2:80").seq(101).ack(501).payload(b"x").build();
    let again = Packet::tcp("10.0.0.1:999", "10.0.0.2:80").syn().seq(90_000).build();
    let mut rig = Rig::new(compiled(WEB_TO_DB).table, &RigOptions::default());
    for (side, packet) in [(Side::Inside, &syn), (Side::Outside, &answer), (Side::Inside, &data)] {
        assert!(rig.send(side, packet).is_forwarded());
    }
    rig.publisher.publish(compiled(NOTHING).table);
    assert_eq!(reason(&rig.send(Side::Inside, &data)), Some(DropReason::Revoked));
    assert_eq!(
        reason(&rig.send(Side::Inside, &again)),
        Some(DropReason::Policy),
        "the new one is denied as well"
    );
    rig.publisher.publish(compiled(WEB_TO_DB).table);
    assert_eq!(reason(&rig.send(Side::Inside, &data)), Some(DropReason::Revoked), "its ends have given up");
    assert!(rig.send(Side::Inside, &again).is_forwarded(), "a new connection may begin");
}

#[test]
fn an_icmp_error_about_a_revoked_flow_dies_with_it() {
    let mut rig = rig(WEB_TO_DB);
    let sent = Packet::udp("10.0.0.1:9", "10.0.0.2:9").build();
    let error = Packet::icmp_error("198.51.100.1", "10.0.0.1", 3, 4, &sent).build();
    assert!(rig.send(Side::Inside, &sent).is_forwarded());
    assert!(rig.send(Side::Outside, &error).is_forwarded());
    rig.publisher.publish(compiled(NOTHING).table);
    assert_eq!(reason(&rig.send(Side::Outside, &error)), Some(DropReason::Revoked));
}

fn ending(on_revoke: OnRevoke) -> PolicyTable {
    compiled_with(WEB_TO_DB, |rule| rule.on_revoke = on_revoke).table
}

/// Its protocol, the packets that open it, and one packet of each direction afterwards.
type Conversation = (&'static str, Vec<(Side, Vec<u8>)>, [Vec<u8>; 2]);

fn conversations() -> [Conversation; 2] {
    let (web, db) = ("10.0.0.1:999", "10.0.0.2:80");
    let tcp = vec![
        (Side::Inside, Packet::tcp(web, db).syn().seq(100).build()),
        (Side::Outside, Packet::tcp(db, web).syn().seq(500).ack(101).build()),
        (Side::Inside, Packet::tcp(web, db).seq(101).ack(501).build()),
    ];
    let data =
        [Packet::tcp(web, db).seq(101).ack(501).build(), Packet::tcp(db, web).seq(501).ack(101).build()];
    let (web, db) = ("[fd00::1]:999", "[fd00::2]:80");
    let both = [Packet::udp(web, db).build(), Packet::udp(db, web).build()];
    let udp = vec![(Side::Inside, both[0].clone()), (Side::Outside, both[1].clone())];
    [("TCP", tcp, data), ("UDP", udp, both)]
}

/// Whether both directions pass, and by which rule the flow does or does not.
fn state(rig: &mut Rig, both: &[Vec<u8>; 2]) -> (bool, RuleId) {
    let inside = rig.send(Side::Inside, &both[0]);
    let outside = rig.send(Side::Outside, &both[1]);
    assert_eq!(inside.is_forwarded(), outside.is_forwarded(), "both directions share one fate");
    let rules: Vec<_> = rig.flows.views(rig.now).map(|view| view.rule).collect();
    assert_eq!(rules.len(), 1);
    (inside.is_forwarded(), rules[0])
}

#[test]
fn a_draining_flow_lives_its_seconds_and_no_policy_prolongs_them() {
    for (name, opening, both) in conversations() {
        let mut rig = Rig::new(ending(OnRevoke::Drain(30)), &RigOptions::default());
        for (side, packet) in &opening {
            assert!(rig.send(*side, packet).is_forwarded(), "{name}");
        }
        rig.publisher.publish(compiled(NOTHING).table);
        for second in [0, 10, 20] {
            assert_eq!(state(&mut rig, &both), (true, RuleId::DRAINING), "{name}: after {second} s");
            rig.publisher.publish(compiled(NOTHING).table);
            rig.pass_millis(10_000);
        }
        assert_eq!(state(&mut rig, &both), (false, RuleId::DEFAULT_DENY), "{name}: after 30 s");
        rig.publisher.publish(compiled(NOTHING).table);
        assert!(!state(&mut rig, &both).0, "{name}: it drains once");
        let hits = |rule| -> u64 { rig.publisher.current().unwrap().hits.of(rule) };
        assert_eq!((hits(RuleId::DRAINING), hits(RuleId::DEFAULT_DENY)), (0, 1), "{name}");
        assert_eq!(rig.counters.flows_cut.get(), 1, "{name}");
    }
}

#[test]
fn a_draining_flow_costs_one_decision_and_dies_under_the_same_policy() {
    for (name, opening, both) in conversations() {
        let mut rig = Rig::new(ending(OnRevoke::Drain(1)), &RigOptions::default());
        opening.iter().for_each(|(side, packet)| assert!(rig.send(*side, packet).is_forwarded(), "{name}"));
        rig.publisher.publish(compiled(NOTHING).table);
        let before = rig.counters.decisions.get();
        for _ in 0..9 {
            assert!(state(&mut rig, &both).0, "{name}");
            rig.pass_millis(100);
        }
        assert_eq!(rig.counters.decisions.get(), before + 1, "{name}");
        rig.pass_millis(100);
        assert_eq!(state(&mut rig, &both), (false, RuleId::DEFAULT_DENY), "{name}");
        assert_eq!(rig.counters.decisions.get(), before + 2, "{name}: what cuts it is asked for once");
    }
}

#[test]
fn a_draining_flow_that_is_allowed_again_is_as_new() {
    for (name, opening, both) in conversations() {
        let mut rig = Rig::new(ending(OnRevoke::Drain(5)), &RigOptions::default());
        opening.iter().for_each(|(side, packet)| assert!(rig.send(*side, packet).is_forwarded(), "{name}"));
        rig.publisher.publish(compiled(NOTHING).table);
        assert_eq!(state(&mut rig, &both), (true, RuleId::DRAINING), "{name}");
        rig.publisher.publish(ending(OnRevoke::Drain(5)));
        rig.pass_millis(20_000);
        let (alive, rule) = state(&mut rig, &both);
        assert!(alive && rule >= RuleId::FIRST, "{name}: {rule:?}");
        rig.publisher.publish(compiled(NOTHING).table);
        assert_eq!(state(&mut rig, &both), (true, RuleId::DRAINING), "{name}: its seconds are whole again");
    }
}

#[test]
fn a_kept_flow_outlives_every_policy_and_no_new_one_begins() {
    for (name, opening, both) in conversations() {
        let mut rig = Rig::new(ending(OnRevoke::Keep), &RigOptions::default());
        opening.iter().for_each(|(side, packet)| assert!(rig.send(*side, packet).is_forwarded(), "{name}"));
        for round in 0..5 {
            rig.publisher.publish(compiled(NOTHING).table);
            assert_eq!(state(&mut rig, &both), (true, RuleId::KEPT), "{name}: round {round}");
            rig.pass_millis(60_000);
        }
        assert_eq!(rig.publisher.current().unwrap().hits.of(RuleId::KEPT), 1, "{name}");
        assert_eq!(rig.counters.flows_cut.get(), 0, "{name}");
        let new = Packet::udp("10.0.0.1:7", "10.0.0.2:7").build();
        assert_eq!(reason(&rig.send(Side::Inside, &new)), Some(DropReason::Policy), "{name}");
        rig.publisher.publish(ending(OnRevoke::Cut));
        assert!(state(&mut rig, &both).0, "{name}");
        rig.publisher.publish(compiled(NOTHING).table);
        assert!(!state(&mut rig, &both).0, "{name}: the rule that allows it now says otherwise");
    }
}

#[test]
fn what_was_cut_is_given_no_time_again() {
    for on_revoke in [OnRevoke::Drain(30), OnRevoke::Keep, OnRevoke::Drain(0)] {
        let udp = Packet::udp("10.0.0.1:9", "10.0.0.2:9").build();
        let mut rig = Rig::new(ending(OnRevoke::Cut), &RigOptions::default());
        assert!(rig.send(Side::Inside, &udp).is_forwarded());
        rig.publisher.publish(compiled(NOTHING).table);
        assert_eq!(reason(&rig.send(Side::Inside, &udp)), Some(DropReason::Revoked));
        rig.publisher.publish(ending(on_revoke));
        assert!(rig.send(Side::Inside, &udp).is_forwarded(), "a datagram flow lives again");
        rig.publisher.publish(compiled(NOTHING).table);
        let lives = on_revoke != OnRevoke::Drain(0);
        assert_eq!(rig.send(Side::Inside, &udp).is_forwarded(), lives, "{on_revoke:?}");
    }
}
