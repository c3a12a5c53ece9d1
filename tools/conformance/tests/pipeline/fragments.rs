//! Fragments follow their first one, whatever the order.

use dataplane::verdict::{DropReason, Side};
use testkit::Packet;

use crate::{WEB_TO_DB, reason, rig};

/// A datagram in three parts, allowed or denied, v4 or v6.
fn parts(allowed: bool, v6: bool, id: u32) -> Vec<Vec<u8>> {
    let (from, to) = match (allowed, v6) {
        (true, false) => ("10.0.0.1:9", "10.0.0.2:9"),
        (true, true) => ("[fd00::1]:9", "[fd00::2]:9"),
        (false, false) => ("10.0.0.1:9", "192.0.2.2:9"),
        (false, true) => ("[fd00::1]:9", "[2001:db8::2]:9"),
    };
    Packet::udp(from, to).payload(vec![7; 2000]).id(id).fragments(800)
}

#[test]
fn parts_share_the_verdict_of_the_first_in_any_order() {
    let orders = [[0, 1, 2], [2, 1, 0], [1, 0, 2], [0, 2, 1], [2, 0, 1], [1, 2, 0]];
    for v6 in [false, true] {
        for (at, order) in orders.into_iter().enumerate() {
            for allowed in [true, false] {
                let mut rig = rig(WEB_TO_DB);
                let parts = parts(allowed, v6, 40 + u32::try_from(at).unwrap());
                assert_eq!(parts.len(), 3);
                let sent: Vec<&[u8]> = order.iter().map(|&part| parts[part].as_slice()).collect();
                let mut left = rig.send_all(Side::Inside, &sent);
                left.sort();
                let mut expected = if allowed { parts.clone() } else { Vec::new() };
                expected.sort();
                assert_eq!(left, expected, "v6 {v6}, order {order:?}, allowed {allowed}");
                let followers = rig.counters.dropped(DropReason::FragmentOfDropped).get();
                assert_eq!(followers, if allowed { 0 } else { 2 });
            }
        }
    }
}

#[test]
fn a_later_part_without_a_first_waits_and_then_is_lost() {
    let mut rig = rig(WEB_TO_DB);
    let parts = parts(true, false, 9);
    assert!(rig.send_all(Side::Inside, &parts[1..]).is_empty());
    assert_eq!(rig.counters.held.get(), 2);
    rig.pass_millis(10_000);
    assert!(rig.tick().is_empty());
    assert_eq!(rig.counters.held.get(), 0);
    assert_eq!(rig.counters.dropped(DropReason::FragmentNoHead).get(), 2);
    let records: Vec<_> = core::iter::from_fn(|| rig.records.next_drop()).collect();
    assert_eq!(records.len(), 2, "one each");
    for record in records {
        assert_eq!(
            (record.reason, record.side, record.held),
            (DropReason::FragmentNoHead, Side::Inside, true)
        );
        assert_eq!(record.epoch, rig.publisher.current().unwrap().epoch);
        assert_eq!(record.flow.unwrap().source.to_ip().to_string(), "10.0.0.1");
    }
}

#[test]
fn every_dropped_part_has_a_record_of_its_own() {
    for v6 in [false, true] {
        let mut rig = rig(WEB_TO_DB);
        let parts = parts(false, v6, 5);
        rig.send_all(Side::Inside, &[&parts[2], &parts[1], &parts[0]]);
        let records: Vec<_> = core::iter::from_fn(|| rig.records.next_drop()).collect();
        let mut told: Vec<_> = records.iter().map(|record| (record.reason, record.held)).collect();
        told.sort();
        let follows = (DropReason::FragmentOfDropped, true);
        assert_eq!(told, [(DropReason::Policy, false), follows, follows], "v6 {v6}");
    }
}

#[test]
fn a_later_part_from_a_spoofed_source_is_not_even_held() {
    let mut rig = rig(WEB_TO_DB);
    let parts = Packet::udp("10.0.0.2:9", "10.0.0.1:9").payload(vec![7; 2000]).fragments(800);
    assert_eq!(reason(&rig.send(Side::Inside, &parts[1])), Some(DropReason::SpoofedSource));
    assert_eq!(rig.counters.held.get(), 0);
}
