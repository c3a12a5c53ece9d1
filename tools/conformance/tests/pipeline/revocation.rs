//! A new policy takes hold on the next packet of either direction.

use dataplane::verdict::{DropReason, Side};
use testkit::Packet;
use testkit::rig::{Fate, Rig, RigOptions};

use crate::{WEB_TO_DB, compiled, reason, rig};

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
