//! What the control thread is told of flows that live for long: every packet once, whenever it is told; and what the
//! wire saw of handshakes.

use std::collections::BTreeMap;

use dataplane::clock::Now;
use dataplane::flow::{FlowKey, Handshake, RoundTrip};
use dataplane::records::{Ending, FlowEvent, Occasion, Told};
use dataplane::verdict::Side;
use proptest::prelude::*;
use testkit::Packet;
use testkit::rig::Rig;

use crate::{WEB_TO_DB, compiled, rig};

const IN: Side = Side::Inside;
const OUT: Side = Side::Outside;

fn told(rig: &Rig) -> Vec<Told> {
    core::iter::from_fn(|| rig.records.next_told()).collect()
}

/// Lets time pass in steps that the upkeep can follow.
fn pass(rig: &mut Rig, seconds: u64) {
    for _ in 0..seconds * 2 {
        rig.pass_millis(500);
        rig.tick();
    }
}

fn datagram(port: u16, bytes: usize) -> Vec<u8> {
    Packet::udp(format!("10.0.0.1:{port}").as_str(), "10.0.0.2:53").payload(vec![0; bytes]).build()
}

#[test]
fn a_long_flow_is_told_while_it_lives_and_a_short_one_only_at_its_end() {
    let mut rig = rig(WEB_TO_DB);
    rig.send(IN, &datagram(1, 58));
    for _ in 0..20 {
        rig.send(IN, &datagram(2, 58));
        pass(&mut rig, 10);
    }
    pass(&mut rig, 300);
    let mut sums: BTreeMap<u16, (u64, u64)> = BTreeMap::new();
    let mut updates = 0;
    for FlowEvent { occasion, key, packets, bytes, .. } in told(&rig).iter().map(|told| told.event) {
        let port = key.first_port.min(key.second_port);
        if occasion != Occasion::Opened {
            let sum = sums.entry(port).or_default();
            sum.0 += packets.iter().sum::<u64>();
            sum.1 += bytes.iter().sum::<u64>();
        }
        if occasion == Occasion::Updated {
            assert_eq!(port, 2, "the short one");
            assert!(packets.iter().sum::<u64>() <= 14, "{packets:?}: about a minute, six packets each");
            updates += 1;
        }
    }
    assert_eq!(sums.into_iter().collect::<Vec<_>>(), [(1, (1, 100)), (2, (20, 2000))]);
    assert!((2..=4).contains(&updates), "{updates} updates in 200 s");
}

#[test]
fn no_updates_if_nobody_wants_them_and_none_of_silent_flows() {
    for (name, every, packets, expected) in [("never", 0, 30, 0), ("each second", 1000, 1, 1)] {
        let mut rig = rig(WEB_TO_DB);
        rig.records.set_update_every(every);
        for _ in 0..packets {
            rig.send(IN, &datagram(1, 1));
            pass(&mut rig, 1);
        }
        pass(&mut rig, 10);
        let updates = told(&rig).iter().filter(|told| told.event.occasion == Occasion::Updated).count();
        assert_eq!(updates, expected, "{name}");
    }
}

#[test]
fn without_room_an_update_waits_and_loses_nothing() {
    let mut rig = rig(WEB_TO_DB);
    rig.records.set_update_every(1000);
    // The rig's queue holds 4096 events: these leave less than half of it.
    (1..2101).for_each(|port| drop(rig.send(IN, &datagram(port, 1))));
    pass(&mut rig, 10);
    assert_eq!(rig.records.waiting(), 2100, "no update among them");
    assert_eq!(told(&rig).len(), 2100);
    pass(&mut rig, 5);
    let updates = told(&rig);
    assert!(updates.iter().all(|told| told.event.occasion == Occasion::Updated));
    assert!(updates.len() > 1500, "{} updates", updates.len());
    assert_eq!(rig.counters.flow_events_lost.get(), 0);
}

/// A step of the table below: who sends, what, microseconds after the one before.
type Segment = (Side, Packet, u64);

#[test]
fn handshakes_are_told_with_their_times() {
    let (web, db) = ("[fd00::1]:999", "[fd00::2]:80");
    let syn = || (IN, Packet::tcp(web, db).syn().seq(100), 0);
    let syn_again = || (IN, Packet::tcp(web, db).syn().seq(100), 1_000_000);
    let answer = |after| (OUT, Packet::tcp(db, web).syn().seq(500).ack(101), after);
    let ack = |after| (IN, Packet::tcp(web, db).seq(101).ack(501), after);
    let refusal = || (OUT, Packet::tcp(db, web).seq(0).ack(101).rst(), 70);
    let reset = || (OUT, Packet::tcp(db, web).seq(501).ack(101).rst(), 5000);
    let fin = || (IN, Packet::tcp(web, db).seq(101).ack(501).fin(), 2_000_000);
    let fin_back = || (OUT, Packet::tcp(db, web).seq(501).ack(102).fin(), 10);
    let last = || (IN, Packet::tcp(web, db).seq(102).ack(502), 10);
    let time = |responder, initiator| Some(RoundTrip { responder, initiator });
    type Case<'a> = (&'a str, Vec<Segment>, Ending, Handshake, Option<RoundTrip>);
    let table: Vec<Case<'_>> = vec![
        ("no answer", vec![syn()], Ending::TimedOut, Handshake::Unanswered, None),
        ("refused", vec![syn(), refusal()], Ending::Reset, Handshake::Unanswered, None),
        ("half open", vec![syn(), answer(250)], Ending::TimedOut, Handshake::Answered, None),
        (
            "finished",
            vec![syn(), answer(250), ack(80), fin(), fin_back(), last()],
            Ending::Finished,
            Handshake::Completed,
            time(250, 80),
        ),
        (
            "reset",
            vec![syn(), answer(3000), ack(40_000), reset()],
            Ending::Reset,
            Handshake::Completed,
            time(3000, 40_000),
        ),
        (
            "the SYN came twice",
            vec![syn(), syn_again(), answer(9), ack(9)],
            Ending::TimedOut,
            Handshake::Completed,
            None,
        ),
        (
            "the answer came twice",
            vec![syn(), answer(9), answer(900_000), ack(9)],
            Ending::TimedOut,
            Handshake::Completed,
            None,
        ),
    ];
    for (name, segments, ending, handshake, round_trip) in table {
        let mut rig = rig(WEB_TO_DB);
        for (side, packet, after) in segments {
            rig.now = Now::from_nanos(rig.now.as_nanos() + after * 1000);
            assert!(rig.send(side, &packet.build()).is_forwarded(), "{name}");
        }
        pass(&mut rig, 8000);
        let all = told(&rig);
        assert_eq!(all[0].observed.side, Some(IN), "{name}");
        let end = all.last().unwrap();
        assert_eq!(end.event.occasion, Occasion::Ended(ending), "{name}");
        assert_eq!(end.observed.handshake, Some(handshake), "{name}");
        assert_eq!(end.observed.round_trip, round_trip, "{name}");
    }
}

#[test]
fn what_is_no_tcp_has_no_handshake() {
    let mut rig = rig(WEB_TO_DB);
    rig.send(IN, &datagram(1, 1));
    pass(&mut rig, 100);
    let end = told(&rig).pop().unwrap();
    assert_eq!((end.observed.handshake, end.observed.round_trip), (None, None));
}

/// Something that happens to a rig.
#[derive(Clone, Debug)]
enum Step {
    Send(u16, bool, usize),
    Pass(u64),
    Republish(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (1..8_u16, any::<bool>(), 0..1000_usize).prop_map(|(port, back, len)| Step::Send(port, back, len)),
        6 => (1..40_u64).prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::Republish),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens to flows, updates and ends add up to what passed, packet for packet and byte for byte.
    #[test]
    fn every_packet_is_told_once(steps in steps()) {
        let mut rig = rig(WEB_TO_DB);
        rig.records.set_update_every(5000);
        let mut passed: BTreeMap<FlowKey, [(u64, u64); 2]> = BTreeMap::new();
        let mut said = passed.clone();
        let mut hear = |rig: &Rig| {
            for FlowEvent { occasion, key, packets, bytes, .. } in told(rig).iter().map(|told| told.event) {
                if matches!(occasion, Occasion::Updated | Occasion::Ended(_)) {
                    for (at, sum) in said.entry(key).or_default().iter_mut().enumerate() {
                        *sum = (sum.0 + packets[at], sum.1 + bytes[at]);
                    }
                }
            }
        };
        for step in steps {
            match step {
                Step::Send(port, back, len) => {
                    let (web, db) = (format!("10.0.0.1:{port}"), "10.0.0.2:53".to_owned());
                    let (side, from, to) = if back { (OUT, db, web) } else { (IN, web, db) };
                    let packet = Packet::udp(from.as_str(), to.as_str()).payload(vec![0; len]).build();
                    if rig.send(side, &packet).is_forwarded() {
                        let (key, sender) = key_of(&packet);
                        let sum = &mut passed.entry(key).or_default()[sender];
                        *sum = (sum.0 + 1, sum.1 + packet.len() as u64);
                    }
                }
                Step::Pass(seconds) => pass(&mut rig, seconds),
                Step::Republish(open) => {
                    let rules = if open { WEB_TO_DB } else { "rules: []\n" };
                    rig.publisher.publish(compiled(rules).table);
                }
            }
            hear(&rig);
        }
        pass(&mut rig, 400);
        hear(&rig);
        said.retain(|_, sums| *sums != [(0, 0); 2]);
        prop_assert_eq!(said, passed);
    }
}

fn key_of(packet: &[u8]) -> (FlowKey, usize) {
    let headers = dataplane::headers::parse(packet).unwrap();
    let dataplane::headers::Network::Ip(ip) = headers.network else { unreachable!("an IP packet") };
    let (key, sender) = FlowKey::of(testkit::rig::WIRE, &ip).unwrap();
    (key, sender.index())
}
