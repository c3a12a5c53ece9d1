//! A flow's protocol state as one word, and the TCP connection as the words of an entry.

use super::entry::{Class, Entry, Rare, Set, WAYS};
use super::key::Orientation;
use super::sync::{AtomicU32, Ordering::Relaxed};
use super::tcp::{self, Connection, Note, Peer, Phase, Step};
use super::timeouts;
use crate::headers::Tcp;
use crate::verdict::DropReason;

/// The state word, taken apart. For flows that are not TCP only `initiator` and `replied` mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State(u32);

const PHASE: u32 = 0xf;
const INITIATOR: u32 = 1 << 4;
const REPLIED: u32 = 1 << 5;
const ASSURED: u32 = 1 << 6;
const SIMULTANEOUS: u32 = 1 << 7;
const LIBERAL: u32 = 1 << 8;
const NOTE_SYN: u32 = 1 << 9;
const NOTE_ACK: u32 = 1 << 10;
/// Per side from here: scale in force (4 bits), scale offered (4 bits), whether one was offered, whether it acked.
const PEER_SHIFT: [u32; 2] = [12, 22];
const OFFERED: u32 = 1 << 8;
const ACKED: u32 = 1 << 9;

impl State {
    pub(super) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub(super) const fn to_bits(self) -> u32 {
        self.0
    }

    /// The state of a new flow that is not TCP.
    pub(super) const fn datagram(initiator: Orientation) -> Self {
        Self(if initiator.index() == 0 { 0 } else { INITIATOR })
    }

    /// The state of a new TCP flow, without what only [`load`] needs.
    pub(super) const fn opened(connection: &Connection) -> Self {
        Self(Self::datagram(connection.initiator).0 | connection.phase as u32)
    }

    pub(super) const fn initiator(self) -> Orientation {
        Orientation::from_bit(self.0 & INITIATOR)
    }

    pub(super) const fn replied(self) -> bool {
        self.0 & REPLIED != 0
    }

    pub(super) const fn with_reply(self) -> Self {
        Self(self.0 | REPLIED)
    }

    /// `None` for flows that are not TCP.
    pub(super) const fn phase(self) -> Option<Phase> {
        match self.0 & PHASE {
            0 => None,
            bits => Some(Phase::from_bits(bits)),
        }
    }

    pub(super) fn class(self, cut: bool) -> Class {
        match self.phase() {
            _ if cut => Class::Closed,
            Some(phase) if phase.is_over() => Class::Closed,
            Some(phase) if phase.is_half_open() => Class::HalfOpen,
            Some(_) => Class::Assured,
            None if self.replied() => Class::Assured,
            None => Class::Unreplied,
        }
    }

    /// How long the flow may stay silent, milliseconds.
    pub(super) const fn timeout(self, protocol: u8) -> u32 {
        match self.phase() {
            Some(phase) => phase.timeout_millis(),
            None => timeouts::datagram(protocol, self.replied()),
        }
    }
}

const fn flag(condition: bool, bit: u32) -> u32 {
    if condition { bit } else { 0 }
}

/// What the state word says of an established connection about which nothing is in doubt: both sides have
/// acknowledged, the handshake was seen whole, there is no [`Note`], and windows count.
const PLAIN: u32 =
    Phase::Established as u32 | REPLIED | ASSURED | ACKED << PEER_SHIFT[0] | ACKED << PEER_SHIFT[1];
const PLAIN_MASK: u32 = PLAIN | PHASE | LIBERAL | NOTE_SYN | NOTE_ACK;

/// Takes a segment of a TCP flow whose claim the caller holds, if flow and segment are of the most common kind: what
/// [`load`], [`Connection::step`] and [`store`] do, in a third of the instructions, since only the eight window words
/// change. `None` if they are not; nothing has changed then.
#[inline(always)]
pub(super) fn step_plain(entry: &Entry, from: Orientation, tcp: &Tcp) -> Option<Result<Step, DropReason>> {
    let bits = entry.state.load(Relaxed);
    if bits & PLAIN_MASK != PLAIN || !tcp::is_plain(tcp) {
        return None;
    }
    let (own, other) = (from.index(), from.reverse().index());
    let (mut sender, mut receiver) = (load_peer(entry, bits, own), load_peer(entry, bits, other));
    let step = tcp::step_plain(&mut sender, &mut receiver, tcp);
    if step == Ok(Step::Pass) {
        // Without comparing: the counters in the same line are written anyway.
        store_peer(&entry.peers[own], &sender);
        store_peer(&entry.peers[other], &receiver);
    }
    Some(step)
}

/// Reads the connection of a TCP flow whose claim the caller holds.
pub(super) fn load(entry: &Entry, rare: &Rare) -> Option<Connection> {
    let bits = entry.state.load(Relaxed);
    let state = State(bits);
    Some(Connection {
        phase: state.phase()?,
        initiator: state.initiator(),
        peers: [load_peer(entry, bits, 0), load_peer(entry, bits, 1)],
        replied: bits & REPLIED != 0,
        assured: bits & ASSURED != 0,
        simultaneous: bits & SIMULTANEOUS != 0,
        liberal: bits & LIBERAL != 0,
        note: load_note(rare, bits),
    })
}

#[inline(always)]
fn load_peer(entry: &Entry, bits: u32, side: usize) -> Peer {
    let flags = bits >> PEER_SHIFT[side];
    let [end, max_end, max_window, max_ack] = &entry.peers[side];
    Peer {
        end: end.load(Relaxed),
        max_end: max_end.load(Relaxed),
        max_window: max_window.load(Relaxed),
        max_ack: max_ack.load(Relaxed),
        acked: flags & ACKED != 0,
        offered: (flags & OFFERED != 0).then_some((flags >> 4 & 0xf) as u8),
        scale: (flags & 0xf) as u8,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "takes the fields apart")]
fn load_note(rare: &Rare, bits: u32) -> Option<Note> {
    if bits & (NOTE_SYN | NOTE_ACK) == 0 {
        return None;
    }
    let [end, second] = [rare.note[0].load(Relaxed), rare.note[1].load(Relaxed)];
    Some(if bits & NOTE_SYN != 0 {
        let scale = (second >> 24 != 0).then_some((second >> 16) as u8);
        Note::Syn { end, window: second as u16, scale }
    } else {
        Note::Ack { end, acknowledgement: second }
    })
}

/// Writes the connection of a TCP flow whose claim the caller holds.
pub(super) fn store(entry: &Entry, rare: &Rare, new: &Connection) {
    let mut bits = new.phase as u32
        | flag(new.initiator == Orientation::FromSecond, INITIATOR)
        | flag(new.replied, REPLIED)
        | flag(new.assured, ASSURED)
        | flag(new.simultaneous, SIMULTANEOUS)
        | flag(new.liberal, LIBERAL);
    for (side, peer) in new.peers.iter().enumerate() {
        store_peer(&entry.peers[side], peer);
        let flags = u32::from(peer.scale)
            | u32::from(peer.offered.unwrap_or(0)) << 4
            | flag(peer.offered.is_some(), OFFERED)
            | flag(peer.acked, ACKED);
        bits |= flags << PEER_SHIFT[side];
    }
    bits |= match new.note {
        None => 0,
        Some(Note::Syn { end, window, scale }) => {
            let scale = scale.map_or(0, |scale| 1 << 24 | u32::from(scale) << 16);
            store_note(rare, end, scale | u32::from(window));
            NOTE_SYN
        }
        Some(Note::Ack { end, acknowledgement }) => {
            store_note(rare, end, acknowledgement);
            NOTE_ACK
        }
    };
    entry.state.store(bits, Relaxed);
}

fn store_note(rare: &Rare, first: u32, second: u32) {
    rare.note[0].store(first, Relaxed);
    rare.note[1].store(second, Relaxed);
}

#[inline(always)]
fn store_peer(words: &[AtomicU32; 4], peer: &Peer) {
    let values = [peer.end, peer.max_end, peer.max_window, peer.max_ack];
    for (word, value) in words.iter().zip(values) {
        word.store(value, Relaxed);
    }
}

/// How much a deadline may lag behind before it is written again, milliseconds: spares the header line a write per
/// packet.
const DEADLINE_SLACK: u32 = 500;

impl Set {
    /// Moves the deadline of a slot to `deadline` and its class to `class`, for the holder of the slot's claim.
    pub(super) fn refresh(&self, way: usize, deadline: u32, class: Class) {
        let lag = deadline.wrapping_sub(self.deadlines[way].load(Relaxed));
        let class_changed = self.classes[way].load(Relaxed) != class as u8;
        if class_changed {
            self.classes[way].store(class as u8, Relaxed);
        }
        // A deadline that moves back wraps to a large lag.
        if class_changed || lag > DEADLINE_SLACK {
            self.deadlines[way].store(deadline, Relaxed);
        }
    }

    /// The class of a slot's flow at `now`.
    pub(super) fn class(&self, way: usize, now: u32) -> Class {
        if is_past(self.deadlines[way].load(Relaxed), now) {
            Class::Expired
        } else {
            Class::from_bits(self.classes[way].load(Relaxed))
        }
    }

    pub(super) const fn ways() -> core::ops::Range<usize> {
        0..WAYS
    }
}

/// Whether `deadline` is not after `now`, both modulo 2^32 and less than 24 days apart.
pub(super) const fn is_past(deadline: u32, now: u32) -> bool {
    now.wrapping_sub(deadline) < 1 << 31
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use proptest::prelude::*;

    use super::*;
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
            let set = Set::vacant();
            store(&set.entries[0], &set.rare[0], &connection);
            prop_assert_eq!(load(&set.entries[0], &set.rare[0]), Some(connection));
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
            let set = Set::vacant();
            store(&set.entries[0], &set.rare[0], &connection);
            if let Some(step) = step_plain(&set.entries[0], from, &segment) {
                prop_assert_eq!(connection.step(from, &segment), step);
            }
            // Unchanged if the short way was not taken.
            prop_assert_eq!(load(&set.entries[0], &set.rare[0]), Some(connection));
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
        let set = Set::vacant();
        store(&set.entries[0], &set.rare[0], &connection);
        assert_eq!(
            step_plain(&set.entries[0], Orientation::FromFirst, &ack),
            None,
            "the handshake is not complete"
        );
        connection.step(Orientation::FromFirst, &ack).unwrap();
        store(&set.entries[0], &set.rare[0], &connection);
        let step = step_plain(&set.entries[0], Orientation::FromFirst, &ack);
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
}
