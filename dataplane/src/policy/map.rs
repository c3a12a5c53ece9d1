//! A read-only hash map: open addressing, at most half full, every probe bounded.

/// What can be looked up in a [`Map`].
pub(super) trait Key: Copy + Eq {
    /// Spreads the key over 64 bits.
    fn mix(self, seed: u64) -> u64;
}

/// Multiplies and folds: every input bit reaches the low bits that choose the slot.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
    let folded = (product >> 64) as u64 ^ product as u64;
    folded
}

/// Odd 64-bit constants (the fraction of the golden ratio, and of the square root of two): any odd number with
/// mixed bits does.
const PHI: u64 = 0x9e37_79b9_7f4a_7c15;
const ROOT: u64 = 0x6a09_e667_f3bc_c909;

impl Key for u32 {
    fn mix(self, seed: u64) -> u64 {
        fold(u64::from(self) ^ seed ^ ROOT, PHI)
    }
}

impl Key for u64 {
    fn mix(self, seed: u64) -> u64 {
        fold(self ^ seed ^ ROOT, PHI)
    }
}

impl Key for (u64, u64) {
    fn mix(self, seed: u64) -> u64 {
        self.1.mix(self.0.mix(seed))
    }
}

/// The longest run of slots a lookup should have to look at. A seed that needs more is replaced. (With a good hash,
/// a million keys in a half-full table need about 50, and one or two on average.)
const REACH_GOAL: usize = 64;
/// How many seeds are tried per size before the table is doubled, and how often it is doubled.
const SEEDS: u64 = 2;
const DOUBLINGS: u32 = 2;

/// A read-only map. `Option<(K, V)>` should be no larger than `(K, V)`: choose a `V` with a niche.
#[derive(Debug)]
pub(super) struct Map<K, V> {
    slots: Box<[Option<(K, V)>]>,
    mask: usize,
    seed: u64,
    /// The most slots any key that is in the map needs; a lookup never looks further.
    reach: usize,
    /// [`FILTER_BITS`] per key, one of them set for each: most keys that are not here are told by one load that
    /// stays in the cache, where a slot of a large map would not. Empty for a map that is small itself.
    filter: Box<[u64]>,
}

/// Bits of the filter per key: one key in sixteen that is not in the map has to look at a slot all the same.
const FILTER_BITS: usize = 16;
/// Slots, bytes, from which a map has a filter: half of a usual second-level cache.
const FILTER_FROM: usize = 1 << 20;

impl<K: Key, V: Copy> Map<K, V> {
    /// Of distinct keys.
    ///
    /// # Errors
    /// A key that comes twice.
    pub(super) fn new(entries: &[(K, V)]) -> Result<Self, K> {
        let least = (entries.len() * 2).next_power_of_two();
        let mut best: Option<Self> = None;
        for doubling in 0..=DOUBLINGS {
            for seed in 0..SEEDS {
                let made = Self::with_seed(entries, least << doubling, (seed + 1).wrapping_mul(ROOT))?;
                if made.reach <= REACH_GOAL {
                    return Ok(made);
                }
                if best.as_ref().is_none_or(|best| made.reach < best.reach) {
                    best = Some(made);
                }
            }
        }
        // Correct all the same, only slower than the goal.
        best.map_or_else(|| Self::with_seed(entries, least, ROOT), Ok)
    }

    fn with_seed(entries: &[(K, V)], capacity: usize, seed: u64) -> Result<Self, K> {
        let filter = match capacity * size_of::<Option<(K, V)>>() {
            FILTER_FROM.. => vec![0; (entries.len() * FILTER_BITS).next_power_of_two() / 64].into(),
            _ => Box::default(),
        };
        let mut map = Self { slots: vec![None; capacity].into(), mask: capacity - 1, seed, reach: 0, filter };
        for &(key, value) in entries {
            let hash = key.mix(map.seed);
            let mut at = map.home(hash);
            let mut steps = 1;
            while let Some((taken, _)) = map.slots[at] {
                if taken == key {
                    return Err(key);
                }
                at = (at + 1) & map.mask;
                steps += 1;
            }
            map.slots[at] = Some((key, value));
            if !map.filter.is_empty() {
                let (word, bit) = map.filter_bit(hash);
                map.filter[word] |= bit;
            }
            map.reach = map.reach.max(steps);
        }
        Ok(map)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the mask cuts it anyway")]
    fn home(&self, hash: u64) -> usize {
        hash as usize & self.mask
    }

    /// The filter's word and bit of a hash, from the half that [`Map::home`] uses least.
    fn filter_bit(&self, hash: u64) -> (usize, u64) {
        let turned = hash.rotate_left(32);
        (self.word(turned >> 6), 1 << (turned & 63))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the mask cuts it anyway")]
    fn word(&self, number: u64) -> usize {
        number as usize & (self.filter.len() - 1)
    }

    /// The value of `key`: at most `reach` adjacent slots are read.
    #[inline]
    pub(super) fn get(&self, key: K) -> Option<V> {
        let hash = key.mix(self.seed);
        if !self.filter.is_empty() {
            let (word, bit) = self.filter_bit(hash);
            if self.filter.get(word).is_none_or(|held| held & bit == 0) {
                return None;
            }
        }
        let mut at = self.home(hash);
        for _ in 0..self.reach {
            match self.slots.get(at)? {
                None => return None,
                Some((found, value)) if *found == key => return Some(*value),
                Some(_) => at = (at + 1) & self.mask,
            }
        }
        None
    }

    pub(super) fn bytes(&self) -> usize {
        self.slots.len() * size_of::<Option<(K, V)>>() + size_of_val(&*self.filter)
    }
}

#[cfg(test)]
mod tests {
    use core::num::NonZeroU32;
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::{Key, Map, REACH_GOAL};

    fn value(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n | 1).unwrap()
    }

    #[test]
    fn empty_map_finds_nothing() {
        assert_eq!(Map::<u32, NonZeroU32>::new(&[]).unwrap().get(0), None);
    }

    #[test]
    fn a_key_that_comes_twice_is_refused() {
        assert_eq!(Map::new(&[(7_u32, value(1)), (8, value(1)), (7, value(2))]).err(), Some(7));
    }

    #[test]
    fn dense_addresses_stay_within_reach() {
        let entries: Vec<_> = (0..50_000_u32).map(|n| (0x0a00_0000 + n, value(n))).collect();
        let map = Map::new(&entries).unwrap();
        assert!(map.reach <= REACH_GOAL, "reach {}", map.reach);
        assert_eq!(size_of::<Option<(u32, NonZeroU32)>>(), 8, "the niche is used");
    }

    #[test]
    fn a_large_map_finds_what_it_holds_and_nothing_else() {
        let key = |n: u64| n.wrapping_mul(0x0100_0000_01b3);
        let entries: Vec<_> = (0..40_000).map(|n| (key(n), value(u32::try_from(n).unwrap()))).collect();
        let map = Map::new(&entries).unwrap();
        assert!(!map.filter.is_empty(), "large enough for a filter");
        assert!(entries.iter().all(|(key, value)| map.get(*key) == Some(*value)));
        let absent = (40_000..80_000).filter(|n| map.get(key(*n)).is_none()).count();
        assert_eq!(absent, 40_000);
        let passed = (40_000..80_000).filter(|n| {
            let (word, bit) = map.filter_bit(key(*n).mix(map.seed));
            map.filter[word] & bit != 0
        });
        assert!(passed.count() < 40_000 / 8, "the filter tells most of them");
    }

    proptest! {
        #[test]
        fn agrees_with_the_standard_map(
            held in proptest::collection::hash_map((0_u64..9, 0_u64..99), 1_u32.., 0..300),
            asked in proptest::collection::vec((0_u64..9, 0_u64..99), 300),
        ) {
            let held: HashMap<_, _> = held.into_iter().map(|(k, v)| (k, value(v))).collect();
            let map = Map::new(&held.iter().map(|(k, v)| (*k, *v)).collect::<Vec<_>>()).unwrap();
            for key in asked {
                prop_assert_eq!(map.get(key), held.get(&key).copied());
            }
        }
    }
}
