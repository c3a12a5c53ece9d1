//! What one flow remembers, and what revocation does to it.

use super::super::tcp::{Phase, Step};
use super::*;

#[test]
fn a_flow_is_found_from_both_ends_until_its_deadline() {
    for n in [2, 3] {
        for (number, timeout) in [
            (protocol::UDP, timeouts::UNREPLIED),
            (protocol::TCP, timeouts::TCP_SYN_SENT),
            (protocol::ICMP, timeouts::ICMP),
            (47, timeouts::OTHER),
        ] {
            let (table, key) = (table(64), key(number, n));
            assert!(find(&table, &key, at(1)).is_none());
            assert!(insert(&table, &key, at(1)).unwrap().fresh);
            assert!(!insert(&table, &key, at(1)).unwrap().fresh, "the second insert finds the first");
            let deadline = at(1).plus_millis(u64::from(timeout));
            assert!(find(&table, &key, deadline.plus_millis(0)).is_none(), "protocol {number}");
            let just_before = Now::from_nanos(deadline.as_nanos() - 1_000_000);
            assert!(find(&table, &key, just_before).is_some(), "protocol {number}");
            assert!(insert(&table, &key, deadline).unwrap().fresh, "an expired flow is opened anew");
            assert_sound(&table, deadline);
        }
    }
}

#[test]
fn every_packet_is_counted_once_in_its_direction() {
    let (table, key) = (table(64), udp(2));
    let handle = insert(&table, &key, at(1)).unwrap().handle;
    handle.observe(SERVER, 1000, at(2)).unwrap();
    handle.observe(CLIENT, 70, at(3)).unwrap();
    handle.account(CLIENT, 5).unwrap();
    let view = table.views(at(3)).next().unwrap();
    assert_eq!((view.packets, view.bytes), ([3, 1], [135, 1000]));
    assert_eq!((view.initiator, view.replied, view.phase), (CLIENT, true, None));
    assert_eq!((view.epoch, view.rule, view.potential, view.cut), (Epoch(1), RuleId(7), None, false));
    assert_eq!((view.opened, view.deadline), (1000, 3000 + timeouts::REPLIED));
}

#[test]
fn a_flow_opened_by_the_second_end_keeps_its_initiator() {
    let (table, key) = (table(64), udp(3));
    let new = NewFlow { initiator: SERVER, sender: SERVER, ..new_flow(&key) };
    let handle = table.insert(&key, table.hash(&key), &new, at(1)).unwrap().handle;
    assert_eq!(handle.initiator(), SERVER);
    handle.observe(CLIENT, 1, at(1)).unwrap();
    let view = table.views(at(1)).next().unwrap();
    assert!(view.replied);
    assert_eq!(view.packets, [1, 1]);
}

/// After a start without the old table, the first segment seen may be a reply.
#[test]
fn a_connection_picked_up_at_a_reply_belongs_to_its_initiator() {
    let (table, key) = (table(64), key(protocol::TCP, 2));
    let reply = segment(ACK, 500, 101);
    let connection = Connection::open(&reply, SERVER, Mode::Loose).unwrap().opened_by(CLIENT);
    let new = NewFlow { sender: SERVER, connection: Some(connection), ..new_flow(&key) };
    let handle = table.insert(&key, table.hash(&key), &new, at(1)).unwrap().handle;
    assert_eq!(handle.initiator(), CLIENT);
    handle.observe_tcp(CLIENT, &segment(ACK, 101, 500), 60, at(1)).unwrap();
    let view = table.views(at(1)).next().unwrap();
    assert_eq!((view.initiator, view.replied, view.packets), (CLIENT, true, [1, 1]));
    let reset = handle.observe_tcp(SERVER, &segment(RST, 500, 0), 60, at(1));
    assert_eq!(reset, Ok(Step::Pass));
    assert_eq!(find(&table, &key, at(1)).unwrap().phase(), Some(Phase::Closed));
}

#[test]
fn refused_segments_are_not_counted() {
    let (table, key) = (table(64), key(protocol::TCP, 2));
    establish(&table, &key, at(1));
    let handle = find(&table, &key, at(1)).unwrap();
    let before = table.views(at(1)).next().unwrap();
    let outcome = handle.observe_tcp(SERVER, &segment(RST, 1, 0), 60, at(2));
    assert_eq!(outcome, Err(DropReason::TcpChallenge));
    assert_eq!(table.views(at(2)).next().unwrap(), before);
}

#[test]
fn a_cut_datagram_flow_lives_again_when_allowed() {
    let (table, key) = (table(64), udp(2));
    insert(&table, &key, at(1)).unwrap();
    let mut handle = find(&table, &key, at(1)).unwrap();
    cut(&mut handle, 2, 9).unwrap();
    assert!(handle.is_cut());
    let mut handle = find(&table, &key, at(2)).unwrap();
    assert_eq!((handle.epoch(), handle.rule(), handle.is_cut()), (Epoch(2), RuleId(9), true));
    for direction in [CLIENT, SERVER] {
        assert_eq!(handle.observe(direction, 1, at(2)), Err(DropReason::Revoked));
    }
    allow(&mut handle, 3, 7, Some(RuleId(8))).unwrap();
    assert_eq!(handle.observe(SERVER, 1, at(2)), Ok(()));
    let view = table.views(at(2)).next().unwrap();
    assert_eq!((view.cut, view.epoch, view.potential), (false, Epoch(3), Some(RuleId(8))));
}

#[test]
fn a_cut_connection_stays_cut_until_a_new_syn() {
    let (table, key) = (table(64), key(protocol::TCP, 2));
    establish(&table, &key, at(1));
    let mut handle = find(&table, &key, at(1)).unwrap();
    cut(&mut handle, 2, 9).unwrap();
    allow(&mut handle, 3, 7, None).unwrap();
    assert_eq!((handle.is_cut(), handle.epoch()), (true, Epoch(3)), "decided once per epoch, still cut");
    let ack = handle.observe_tcp(CLIENT, &segment(ACK, 101, 501), 60, at(2));
    assert_eq!(ack, Err(DropReason::Revoked));
    let syn = segment(SYN, 9000, 0);
    assert_eq!(handle.observe_tcp(SERVER, &syn, 60, at(2)), Ok(Step::Reopen));

    let connection = Connection::open(&syn, SERVER, Mode::Strict).unwrap();
    let new = NewFlow {
        initiator: SERVER,
        sender: SERVER,
        connection: Some(connection),
        epoch: Epoch(3),
        ..new_flow(&key)
    };
    let old = handle.reopen(&key, &new, at(2)).unwrap();
    assert_eq!((old.cut, old.packets, old.phase), (true, [2, 1], Some(Phase::Established)));
    let view = table.views(at(2)).next().unwrap();
    assert_eq!((view.initiator, view.packets, view.phase), (SERVER, [0, 1], Some(Phase::SynSent)));
    assert_ne!(view.generation, old.generation);
    let answer = handle.observe_tcp(CLIENT, &segment(SYN | ACK, 1, 9001), 60, at(2));
    assert_eq!(answer, Ok(Step::Pass));
    assert_sound(&table, at(2));
}

#[test]
fn an_older_epoch_changes_nothing() {
    let (table, key) = (table(64), udp(2));
    insert(&table, &key, at(1)).unwrap();
    let mut newer = find(&table, &key, at(1)).unwrap();
    let mut older = newer;
    cut(&mut newer, 5, 9).unwrap();
    allow(&mut older, 4, 1, None).unwrap();
    assert!(older.is_cut(), "the handle learns the newer decision");
    assert!(find(&table, &key, at(1)).unwrap().is_cut());
}

#[test]
fn a_handle_never_touches_another_flow() {
    let (table, key) = (table(16), udp(2));
    let mut handle = insert(&table, &key, at(1)).unwrap().handle;
    let later = at(100);
    for n in 10..26 {
        insert(&table, &udp(n), later).unwrap();
    }
    assert!(find(&table, &key, later).is_none());
    let before: Vec<FlowView> = table.views(later).collect();
    assert_eq!(handle.observe(CLIENT, 1, later), Err(DropReason::FlowContended));
    assert_eq!(handle.account(CLIENT, 1), Err(DropReason::FlowContended));
    assert_eq!(cut(&mut handle, 2, 1), Err(DropReason::FlowContended));
    assert_eq!(allow(&mut handle, 2, 1, None), Err(DropReason::FlowContended));
    assert!(handle.reopen(&key, &new_flow(&key), later).is_err());
    assert_eq!(table.views(later).collect::<Vec<_>>(), before);
}

#[test]
fn sweeping_ends_what_expired_and_nothing_else() {
    let table = table(256);
    for n in 0..100 {
        insert(&table, &udp(n), at(1)).unwrap();
    }
    for n in 0..50 {
        let handle = find(&table, &udp(n), at(20)).unwrap();
        handle.observe(SERVER, 1, at(20)).unwrap();
    }
    let mut ended = Vec::new();
    let mut cursors = [SweepCursor::new(0, 3), SweepCursor::new(1, 3), SweepCursor::new(2, 3)];
    let sets = table.capacity() / 8;
    for cursor in &mut cursors {
        table.sweep(cursor, at(31), sets.div_ceil(3), |view| ended.push(view));
    }
    assert_eq!(ended.len(), 50);
    assert!(ended.iter().all(|view| !view.replied && view.packets == [1, 0]));
    assert_eq!(table.views(at(31)).count(), 50);
    let again = table.sweep(&mut cursors[0], at(31), 2 * sets, |_| {});
    assert_eq!(again, 0, "each ends once");
    assert_sound(&table, at(31));
}
