//! Which slots of a set may hold a key: 16 bits of each slot's hash, four to a word.
//!
//! Words, so that a probe compares all tags of a set in some twenty instructions and without a branch that depends
//! on the slot. A loop over eight tags mispredicts its end for nearly every packet, which costs as much as a lookup.

use super::entry::WAYS;
use super::sync::{AtomicU64, Ordering::Relaxed};

const LANES: usize = 4;
const WORDS: usize = WAYS.div_ceil(LANES);
/// The lowest and the highest bit of each lane.
const LOW: u64 = 0x0001_0001_0001_0001;
const HIGH: u64 = LOW << 15;

/// The tags of one set; 0 stands for a vacant slot. Each is written by its slot's claim holder.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Tags([AtomicU64; WORDS]);

impl Tags {
    /// The tag of a slot.
    #[expect(clippy::cast_possible_truncation, reason = "takes one lane")]
    pub(super) fn get(&self, way: usize) -> u16 {
        (self.0[way / LANES].load(Relaxed) >> (way % LANES * 16)) as u16
    }

    /// Replaces the tag of a slot, for the holder of its claim. Others may replace their slots' tags in the same word
    /// meanwhile: exclusive or changes this lane only.
    pub(super) fn set(&self, way: usize, tag: u16) {
        let change = u64::from(self.get(way) ^ tag) << (way % LANES * 16);
        self.0[way / LANES].fetch_xor(change, Relaxed);
    }

    /// The slots with this tag; with 0 the vacant ones.
    #[inline(always)]
    pub(super) fn matching(&self, tag: u16) -> Ways {
        let mut ways = 0;
        for (at, word) in self.0.iter().enumerate() {
            let other = word.load(Relaxed) ^ (u64::from(tag) * LOW);
            // The high bit of each lane that is zero: adding carries into it from any other bit (exact, unlike the
            // shorter form that subtracts).
            let zero = !(((other & !HIGH) + !HIGH) | other | !HIGH);
            ways |= zero >> at;
        }
        Ways(ways)
    }

    /// How many slots are not vacant.
    pub(super) fn occupied(&self) -> usize {
        WAYS - self.matching(0).count()
    }
}

/// Slots of one set. Bit `16 * lane + 15 - word` stands for the slot of that lane of that word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ways(u64);

impl Iterator for Ways {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        while self.0 != 0 {
            let bit = self.0.trailing_zeros() as usize;
            self.0 &= self.0 - 1;
            let way = (15 - bit % 16) * LANES + bit / 16;
            // The model checker's sets do not fill a word.
            if way < WAYS {
                return Some(way);
            }
        }
        None
    }
}

#[cfg(any(test, loom))]
impl Tags {
    /// All vacant: what zeroed memory is.
    pub(super) fn vacant() -> Self {
        Self(core::array::from_fn(|_| AtomicU64::new(0)))
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a loop, with tags that differ in few bits, so that carries between lanes would show.
        #[test]
        fn finds_what_a_loop_finds(
            tags in prop::array::uniform8(prop_oneof![0_u16..4, 0x7fff_u16..0x8002, Just(0xffff)]),
            tag in prop_oneof![0_u16..4, 0x7fff_u16..0x8002, Just(0xffff)],
        ) {
            let ours = Tags::vacant();
            for (way, tag) in tags.into_iter().enumerate() {
                ours.set(way, !tag);
                ours.set(way, tag);
            }
            let mut found: Vec<usize> = ours.matching(tag).collect();
            found.sort_unstable();
            let expected: Vec<usize> = (0..WAYS).filter(|&way| tags[way] == tag).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(ours.occupied(), tags.iter().filter(|tag| **tag != 0).count());
            prop_assert!((0..WAYS).all(|way| ours.get(way) == tags[way]));
        }
    }
}
