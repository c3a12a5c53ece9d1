//! The claim, insert, evict, look-up and expiry protocol under the model checker: every interleaving, and every
//! value that the memory model lets a relaxed load return, within the preemption bound.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p dataplane --lib flow::loom --release`

use std::sync::Arc;

use ::loom::thread;

use super::{Class, FlowKey, FlowTable, HashKey, NewFlow, Orientation, Ruling, SweepCursor};
use crate::address::Address;
use crate::clock::Now;
use crate::headers::protocol;
use crate::verdict::{DraftAnswers, DropReason, Epoch, OnRevoke, RuleId, Terms, WireId};

const NOW: Now = Now::from_nanos(0);
/// After the time-out of every flow that was opened at [`NOW`].
const LATER: Now = Now::from_nanos(60_000_000_000);

/// The flow number `n`: its rule is its number, so that a handle on the wrong flow shows.
fn key(n: u16) -> FlowKey {
    FlowKey {
        wire: WireId(0),
        protocol: protocol::UDP,
        first: Address::v4([10, 0, 0, 1]),
        second: Address::v4([10, 0, 0, 2]),
        first_port: n,
        second_port: 53,
    }
}

fn new(n: u16) -> NewFlow {
    NewFlow {
        initiator: Orientation::FromFirst,
        sender: Orientation::FromFirst,
        connection: None,
        epoch: Epoch(1),
        rule: RuleId(u32::from(n)),
        potential: None,
        terms: Terms::default(),
        bytes: 100,
    }
}

/// Four slots: two sets of two ways.
fn table() -> Arc<FlowTable> {
    Arc::new(FlowTable::with_key(4, HashKey([1, 2])).unwrap())
}

fn insert(table: &FlowTable, n: u16, now: Now) -> Result<bool, DropReason> {
    let key = key(n);
    let inserted = table.insert(&key, table.hash(&key), &new(n), now)?;
    assert_eq!(inserted.handle.rule(), RuleId(u32::from(n)));
    Ok(inserted.fresh)
}

/// Looks `n` up; whatever is found must be flow `n`.
fn find(table: &FlowTable, n: u16, now: Now) -> bool {
    let key = key(n);
    let found = table.find(&key, table.hash(&key), now);
    if let Some(handle) = &found {
        assert_eq!(handle.rule(), RuleId(u32::from(n)), "a handle on another flow");
    }
    found.is_some()
}

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = ::loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(model);
}

#[test]
fn two_inserts_of_one_key_make_one_flow() {
    check(|| {
        let table = table();
        let other = Arc::clone(&table);
        let thread = thread::spawn(move || insert(&other, 1, NOW));
        let outcomes = [insert(&table, 1, NOW), thread.join().unwrap()];
        let fresh = outcomes.iter().filter(|outcome| **outcome == Ok(true)).count();
        assert_eq!(fresh, 1, "{outcomes:?}");
        assert_eq!(table.views(NOW).count(), 1);
        assert!(find(&table, 1, NOW));
    });
}

#[test]
fn a_lookup_during_reuse_finds_its_own_flow_or_none() {
    check(|| {
        let table = table();
        insert(&table, 1, NOW).unwrap();
        let other = Arc::clone(&table);
        // Flow 1 has expired for this thread, so its slot may be taken.
        let thread = thread::spawn(move || {
            for n in 2..6 {
                // Refused only while the other thread holds the slot to take.
                let refused = insert(&other, n, LATER).err();
                assert!(refused.is_none_or(|reason| reason == DropReason::FlowContended));
            }
        });
        let key = key(1);
        if let Some(handle) = table.find(&key, table.hash(&key), NOW) {
            assert_eq!(handle.rule(), RuleId(1));
            // Counting on it either hits flow 1 or says that it is gone.
            let outcome = handle.account(Orientation::FromFirst, 1);
            assert!(matches!(outcome, Ok(()) | Err(DropReason::FlowContended)));
        }
        thread.join().unwrap();
        for view in table.views(LATER) {
            assert_eq!(view.rule, RuleId(u32::from(view.key.first_port)));
            assert_eq!(view.bytes, [100, 0], "a count on the wrong flow");
        }
    });
}

#[test]
fn two_workers_count_exactly() {
    check(|| {
        let table = table();
        insert(&table, 1, NOW).unwrap();
        let count = |table: &FlowTable, direction| {
            let key = key(1);
            let handle = table.find(&key, table.hash(&key), NOW).unwrap();
            u64::from(handle.observe(direction, 10, NOW).is_ok())
        };
        let other = Arc::clone(&table);
        let thread = thread::spawn(move || count(&other, Orientation::FromFirst));
        let replies = count(&table, Orientation::FromSecond);
        let requests = thread.join().unwrap();
        let view = table.views(NOW).next().unwrap();
        assert_eq!(view.packets, [1 + requests, replies]);
        assert_eq!(view.bytes, [100 + 10 * requests, 10 * replies]);
        assert_eq!(view.replied, replies == 1);
    });
}

#[test]
fn expiry_against_insert_and_cut() {
    check(|| {
        let table = table();
        insert(&table, 1, NOW).unwrap();
        let other = Arc::clone(&table);
        let thread = thread::spawn(move || {
            let mut ended = 0;
            other.sweep(&mut SweepCursor::new(0, 1), LATER, 2, |view| {
                assert_eq!(view.rule, RuleId(1));
                ended += 1;
            });
            ended
        });
        let fresh = insert(&table, 1, LATER);
        let swept = thread.join().unwrap();
        assert_ne!(fresh, Ok(false), "the old flow had expired");
        assert!(swept <= 1);
        assert_eq!(table.views(LATER).count(), usize::from(fresh.is_ok()));
        assert!(fresh.is_err() || find(&table, 1, LATER));
    });
}

#[test]
fn a_newer_epoch_wins() {
    check(|| {
        let table = table();
        insert(&table, 1, NOW).unwrap();
        let other = Arc::clone(&table);
        let thread = thread::spawn(move || {
            let key = key(1);
            let mut handle = other.find(&key, other.hash(&key), NOW).unwrap();
            let cut = Ruling::Cut { rule: RuleId(9), told: false };
            handle.rule_on(Epoch(3), cut, DraftAnswers::default()).is_ok()
        });
        let key = key(1);
        let mut handle = table.find(&key, table.hash(&key), NOW).unwrap();
        let allow = Ruling::Allow { rule: RuleId(8), potential: None, on_revoke: OnRevoke::Cut };
        let _ = handle.rule_on(Epoch(2), allow, DraftAnswers::default());
        let cut = thread.join().unwrap();
        let view = table.views(NOW).next().unwrap();
        assert!(!cut || (view.cut && view.epoch == Epoch(3) && view.rule == RuleId(9)));
        assert!(!cut || handle.class(NOW) == Class::Closed);
    });
}
