//! Address to class for what is no workload: disjoint ranges that cover each family's whole space.
//!
//! The compiler cuts all prefixes of all networks into disjoint ranges, so the longest match is simply the range
//! that holds the address: a binary search, for IPv4 within the ranges that share the upper 16 bits.

use hashbrown::HashMap;

use super::class::Class;
use super::table::TableError;
use crate::address::Address;

/// Ranges of one family, first address ascending; a range ends where the next begins.
#[derive(Debug)]
pub(super) struct Ranges<T> {
    first: Box<[T]>,
    class: Box<[u32]>,
}

impl<T: Copy + Ord + Default> Ranges<T> {
    /// `None` unless the first range begins at zero and the others ascend.
    pub(super) fn new(ranges: &[(T, u32)]) -> Option<Self> {
        let begins = ranges.first().is_some_and(|(first, _)| *first == T::default());
        let ascends = ranges.windows(2).all(|pair| pair[0].0 < pair[1].0);
        (begins && ascends).then(|| Self {
            first: ranges.iter().map(|(first, _)| *first).collect(),
            class: ranges.iter().map(|(_, class)| *class).collect(),
        })
    }

    /// The class of `address`, which lies in the ranges from `low` up to and without `high`.
    #[inline]
    fn find_within(&self, address: T, low: usize, high: usize) -> u32 {
        let within = self.first.get(low..high).unwrap_or_default();
        let at = low + within.partition_point(|first| *first <= address);
        self.class.get(at.wrapping_sub(1)).copied().unwrap_or(0)
    }

    /// The class of `address`.
    #[inline]
    pub(super) fn find(&self, address: T) -> u32 {
        self.find_within(address, 0, self.first.len())
    }

    pub(super) fn len(&self) -> usize {
        self.first.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.first.len() * (size_of::<T>() + size_of::<u32>())
    }
}

/// IPv4 ranges with an index by the upper 16 bits of the address.
#[derive(Debug)]
pub(super) struct IndexedRanges {
    ranges: Ranges<u32>,
    /// For each value of the upper half: how many ranges begin below it. One more entry at the end.
    index: Box<[u32]>,
}

impl IndexedRanges {
    /// `None` unless the first range begins at zero, the others ascend, and there are at most `u32::MAX`.
    pub(super) fn new(ranges: &[(u32, u32)]) -> Option<Self> {
        u32::try_from(ranges.len()).ok()?;
        let mut index = Vec::with_capacity((1 << 16) + 1);
        let mut below = 0;
        for upper in 0..=1_u64 << 16 {
            while ranges.get(below as usize).is_some_and(|(first, _)| u64::from(*first) < upper << 16) {
                below += 1;
            }
            index.push(below);
        }
        Some(Self { ranges: Ranges::new(ranges)?, index: index.into() })
    }

    /// The class of `address`: two loads and a binary search among the ranges of its upper half.
    #[inline]
    pub(super) fn find(&self, address: u32) -> u32 {
        let upper = (address >> 16) as usize;
        let low = self.index.get(upper).copied().unwrap_or(0) as usize;
        let high = self.index.get(upper + 1).copied().unwrap_or(0) as usize;
        self.ranges.find_within(address, low, high)
    }

    pub(super) fn len(&self) -> usize {
        self.ranges.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.ranges.bytes() + self.index.len() * size_of::<u32>()
    }
}

/// The space of both families outside workloads.
#[derive(Debug)]
pub(super) struct Outside {
    v4: IndexedRanges,
    v6: Ranges<u128>,
    classes: Box<[Class]>,
}

impl Outside {
    /// From the first address and class of each range.
    pub(super) fn new(v4: &[(u32, Class)], v6: &[(u128, Class)]) -> Result<Self, TableError> {
        let (mut classes, mut index) = (Vec::new(), HashMap::new());
        let mut number = |class: Class| {
            let next = u32::try_from(classes.len()).unwrap_or(u32::MAX);
            *index.entry(class).or_insert_with(|| {
                classes.push(class);
                next
            })
        };
        let v4: Vec<_> = v4.iter().map(|(first, class)| (*first, number(*class))).collect();
        let v6: Vec<_> = v6.iter().map(|(first, class)| (*first, number(*class))).collect();
        Ok(Self {
            v4: IndexedRanges::new(&v4).ok_or(TableError::Ranges("IPv4"))?,
            v6: Ranges::new(&v6).ok_or(TableError::Ranges("IPv6"))?,
            classes: classes.into(),
        })
    }

    /// The class of an address that no workload owns.
    #[inline]
    pub(super) fn find(&self, address: Address) -> Class {
        let at = match address.as_v4() {
            Some(bits) => self.v4.find(bits),
            None => self.v6.find(address.bits()),
        };
        // Every range has a class, and every address a range: there is no other case.
        self.classes.get(at as usize).copied().unwrap_or(Class::from_number(0))
    }

    pub(super) fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.v4.bytes() + self.v6.bytes() + size_of_val(&*self.classes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{IndexedRanges, Ranges};

    #[test]
    fn ranges_must_cover_from_zero_in_order() {
        assert!(Ranges::<u32>::new(&[]).is_none(), "nothing covered");
        assert!(Ranges::new(&[(1_u32, 0)]).is_none(), "zero not covered");
        assert!(Ranges::new(&[(0_u32, 0), (5, 1), (5, 2)]).is_none(), "an empty range");
        assert!(Ranges::new(&[(0_u128, 0), (5, 1)]).is_some());
    }

    #[test]
    fn edges_of_ranges() {
        let ranges =
            [(0, 0), (0x0a00_0000, 1), (0x0a00_ffff, 2), (0x0a01_0000, 3), (0x0b00_0000, 0), (u32::MAX, 4)];
        let indexed = IndexedRanges::new(&ranges).unwrap();
        for (address, expected) in [
            (0, 0),
            (0x09ff_ffff, 0),
            (0x0a00_0000, 1),
            (0x0a00_fffe, 1),
            (0x0a00_ffff, 2),
            (0x0a01_0000, 3),
            (0x0aff_ffff, 3),
            (0x0b00_0000, 0),
            (u32::MAX - 1, 0),
            (u32::MAX, 4),
        ] {
            assert_eq!(indexed.find(address), expected, "{address:#x}");
        }
    }

    proptest! {
        #[test]
        fn index_agrees_with_a_plain_scan(
            firsts in proptest::collection::btree_set(prop_oneof![any::<u32>(), 0_u32..0x3_0000], 0..60),
            asked in proptest::collection::vec(prop_oneof![any::<u32>(), 0_u32..0x3_0000], 60),
        ) {
            let mut ranges = vec![(0, 0)];
            ranges.extend(firsts.iter().filter(|first| **first > 0).zip(1..).map(|(first, class)| (*first, class)));
            let indexed = IndexedRanges::new(&ranges).unwrap();
            let plain = Ranges::new(&ranges).unwrap();
            for address in asked.into_iter().chain(firsts) {
                let expected = ranges.iter().rev().find(|(first, _)| *first <= address).unwrap().1;
                prop_assert_eq!(indexed.find(address), expected);
                prop_assert_eq!(plain.find(address), expected);
            }
        }
    }
}
