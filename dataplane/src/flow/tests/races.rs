//! Two real threads on one small table. The model checker proves more; this runs on the real memory model.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::*;

const ROUNDS: u32 = 30_000;

/// A step of xorshift: enough to mix the order of keys.
fn step(state: &mut u32) -> u32 {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    *state
}

#[test]
fn two_workers_share_a_crowded_table() {
    let table = table(64);
    let refused = AtomicU64::new(0);
    thread::scope(|scope| {
        for worker in 0..2u32 {
            let (table, refused) = (&table, &refused);
            scope.spawn(move || {
                let mut state = 0x9e37_79b9 ^ (worker + 1);
                let mut cursor = SweepCursor::new(worker as usize, 2);
                for round in 0..ROUNDS {
                    let key = udp(step(&mut state) % 200);
                    let now = at(1 + u64::from(round) / 1000);
                    let direction = if state.is_multiple_of(32) { SERVER } else { CLIENT };
                    match find(table, &key, now) {
                        Some(handle) => {
                            assert_eq!(handle.rule(), RuleId(7));
                            let _ = handle.observe(direction, 1, now);
                        }
                        None => match insert(table, &key, now) {
                            Ok(inserted) => {
                                let evicted = inserted.evicted.map(|evicted| evicted.class);
                                assert_ne!(evicted, Some(Class::Assured));
                            }
                            Err(_) => {
                                refused.fetch_add(1, Ordering::Relaxed);
                            }
                        },
                    }
                    if round % 64 == 0 {
                        table.sweep(&mut cursor, now, 2, |view| assert_eq!(view.rule, RuleId(7)));
                    }
                }
            });
        }
    });
    let end = at(1 + u64::from(ROUNDS) / 1000);
    assert_sound(&table, end);
    assert!(table.views(end).count() > 16);
    assert!(refused.into_inner() < u64::from(ROUNDS), "most packets found room, on a machine however busy");
}

#[test]
fn counts_of_both_directions_are_exact() {
    let (table, key) = (table(64), key(protocol::TCP, 2));
    establish(&table, &key, at(1));
    let passed: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
    thread::scope(|scope| {
        for direction in [CLIENT, SERVER] {
            let (table, passed) = (&table, &passed[direction.index()]);
            scope.spawn(move || {
                let (sequence, acknowledgement) = if direction == CLIENT { (101, 501) } else { (501, 101) };
                for _ in 0..ROUNDS {
                    let handle = find(table, &key, at(1)).expect("an established flow does not go away");
                    let ack = segment(ACK, sequence, acknowledgement);
                    if handle.observe_tcp(direction, &ack, 60, at(1)).is_ok() {
                        passed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let view = table.views(at(1)).next().unwrap();
    let [client, server] = passed.map(AtomicU64::into_inner);
    assert_eq!(view.packets, [client + 2, server + 1], "the handshake and every segment that passed");
    assert_eq!(view.bytes, view.packets.map(|packets| packets * 60));
}

#[test]
fn both_directions_at_once_open_one_flow() {
    for n in 0..300 {
        let (table, key) = (table(64), udp(n));
        // A worker that loses its processor while it holds the set makes the other give up.
        let open = || insert(&table, &key, at(1)).map(|inserted| inserted.fresh);
        let outcomes =
            thread::scope(|scope| [0, 1].map(|_| scope.spawn(open)).map(|opened| opened.join().unwrap()));
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Ok(true)).count(), 1, "{outcomes:?}");
        assert_eq!(table.views(at(1)).count(), 1);
    }
}
