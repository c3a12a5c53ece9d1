//! Verdicts on first fragments, shared by all workers: one word each, no claims.

use super::super::hash::HashKey;
use super::super::sync::{AtomicU64, Ordering};
use crate::clock::Now;
use crate::verdict::DropReason;

/// Slots probed for one datagram.
const WAYS: usize = 8;
/// Deadlines are kept in steps of 4 ms, modulo 2^16 steps (262 s).
const STEP_MILLIS: u32 = 4;

/// The verdicts. A word holds, from the top: 27 bits of the datagram's keyed hash, the first fragment's length in
/// units of 8 bytes (13 bits), the verdict (8 bits: 0 forward, else 1 + reason), the deadline (16 bits). 0 is
/// vacant. With the bits that choose the set, two datagrams would have to agree in some 40 bits of SipHash to be
/// confused, and the later fragments of one that has no first fragment can never be put together by a receiver.
#[derive(Debug)]
pub struct FragmentHeads {
    words: Box<[AtomicU64]>,
    secret: HashKey,
}

const TAG: u64 = !0 << 37;

impl FragmentHeads {
    /// Room for `datagrams` verdicts (rounded up to a power of two, at least 8), hashed under `secret`.
    #[must_use]
    pub fn new(datagrams: usize, secret: HashKey) -> Self {
        let slots = datagrams.max(WAYS).next_power_of_two();
        Self { words: (0..slots).map(|_| AtomicU64::new(0)).collect(), secret }
    }

    pub(super) fn hash(&self, words: &[u64; 5]) -> u64 {
        self.secret.hash_words(words)
    }

    fn set(&self, hash: u64) -> &[AtomicU64] {
        #[expect(clippy::cast_possible_truncation, reason = "masked to the table")]
        let set = hash as usize & (self.words.len() / WAYS - 1);
        &self.words[set * WAYS..(set + 1) * WAYS]
    }

    /// Tells the other workers what to do with later fragments. Overwrites the word of the same datagram, else a
    /// vacant or expired one, else the one that expires first: then the fragments of that datagram time out.
    pub(super) fn publish(
        &self,
        hash: u64,
        verdict: Result<(), DropReason>,
        len: u16,
        deadline: u32,
        now: Now,
    ) {
        let step = steps(deadline);
        let verdict = verdict.map_or_else(|reason| 1 + reason as u64, |()| 0);
        let word = (hash & TAG) | u64::from(len / 8) << 24 | verdict << 16 | u64::from(step);
        let now = steps(now.as_millis32());
        let rank = |slot: &&AtomicU64| {
            let old = slot.load(Ordering::Relaxed);
            if is_of(old, hash) {
                0
            } else if old == 0 || left(old, now).is_none() {
                1
            } else {
                2 + u32::from(left(old, now).unwrap_or(0))
            }
        };
        if let Some(slot) = self.set(hash).iter().min_by_key(rank) {
            // Relaxed: the word is the whole message.
            slot.store(if word == 0 { 1 } else { word }, Ordering::Relaxed);
        }
    }

    /// Forgets the verdict on a datagram all of whose fragments have come. A verdict that another worker publishes
    /// at the same moment stays.
    pub(super) fn withdraw(&self, hash: u64) {
        for slot in self.set(hash) {
            let word = slot.load(Ordering::Relaxed);
            if is_of(word, hash) {
                // Relaxed: the word is the whole message. A failure is the verdict on the id's next datagram.
                let _ = slot.compare_exchange(word, 0, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
    }

    /// What to do with later fragments, and the first one's length in bytes.
    pub(super) fn find(&self, hash: u64, now: Now) -> Option<(Result<(), DropReason>, u16)> {
        let now = steps(now.as_millis32());
        let words = self.set(hash).iter().map(|slot| slot.load(Ordering::Relaxed));
        let word = words.into_iter().find(|word| is_of(*word, hash))?;
        left(word, now)?;
        let verdict = match word >> 16 & 0xff {
            0 => Ok(()),
            reason => Err(*DropReason::ALL.get(usize::try_from(reason - 1).ok()?)?),
        };
        Some((verdict, u16::try_from((word >> 24 & 0x1fff) * 8).ok()?))
    }
}

/// Whether a word is the verdict on the datagram with this hash.
const fn is_of(word: u64, hash: u64) -> bool {
    word != 0 && (word ^ hash) & TAG == 0
}

#[expect(clippy::cast_possible_truncation, reason = "wraps on purpose")]
const fn steps(millis: u32) -> u16 {
    (millis / STEP_MILLIS) as u16
}

/// Steps until a word expires, or `None` if it has.
#[expect(clippy::cast_possible_truncation, reason = "the lowest 16 bits")]
const fn left(word: u64, now: u16) -> Option<u16> {
    let left = (word as u16).wrapping_sub(now);
    if left == 0 || left > 0x7fff { None } else { Some(left) }
}
