//! The rules, one by one.

use super::*;

/// A connection after its handshake; windows 1000 both ways unless told.
fn established() -> Tracker {
    let mut tracker = Tracker::default();
    for row in [
        ('c', "S", 100, 0, 0, 1000, None),
        ('s', "SA", 500, 101, 0, 1000, None),
        ('c', "A", 101, 501, 0, 1000, None),
    ] {
        tracker.take(row).unwrap();
    }
    assert_eq!(tracker.phase(), Phase::Established);
    tracker
}

/// Runs `rows` on `tracker`; each has its outcome and the phase after it.
fn run(name: &str, mut tracker: Tracker, rows: &[(Row, Result<Step, DropReason>, Phase)]) {
    for (at, (row, outcome, phase)) in rows.iter().enumerate() {
        assert_eq!(tracker.take(*row), *outcome, "{name}, segment {}", at + 1);
        assert_eq!(tracker.phase(), *phase, "{name}, segment {}", at + 1);
    }
}

const PASS: Result<Step, DropReason> = Ok(Step::Pass);
const IGNORED: Result<Step, DropReason> = Ok(Step::Ignored);
const REOPEN: Result<Step, DropReason> = Ok(Step::Reopen);

#[test]
fn only_a_syn_opens() {
    let cases = [
        ("syn", "S", Mode::Strict, Ok(Phase::SynSent)),
        ("syn with data", "SP", Mode::Strict, Ok(Phase::SynSent)),
        ("syn-ack", "SA", Mode::Strict, Err(DropReason::TcpNoFlow)),
        ("ack", "A", Mode::Strict, Err(DropReason::TcpNoFlow)),
        ("fin", "FA", Mode::Strict, Err(DropReason::TcpNoFlow)),
        ("reset", "R", Mode::Strict, Err(DropReason::TcpNoFlow)),
        ("loose syn", "S", Mode::Loose, Ok(Phase::SynSent)),
        ("loose ack", "PA", Mode::Loose, Ok(Phase::Established)),
        ("loose syn-ack", "SA", Mode::Loose, Err(DropReason::TcpNoFlow)),
        ("loose fin", "FA", Mode::Loose, Err(DropReason::TcpNoFlow)),
        ("loose reset", "RA", Mode::Loose, Err(DropReason::TcpNoFlow)),
        ("no flags", "", Mode::Loose, Err(DropReason::TcpFlags)),
        ("bare fin", "F", Mode::Loose, Err(DropReason::TcpFlags)),
        ("syn and fin", "SF", Mode::Strict, Err(DropReason::TcpFlags)),
        ("syn and reset", "SR", Mode::Strict, Err(DropReason::TcpFlags)),
        ("all", "FSRPA", Mode::Strict, Err(DropReason::TcpFlags)),
    ];
    for (name, text, mode, expected) in cases {
        let (from, tcp) = segment(('c', text, 1, 1, 0, 1000, None));
        assert_eq!(Connection::open(&tcp, from, mode).map(|open| open.phase), expected, "{name}");
    }
}

#[test]
fn connections_open_and_close() {
    run(
        "orderly",
        established(),
        &[
            (('c', "PA", 101, 501, 10, 1000, None), PASS, Phase::Established),
            (('c', "FA", 111, 501, 0, 1000, None), PASS, Phase::FinWait),
            (('s', "A", 501, 112, 0, 1000, None), PASS, Phase::CloseWait),
            (('s', "PA", 501, 112, 300, 1000, None), PASS, Phase::CloseWait),
            (('s', "FA", 801, 112, 0, 1000, None), PASS, Phase::LastAck),
            (('s', "FA", 801, 112, 0, 1000, None), PASS, Phase::LastAck),
            (('c', "A", 112, 802, 0, 1000, None), PASS, Phase::TimeWait),
            (('c', "A", 112, 802, 0, 1000, None), PASS, Phase::TimeWait),
        ],
    );
    run(
        "both close at once",
        established(),
        &[
            (('c', "FA", 101, 501, 0, 1000, None), PASS, Phase::FinWait),
            (('s', "FA", 501, 101, 0, 1000, None), PASS, Phase::LastAck),
            (('c', "A", 102, 502, 0, 1000, None), PASS, Phase::TimeWait),
        ],
    );
    run(
        "both open at once",
        Tracker::default(),
        &[
            (('c', "S", 100, 0, 0, 1000, Some(2)), REOPEN, Phase::SynSent),
            (('s', "S", 500, 0, 0, 1000, Some(3)), PASS, Phase::SynCrossed),
            (('c', "SA", 100, 501, 0, 1000, Some(2)), PASS, Phase::SynReceived),
            (('s', "SA", 500, 101, 0, 1000, Some(3)), IGNORED, Phase::SynReceived),
            (('s', "A", 501, 101, 0, 1000, None), PASS, Phase::Established),
        ],
    );
    run(
        "lost handshake segments come again",
        Tracker::default(),
        &[
            (('c', "S", 100, 0, 0, 1000, None), REOPEN, Phase::SynSent),
            (('c', "S", 100, 0, 0, 1000, None), PASS, Phase::SynSent),
            (('s', "SA", 500, 101, 0, 1000, None), PASS, Phase::SynReceived),
            (('s', "SA", 500, 101, 0, 1000, None), IGNORED, Phase::SynReceived),
            (('c', "A", 101, 501, 0, 1000, None), PASS, Phase::Established),
        ],
    );
}

#[test]
fn segments_out_of_place_are_refused() {
    let opened = || {
        let mut tracker = Tracker::default();
        tracker.take(('c', "S", 100, 0, 0, 1000, None)).unwrap();
        tracker
    };
    let cases: &[(&str, Tracker, Row, DropReason)] = &[
        ("ack before syn-ack", opened(), ('c', "A", 101, 501, 0, 1000, None), DropReason::TcpState),
        ("fin before syn-ack", opened(), ('c', "FA", 101, 501, 0, 1000, None), DropReason::TcpState),
        ("fin from a silent server", opened(), ('s', "FA", 1, 101, 0, 1000, None), DropReason::TcpState),
        ("syn-ack from the client", opened(), ('c', "SA", 100, 1, 0, 1000, None), DropReason::TcpState),
        ("syn-ack of another syn", opened(), ('s', "SA", 9, 70_000, 0, 10, None), DropReason::TcpWindow),
        ("reset without ack of the syn", opened(), ('s', "R", 0, 0, 0, 0, None), DropReason::TcpChallenge),
        ("reset with a wrong ack", opened(), ('s', "RA", 0, 100, 0, 0, None), DropReason::TcpChallenge),
        ("syn from the server", established(), ('s', "S", 501, 0, 0, 1000, None), DropReason::TcpChallenge),
        (
            "syn-ack from the client, later",
            established(),
            ('c', "SA", 101, 501, 0, 9, None),
            DropReason::TcpState,
        ),
        (
            "data beyond the window",
            established(),
            ('c', "A", 1102, 501, 1, 1000, None),
            DropReason::TcpWindow,
        ),
        ("ack of the unsent", established(), ('c', "A", 101, 502, 0, 1000, None), DropReason::TcpWindow),
        ("reset below", established(), ('s', "R", 500, 0, 0, 0, None), DropReason::TcpChallenge),
        ("reset far above", established(), ('s', "R", 1502, 0, 0, 0, None), DropReason::TcpWindow),
        ("bare fin", established(), ('c', "F", 101, 0, 0, 1000, None), DropReason::TcpFlags),
    ];
    for (name, tracker, row, reason) in cases {
        let mut connection = tracker.connection.unwrap();
        let (from, tcp) = segment(*row);
        assert_eq!(connection.step(from, &tcp), Err(*reason), "{name}");
        assert_eq!(Some(connection), tracker.connection, "{name}: a dropped segment must change nothing");
    }
}

#[test]
fn resets_end_a_connection_only_when_exact() {
    run(
        "refused",
        {
            let mut tracker = Tracker::default();
            tracker.take(('c', "S", 100, 0, 0, 1000, None)).unwrap();
            tracker
        },
        &[
            (('s', "RA", 0, 101, 0, 0, None), PASS, Phase::Closed),
            (('c', "S", 900, 0, 0, 1000, None), REOPEN, Phase::SynSent),
        ],
    );
    run("exact", established(), &[(('s', "R", 501, 0, 0, 0, None), PASS, Phase::Closed)]);
    run(
        "in the window but not exact: its receiver will challenge it",
        established(),
        &[
            (('s', "R", 700, 0, 0, 0, None), PASS, Phase::Established),
            (('c', "A", 101, 501, 0, 1000, None), PASS, Phase::Established),
            (('s', "R", 501, 0, 0, 0, None), PASS, Phase::Closed),
        ],
    );
    run(
        "after data that is not acknowledged yet",
        established(),
        &[
            (('s', "PA", 501, 101, 100, 1000, None), PASS, Phase::Established),
            (('s', "R", 601, 0, 0, 0, None), PASS, Phase::Closed),
        ],
    );
}

#[test]
fn probes_and_keep_alives_pass() {
    run(
        "keep-alive: one below what was acknowledged",
        established(),
        &[
            (('c', "A", 100, 501, 0, 1000, None), PASS, Phase::Established),
            (('c', "A", 100, 501, 1, 1000, None), PASS, Phase::Established),
            (('s', "A", 501, 101, 0, 1000, None), PASS, Phase::Established),
        ],
    );
    run(
        "one byte into a closed window",
        established(),
        &[
            (('c', "PA", 101, 501, 1000, 1000, None), PASS, Phase::Established),
            (('s', "A", 501, 1101, 0, 0, None), PASS, Phase::Established),
            (('c', "A", 1101, 501, 1, 1000, None), PASS, Phase::Established),
            (('s', "A", 501, 1101, 0, 0, None), PASS, Phase::Established),
            (('c', "A", 1200, 501, 1, 1000, None), Err(DropReason::TcpWindow), Phase::Established),
        ],
    );
    run(
        "retransmission",
        established(),
        &[
            (('c', "PA", 101, 501, 100, 1000, None), PASS, Phase::Established),
            (('s', "A", 501, 201, 0, 1000, None), PASS, Phase::Established),
            (('c', "PA", 101, 501, 100, 1000, None), PASS, Phase::Established),
        ],
    );
}

#[test]
fn windows_scale_only_when_both_sides_offer() {
    let reach = |client: Option<u8>, server: Option<u8>| {
        let mut tracker = Tracker::default();
        tracker.take(('c', "S", 100, 0, 0, 1000, client)).unwrap();
        tracker.take(('s', "SA", 500, 101, 0, 1000, server)).unwrap();
        tracker.take(('c', "A", 101, 501, 0, 1000, None)).unwrap();
        tracker.connection.unwrap().peers[SERVER.index()].max_end - 501
    };
    let cases = [
        ("neither", None, None, 1000),
        ("client only", Some(4), None, 1000),
        ("server only", None, Some(4), 1000),
        ("both", Some(4), Some(0), 16_000),
        ("more than 14 counts as 14", Some(15), Some(1), 1000 << 14),
    ];
    for (name, client, server, expected) in cases {
        assert_eq!(reach(client, server), expected, "{name}");
    }
}

#[test]
fn sequence_numbers_wrap() {
    let mut tracker = Tracker::default();
    let client = u32::MAX - 10;
    tracker.take(('c', "S", client, 0, 0, 1000, None)).unwrap();
    tracker.take(('s', "SA", u32::MAX, client + 1, 0, 1000, None)).unwrap();
    run(
        "across 2^32",
        tracker,
        &[
            (('c', "A", client + 1, 0, 0, 1000, None), PASS, Phase::Established),
            (('c', "PA", client + 1, 0, 100, 1000, None), PASS, Phase::Established),
            (('s', "A", 0, 90, 0, 1000, None), PASS, Phase::Established),
            (('c', "PA", 1091, 0, 1, 1000, None), Err(DropReason::TcpWindow), Phase::Established),
        ],
    );
}

#[test]
fn a_syn_into_a_live_connection_waits_for_its_answer() {
    run(
        "the server lost the connection: both ends start over",
        established(),
        &[
            (('c', "S", 9000, 0, 0, 1000, None), IGNORED, Phase::Established),
            (('s', "SA", 7000, 9001, 0, 1000, None), PASS, Phase::SynReceived),
            (('c', "A", 9001, 7001, 0, 1000, None), PASS, Phase::Established),
        ],
    );
    run(
        "the server challenges in its last phase: not the last acknowledgement",
        established(),
        &[
            (('s', "FA", 501, 101, 0, 1000, None), PASS, Phase::FinWait),
            (('c', "FA", 101, 502, 0, 1000, None), PASS, Phase::LastAck),
            (('c', "S", 9000, 0, 0, 1000, None), IGNORED, Phase::LastAck),
            (('s', "A", 502, 102, 0, 1000, None), IGNORED, Phase::LastAck),
            (('s', "A", 502, 102, 0, 1000, None), PASS, Phase::TimeWait),
        ],
    );
    run(
        "after it is over, from either end",
        established(),
        &[
            (('s', "R", 501, 0, 0, 0, None), PASS, Phase::Closed),
            (('s', "S", 9000, 0, 0, 1000, None), REOPEN, Phase::SynSent),
        ],
    );
}

#[test]
fn a_connection_picked_up_in_the_middle_is_not_held_to_windows() {
    run(
        "loose",
        Tracker { mode: Mode::Loose, ..Tracker::default() },
        &[
            (('c', "PA", 5000, 9000, 100, 10, None), REOPEN, Phase::Established),
            (('s', "A", 9000, 5100, 0, 10, None), PASS, Phase::Established),
            (('s', "PA", 9500, 5100, 1460, 10, None), PASS, Phase::Established),
            (('c', "FA", 5100, 10960, 0, 10, None), PASS, Phase::FinWait),
        ],
    );
}

proptest::proptest! {
    /// Whatever arrives: no panic, a refusal changes nothing, and only a SYN can bring a closed connection back.
    #[test]
    fn any_segments(rows in proptest::collection::vec(proptest::prelude::any::<(bool, u8, u8, u8, u8, u16)>(), 1..60)) {
        let mut connection: Option<Connection> = None;
        for (client, bits, sequence, acknowledgement, payload, window) in rows {
            let tcp = Tcp {
                ports: Ports { source: 1, destination: 2 },
                sequence: u32::from(sequence) * 64,
                acknowledgement: u32::from(acknowledgement) * 64,
                flags: bits & 0x1f,
                window,
                window_scale: (bits & 0x20 != 0).then_some(bits >> 6),
                payload: u16::from(payload),
            };
            let from = if client { CLIENT } else { SERVER };
            let Some(known) = &mut connection else {
                connection = Connection::open(&tcp, from, Mode::Strict).ok();
                continue;
            };
            let before = *known;
            match known.step(from, &tcp) {
                Err(_) | Ok(Step::Reopen) => proptest::prop_assert_eq!(*known, before),
                Ok(_) => proptest::prop_assert!(!before.phase.is_over() || known.phase.is_over()),
            }
        }
    }
}
