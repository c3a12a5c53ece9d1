//! A flow's protocol state as one word, and the TCP connection as the words of an entry.

use super::entry::{Class, Entry, Rare};
use super::key::Orientation;
use super::set::Set;
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
/// The words of the note hold times of the handshake instead: see `handshake`.
pub(super) const TIMED: u32 = 1 << 11;
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

    /// Whether the word has any of the bits `mask`.
    pub(super) const fn has(self, mask: u32) -> bool {
        self.0 & mask != 0
    }

    /// Picked up in the middle.
    pub(super) const fn is_liberal(self) -> bool {
        self.has(LIBERAL)
    }

    /// The side that began the handshake completed it.
    pub(super) const fn is_assured(self) -> bool {
        self.has(ASSURED)
    }

    /// A note stands in the words that could hold times.
    pub(super) const fn is_noted(self) -> bool {
        self.has(NOTE_SYN | NOTE_ACK)
    }

    /// The end `of` has sent an acknowledgement.
    pub(super) const fn has_acked(self, of: Orientation) -> bool {
        self.has(ACKED << PEER_SHIFT[of.index()])
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

impl Set<'_> {
    /// Moves the deadline of a slot to `deadline` and its class to `class`, for the holder of the slot's claim.
    pub(super) fn refresh(&self, way: usize, deadline: u32, class: Class) {
        let lag = deadline.wrapping_sub(self.header.deadlines[way].load(Relaxed));
        let class_changed = self.header.classes[way].load(Relaxed) != class as u8;
        if class_changed {
            self.header.classes[way].store(class as u8, Relaxed);
        }
        // A deadline that moves back wraps to a large lag.
        if class_changed || lag > DEADLINE_SLACK {
            self.header.deadlines[way].store(deadline, Relaxed);
        }
    }

    /// The class of a slot's flow at `now`.
    pub(super) fn class(&self, way: usize, now: u32) -> Class {
        if is_past(self.header.deadlines[way].load(Relaxed), now) {
            Class::Expired
        } else {
            Class::from_bits(self.header.classes[way].load(Relaxed))
        }
    }
}

/// Whether `deadline` is not after `now`, both modulo 2^32 and less than 24 days apart.
pub(super) const fn is_past(deadline: u32, now: u32) -> bool {
    now.wrapping_sub(deadline) < 1 << 31
}

#[cfg(test)]
#[cfg(not(loom))]
#[path = "state_tests.rs"]
mod tests;
