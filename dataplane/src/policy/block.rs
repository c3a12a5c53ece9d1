//! What an entry says of services: which rules come first, and where that changes.

use core::num::NonZeroU32;
use std::sync::Arc;

use super::hit::Hit;

/// A piece of the service space in which the hits do not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// First service key.
    pub first: u32,
    /// Last service key, not below `first`.
    pub last: u32,
    /// The hit at the egress gate.
    pub egress: Hit,
    /// The hit at the ingress gate.
    pub ingress: Hit,
}

impl Interval {
    const fn hits(&self) -> (Hit, Hit) {
        (self.egress, self.ingress)
    }

    const fn holds(&self, service: u32) -> bool {
        self.first <= service && service <= self.last
    }
}

/// The intervals of one entry, sorted and disjoint. One interval, or two with the same hits, are held in place, so
/// that a lookup that found the entry need look no further; others are found in [`Intervals`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    egress: Hit,
    ingress: Hit,
    /// First and last key of each interval. [`ELSEWHERE`] as the very first key: then they are chunk, start and
    /// length.
    ranges: [[u32; 2]; 2],
}

/// Above every service key.
const ELSEWHERE: u32 = u32::MAX;
/// A range that holds nothing.
const NOTHING: [u32; 2] = [1, 0];

impl Block {
    /// The block of `intervals`, if it can be held in place.
    #[must_use]
    pub fn in_place(intervals: &[Interval]) -> Option<Self> {
        let (one, second) = match intervals {
            [one] => (one, NOTHING),
            [one, two] if one.hits() == two.hits() => (one, [two.first, two.last]),
            _ => return None,
        };
        Some(Self { egress: one.egress, ingress: one.ingress, ranges: [[one.first, one.last], second] })
    }

    /// The block of `len` intervals from `start` on in a chunk of intervals: those a table was made with are chunk 0,
    /// those of each change the next ([`PolicyTable::interval_chunks`](super::PolicyTable::interval_chunks)).
    #[must_use]
    pub const fn at(chunk: u32, start: u32, len: NonZeroU32) -> Self {
        Self { egress: Hit::NONE, ingress: Hit::NONE, ranges: [[ELSEWHERE, chunk], [start, len.get()]] }
    }
}

/// The intervals that are not held in place, in chunks that tables of different epochs share.
#[derive(Clone, Debug)]
pub(super) struct Intervals(Vec<Arc<[Interval]>>);

impl Intervals {
    pub(super) fn new(first: Vec<Interval>) -> Self {
        Self(vec![first.into()])
    }

    pub(super) fn push(&mut self, chunk: Vec<Interval>) {
        self.0.push(chunk.into());
    }

    pub(super) const fn chunks(&self) -> usize {
        self.0.len()
    }

    fn of(&self, block: &Block) -> Option<&[Interval]> {
        let [[_, chunk], [start, len]] = block.ranges;
        let start = start as usize;
        self.0.get(chunk as usize)?.get(start..start.checked_add(len as usize)?)
    }

    /// The hits of `block` for `service`.
    #[inline]
    pub(super) fn find(&self, block: &Block, service: u32) -> Option<(Hit, Hit)> {
        let [first, second] = block.ranges;
        if first[0] == ELSEWHERE {
            let intervals = self.of(block)?;
            let after = intervals.partition_point(|interval| interval.first <= service);
            let found = intervals.get(after.wrapping_sub(1)).filter(|interval| interval.holds(service))?;
            return Some(found.hits());
        }
        let holds = |range: [u32; 2]| range[0] <= service && service <= range[1];
        (holds(first) || holds(second)).then_some((block.egress, block.ingress))
    }

    /// Appends the keys at which the hits of `block` change.
    pub(super) fn edges(&self, block: &Block, into: &mut Vec<u32>) {
        if block.ranges[0][0] == ELSEWHERE {
            let intervals = self.of(block).unwrap_or_default();
            into.extend(intervals.iter().flat_map(|one| [one.first, one.last + 1]));
            return;
        }
        let used = block.ranges.iter().filter(|range| **range != NOTHING);
        into.extend(used.flat_map(|[first, last]| [*first, last + 1]));
    }

    /// Whether `block` refers to intervals that are here, or holds some itself whose rules are below `rules`.
    pub(super) fn has(&self, block: &Block, rules: u32) -> bool {
        if block.ranges[0][0] == ELSEWHERE {
            return self.of(block).is_some_and(|intervals| !intervals.is_empty());
        }
        let [first, second] = block.ranges;
        first[0] <= first[1] && (second == NOTHING || second[0] <= second[1]) && is_known(block, rules)
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|chunk| size_of_val::<[Interval]>(chunk) + 32).sum()
    }
}

fn is_known(block: &Block, rules: u32) -> bool {
    [block.egress, block.ingress].iter().all(|hit| hit.is_below(rules))
}

/// Whether every interval is in order and names rules below `rules`.
pub(super) fn are_sound(intervals: &[Interval], rules: u32) -> bool {
    let is_sound = |one: &Interval| {
        one.first <= one.last
            && one.last != ELSEWHERE
            && one.egress.is_below(rules)
            && one.ingress.is_below(rules)
    };
    intervals.iter().all(is_sound)
}

#[cfg(test)]
mod tests {
    use core::num::NonZeroU32;

    use super::{Block, Hit, Interval, Intervals};
    use crate::policy::HitAction;
    use crate::verdict::RuleId;

    #[test]
    fn a_block_finds_the_same_in_place_and_elsewhere() {
        let hit = |n| Hit::new(RuleId(n), HitAction::Allow, false).unwrap();
        let piece = |first, last, n| Interval { first, last, egress: hit(n), ingress: Hit::NONE };
        for (name, intervals, in_place) in [
            ("one", vec![piece(5, 9, 6)], true),
            ("one that holds all", vec![piece(0, 0xff_ffff, 6)], true),
            ("two under the same rule", vec![piece(5, 9, 6), piece(20, 20, 6)], true),
            ("two under two rules", vec![piece(5, 9, 6), piece(10, 20, 7)], false),
            ("three", vec![piece(5, 9, 6), piece(11, 12, 6), piece(14, 15, 6)], false),
        ] {
            let held = Block::in_place(&intervals);
            assert_eq!(held.is_some(), in_place, "{name}");
            let len = NonZeroU32::new(u32::try_from(intervals.len()).unwrap()).unwrap();
            let mut store = Intervals::new(Vec::new());
            store.push([vec![piece(0, 1, 9)], intervals.clone()].concat());
            let elsewhere = Block::at(1, 1, len);
            assert!(store.has(&elsewhere, 10) && held.is_none_or(|held| store.has(&held, 10)), "{name}");
            assert!(!store.has(&Block::at(1, 2, len), 10) && !store.has(&Block::at(2, 0, len), 10), "{name}");
            for block in held.into_iter().chain([elsewhere]) {
                for service in (0..30).chain([0xff_ffff]) {
                    let expected = intervals.iter().find(|one| one.holds(service)).map(Interval::hits);
                    assert_eq!(store.find(&block, service), expected, "{name} {service}");
                }
                let mut edges = Vec::new();
                store.edges(&block, &mut edges);
                assert_eq!(edges.len(), 2 * intervals.len(), "{name}");
            }
        }
    }
}
