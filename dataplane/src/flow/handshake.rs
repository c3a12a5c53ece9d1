//! How a TCP connection began, and how long its handshake took, as far as a wire between its ends can tell.
//!
//! The wire sees SYN, SYN-ACK and ACK pass. The time from the first to the second is the way to the responder and
//! back, that from the second to the third the way to the initiator and back; together they are the round trip of
//! the ends. The times stand where a [`super::tcp::Note`] would: a connection that gets one is timed no longer. Nor
//! is one whose SYN or SYN-ACK came twice, because nobody can tell which of them was answered (Karn's rule, RFC 6298
//! 3).

use super::entry::{Entry, Rare};
use super::state::{State, TIMED};
use super::sync::Ordering::Relaxed;
use super::tcp::Phase;
use crate::clock::Now;

/// How far the handshake of a connection came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Handshake {
    /// Three segments: both ends agreed.
    Completed,
    /// The responder agreed, and the initiator never said so.
    Answered,
    /// The responder never agreed.
    Unanswered,
    /// The connection is older than this process: nobody looked.
    Missed,
}

/// How long a handshake took, each way from the wire and back, microseconds; to the resolution of batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RoundTrip {
    /// To the responder: from SYN to SYN-ACK.
    pub responder: u32,
    /// To the initiator: from SYN-ACK to ACK.
    pub initiator: u32,
}

impl RoundTrip {
    /// From end to end, microseconds.
    #[must_use]
    pub const fn whole(self) -> u32 {
        self.responder.saturating_add(self.initiator)
    }
}

/// How the connection of `state` began; `None` for flows that are not TCP.
pub(super) fn of(state: State) -> Option<Handshake> {
    let phase = state.phase()?;
    let agreed = phase.is_closing() && phase != Phase::Closed;
    Some(if state.is_liberal() && !phase.is_half_open() {
        Handshake::Missed
    } else if state.is_assured() || agreed || phase == Phase::Established {
        Handshake::Completed
    } else if state.has_acked(state.initiator().reverse()) {
        Handshake::Answered
    } else {
        Handshake::Unanswered
    })
}

/// How long the handshake took, if it is over and was timed.
pub(super) fn round_trip(state: State, rare: &Rare) -> Option<RoundTrip> {
    let over = state.phase().is_some_and(|phase| !phase.is_half_open());
    let [responder, initiator] = [0, 1].map(|at: usize| rare.note[at].load(Relaxed));
    (over && state.has(TIMED)).then_some(RoundTrip { responder, initiator })
}

/// The first segment of a connection was seen at `now`; for the holder of the claim.
pub(super) fn begin(entry: &Entry, rare: &Rare, now: Now) {
    let state = State::from_bits(entry.state.load(Relaxed));
    if state.phase() == Some(Phase::SynSent) {
        rare.note[0].store(now.as_micros32(), Relaxed);
        entry.state.store(state.to_bits() | TIMED, Relaxed);
    }
}

/// A segment was taken at `now` that leads from the state `before` to that of `entry`; for the holder of the claim.
pub(super) fn go_on(entry: &Entry, rare: &Rare, before: State, now: Now) {
    let state = State::from_bits(entry.state.load(Relaxed));
    let (true, false, Some(old), Some(new)) =
        (before.has(TIMED), state.is_noted(), before.phase(), state.phase())
    else {
        return;
    };
    let since = |at: usize| now.as_micros32().wrapping_sub(rare.note[at].load(Relaxed));
    match (old, new) {
        (Phase::SynSent, Phase::SynReceived) => {
            rare.note[0].store(since(0), Relaxed);
            rare.note[1].store(now.as_micros32(), Relaxed);
        }
        (Phase::SynReceived, Phase::Established | Phase::FinWait) => rare.note[1].store(since(1), Relaxed),
        _ if !old.is_half_open() => {}
        _ => return,
    }
    entry.state.store(state.to_bits() | TIMED, Relaxed);
}
