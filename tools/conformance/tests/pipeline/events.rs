//! What the control thread is told of flows: each beginning, end and refusal once, or counted as lost.

use dataplane::flow::Orientation;
use dataplane::records::{Ending, FlowEvent, Occasion, Records};
use dataplane::verdict::{OnRevoke, RuleId, Side, Verdict};
use testkit::Packet;
use testkit::rig::{Rig, RigOptions};

use crate::{WEB_TO_DB, compiled, compiled_with, rig};

const IN: Side = Side::Inside;
const OUT: Side = Side::Outside;

fn events(rig: &Rig) -> Vec<FlowEvent> {
    core::iter::from_fn(|| rig.records.next_event()).collect()
}

fn occasions(rig: &Rig) -> Vec<Occasion> {
    events(rig).iter().map(|event| event.occasion).collect()
}

/// Lets time pass until the sweep has seen every set.
fn sweep(rig: &mut Rig, seconds: u64) {
    for _ in 0..40 {
        rig.pass_millis(seconds * 1000 / 40);
        rig.tick();
    }
}

#[test]
fn a_flow_is_told_at_its_beginning_and_with_its_final_counters() {
    let mut rig = rig(WEB_TO_DB);
    // All counters come with the end.
    rig.records.set_update_every(0);
    let ask = Packet::udp("[fd00::1]:9", "[fd00::2]:53").payload([0; 38]).build();
    let answer = Packet::udp("[fd00::2]:53", "[fd00::1]:9").payload([0; 138]).build();
    let start = rig.now.as_millis32();
    rig.send(IN, &ask);
    rig.pass_millis(2000);
    rig.send(OUT, &answer);
    rig.send(IN, &ask);
    sweep(&mut rig, 300);
    let all = events(&rig);
    let [opened, ended] = &all[..] else { panic!("{all:?}") };
    assert_eq!((opened.occasion, opened.verdict), (Occasion::Opened, Verdict::Allow));
    assert_eq!((ended.occasion, ended.verdict), (Occasion::Ended(Ending::TimedOut), Verdict::Allow));
    assert!(opened.rule >= RuleId::FIRST && opened.rule == ended.rule && opened.key == ended.key);
    let (own, other) = (opened.initiator.index(), opened.initiator.reverse().index());
    assert_eq!((opened.packets[own], opened.bytes[own], opened.packets[other]), (1, 100, 0));
    assert_eq!((ended.packets[own], ended.packets[other]), (2, 1));
    assert_eq!((ended.bytes[own], ended.bytes[other]), (200, 200));
    assert_eq!((ended.first_seen, ended.last_seen), (start, start + 2000));
}

#[test]
fn every_end_of_a_connection_has_its_name() {
    let (web, db) = ("10.0.0.1:999", "10.0.0.2:80");
    let syn = |seq| (IN, Packet::tcp(web, db).syn().seq(seq));
    let answer = (OUT, Packet::tcp(db, web).syn().seq(500).ack(101));
    let ack = (IN, Packet::tcp(web, db).seq(101).ack(501));
    let fin = (IN, Packet::tcp(web, db).seq(101).ack(501).fin());
    let fin_back = (OUT, Packet::tcp(db, web).seq(501).ack(102).fin());
    let last = (IN, Packet::tcp(web, db).seq(102).ack(502));
    let reset = (OUT, Packet::tcp(db, web).seq(501).ack(101).rst());
    let open = || vec![syn(100), answer.clone(), ack.clone()];
    let with = |more: &[&(Side, Packet)]| -> Vec<(Side, Packet)> {
        open().into_iter().chain(more.iter().map(|p| (*p).clone())).collect()
    };
    let table = [
        ("finished", with(&[&fin, &fin_back, &last]), Ending::Finished),
        ("reset", with(&[&reset]), Ending::Reset),
        ("silent", open(), Ending::TimedOut),
        ("never answered", vec![syn(100)], Ending::TimedOut),
        ("ports used again", with(&[&fin, &fin_back, &last, &syn(90_000)]), Ending::Finished),
    ];
    for (name, packets, expected) in table {
        let mut rig = rig(WEB_TO_DB);
        for (side, packet) in &packets {
            assert!(rig.send(*side, &packet.build()).is_forwarded(), "{name}");
        }
        sweep(&mut rig, 8000);
        let ends: Vec<_> =
            occasions(&rig).into_iter().filter(|occasion| matches!(occasion, Occasion::Ended(_))).collect();
        assert_eq!(ends[0], Occasion::Ended(expected), "{name}: {ends:?}");
    }
}

#[test]
fn policy_that_turns_against_a_flow_is_told() {
    const END: Occasion = Occasion::Ended(Ending::TimedOut);
    const CUT: Occasion = Occasion::Ended(Ending::Cut);
    let udp = Packet::udp("10.0.0.1:9", "10.0.0.2:9").build();
    let ending = |on_revoke| compiled_with(WEB_TO_DB, |rule| rule.on_revoke = on_revoke).table;
    type Case = (OnRevoke, &'static [Occasion], (Verdict, RuleId), &'static [Occasion]);
    let table: &[Case] = &[
        (OnRevoke::Cut, &[CUT, Occasion::Redecided], (Verdict::Deny, RuleId::DEFAULT_DENY), &[]),
        (OnRevoke::Drain(9), &[Occasion::Redecided], (Verdict::Allow, RuleId::DRAINING), &[END]),
        (OnRevoke::Keep, &[Occasion::Redecided], (Verdict::Allow, RuleId::KEPT), &[END]),
    ];
    for (on_revoke, told, said, at_the_end) in table {
        let mut rig = Rig::new(ending(*on_revoke), &RigOptions::default());
        rig.send(IN, &udp);
        rig.publisher.publish(ending(*on_revoke));
        rig.send(IN, &udp);
        assert_eq!(occasions(&rig), [Occasion::Opened], "{on_revoke:?}: still allowed is no news");
        rig.publisher.publish(compiled("rules: []\n").table);
        rig.send(IN, &udp);
        rig.send(IN, &udp);
        let all = events(&rig);
        assert_eq!(all.iter().map(|event| event.occasion).collect::<Vec<_>>(), *told, "{on_revoke:?}");
        let last = all.last().unwrap();
        assert_eq!((last.verdict, last.rule), *said, "{on_revoke:?}");
        if let [cut, _] = &all[..] {
            assert_eq!((cut.verdict, cut.packets[cut.initiator.index()]), (Verdict::Allow, 2));
            assert!(cut.rule >= RuleId::FIRST, "its end is told under the rule that had allowed it");
        }
        sweep(&mut rig, 300);
        assert_eq!(occasions(&rig), *at_the_end, "{on_revoke:?}");
    }
}

#[test]
fn a_flow_that_lives_again_is_a_new_one() {
    let udp = Packet::udp("10.0.0.1:9", "10.0.0.2:9").build();
    let mut rig = rig(WEB_TO_DB);
    rig.send(IN, &udp);
    rig.publisher.publish(compiled("rules: []\n").table);
    rig.send(IN, &udp);
    events(&rig);
    rig.publisher.publish(compiled(WEB_TO_DB).table);
    assert!(rig.send(IN, &udp).is_forwarded());
    assert_eq!(occasions(&rig), [Occasion::Opened]);
    sweep(&mut rig, 300);
    let all = events(&rig);
    let [end] = &all[..] else { panic!("{all:?}") };
    assert_eq!(end.packets, [1, 0], "what was counted before the cut was told then");
}

#[test]
fn what_is_denied_is_told_with_its_gate_and_rule() {
    let mut rig = rig(WEB_TO_DB);
    rig.send(OUT, &Packet::tcp("10.0.0.2:9", "10.0.0.1:22").syn().build());
    let all = events(&rig);
    let [event] = &all[..] else { panic!("{all:?}") };
    assert_eq!(
        (event.occasion, event.verdict, event.rule),
        (Occasion::Denied, Verdict::Deny, RuleId::DEFAULT_DENY)
    );
    assert!(event.gate.is_some());
    let (source, _) = event.key.addresses(event.initiator);
    assert_eq!(source.to_ip().to_string(), "10.0.0.2");
    assert_eq!(event.packets[event.initiator.index()], 1);
}

#[test]
fn a_flow_that_makes_room_is_told() {
    let options = RigOptions { flows: 16, ..RigOptions::default() };
    let mut rig = Rig::new(compiled(WEB_TO_DB).table, &options);
    for port in 1..200u16 {
        rig.send(IN, &Packet::udp(format!("10.0.0.1:{port}").as_str(), "10.0.0.2:53").build());
    }
    let told = occasions(&rig);
    let count = |wanted| told.iter().filter(|occasion| **occasion == wanted).count() as u64;
    assert_eq!(count(Occasion::Opened), rig.counters.flows_opened.get());
    assert_eq!(count(Occasion::Ended(Ending::Evicted)), rig.counters.flows_evicted.get());
    assert_eq!(rig.counters.flows_evicted.get(), 199 - 16);
}

/// The queue of a rig holds 4096 events; a flood of refused packets may use half of it.
#[test]
fn an_overflow_loses_events_counted_and_no_packet() {
    let mut rig = rig(WEB_TO_DB);
    let send = |rig: &mut Rig, from: &str, to: &str, ports: core::ops::Range<u16>| {
        for port in ports {
            rig.send(
                if from == "10.0.0.1" { IN } else { OUT },
                &Packet::udp(format!("{from}:{port}").as_str(), format!("{to}:99").as_str()).build(),
            );
        }
    };
    send(&mut rig, "10.0.0.2", "10.0.0.1", 1..3001);
    let lost = |rig: &Rig| (rig.counters.flow_events.get(), rig.counters.flow_events_lost.get());
    assert_eq!(lost(&rig), (3000, 3000 - 2048));
    send(&mut rig, "10.0.0.1", "10.0.0.2", 1..3001);
    let (told, missed) = lost(&rig);
    assert_eq!(told, 3000 + rig.counters.flows_opened.get() + rig.counters.flows_evicted.get());
    assert_eq!(events(&rig).len() as u64, told - missed);
    assert_eq!(told - missed, 4096);
}

#[test]
fn queues_hold_what_they_say() {
    let counters = dataplane::counters::WorkerCounters::default();
    let records = Records::with_room(1, 4);
    let mut rig = rig(WEB_TO_DB);
    rig.send(IN, &Packet::udp("10.0.0.1:9", "10.0.0.2:9").build());
    let event = events(&rig)[0];
    for occasion in [
        Occasion::Denied,
        Occasion::Denied,
        Occasion::Denied,
        Occasion::Opened,
        Occasion::Opened,
        Occasion::Opened,
    ] {
        records.happened(FlowEvent { occasion, ..event }, &counters);
    }
    let held: Vec<_> = core::iter::from_fn(|| records.next_event()).map(|event| event.occasion).collect();
    assert_eq!(held, [Occasion::Denied, Occasion::Denied, Occasion::Opened, Occasion::Opened]);
    assert_eq!((counters.flow_events.get(), counters.flow_events_lost.get()), (6, 2));
    assert_eq!(event.initiator, Orientation::FromFirst);
}
