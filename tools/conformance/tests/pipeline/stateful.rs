//! Flows: both directions, what opens one, ICMP about one.

use dataplane::clock::Now;
use dataplane::verdict::{DropReason, Side};
use testkit::Packet;
use testkit::rig::{Fate, Rig, RigOptions};

use crate::{WEB_TO_DB, compiled, reason, rig};

const IN: Side = Side::Inside;
const OUT: Side = Side::Outside;

/// Sends the packets in order and compares each fate; `None` is forwarded.
fn play(rig: &mut Rig, steps: &[(&str, Side, Packet, Option<DropReason>)]) {
    for (name, side, packet, expected) in steps {
        assert_eq!(reason(&rig.send(*side, &packet.build())), *expected, "{name}");
    }
}

#[test]
fn replies_belong_to_the_flow_and_the_other_direction_does_not() {
    for (web, db) in [("10.0.0.1", "10.0.0.2"), ("[fd00::1]", "[fd00::2]")] {
        let end = |host: &str, port: u16| format!("{host}:{port}");
        let udp = |a: String, b: String| Packet::udp(a.as_str(), b.as_str());
        let mut rig = rig(WEB_TO_DB);
        play(
            &mut rig,
            &[
                ("db may not begin", OUT, udp(end(db, 53), end(web, 999)), Some(DropReason::Policy)),
                ("web may", IN, udp(end(web, 999), end(db, 53)), None),
                ("and is answered", OUT, udp(end(db, 53), end(web, 999)), None),
                ("but only on its ports", OUT, udp(end(db, 53), end(web, 998)), Some(DropReason::Policy)),
            ],
        );
        assert_eq!((rig.counters.flows_opened.get(), rig.counters.flow_hits.get()), (1, 1));
    }
}

#[test]
fn tcp_opens_with_a_syn_and_only_in_the_allowed_direction() {
    let syn = || Packet::tcp("10.0.0.1:999", "10.0.0.2:80").syn().seq(100);
    let answer = || Packet::tcp("10.0.0.2:80", "10.0.0.1:999").syn().seq(500).ack(101);
    let data = || Packet::tcp("10.0.0.1:999", "10.0.0.2:80").seq(101).ack(501).payload(b"hello");
    let mut rig = rig(WEB_TO_DB);
    play(
        &mut rig,
        &[
            ("data opens nothing", IN, data(), Some(DropReason::TcpNoFlow)),
            ("nor does a SYN-ACK", OUT, answer(), Some(DropReason::TcpNoFlow)),
            ("a SYN does", IN, syn(), None),
            ("it is answered", OUT, answer(), None),
            ("and used", IN, data(), None),
            ("within its window", IN, data().seq(5_000_000), Some(DropReason::TcpWindow)),
            (
                "a blind reset does not end it",
                OUT,
                Packet::tcp("10.0.0.2:80", "10.0.0.1:999").rst().seq(9),
                Some(DropReason::TcpChallenge),
            ),
            (
                "db may not begin",
                OUT,
                Packet::tcp("10.0.0.2:999", "10.0.0.1:80").syn(),
                Some(DropReason::Policy),
            ),
        ],
    );
}

#[test]
fn connections_older_than_the_process_are_picked_up_in_the_grace_only() {
    let options = RigOptions { pickup_until: Now::from_nanos(5_000_000_000), ..RigOptions::default() };
    let request = || Packet::tcp("10.0.0.1:999", "10.0.0.2:80").seq(7).ack(9).payload(b"more");
    let answer = || Packet::tcp("10.0.0.2:81", "10.0.0.1:998").seq(9).ack(7).payload(b"more");
    let mut rig = Rig::new(compiled(WEB_TO_DB).table, &options);
    play(
        &mut rig,
        &[
            ("from the initiator", IN, request(), None),
            ("first seen from the responder", OUT, answer(), None),
            (
                "denied both ways",
                OUT,
                Packet::tcp("192.0.2.1:1", "10.0.0.1:2").ack(1),
                Some(DropReason::Policy),
            ),
        ],
    );
    rig.pass_millis(5_000);
    let late = Packet::tcp("10.0.0.1:997", "10.0.0.2:80").seq(7).ack(9);
    play(&mut rig, &[("after the grace", IN, late, Some(DropReason::TcpNoFlow))]);
}

#[test]
fn an_echo_request_is_never_taken_for_a_reply() {
    for (web, db) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
        let mut rig = rig(WEB_TO_DB);
        play(
            &mut rig,
            &[
                ("unasked reply", OUT, Packet::echo_reply(db, web, 7), Some(DropReason::IcmpNoFlow)),
                ("request", IN, Packet::echo_request(web, db, 7), None),
                ("same id, other way", OUT, Packet::echo_request(db, web, 7), Some(DropReason::Policy)),
                ("reply", OUT, Packet::echo_reply(db, web, 7), None),
                ("reply to another id", OUT, Packet::echo_reply(db, web, 8), Some(DropReason::IcmpNoFlow)),
            ],
        );
    }
}

#[test]
fn an_icmp_error_passes_for_a_live_flow_from_any_router() {
    for (web, db, router, big) in
        [("10.0.0.1", "10.0.0.2", "198.51.100.1", (3, 4)), ("fd00::1", "fd00::2", "2001:db8::1", (2, 0))]
    {
        let end = |host: &str, port: u16| match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        let sent = Packet::udp(end(web, 9).as_str(), end(db, 9).as_str()).payload(b"long").build();
        let other = Packet::udp(end(web, 10).as_str(), end(db, 9).as_str()).build();
        let error = |about: &[u8], to: &str| Packet::icmp_error(router, to, big.0, big.1, about);
        let mut rig = rig(WEB_TO_DB);
        play(&mut rig, &[("no flow yet", OUT, error(&sent, web), Some(DropReason::IcmpNoFlow))]);
        assert!(rig.send(IN, &sent).is_forwarded());
        play(
            &mut rig,
            &[
                ("about the flow", OUT, error(&sent, web), None),
                ("about another", OUT, error(&other, web), Some(DropReason::IcmpNoFlow)),
                ("to somebody else", OUT, error(&sent, db), Some(DropReason::IcmpNoFlow)),
            ],
        );
    }
}

#[test]
fn a_full_table_drops_new_flows_and_keeps_assured_ones() {
    let options = RigOptions { flows: 16, chunks: 256, ..RigOptions::default() };
    let mut rig = Rig::new(compiled(WEB_TO_DB).table, &options);
    let mut refused = 0;
    for port in 1..200u16 {
        let ask = Packet::udp(format!("10.0.0.1:{port}").as_str(), "10.0.0.2:53").build();
        let answer = Packet::udp("10.0.0.2:53", format!("10.0.0.1:{port}").as_str()).build();
        match rig.send(IN, &ask) {
            Fate::Dropped(DropReason::FlowTableFull, None) => refused += 1,
            fate => {
                assert!(fate.is_forwarded(), "{fate:?}");
                assert!(rig.send(OUT, &answer).is_forwarded(), "an answered flow stays");
            }
        }
    }
    assert!(refused >= 199 - 16, "{refused}");
}
