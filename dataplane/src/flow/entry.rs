//! One flow in shared memory: the words, who may write them, and how a reader knows that they belong together.
//!
//! Every field is an atomic, so nothing here can be a data race; what keeps several words consistent is the
//! *control* word. Its generation is odd while the slot holds a flow and even while it is vacant, its sequence
//! counts updates, and its lowest bit is the *claim*: whoever sets it may write, everybody else reads.
//!
//! - A reader loads control, the words, then control again. The same generation means that the key and its handle
//!   are of one flow; the same control without the claim bit means that all words are of one instant.
//! - A writer of a live flow claims it under the generation it found, writes, and releases with the next sequence.
//! - Reuse claims and makes the generation even in one compare-and-swap, so a reader or writer of the old flow
//!   that arrives late sees that it is gone.
//!
//! A claim is held for some ten stores. Waiting for one is bounded by [`CLAIM_TRIES`].

use super::sync::{AtomicU8, AtomicU32, AtomicU64, CLAIM_TRIES, Ordering, fence, pause};
use super::tags::Tags;
use crate::verdict::DropReason;

/// Slots in one set: what one header line of 64 bytes can describe.
#[cfg(not(loom))]
pub(super) const WAYS: usize = 8;
/// The model checker's sets are small; the protocol does not depend on the number.
#[cfg(loom)]
pub(super) const WAYS: usize = 2;

/// The cache line that answers most questions about the slots of a set.
#[repr(C, align(64))]
#[derive(Debug)]
pub(super) struct Header {
    /// Held while a key whose primary set this is gets inserted: makes "look, then insert" one step.
    pub(super) claim: AtomicU32,
    _unused: AtomicU32,
    /// 16 bits of each slot's hash; 0 for a vacant slot. Written by the slot's claim holder.
    pub(super) tags: Tags,
    /// [`Class`] of each slot's flow.
    pub(super) classes: [AtomicU8; WAYS],
    /// When each slot's flow expires: milliseconds, modulo 2^32.
    pub(super) deadlines: [AtomicU32; WAYS],
}

/// What every packet of a flow needs: two cache lines, for IPv4 and IPv6 alike.
#[repr(C, align(64))]
#[derive(Debug)]
pub(super) struct Entry {
    control: AtomicU64,
    /// [`super::key::FlowKey::words`].
    pub(super) key: [AtomicU64; 5],
    /// [`super::stamp::Stamp`].
    pub(super) stamp: AtomicU64,
    /// [`super::state::State`] in its packed form.
    pub(super) state: AtomicU32,
    /// The rule that would have denied the flow, or [`NO_RULE`].
    pub(super) potential: AtomicU32,
    /// Per direction: end, max_end, max_window, max_ack of [`super::tcp::Peer`].
    pub(super) peers: [[AtomicU32; 4]; 2],
    /// Per direction.
    pub(super) packets: [AtomicU64; 2],
    /// Per direction: bytes of frames.
    pub(super) bytes: [AtomicU64; 2],
}

/// What only odd packets and reports need.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Rare {
    /// When the flow was opened: milliseconds, modulo 2^32.
    pub(super) opened: AtomicU32,
    /// [`super::tcp::Note`] or the times of the handshake in two words; valid as the state word says.
    pub(super) note: [AtomicU32; 2],
    /// What becomes of the flow once it is denied; see `terms`.
    pub(super) revoke: AtomicU32,
    /// While the flow drains: when it is cut, milliseconds modulo 2^32.
    pub(super) drained: AtomicU32,
    /// [`crate::verdict::DraftAnswers`].
    pub(super) drafts: AtomicU32,
    /// Of [`Entry::packets`], those that the control thread was told of; see `told`.
    pub(super) told_packets: [AtomicU64; 2],
    /// Of [`Entry::bytes`], likewise.
    pub(super) told_bytes: [AtomicU64; 2],
}

/// "No rule" where a [`RuleId`] is optional.
pub(super) const NO_RULE: u32 = u32::MAX;

/// How much a flow would be missed, least first; the order of eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// Its time is over.
    Expired = 0,
    /// Reset, both ways closed, or cut by policy.
    Closed = 1,
    /// TCP before the end of the handshake.
    HalfOpen = 2,
    /// A datagram flow that was never answered.
    Unreplied = 3,
    /// Everything else: never evicted.
    Assured = 4,
}

impl Class {
    pub(super) const fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Self::Expired,
            1 => Self::Closed,
            2 => Self::HalfOpen,
            3 => Self::Unreplied,
            _ => Self::Assured,
        }
    }
}

const CLAIMED: u64 = 1;
const SEQUENCE: u64 = 0xffff_ffff;

pub(super) const fn generation(control: u64) -> u32 {
    (control >> 32) as u32
}

const fn is_live(control: u64) -> bool {
    generation(control) & 1 == 1
}

const fn is_claimed(control: u64) -> bool {
    control & CLAIMED != 0
}

/// `control` with another generation, the next sequence, and no claim.
const fn released(control: u64, generation: u32) -> u64 {
    (generation as u64) << 32 | (control.wrapping_add(2) & SEQUENCE & !CLAIMED)
}

/// Why a flow cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unavailable {
    /// It was evicted, expired or reopened since it was found.
    Gone,
    /// Another worker holds the claim for too long.
    Busy,
}

impl From<Unavailable> for DropReason {
    fn from(_: Unavailable) -> Self {
        Self::FlowContended
    }
}

/// The right to write one entry and its slot's header fields, until dropped.
pub(super) struct Claim<'e> {
    control: &'e AtomicU64,
    /// What control becomes.
    next: u64,
}

impl Claim<'_> {
    /// The slot now holds a new flow; returns its generation.
    pub(super) const fn publish(&mut self) -> u32 {
        let live = generation(self.next).wrapping_add(1);
        self.next = (live as u64) << 32 | (self.next & SEQUENCE);
        live
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.control.store(self.next, Ordering::Release);
    }
}

impl Entry {
    /// The control word, if nobody is writing, together with everything stored before it.
    pub(super) fn control(&self) -> u64 {
        self.control.load(Ordering::Acquire)
    }

    /// The generation of the live flow whose key this is; `read` runs on words that belong to that flow.
    pub(super) fn holds<R>(&self, key: &[u64; 5], read: impl FnOnce(&Self) -> R) -> Option<(u32, R)> {
        let before = self.control();
        // All words at once: which one differs is as good as random, and a wrong guess costs more than reading all.
        let differs =
            key.iter().zip(&self.key).fold(0, |sum, (word, own)| sum | (own.load(Ordering::Relaxed) ^ word));
        if !is_live(before) || differs != 0 {
            return None;
        }
        let result = read(self);
        fence(Ordering::Acquire);
        let after = self.control.load(Ordering::Relaxed);
        (generation(before) == generation(after)).then(|| (generation(before), result))
    }

    /// Reads words of one instant, or `None` if the slot is vacant. `Err` if it is being written all the time.
    pub(super) fn snapshot<R>(&self, read: impl Fn(&Self) -> R) -> Result<Option<(u32, R)>, Unavailable> {
        for _ in 0..CLAIM_TRIES {
            let before = self.control();
            if is_claimed(before) {
                pause();
                continue;
            }
            if !is_live(before) {
                return Ok(None);
            }
            let result = read(self);
            fence(Ordering::Acquire);
            if self.control.load(Ordering::Relaxed) == before {
                return Ok(Some((generation(before), result)));
            }
        }
        Err(Unavailable::Busy)
    }

    /// Claims the flow of generation `live` for an update.
    pub(super) fn claim(&self, live: u32) -> Result<Claim<'_>, Unavailable> {
        for _ in 0..CLAIM_TRIES {
            let control = self.control.load(Ordering::Relaxed);
            if generation(control) != live {
                return Err(Unavailable::Gone);
            }
            if !is_claimed(control) && self.swap(control, control | CLAIMED) {
                return Ok(Claim { control: &self.control, next: released(control, live) });
            }
            pause();
        }
        Err(Unavailable::Busy)
    }

    /// Claims the slot itself, which must still be as `control` describes: its flow, if it holds one, is gone from
    /// here on. Dropping the claim leaves the slot vacant unless [`Claim::publish`] was called.
    pub(super) fn take(&self, control: u64) -> Option<Claim<'_>> {
        let vacant = generation(control).wrapping_add(generation(control) & 1);
        let taken = (u64::from(vacant) << 32) | (control & SEQUENCE) | CLAIMED;
        (!is_claimed(control) && self.swap(control, taken))
            .then(|| Claim { control: &self.control, next: released(control, vacant) })
    }

    /// What `control` says about the slot: `Some(true)` live, `Some(false)` vacant, `None` being written.
    pub(super) const fn occupied(control: u64) -> Option<bool> {
        if is_claimed(control) { None } else { Some(is_live(control)) }
    }

    fn swap(&self, old: u64, new: u64) -> bool {
        let swapped = self.control.compare_exchange(old, new, Ordering::Acquire, Ordering::Relaxed).is_ok();
        // A reader that sees any of the stores that follow must also see the claim.
        fence(Ordering::Release);
        swapped
    }

    /// Ends a claim whose holder died: the flow, half written, is given up. Only for a successor process before
    /// its first worker starts.
    pub(super) fn abandon_claim(&self) -> bool {
        let control = self.control.load(Ordering::Relaxed);
        if is_claimed(control) {
            let vacant = generation(control).wrapping_add(generation(control) & 1);
            self.control.store(released(control & !CLAIMED, vacant), Ordering::Release);
        }
        is_claimed(control)
    }
}

#[cfg(loom)]
impl Header {
    /// Of a set with no flows: what zeroed memory is.
    pub(super) fn vacant() -> Self {
        use core::array::from_fn;
        Self {
            claim: AtomicU32::new(0),
            _unused: AtomicU32::new(0),
            tags: Tags::vacant(),
            classes: from_fn(|_| AtomicU8::new(0)),
            deadlines: from_fn(|_| AtomicU32::new(0)),
        }
    }
}

#[cfg(any(test, loom))]
impl Entry {
    /// Of no flow: what zeroed memory is.
    pub(super) fn vacant() -> Self {
        use core::array::from_fn;
        let word = |_| AtomicU64::new(0);
        Self {
            control: AtomicU64::new(0),
            key: from_fn(word),
            stamp: AtomicU64::new(0),
            state: AtomicU32::new(0),
            potential: AtomicU32::new(0),
            peers: from_fn(|_| from_fn(|_| AtomicU32::new(0))),
            packets: from_fn(word),
            bytes: from_fn(word),
        }
    }
}

#[cfg(any(test, loom))]
impl Rare {
    /// Of no flow: what zeroed memory is.
    pub(super) fn vacant() -> Self {
        use core::array::from_fn;
        let word = |_| AtomicU64::new(0);
        Self {
            opened: AtomicU32::new(0),
            note: from_fn(|_| AtomicU32::new(0)),
            revoke: AtomicU32::new(0),
            drained: AtomicU32::new(0),
            drafts: AtomicU32::new(0),
            told_packets: from_fn(word),
            told_bytes: from_fn(word),
        }
    }
}

#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<Entry>() == 128);
    assert!(size_of::<Header>() == 64);
    assert!(size_of::<Rare>() == 56);
};
