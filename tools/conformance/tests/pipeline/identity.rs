//! Who may send what from where: IP sources, ARP, neighbour discovery.

use control::policy::Compiled;
use dataplane::pipeline::SourceCheck;
use dataplane::verdict::{DropReason, Side};
use testkit::Packet;
use testkit::rig::{Rig, RigOptions};

use crate::{WEB_TO_DB, compiled, compiled_text, reason, rig};

const IN: Side = Side::Inside;
const OUT: Side = Side::Outside;
const STRANGER: [u8; 6] = [2, 9, 9, 9, 9, 9];

fn check(rig: &mut Rig, table: &[(&str, Side, Packet, Option<DropReason>)]) {
    for (name, side, packet, expected) in table {
        assert_eq!(reason(&rig.send(*side, &packet.build())), *expected, "{name}");
    }
}

#[test]
fn a_source_address_is_tied_to_its_place() {
    let spoofed = Some(DropReason::SpoofedSource);
    let table = [
        ("own address", IN, Packet::udp("10.0.0.1:1", "10.0.0.2:1"), None),
        ("own v6 address", IN, Packet::udp("[fd00::1]:1", "[fd00::2]:1"), None),
        (
            "own address, another's MAC",
            IN,
            Packet::udp("10.0.0.1:1", "10.0.0.2:1").source_mac(STRANGER),
            spoofed,
        ),
        ("a workload of another wire", IN, Packet::udp("10.0.0.2:1", "10.0.0.1:1"), spoofed),
        ("nobody's address", IN, Packet::udp("203.0.113.1:1", "10.0.0.2:1"), spoofed),
        ("nobody's v6 address", IN, Packet::udp("[2001:db8::9]:1", "[fd00::2]:1"), spoofed),
        ("ours, from the outside", OUT, Packet::udp("10.0.0.1:1", "10.0.0.3:1"), spoofed),
        ("another's, from the outside", OUT, Packet::udp("10.0.0.2:1", "10.0.0.1:1"), None),
        (
            "unknown, from the outside",
            OUT,
            Packet::udp("203.0.113.1:1", "10.0.0.1:9"),
            Some(DropReason::Policy),
        ),
    ];
    check(&mut rig(WEB_TO_DB), &table);
}

/// Two workloads inside, `app` with `app_place` (its wire and MAC addresses as YAML), `bound` by its MAC address; both
/// may speak to one outside.
fn estate(app_place: &str) -> Compiled {
    compiled_text(
        format!(
            r#"
ringfence: 1
workloads:
  - {{name: app, labels: {{role: web}}, addresses: [10.0.0.1], {app_place}}}
  - {{name: bound, labels: {{role: web}}, addresses: [10.0.0.5], wire: w, macs: ["02:04:0a:00:00:05"]}}
  - {{name: db, labels: {{role: db}}, addresses: [10.0.0.2], wire: elsewhere}}
rules:
  - {{name: web-to-db, from: {{role: web}}, to: {{role: db}}, service: any}}
"#
        ),
        |_| {},
    )
}

/// A known flow remembers that the source check passed; it must never remember more than was checked.
#[test]
fn a_known_flow_is_no_way_around_the_source_check() {
    let spoofed = Some(DropReason::SpoofedSource);
    let mut rig = Rig::new(estate("wire: w").table, &RigOptions::default());
    let request = |from: &str| Packet::udp(format!("{from}:7").as_str(), "10.0.0.2:9");
    let reply = |to: &str| Packet::udp("10.0.0.2:9", format!("{to}:7").as_str());
    let (app, bound) = ("10.0.0.1", "10.0.0.5");
    for _ in 0..3 {
        // Both flows are known and current, from both ends, and what can be remembered of their sources is.
        let table = [
            ("request", IN, request(app), None),
            ("reply", OUT, reply(app), None),
            ("bound request", IN, request(bound), None),
            ("bound reply", OUT, reply(bound), None),
            ("any MAC, none is told", IN, request(app).source_mac(STRANGER), None),
            ("request from the outside", OUT, request(app), spoofed),
            ("reply from the inside", IN, reply(app), spoofed),
            ("another's MAC, one is told", IN, request(bound).source_mac(STRANGER), spoofed),
            ("bound request from the outside", OUT, request(bound), spoofed),
        ];
        check(&mut rig, &table);
    }
    assert_eq!(rig.counters.flows_opened.get(), 2);
    rig.publisher.publish(estate(r#"wire: w, macs: ["02:04:0a:00:00:01"]"#).table);
    for _ in 0..3 {
        let table = [
            ("own MAC, told now", IN, request(app), None),
            ("another's MAC", IN, request(app).source_mac(STRANGER), spoofed),
            ("reply", OUT, reply(app), None),
        ];
        check(&mut rig, &table);
    }
    rig.publisher.publish(estate("wire: elsewhere").table);
    for _ in 0..3 {
        let table = [("moved away", IN, request(app), spoofed), ("from there", OUT, request(app), None)];
        check(&mut rig, &table);
    }
}

#[test]
fn a_known_check_lets_unlisted_sources_reach_policy() {
    let options = RigOptions { source_check: SourceCheck::Known, ..RigOptions::default() };
    let mut rig = Rig::new(compiled(WEB_TO_DB).table, &options);
    let table = [
        ("unlisted", IN, Packet::udp("203.0.113.1:1", "10.0.0.2:1"), Some(DropReason::Policy)),
        ("still not another's", IN, Packet::udp("10.0.0.2:1", "10.0.0.1:1"), Some(DropReason::SpoofedSource)),
    ];
    check(&mut rig, &table);
}

/// An ARP probe (RFC 5227): web's MAC asks whether anybody has `target`.
fn probe(target: &str) -> Packet {
    let web = [2, 4, 10, 0, 0, 1];
    Packet::arp(1, web, [0, 0, 0, 0].into(), [0; 6], target.parse().unwrap()).source_mac(web)
}

#[test]
fn arp_speaks_only_for_its_sender() {
    let invalid = Some(DropReason::ArpInvalid);
    let table = [
        ("own request", IN, Packet::arp_request("10.0.0.1", "10.0.0.2"), None),
        ("own reply", IN, Packet::arp_reply("10.0.0.1", "10.0.0.2"), None),
        ("another's address", IN, Packet::arp_reply("10.0.0.2", "10.0.0.9"), invalid),
        ("nobody's address", IN, Packet::arp_reply("10.0.0.77", "10.0.0.9"), invalid),
        (
            "frame from another MAC",
            IN,
            Packet::arp_reply("10.0.0.1", "10.0.0.2").source_mac(STRANGER),
            invalid,
        ),
        ("the network's reply", OUT, Packet::arp_reply("10.0.0.254", "10.0.0.1"), None),
        ("ours, from the outside", OUT, Packet::arp_reply("10.0.0.1", "10.0.0.2"), invalid),
        ("probe for our own", IN, probe("10.0.0.1"), None),
        ("probe for another's", IN, probe("10.0.0.2"), invalid),
    ];
    check(&mut rig(WEB_TO_DB), &table);
}

#[test]
fn neighbour_discovery_speaks_only_for_its_sender() {
    let invalid = Some(DropReason::NdInvalid);
    let table = [
        ("solicitation", IN, Packet::neighbour_solicit("fd00::1", "fd00::2"), None),
        ("own advertisement", IN, Packet::neighbour_advert("fd00::1", "fd00::2", "fd00::1"), None),
        ("for another's address", IN, Packet::neighbour_advert("fd00::1", "fd00::9", "fd00::2"), invalid),
        ("the network's", OUT, Packet::neighbour_advert("fd00::2", "fd00::1", "fd00::2"), None),
        ("ours, from the outside", OUT, Packet::neighbour_advert("fd00::9", "fd00::2", "fd00::1"), invalid),
        ("router advertisement from the network", OUT, Packet::router_advert("fe80::1"), None),
        ("router advertisement from a workload", IN, Packet::router_advert("fe80::1"), invalid),
        ("listener report", IN, Packet::listener_report("fe80::1", "ff02::1:ff00:1"), None),
    ];
    check(&mut rig(WEB_TO_DB), &table);
    let off = "infrastructure: {neighbour-discovery: false}\n";
    let denied =
        ("switched off", IN, Packet::neighbour_solicit("fd00::1", "fd00::2"), Some(DropReason::Policy));
    check(&mut rig(off), &[denied]);
}
