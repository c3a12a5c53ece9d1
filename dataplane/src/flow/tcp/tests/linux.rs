//! Six sequences after Linux's own conntrack tests, with what Linux 6.18 does to each segment.
//!
//! Sequence and acknowledgement numbers are relative to each side's initial one; the last column says whether the
//! segment comes out on the other side.

use super::*;

fn check(name: &str, rows: &[(Row, bool)]) {
    let mut tracker = Tracker::default();
    for (at, (row, passes)) in rows.iter().enumerate() {
        let outcome = tracker.take(*row);
        assert_eq!(outcome.is_ok(), *passes, "{name}, segment {}: {row:?} gave {outcome:?}", at + 1);
    }
}

#[test]
fn a_reset_must_be_exact() {
    let rows = [
        (('c', "S", 0, 0, 0, 65535, Some(8)), true),
        (('s', "SA", 0, 1, 0, 65535, None), true),
        (('c', "A", 1, 1, 0, 65535, None), true),
        (('s', "A", 1, 1, 1000, 65535, None), true),
        (('s', "A", 1001, 1, 1000, 65535, None), true),
        (('s', "A", 2001, 1, 1000, 65535, None), true),
        (('c', "A", 1, 3001, 0, 65535, None), true),
        (('s', "R", u32::MAX, 0, 0, 0, None), false),
        (('s', "R", 1000000, 0, 0, 0, None), false),
        (('s', "R", 42, 0, 0, 0, None), false),
        (('c', "PA", 1, 3001, 1000, 65535, None), true),
        (('s', "A", 3001, 1001, 0, 65535, None), true),
        (('s', "RA", 3000, 1001, 0, 0, None), false),
        (('s', "RA", 3001, 1001, 0, 0, None), true),
    ];
    check("linux_rst_invalid", &rows);
}

#[test]
fn a_closing_connection_takes_any_reset() {
    let rows = [
        (('c', "S", 0, 0, 0, 65535, Some(8)), true),
        (('s', "SA", 0, 1, 0, 65535, None), true),
        (('c', "A", 1, 1, 0, 65535, None), true),
        (('s', "A", 1, 1, 1000, 65535, None), true),
        (('s', "A", 1001, 1, 1000, 65535, None), true),
        (('s', "A", 2001, 1, 1000, 65535, None), true),
        (('c', "A", 1, 3001, 0, 65535, None), true),
        (('c', "PA", 1, 3001, 1000, 65535, None), true),
        (('s', "FA", 3001, 1001, 0, 65535, None), true),
        (('c', "A", 1001, 3002, 0, 65535, None), true),
        (('c', "RA", 1001, 3002, 0, 65535, None), true),
        (('s', "R", 2001, 0, 0, 0, None), true),
    ];
    check("linux_inexact_rst_after_fin", &rows);
}

#[test]
fn a_challenge_ack_in_answer_to_a_syn_passes_and_so_does_its_reset() {
    let rows = [
        (('c', "S", 0, 0, 0, 65535, Some(8)), true),
        (('s', "A", 145824453, 643160523, 0, 240, None), true),
        (('c', "R", 643160523, 0, 0, 0, None), true),
        (('c', "S", 0, 0, 0, 65535, Some(8)), true),
        (('s', "SA", 0, 1, 0, 250, Some(0)), true),
        (('c', "A", 1, 1, 0, 256, None), true),
    ];
    check("linux_syn_challenge_ack", &rows);
}

#[test]
fn an_old_syn_ack_is_dropped_and_forgotten() {
    let rows = [
        (('c', "S", 0, 0, 0, 65535, Some(8)), true),
        (('s', "SA", 145824453, 643160523, 0, 240, Some(0)), false),
        (('c', "S", 0, 0, 0, 65535, Some(8)), true),
        (('s', "SA", 145758918, 1, 0, 250, Some(0)), true),
        (('c', "A", 1, 145758919, 0, 256, None), true),
    ];
    check("linux_synack_old", &rows);
}

#[test]
fn ports_are_reused_after_a_challenge() {
    let rows = [
        (('c', "S", 0, 0, 0, 32792, Some(7)), true),
        (('s', "SA", 0, 1, 0, 65535, Some(8)), true),
        (('c', "A", 1, 1, 0, 257, None), true),
        (('c', "PA", 1, 1, 100, 257, None), true),
        (('s', "A", 1, 101, 0, 256, None), true),
        (('c', "S", 2000, 0, 0, 32792, Some(7)), true),
        (('s', "A", 1, 101, 0, 256, None), true),
        (('c', "RA", 101, 1, 0, 257, None), true),
        (('c', "S", 2000, 0, 0, 32792, Some(0)), true),
    ];
    check("linux_synack_reuse", &rows);
}

/// Ninety-two exchanges whose acknowledgements all arrive, then the very first segment again, far below the window.
#[test]
fn a_late_retransmission_passes() {
    let mut tracker = Tracker::default();
    let mut take = |row: Row| assert!(tracker.take(row).is_ok(), "{row:?}");
    take(('c', "S", 0, 0, 0, 32792, None));
    take(('s', "SA", 0, 1, 0, 65535, None));
    take(('c', "A", 1, 1, 0, 65535, None));
    for exchange in 0..46 {
        let sequence = 1 + exchange * 1460;
        take(('c', "PA", sequence, 1, 1460, 257, None));
        take(('s', "A", 1, sequence + 1460, 0, 65535, None));
    }
    take(('c', "PA", 1, 1, 1460, 257, None));
    take(('s', "A", 1, 67161, 0, 65535, None));
}
