//! The packed form of a flow's state, and the short way of the usual segment.

use proptest::prelude::*;

use super::*;
use crate::flow::entry::{Entry, Rare};
use crate::headers::{Ports, flags};

fn peers() -> impl Strategy<Value = Peer> {
    (any::<[u32; 4]>(), any::<bool>(), prop::option::of(0u8..15), 0u8..15).prop_map(
        |([end, max_end, max_window, max_ack], acked, offered, scale)| Peer {
            end,
            max_end,
            max_window,
            max_ack,
            acked,
            offered,
            scale,
        },
    )
}

fn notes() -> impl Strategy<Value = Option<Note>> {
    prop_oneof![
        Just(None),
        (any::<u32>(), any::<u16>(), prop::option::of(0u8..15))
            .prop_map(|(end, window, scale)| Some(Note::Syn { end, window, scale })),
        (any::<u32>(), any::<u32>())
            .prop_map(|(end, acknowledgement)| Some(Note::Ack { end, acknowledgement })),
    ]
}

proptest! {
    #[test]
    fn a_connection_survives_its_packed_form(
        peers in [peers(), peers()],
        phase in 1u32..10,
        flags in any::<[bool; 5]>(),
        note in notes(),
    ) {
        let connection = Connection {
            phase: Phase::from_bits(phase),
            initiator: Orientation::from_bit(u32::from(flags[0])),
            peers,
            replied: flags[1],
            assured: flags[2],
            simultaneous: flags[3],
            liberal: flags[4],
            note,
        };
        let (entry, rare) = (Entry::vacant(), Rare::vacant());
        store(&entry, &rare, &connection);
        prop_assert_eq!(load(&entry, &rare), Some(connection));
    }
}

/// A side whose numbers are near those of the other, so that segments fit, are stale or are beyond the window.
fn near_peers() -> impl Strategy<Value = Peer> {
    (0_u32..200, 0_u32..200, 0_u32..100, 0_u32..200, any::<bool>(), prop::option::of(0_u8..3), 0_u8..3)
        .prop_map(|(end, ahead, max_window, behind, acked, offered, scale)| Peer {
            end: end.wrapping_sub(100),
            max_end: end.wrapping_sub(100).wrapping_add(ahead),
            max_window,
            max_ack: end.wrapping_sub(behind),
            acked,
            offered,
            scale,
        })
}

fn near_segments() -> impl Strategy<Value = Tcp> {
    let bits = prop_oneof![8 => Just(flags::ACK), 2 => Just(flags::ACK | flags::PSH), 1 => any::<u8>()];
    (0_u32..400, 0_u32..400, bits, 0_u16..100, 0_u16..200).prop_map(
        |(sequence, acknowledgement, flags, window, payload)| Tcp {
            ports: Ports { source: 1, destination: 2 },
            sequence: sequence.wrapping_sub(200),
            acknowledgement: acknowledgement.wrapping_sub(200),
            flags,
            window,
            window_scale: None,
            payload,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// The short way is the long way: the same answer and the same state afterwards, or it is not taken.
    #[test]
    fn a_plain_step_is_a_step(
        peers in [near_peers(), near_peers()],
        phase in prop_oneof![6 => Just(4), 1 => 1_u32..10],
        flags in any::<[bool; 2]>(),
        doubts in prop_oneof![6 => Just([true, true, false]), 1 => any::<[bool; 3]>()],
        note in prop_oneof![6 => Just(None), 1 => notes()],
        from in any::<bool>(),
        segment in near_segments(),
    ) {
        let mut connection = Connection {
            phase: Phase::from_bits(phase),
            initiator: Orientation::from_bit(u32::from(flags[0])),
            peers,
            replied: doubts[0],
            assured: doubts[1],
            simultaneous: flags[1],
            liberal: doubts[2],
            note,
        };
        let from = Orientation::from_bit(u32::from(from));
        let (entry, rare) = (Entry::vacant(), Rare::vacant());
        store(&entry, &rare, &connection);
        if let Some(step) = step_plain(&entry, from, &segment) {
            prop_assert_eq!(connection.step(from, &segment), step);
        }
        // Unchanged if the short way was not taken.
        prop_assert_eq!(load(&entry, &rare), Some(connection));
    }
}

#[test]
fn the_usual_acknowledgement_takes_the_short_way() {
    let syn = Tcp {
        ports: Ports { source: 1, destination: 2 },
        sequence: 100,
        acknowledgement: 0,
        flags: flags::SYN,
        window: 1000,
        window_scale: None,
        payload: 0,
    };
    let mut connection = Connection::open(&syn, Orientation::FromFirst, tcp::Mode::Strict).unwrap();
    let answer = Tcp { flags: flags::SYN | flags::ACK, sequence: 500, acknowledgement: 101, ..syn };
    connection.step(Orientation::FromSecond, &answer).unwrap();
    let ack = Tcp { flags: flags::ACK, sequence: 101, acknowledgement: 501, ..syn };
    let (entry, rare) = (Entry::vacant(), Rare::vacant());
    store(&entry, &rare, &connection);
    assert_eq!(step_plain(&entry, Orientation::FromFirst, &ack), None, "the handshake is not complete");
    connection.step(Orientation::FromFirst, &ack).unwrap();
    store(&entry, &rare, &connection);
    let step = step_plain(&entry, Orientation::FromFirst, &ack);
    assert_eq!(step, Some(Ok(Step::Pass)));
}

#[test]
fn deadlines_compare_across_the_wrap() {
    let cases = [
        ("equal", 5, 5, true),
        ("later", 6, 5, false),
        ("past", 4, 5, true),
        ("after the wrap", 3, u32::MAX - 2, false),
        ("before the wrap", u32::MAX - 2, 3, true),
    ];
    for (name, deadline, now, expected) in cases {
        assert_eq!(is_past(deadline, now), expected, "{name}");
    }
}
