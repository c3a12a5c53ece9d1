//! Fragments: later ones have no ports, so they follow their first one.
//!
//! Virtual reassembly: nothing is put together, every fragment goes on as it came, but only once the first one has
//! been judged, and never over bytes that another fragment of the datagram has already claimed. Each worker has a
//! [`FragmentTable`] of the datagrams it is seeing; the verdicts on first fragments are shared through
//! [`FragmentHeads`], because a network card hashes first and later fragments differently and may hand them to
//! different workers. All later fragments of a datagram do arrive at one worker (they are hashed by addresses
//! alone), so overlaps among them are found there, and the shared verdict carries the length of the first fragment
//! for overlaps with it.
//!
//! Overlaps: RFC 5722 has the whole IPv6 datagram dropped, and RFC 791 leaves IPv4 stacks to differ, which is what
//! attackers use; both families are treated alike. An exact duplicate of a fragment is dropped by itself and the
//! datagram goes on (RFC 8200 4.5 allows it; networks duplicate packets): the receiver has the first copy only.
//!
//! Memory is allocated by `new` and never again.

mod datagram;
mod heads;

use std::sync::Arc;

use datagram::{Datagram, Part, Placed};
pub use heads::FragmentHeads;

use super::state::is_past;
use crate::clock::Now;
use crate::frame::Frame;
use crate::headers::{Fragment, Ip};
use crate::verdict::{DropReason, Side, WireId};

/// Where fragments are dropped for lack of room, and when. The defaults suit one worker.
#[derive(Clone, Copy, Debug)]
pub struct FragmentLimits {
    /// Datagrams followed at a time; rounded up to a power of two, at least 8.
    pub datagrams: usize,
    /// Frames held in all for first fragments that have not come yet.
    pub held: usize,
    /// Frames held for one datagram.
    pub held_per_datagram: usize,
    /// How long a frame is held, milliseconds. Reordering in a network takes single milliseconds.
    pub hold_millis: u32,
    /// How long a datagram with a first fragment is remembered, milliseconds. Much less than the 30 s (IPv4) or
    /// 60 s (RFC 8200 4.5) of receivers, because a sender at 16-bit ids comes around in seconds (RFC 4963).
    pub follow_millis: u32,
}

impl Default for FragmentLimits {
    fn default() -> Self {
        Self { datagrams: 512, held: 256, held_per_datagram: 64, hold_millis: 500, follow_millis: 2000 }
    }
}

/// What happens to a later fragment.
#[derive(Debug, PartialEq, Eq)]
pub enum Later {
    /// Send it on.
    Forward(Frame),
    /// Release it and count the reason.
    Drop(Frame, DropReason),
    /// The table keeps it until its first fragment or its time-out comes.
    Held,
}

/// A frame that was held and is no longer.
#[derive(Debug, PartialEq, Eq)]
pub struct Settled {
    /// The wire it came in on.
    pub wire: WireId,
    /// The side it came in on.
    pub side: Side,
    /// The frame.
    pub frame: Frame,
    /// Send it on, or release it and count the reason.
    pub fate: Result<(), DropReason>,
}

#[derive(Debug)]
struct Held {
    slot: usize,
    wire: WireId,
    side: Side,
    frame: Frame,
}

/// The fragmented datagrams one worker is seeing.
#[derive(Debug)]
pub struct FragmentTable {
    limits: FragmentLimits,
    heads: Arc<FragmentHeads>,
    /// Sets of [`WAYS`] slots.
    datagrams: Box<[Datagram]>,
    held: Vec<Held>,
    /// Where [`FragmentTable::expire`] goes on.
    cursor: usize,
    /// When the cursor moved last: milliseconds, modulo 2^32.
    looked: u32,
}

const WAYS: usize = 8;
/// Slots that [`FragmentTable::expire`] looks at once a millisecond, besides those that hold frames.
const EXPIRE_BUDGET: usize = 16;

impl FragmentTable {
    /// An empty table that shares first fragments' verdicts through `heads`.
    #[must_use]
    pub fn new(limits: FragmentLimits, heads: Arc<FragmentHeads>) -> Self {
        let slots = limits.datagrams.max(WAYS).next_power_of_two();
        Self {
            limits,
            heads,
            datagrams: (0..slots).map(|_| Datagram::vacant()).collect(),
            held: Vec::with_capacity(limits.held),
            cursor: 0,
            looked: 0,
        }
    }

    /// Frames held at the moment.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// The most frames held at a time, and so the most that one call settles.
    #[must_use]
    pub const fn held_max(&self) -> usize {
        self.limits.held
    }

    /// Records the verdict on a first fragment: its datagram's later fragments follow it. Frames that were held for
    /// it go to `settle`.
    ///
    /// # Errors
    /// The reason to drop the first fragment: `verdict`'s own, [`DropReason::FragmentOverlap`], or
    /// [`DropReason::FragmentTableFull`].
    pub fn judge_first(
        &mut self,
        ip: &Ip,
        wire: WireId,
        side: Side,
        now: Now,
        verdict: Result<(), DropReason>,
        mut settle: impl FnMut(Settled),
    ) -> Result<(), DropReason> {
        let Some(fragment) = ip.fragment else { return verdict };
        let words = words(ip, wire, side, &fragment);
        let hash = self.heads.hash(&words);
        let deadline = now.as_millis32().wrapping_add(self.limits.follow_millis);
        let Some(slot) = self.slot(&words, hash, now) else {
            // Later fragments must not be held for a head that has come and gone.
            self.heads.publish(hash, Err(DropReason::FragmentTableFull), 0, deadline, now);
            return Err(verdict.err().unwrap_or(DropReason::FragmentTableFull));
        };
        let datagram = &mut self.datagrams[slot];
        let placed = datagram.place(Part::of(&fragment));
        if placed == Placed::Duplicate {
            return Err(DropReason::FragmentOverlap);
        }
        if let Placed::Refused(reason) = placed {
            self.doom(slot, hash, reason, deadline, now, settle);
            return Err(verdict.err().unwrap_or(reason));
        }
        if let Some(Err(doomed)) = datagram.verdict {
            return Err(verdict.err().unwrap_or(doomed));
        }
        let followers = verdict.map_err(|_| DropReason::FragmentOfDropped);
        datagram.verdict = Some(followers);
        datagram.deadline = deadline;
        self.heads.publish(hash, followers, fragment.len, deadline, now);
        self.release(slot, followers, &mut settle);
        self.forget_if_complete(slot, hash);
        verdict
    }

    /// Judges a later fragment by its first one, or holds it for a short while. If it overlaps, the frames held
    /// for its datagram go to `settle` as well.
    pub fn judge_later(
        &mut self,
        ip: &Ip,
        wire: WireId,
        side: Side,
        now: Now,
        frame: Frame,
        settle: impl FnMut(Settled),
    ) -> Later {
        let Some(fragment) = ip.fragment else { return Later::Drop(frame, DropReason::FragmentNoHead) };
        let words = words(ip, wire, side, &fragment);
        let hash = self.heads.hash(&words);
        let Some(slot) = self.slot(&words, hash, now) else {
            return Later::Drop(frame, DropReason::FragmentTableFull);
        };
        if let Err(reason) = self.follow_shared(slot, hash, now) {
            self.doom(
                slot,
                hash,
                reason,
                now.as_millis32().wrapping_add(self.limits.follow_millis),
                now,
                settle,
            );
            return Later::Drop(frame, reason);
        }
        let deadline = now.as_millis32().wrapping_add(self.limits.follow_millis);
        let datagram = &mut self.datagrams[slot];
        if let Some(Err(reason)) = datagram.verdict {
            return Later::Drop(frame, reason);
        }
        match datagram.place(Part::of(&fragment)) {
            Placed::Duplicate => return Later::Drop(frame, DropReason::FragmentOverlap),
            Placed::Refused(reason) => {
                self.doom(slot, hash, reason, deadline, now, settle);
                return Later::Drop(frame, reason);
            }
            Placed::Fits => {}
        }
        if datagram.verdict.is_some() {
            self.forget_if_complete(slot, hash);
            return Later::Forward(frame);
        }
        self.hold(slot, wire, side, frame)
    }

    /// Ends what has timed out and settles frames whose first fragment another worker has judged meanwhile. Call it
    /// once per batch: it looks at the datagrams with held frames, and once a millisecond at a few others.
    pub fn expire(&mut self, now: Now, mut settle: impl FnMut(Settled)) {
        let mut at = 0;
        while at < self.held.len() {
            let slot = self.held[at].slot;
            let before = self.held.len();
            self.expire_held(slot, now, &mut settle);
            // Settling a datagram takes all its frames out, this one among them.
            if self.held.len() == before {
                at += 1;
            }
        }
        if now.as_millis32() == self.looked {
            return;
        }
        self.looked = now.as_millis32();
        for _ in 0..EXPIRE_BUDGET {
            let slot = self.cursor & (self.datagrams.len() - 1);
            self.cursor = slot + 1;
            let datagram = &mut self.datagrams[slot];
            if datagram.held == 0 && is_past(datagram.deadline, now.as_millis32()) {
                datagram.forget();
            }
        }
    }

    fn expire_held(&mut self, slot: usize, now: Now, settle: &mut impl FnMut(Settled)) {
        let hash = self.heads.hash(&self.datagrams[slot].words);
        let fate = match self.follow_shared(slot, hash, now) {
            Err(reason) => Some(Err(reason)),
            Ok(()) => self.datagrams[slot].verdict,
        };
        if let Some(fate) = fate {
            self.datagrams[slot].verdict = Some(fate);
            self.release(slot, fate, settle);
            self.forget_if_complete(slot, hash);
        } else if is_past(self.datagrams[slot].deadline, now.as_millis32()) {
            self.release(slot, Err(DropReason::FragmentNoHead), settle);
            self.datagrams[slot].forget();
        }
    }

    /// Learns the verdict on the first fragment from another worker.
    fn follow_shared(&mut self, slot: usize, hash: u64, now: Now) -> Result<(), DropReason> {
        let datagram = &mut self.datagrams[slot];
        if datagram.verdict.is_some() {
            return Ok(());
        }
        let Some((verdict, len)) = self.heads.find(hash, now) else { return Ok(()) };
        datagram.verdict = Some(verdict);
        datagram.deadline = now.as_millis32().wrapping_add(self.limits.follow_millis);
        match datagram.place(Part::head(len)) {
            Placed::Refused(reason) if verdict.is_ok() => Err(reason),
            _ => Ok(()),
        }
    }

    fn hold(&mut self, slot: usize, wire: WireId, side: Side, frame: Frame) -> Later {
        let datagram = &mut self.datagrams[slot];
        let full = self.held.len() >= self.limits.held || datagram.held >= self.limits.held_per_datagram;
        if full {
            return Later::Drop(frame, DropReason::FragmentTableFull);
        }
        datagram.held += 1;
        self.held.push(Held { slot, wire, side, frame });
        Later::Held
    }

    /// Drops the whole datagram from here on, here and at the other workers.
    fn doom(
        &mut self,
        slot: usize,
        hash: u64,
        reason: DropReason,
        deadline: u32,
        now: Now,
        mut settle: impl FnMut(Settled),
    ) {
        self.datagrams[slot].verdict = Some(Err(reason));
        self.datagrams[slot].deadline = deadline;
        self.heads.publish(hash, Err(reason), 0, deadline, now);
        self.release(slot, Err(reason), &mut settle);
    }

    /// Hands out the frames held for one datagram, in the order they came.
    fn release(&mut self, slot: usize, fate: Result<(), DropReason>, settle: &mut impl FnMut(Settled)) {
        if self.datagrams[slot].held == 0 {
            return;
        }
        self.datagrams[slot].held = 0;
        for Held { wire, side, frame, .. } in self.held.extract_if(.., |held| held.slot == slot) {
            settle(Settled { wire, side, frame, fate });
        }
    }

    /// A complete datagram is over: its id may name another one, whose fragments wait for a first one of their own.
    fn forget_if_complete(&mut self, slot: usize, hash: u64) {
        let datagram = &mut self.datagrams[slot];
        if datagram.is_complete() && datagram.verdict == Some(Ok(())) {
            datagram.forget();
            self.heads.withdraw(hash);
        }
    }

    /// The slot of a datagram, or a fresh one for it; `None` if its set is full.
    fn slot(&mut self, words: &[u64; 5], hash: u64, now: Now) -> Option<usize> {
        #[expect(clippy::cast_possible_truncation, reason = "masked to the table")]
        let base = (hash as usize & (self.datagrams.len() / WAYS - 1)) * WAYS;
        let set = base..base + WAYS;
        let alive = |datagram: &Datagram| datagram.held > 0 || !is_past(datagram.deadline, now.as_millis32());
        let known = set.clone().find(|&slot| {
            let datagram = &self.datagrams[slot];
            datagram.in_use && datagram.words == *words && alive(datagram)
        });
        known.or_else(|| {
            let free = set.into_iter().find(|&slot| {
                let datagram = &self.datagrams[slot];
                !datagram.in_use || !alive(datagram)
            })?;
            let deadline = now.as_millis32().wrapping_add(self.limits.hold_millis);
            self.datagrams[free].begin(*words, deadline);
            Some(free)
        })
    }
}

/// What makes fragments belong together: RFC 791 (source, destination, protocol, id) or RFC 8200 4.5 (the same
/// without the protocol, which differs between fragments when extension headers follow), on one side of one wire.
fn words(ip: &Ip, wire: WireId, side: Side, fragment: &Fragment) -> [u64; 5] {
    let [source, destination] = [ip.source.bits().to_be_bytes(), ip.destination.bits().to_be_bytes()];
    let half = |bytes: &[u8; 16], at: usize| {
        bytes[at..at + 8].iter().fold(0u64, |word, byte| word << 8 | u64::from(*byte))
    };
    let protocol = if ip.source.is_v4() { ip.protocol } else { 0 };
    let rest = u64::from(fragment.id) << 32
        | u64::from(wire.0) << 16
        | u64::from(protocol) << 8
        | u64::from(side == Side::Outside);
    [half(&source, 0), half(&source, 8), half(&destination, 0), half(&destination, 8), rest]
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
