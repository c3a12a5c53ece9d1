//! A hash map in shards that tables of different epochs share: a changed table copies the shards it changes.
//!
//! Each shard is open addressed, at most two thirds full, and never changes once it is made.

use std::sync::Arc;

/// What can be looked up in a [`Map`].
pub(super) trait Key: Copy + Eq {
    /// Spreads the key over 64 bits.
    fn mix(self) -> u64;
}

/// Multiplies and folds: every input bit reaches every output bit.
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
    fn mix(self) -> u64 {
        u64::from(self).mix()
    }
}

impl Key for u64 {
    fn mix(self) -> u64 {
        // Twice: both the high half (the shard) and the low half (the slot) must be good.
        fold(fold(self ^ ROOT, PHI), ROOT)
    }
}

impl Key for core::num::NonZeroU64 {
    fn mix(self) -> u64 {
        self.get().mix()
    }
}

impl Key for (u64, u64) {
    fn mix(self) -> u64 {
        (self.1 ^ self.0.mix()).mix()
    }
}

type Slot<K, V> = Option<(K, V)>;
type Shard<K, V> = Arc<[Slot<K, V>]>;

/// A map. `Option<(K, V)>` should be no larger than `(K, V)`: choose a `V` with a niche.
#[derive(Debug)]
pub(super) struct Map<K, V> {
    shards: Box<[Shard<K, V>]>,
}

impl<K, V> Clone for Map<K, V> {
    fn clone(&self) -> Self {
        Self { shards: self.shards.clone() }
    }
}

/// Keys per shard when the map is made: a change of one key copies so many.
const SHARD: usize = 128;

/// The place of the upper half of `hash` among `count` places of equal size, and likewise of the lower.
const fn upper(hash: u64, count: usize) -> usize {
    (((hash >> 32) * count as u64) >> 32) as usize
}

const fn lower(hash: u64, count: usize) -> usize {
    (((hash & 0xffff_ffff) * count as u64) >> 32) as usize
}

impl<K: Key, V: Copy> Map<K, V> {
    /// Of distinct keys.
    ///
    /// # Errors
    /// A key that comes twice.
    pub(super) fn new(entries: &[(K, V)]) -> Result<Self, K> {
        let count = entries.len() / SHARD + 1;
        let mut ends = vec![0_usize; count + 1];
        let home: Vec<usize> = entries.iter().map(|(key, _)| upper(key.mix(), count)).collect();
        home.iter().for_each(|shard| ends[shard + 1] += 1);
        for shard in 0..count {
            ends[shard + 1] += ends[shard];
        }
        let (mut next, mut sorted) = (ends.clone(), vec![0_usize; entries.len()]);
        for (at, shard) in home.iter().enumerate() {
            sorted[next[*shard]] = at;
            next[*shard] += 1;
        }
        let shard = |shard: usize| {
            let members = &sorted[ends[shard]..ends[shard + 1]];
            fill(members.len(), members.iter().map(|at| entries[*at]))
        };
        Ok(Self { shards: (0..count).map(shard).collect::<Result<_, _>>()? })
    }

    /// The value of `key`.
    #[inline]
    pub(super) fn get(&self, key: K) -> Option<V> {
        self.get_hashed(key, key.mix())
    }

    /// As [`Map::get`], where `hash` is that of `key`.
    #[inline]
    pub(super) fn get_hashed(&self, key: K, hash: u64) -> Option<V> {
        let shard = self.shards.get(upper(hash, self.shards.len()))?;
        let mut at = lower(hash, shard.len());
        // A shard is never full: the loop ends at an empty slot.
        for _ in 0..shard.len() {
            match shard.get(at)? {
                Some((found, value)) if *found == key => return Some(*value),
                Some(_) => at += 1,
                None => return None,
            }
            if at == shard.len() {
                at = 0;
            }
        }
        None
    }

    /// Takes out `remove`, then puts `put`, in place of what has those keys; of two equal keys the last counts.
    /// Keys that are not there are not missed.
    pub(super) fn change(&mut self, remove: &[K], put: &[(K, V)]) {
        let count = self.shards.len();
        let mut touched: Vec<(usize, K, Option<V>)> =
            remove.iter().map(|key| (upper(key.mix(), count), *key, None)).collect();
        touched.extend(put.iter().map(|(key, value)| (upper(key.mix(), count), *key, Some(*value))));
        touched.sort_by_key(|(shard, ..)| *shard);
        for group in touched.chunk_by(|a, b| a.0 == b.0) {
            let Some(shard) = group.first().and_then(|(shard, ..)| self.shards.get_mut(*shard)) else {
                continue;
            };
            let mut held: Vec<(K, V)> = shard.iter().flatten().copied().collect();
            for (_, key, value) in group {
                let known = held.iter().position(|(held, _)| held == key);
                match (known, value) {
                    (Some(at), Some(value)) => held[at].1 = *value,
                    (Some(at), None) => drop(held.swap_remove(at)),
                    (None, Some(value)) => held.push((*key, *value)),
                    (None, None) => {}
                }
            }
            if let Ok(made) = fill(held.len(), held.into_iter()) {
                *shard = made;
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let shards = self.shards.iter().map(|shard| size_of_val::<[Slot<K, V>]>(shard) + 16);
        shards.sum::<usize>() + size_of_val(&*self.shards)
    }
}

/// A shard of `count` distinct keys.
fn fill<K: Key, V: Copy>(count: usize, entries: impl Iterator<Item = (K, V)>) -> Result<Shard<K, V>, K> {
    let mut slots: Vec<Slot<K, V>> = vec![None; count + count / 2 + 1];
    for (key, value) in entries {
        let mut at = lower(key.mix(), slots.len());
        while let Some((taken, _)) = slots[at] {
            if taken == key {
                return Err(key);
            }
            at = if at + 1 == slots.len() { 0 } else { at + 1 };
        }
        slots[at] = Some((key, value));
    }
    Ok(slots.into())
}

/// The hash of what `hash` stands for together with `more`.
#[inline]
pub(super) fn with(hash: u64, more: u32) -> u64 {
    fold(hash ^ u64::from(more), PHI)
}

/// Tells most hashes that are not in a set by one load that stays in the cache, where a slot of a large map would not.
#[derive(Clone, Debug)]
pub(super) struct Filter(Arc<[u64]>);

/// Bits of the filter per hash, two of them set for each: one hash in some thirty that is not in the set passes.
const FILTER_BITS: usize = 12;

impl Filter {
    /// Of so many hashes. A small set needs none: then everything passes.
    pub(super) fn new(hashes: &[u64]) -> Self {
        const SMALL: usize = 64;
        if hashes.len() < SMALL {
            return Self(Arc::new([]));
        }
        let mut words = vec![0_u64; hashes.len() * FILTER_BITS / 64 + 1];
        set(&mut words, hashes);
        Self(words.into())
    }

    /// Lets further hashes pass.
    pub(super) fn add(&mut self, hashes: &[u64]) {
        if !self.0.is_empty() {
            let mut words = self.0.to_vec();
            set(&mut words, hashes);
            self.0 = words.into();
        }
    }

    /// `false`: the hash is not in the set.
    #[inline]
    pub(super) fn passes(&self, hash: u64) -> bool {
        let (word, bits) = place(hash, self.0.len());
        self.0.get(word).is_none_or(|word| word & bits == bits)
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val::<[u64]>(&self.0)
    }
}

fn set(words: &mut [u64], hashes: &[u64]) {
    for hash in hashes {
        let (word, bits) = place(*hash, words.len());
        words[word] |= bits;
    }
}

/// The word of a hash among `count`, and its two bits.
const fn place(hash: u64, count: usize) -> (usize, u64) {
    (upper(hash, count), 1 << (hash & 63) | 1 << (hash >> 6 & 63))
}

#[cfg(test)]
#[path = "map_tests.rs"]
mod tests;
