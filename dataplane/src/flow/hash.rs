//! The keyed hash of flow keys: SipHash-1-3 over whole words.
//!
//! Anybody who can send packets chooses the keys of this table, so the hash must not let them aim at one set, not
//! even by trial: SipHash (Aumasson and Bernstein, 2012) is a keyed pseudorandom function, and 1-3 are the rounds
//! that the standard library trusts with the same task. A keyed multiply-fold takes a fifth of the time (2 ns
//! against 11 ns for an IPv4 key, `flow::tests::cost::parts` on a busy two-core virtual machine), but one collision
//! found by watching evictions yields more of them; bounded probes would then be the only defence.

use std::io;

use super::key::FlowKey;

/// The 128-bit secret of one table. Random per boot; fixed only in replays and tests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashKey(pub [u64; 2]);

impl core::fmt::Debug for HashKey {
    /// Never shows the secret: whoever learns it can aim at a set.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HashKey(..)")
    }
}

/// The hash of one [`FlowKey`] under a table's secret; meaningless for another table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowHash(pub(super) u64);

impl HashKey {
    /// A secret from the kernel's random bytes.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn random() -> io::Result<Self> {
        let mut secret = [0; 16];
        getrandom::fill(&mut secret).map_err(|error| io::Error::other(error.to_string()))?;
        let bits = u128::from_le_bytes(secret);
        #[expect(clippy::cast_possible_truncation, reason = "each half is taken on purpose")]
        let words = [bits as u64, (bits >> 64) as u64];
        Ok(Self(words))
    }

    /// Hashes five words that are no flow key.
    pub(super) fn hash_words(self, words: &[u64; 5]) -> u64 {
        siphash13(self.0, words, last_block(40, 0))
    }

    /// Hashes one key: 15 bytes of an IPv4 one, 39 of an IPv6 one. What is left of the last word, seven bytes, shares its
    /// block with the length.
    #[inline(always)]
    pub(super) fn hash(self, key: &FlowKey) -> FlowHash {
        let words = key.words();
        let [ends @ .., rest] = words;
        // The lowest byte of the last word is the same in every key.
        let rest = rest >> 8;
        FlowHash(match (key.first.as_v4(), key.second.as_v4()) {
            (Some(first), Some(second)) => {
                let ends = u64::from(first) << 32 | u64::from(second);
                siphash13(self.0, &[ends], last_block(15, rest))
            }
            _ => siphash13(self.0, &ends, last_block(39, rest)),
        })
    }
}

/// The last block: the message's length in its top byte, and below it the bytes that fill no word (SipHash, section 2.2).
const fn last_block(len: u64, rest: u64) -> u64 {
    len << 56 | rest
}

/// SipHash-1-3 of the little-endian bytes of `words` and what `last` holds of the message.
#[inline(always)]
fn siphash13<const N: usize>(key: [u64; 2], words: &[u64; N], last: u64) -> u64 {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    for &word in words.iter().chain([&last]) {
        v[3] ^= word;
        round(&mut v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for _ in 0..3 {
        round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

#[inline(always)]
fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use core::hash::Hasher;

    use proptest::prelude::*;
    use siphasher::sip::SipHasher13;

    use super::{last_block, siphash13};

    proptest! {
        /// The word form must be the published function, not a relative of it.
        #[test]
        fn equals_the_reference(key in any::<[u64; 2]>(), words in any::<[u64; 5]>(), rest in 0u64..1 << 56) {
            let reference = |words: &[u64], rest: &[u8]| {
                let mut hasher = SipHasher13::new_with_keys(key[0], key[1]);
                words.iter().for_each(|word| hasher.write(&word.to_le_bytes()));
                hasher.write(rest);
                hasher.finish()
            };
            let seven = &rest.to_le_bytes()[..7];
            prop_assert_eq!(siphash13(key, &words, last_block(40, 0)), reference(&words, &[]));
            prop_assert_eq!(siphash13(key, &[words[0]], last_block(15, rest)), reference(&words[..1], seven));
            let four = [words[0], words[1], words[2], words[3]];
            prop_assert_eq!(siphash13(key, &four, last_block(39, rest)), reference(&four, seven));
        }
    }
}
