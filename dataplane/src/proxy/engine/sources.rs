//! How many connections each source has: a table of fixed size with a secret hash.

use core::hash::Hasher as _;
use std::io;

use siphasher::sip::SipHasher13;

use crate::address::Address;

#[derive(Clone, Copy, Default)]
struct Entry {
    key: (u64, u64),
    /// 0 in an empty place.
    count: u32,
}

/// Counts by IPv4 address or IPv6 /64: what one customer of a network usually has.
pub(super) struct Sources {
    entries: Box<[Entry]>,
    secret: [u64; 2],
    max: u32,
}

impl Sources {
    /// For at most `connections` at once, `max` of them from one source; 0 is no limit and takes no memory.
    ///
    /// # Errors
    /// If the kernel gives no random bytes.
    pub(super) fn new(connections: usize, max: u32) -> io::Result<Self> {
        let places = if max == 0 { 0 } else { (2 * connections.max(1)).next_power_of_two() };
        let mut secret = [0_u8; 16];
        getrandom::fill(&mut secret).map_err(|error| io::Error::other(error.to_string()))?;
        let (low, high) = secret.split_at(8);
        let word = |half: &[u8]| half.iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
        Ok(Self {
            entries: vec![Entry::default(); places].into_boxed_slice(),
            secret: [word(low), word(high)],
            max,
        })
    }

    /// Counts one more from `source`, unless it has as many as it may.
    pub(super) fn enter(&mut self, source: Address) -> bool {
        if self.entries.is_empty() {
            return true;
        }
        let key = key(source);
        let at = self.find(key);
        let entry = &mut self.entries[at];
        if entry.count >= self.max {
            return false;
        }
        *entry = Entry { key, count: entry.count + 1 };
        true
    }

    /// Counts one less from `source`, which [`Sources::enter`] has counted.
    pub(super) fn leave(&mut self, source: Address) {
        if self.entries.is_empty() {
            return;
        }
        let at = self.find(key(source));
        self.entries[at].count = self.entries[at].count.saturating_sub(1);
        if self.entries[at].count == 0 {
            self.close_gap(at);
        }
    }

    /// Where a key is, or would be. There is always an empty place: half of them are never used.
    fn find(&self, key: (u64, u64)) -> usize {
        let mask = self.entries.len() - 1;
        let mut at = self.home(key);
        while self.entries[at].count > 0 && self.entries[at].key != key {
            at = (at + 1) & mask;
        }
        at
    }

    fn home(&self, key: (u64, u64)) -> usize {
        let mut hasher = SipHasher13::new_with_keys(self.secret[0], self.secret[1]);
        hasher.write_u64(key.0);
        hasher.write_u64(key.1);
        #[expect(clippy::cast_possible_truncation, reason = "masked")]
        let home = hasher.finish() as usize & (self.entries.len() - 1);
        home
    }

    /// Moves later entries of the same run forward, so that none is behind the empty place at `gap`.
    fn close_gap(&mut self, mut gap: usize) {
        let mask = self.entries.len() - 1;
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            if self.entries[at].count == 0 {
                return;
            }
            let home = self.home(self.entries[at].key);
            let distance = |to: usize| to.wrapping_sub(home) & mask;
            if distance(gap) <= distance(at) {
                self.entries[gap] = self.entries[at];
                self.entries[at].count = 0;
                gap = at;
            }
        }
    }
}

/// An IPv4 address, or the upper half of an IPv6 address.
fn key(source: Address) -> (u64, u64) {
    match source.as_v4() {
        Some(v4) => (0, u64::from(v4) | 1 << 32),
        None => ((source.bits() >> 64) as u64, 0),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a map that cannot be wrong; few sources and a full table, so that runs form.
        #[test]
        fn counts_are_exact(steps in proptest::collection::vec((any::<bool>(), 0..12_u8), 1..300)) {
            let mut sources = Sources::new(12, 3).unwrap();
            let mut model: HashMap<u8, u32> = HashMap::new();
            for (enter, who) in steps {
                let address = if who % 2 == 0 {
                    Address::v4([10, 0, 0, who])
                } else {
                    let mut bytes = [0; 16];
                    (bytes[0], bytes[7], bytes[15]) = (0xfd, who, who);
                    Address::v6(bytes)
                };
                let total: u32 = model.values().sum();
                let count = model.entry(who).or_default();
                if enter && total < 12 {
                    let may = *count < 3;
                    prop_assert_eq!(sources.enter(address), may);
                    *count += u32::from(may);
                } else if *count > 0 {
                    sources.leave(address);
                    *count -= 1;
                }
            }
        }
    }

    #[test]
    fn an_ipv6_network_is_one_source_and_no_limit_is_none() {
        let at = |last: u8, network: u8| {
            let mut bytes = [0; 16];
            (bytes[0], bytes[7], bytes[15]) = (0xfd, network, last);
            Address::v6(bytes)
        };
        let mut sources = Sources::new(4, 1).unwrap();
        for (name, address, expected) in [
            ("the first", at(1, 1), true),
            ("its neighbour", at(2, 1), false),
            ("another network", at(1, 2), true),
            ("an IPv4 address", Address::v4([10, 0, 0, 1]), true),
        ] {
            assert_eq!(sources.enter(address), expected, "{name}");
        }
        let mut unlimited = Sources::new(4, 0).unwrap();
        assert!((0..100).all(|_| unlimited.enter(at(1, 1))));
        unlimited.leave(at(1, 1));
    }
}
