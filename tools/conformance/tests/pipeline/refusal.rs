//! A rule that rejects has the sender told, out of the port that its packet came in on.

use control::policy::valid::Action;
use dataplane::headers::{Headers, Icmp, Ip, Network, Transport, flags, parse};
use dataplane::policy::PolicyTable;
use dataplane::verdict::{DropReason, Side};
use testkit::Packet;
use testkit::rig::{Fate, Rig, RigOptions};

use crate::{WEB_TO_DB, compiled_with};

const IN: Side = Side::Inside;
const OUT: Side = Side::Outside;

const REJECTING: &str = "
rules:
  - {name: no-telnet, from: any, to: {role: db}, service: [tcp/23, udp/23, icmp/8, icmpv6/128, gre], action: override-deny}
  - {name: no-office, from: {zone: office}, to: {role: web}, service: any, action: override-deny}
  - {name: web-to-db, from: {role: web}, to: {role: db}, service: any}
";

/// `rules`, with those rejecting that deny.
pub(crate) fn rejecting(rules: &str) -> PolicyTable {
    let reject = |rule: &mut control::policy::valid::Rule| {
        if rule.action == Action::Deny {
            rule.action = Action::Reject;
        }
    };
    compiled_with(rules, reject).table
}

pub(crate) fn ip_of(frame: &[u8]) -> Ip {
    match parse(frame) {
        Ok(Headers { network: Network::Ip(ip), .. }) => ip,
        other => panic!("{other:?}"),
    }
}

/// What kind of answer a frame is.
fn kind(frame: &[u8]) -> &'static str {
    match ip_of(frame).transport {
        Transport::Tcp(tcp) if tcp.flags & flags::RST != 0 => "reset",
        Transport::Icmp(Icmp { kind: 3, code: 13, .. }) => "prohibited",
        Transport::Icmp(Icmp { kind: 1, code: 1, .. }) => "prohibited v6",
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_sender_is_told_in_its_own_language() {
    let table: &[(&str, Side, Packet, Option<&str>)] = &[
        ("SYN", IN, Packet::tcp("10.0.0.1:9", "10.0.0.2:23").syn(), Some("reset")),
        ("SYN over IPv6", IN, Packet::tcp("[fd00::1]:9", "[fd00::2]:23").syn().vlan(9), Some("reset")),
        ("UDP", IN, Packet::udp("10.0.0.1:9", "10.0.0.2:23").payload([1; 900]), Some("prohibited")),
        ("UDP over IPv6", IN, Packet::udp("[fd00::1]:9", "[fd00::2]:23").qinq(1, 2), Some("prohibited v6")),
        ("echo", IN, Packet::echo_request("10.0.0.1", "10.0.0.2", 7), Some("prohibited")),
        ("echo over IPv6", IN, Packet::echo_request("fd00::1", "fd00::2", 7), Some("prohibited v6")),
        ("GRE", IN, Packet::ip("10.0.0.1", "10.0.0.2", 47).payload([0; 8]), Some("prohibited")),
        ("from outside", OUT, Packet::tcp("192.0.2.1:9", "10.0.0.1:80").syn(), Some("reset")),
        ("redirect", OUT, Packet::icmp("192.0.2.1", "10.0.0.1", 5, 1).payload([0; 40]), None),
    ];
    for (name, side, packet, expected) in table {
        let mut rig = Rig::new(rejecting(REJECTING), &RigOptions::default());
        let packet = packet.build();
        let fate = rig.send(*side, &packet);
        assert!(matches!(fate, Fate::Dropped(DropReason::Rejected, Some(_))), "{name}: {fate:?}");
        let told: Vec<_> = rig.left().iter().map(|(port, frame)| (*port, kind(frame))).collect();
        assert_eq!(told, expected.map(|kind| (*side, kind)).into_iter().collect::<Vec<_>>(), "{name}");
        assert_eq!(rig.counters.made.get(), u64::from(expected.is_some()), "{name}");
        assert_eq!(rig.counters.dropped(DropReason::Rejected).get(), 1, "{name}");
        assert_eq!(rig.flows.views(rig.now).count(), 0, "{name}: no state");
    }
}

#[test]
fn only_the_first_fragment_is_answered() {
    for (name, web, db) in [("v4", "10.0.0.1:9", "10.0.0.2:23"), ("v6", "[fd00::1]:9", "[fd00::2]:23")] {
        let parts = Packet::udp(web, db).payload([0; 1200]).id(3).fragments(400);
        let mut rig = Rig::new(rejecting(REJECTING), &RigOptions::default());
        let left = rig.send_all(IN, &parts);
        assert_eq!(left.len(), 1, "{name}");
        let drops = |reason| rig.counters.dropped(reason).get();
        assert_eq!((drops(DropReason::Rejected), drops(DropReason::FragmentOfDropped)), (1, 3), "{name}");
    }
}

/// The answer travels on like any packet: through another ringfence it is an ICMP error about nothing, or a reset
/// of nothing, and opens no flow there either.
#[test]
fn an_answer_opens_no_flow_elsewhere() {
    for packet in [Packet::tcp("10.0.0.1:9", "10.0.0.2:23").syn(), Packet::udp("10.0.0.1:9", "10.0.0.2:23")] {
        let mut rig = Rig::new(rejecting(REJECTING), &RigOptions::default());
        rig.send(IN, &packet.build());
        let (_, answer) = rig.left()[0].clone();
        let mut next = Rig::new(rejecting(WEB_TO_DB), &RigOptions::default());
        let reason = next.send(OUT, &answer).reason();
        assert!(matches!(reason, Some(DropReason::TcpNoFlow | DropReason::IcmpNoFlow)), "{reason:?}");
        assert_eq!(next.flows.views(next.now).count(), 0);
    }
}

#[test]
fn answers_are_limited_and_what_is_not_said_is_counted() {
    let mut rig = Rig::new(rejecting(REJECTING), &RigOptions::default());
    let syn = |port: u16| Packet::tcp(format!("10.0.0.1:{port}").as_str(), "10.0.0.2:23").syn().build();
    let flood: Vec<_> = (1..=1000).map(syn).collect();
    let told = rig.send_all(IN, &flood).len() as u64;
    assert_eq!((told, rig.counters.answers_suppressed.get()), (200, 800));
    assert_eq!(rig.counters.dropped(DropReason::Rejected).get(), 1000);
    rig.pass_millis(50);
    assert_eq!(rig.send_all(IN, &flood).len(), 50, "a thousand a second");
}

#[test]
fn without_a_free_chunk_nobody_is_told_and_nothing_is_lost() {
    let mut rig = Rig::new(rejecting(REJECTING), &RigOptions { chunks: 1, ..RigOptions::default() });
    let syn = Packet::tcp("10.0.0.1:9", "10.0.0.2:23").syn().build();
    assert_eq!(rig.send(IN, &syn).reason(), Some(DropReason::Rejected));
    assert!(rig.left().is_empty());
    assert_eq!((rig.counters.made.get(), rig.counters.answers_suppressed.get()), (0, 1));
}

#[test]
fn a_connection_that_is_now_rejected_is_reset_at_both_ends() {
    const NOW_REJECTED: &str = "
rules:
  - {name: no-web, from: {role: web}, to: {role: db}, service: any, action: override-deny}
";
    let (web, db) = ("[fd00::1]:999", "[fd00::2]:80");
    let syn = Packet::tcp(web, db).syn().seq(100).build();
    let answer = Packet::tcp(db, web).syn().seq(500).ack(101).build();
    let data = Packet::tcp(web, db).seq(101).ack(501).payload(b"question").build();
    let reply = Packet::tcp(db, web).seq(501).ack(109).payload(b"answer").build();
    for (name, side, packet) in [("data", IN, &data), ("its reply", OUT, &reply)] {
        let mut rig = Rig::new(rejecting(WEB_TO_DB), &RigOptions::default());
        for (side, packet) in [(IN, &syn), (OUT, &answer), (IN, &data)] {
            assert!(rig.send(side, packet).is_forwarded(), "{name}");
        }
        rig.publisher.publish(rejecting(NOW_REJECTED));
        assert_eq!(rig.send(side, packet).reason(), Some(DropReason::Revoked), "{name}");
        let resets: Vec<_> = rig.left().iter().map(|(port, frame)| (*port, ip_of(frame))).collect();
        assert_eq!(resets.len(), 2, "{name}");
        for (port, ip) in resets {
            let Transport::Tcp(tcp) = ip.transport else { panic!("{name}: {ip:?}") };
            let sent = ip_of(packet);
            let Transport::Tcp(own) = sent.transport else { panic!("{name}") };
            let expected = if port == side {
                (sent.source, own.acknowledgement, flags::RST)
            } else {
                (sent.destination, own.sequence, flags::RST | flags::ACK)
            };
            assert_eq!((ip.destination, tcp.sequence, tcp.flags), expected, "{name}: at {port:?}");
        }
        // Whoever goes on is told again, and only he.
        assert_eq!(rig.send(OUT, &reply).reason(), Some(DropReason::Revoked), "{name}");
        assert_eq!(rig.left().iter().map(|(port, _)| *port).collect::<Vec<_>>(), [OUT], "{name}");
        assert_eq!(rig.counters.flows_cut.get(), 1, "{name}");
    }
}
