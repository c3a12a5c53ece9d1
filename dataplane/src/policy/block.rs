//! What an entry says of services: which rules come first, and where that changes.

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

/// The intervals of one entry, disjoint. One interval, or two with the same hits, are held in place, so that a lookup
/// that found the entry need look no further; others are found in a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block(Place);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// [`ELSEWHERE`], or the first key of the first interval.
    first: u32,
    /// Held in place: the last key. Elsewhere: the chunk.
    last: u32,
    /// Held in place: the second interval. Elsewhere: where in the chunk the points begin, and how many places they
    /// have; right after them come the spans.
    second: [u32; 2],
    /// Held in place: the hits. Elsewhere: the first is how many spans there are.
    hits: [u32; 2],
}

/// Above every service key.
const ELSEWHERE: u32 = u32::MAX;
/// A range that holds nothing.
const NOTHING: [u32; 2] = [1, 0];

/// What a chunk of intervals is made of, block by block. Of one block, intervals of few services (its *points*) are
/// found by a hash of the service, each under every service it holds; the others (its *spans*) by a search. So many
/// rules that each name another port cost a lookup no more than one.
#[derive(Clone, Debug, Default)]
pub struct Chunk(Vec<Interval>);

/// The most services an interval holds to be a point.
const POINT: u32 = 4;
/// Blocks with more places for points are not told service by service.
const MANY_POINTS: usize = 128;
/// A place for a point that is free; holds nothing.
const FREE: Interval = Interval { first: 1, last: 0, egress: Hit::NONE, ingress: Hit::NONE };

fn home(service: u32, places: u32) -> usize {
    // The fraction of the golden ratio spreads keys that follow each other.
    let spread = u64::from(service.wrapping_mul(0x9e37_79b1));
    ((spread * u64::from(places)) >> 32) as usize
}

impl Chunk {
    /// The block of `intervals`, which are sorted and disjoint: held in place if it can be, else added to this chunk,
    /// which will be that of the given number ([`PolicyTable::interval_chunks`](super::PolicyTable::interval_chunks);
    /// 0 in a new table). `None` if there are no intervals, or more than 32 bits can count.
    #[must_use]
    pub fn block(&mut self, number: u32, intervals: &[Interval]) -> Option<Block> {
        let in_place = |one: &Interval, second| Place {
            first: one.first,
            last: one.last,
            second,
            hits: [one.egress.bits(), one.ingress.bits()],
        };
        match intervals {
            [] => None,
            [one] => Some(Block(in_place(one, NOTHING))),
            [one, two] if one.hits() == two.hits() => Some(Block(in_place(one, [two.first, two.last]))),
            _ => self.append(number, intervals),
        }
    }

    fn append(&mut self, number: u32, intervals: &[Interval]) -> Option<Block> {
        let (points, spans): (Vec<Interval>, Vec<Interval>) =
            intervals.iter().partition(|one| one.last - one.first < POINT);
        let held: u32 = points.iter().map(|one| one.last - one.first + 1).sum();
        let places = if held == 0 { 0 } else { held + held / 2 + 1 };
        let start = self.0.len();
        self.0.resize(start + places as usize, FREE);
        let table = self.0.get_mut(start..)?;
        for one in points {
            for service in one.first..=one.last {
                let mut at = home(service, places);
                while table[at].first <= table[at].last {
                    at = if at + 1 == table.len() { 0 } else { at + 1 };
                }
                table[at] = one;
            }
        }
        let count = u32::try_from(spans.len()).ok()?;
        self.0.extend(spans);
        u32::try_from(self.0.len()).ok()?;
        let second = [u32::try_from(start).ok()?, places];
        Some(Block(Place { first: ELSEWHERE, last: number, second, hits: [count, 0] }))
    }

    /// Its size, bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.0.len() * size_of::<Interval>()
    }

    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every interval is in order and names rules below `rules`.
    pub(super) fn is_sound(&self, rules: u32) -> bool {
        let is_sound = |one: &Interval| {
            *one == FREE
                || one.first <= one.last
                    && one.last != ELSEWHERE
                    && one.egress.is_below(rules)
                    && one.ingress.is_below(rules)
        };
        self.0.iter().all(is_sound)
    }
}

/// The intervals that are not held in place, in chunks that tables of different epochs share.
#[derive(Clone, Debug)]
pub(super) struct Intervals(Vec<Arc<[Interval]>>);

impl Intervals {
    pub(super) fn new(first: Chunk) -> Self {
        Self(vec![first.0.into()])
    }

    pub(super) fn push(&mut self, chunk: Chunk) {
        self.0.push(chunk.0.into());
    }

    pub(super) const fn chunks(&self) -> usize {
        self.0.len()
    }

    /// The points and the spans of a block that is elsewhere.
    #[inline]
    fn of(&self, place: &Place) -> Option<(&[Interval], &[Interval])> {
        let [start, places] = place.second.map(|n| n as usize);
        let middle = start.checked_add(places)?;
        let all = self.0.get(place.last as usize)?.get(start..middle.checked_add(place.hits[0] as usize)?)?;
        all.split_at_checked(places)
    }

    /// The hits of `block` for `service`.
    #[inline]
    pub(super) fn find(&self, Block(place): &Block, service: u32) -> Option<(Hit, Hit)> {
        if place.first == ELSEWHERE {
            return self.find_elsewhere(place, service);
        }
        let [from, to] = place.second;
        let holds = place.first <= service && service <= place.last || from <= service && service <= to;
        holds.then_some((Hit::from_bits(place.hits[0]), Hit::from_bits(place.hits[1])))
    }

    fn find_elsewhere(&self, place: &Place, service: u32) -> Option<(Hit, Hit)> {
        let (points, spans) = self.of(place)?;
        let mut at = home(service, place.second[1]);
        // A third of the places are free: the loop ends at one.
        for _ in 0..points.len() {
            let point = points.get(at)?;
            if point.holds(service) {
                return Some(point.hits());
            }
            if point.first > point.last {
                break;
            }
            at = if at + 1 == points.len() { 0 } else { at + 1 };
        }
        let after = spans.partition_point(|span| span.first <= service);
        spans.get(after.wrapping_sub(1)).filter(|span| span.holds(service)).map(Interval::hits)
    }

    /// Tells each service of the points of `block`, and `None` once if it holds others too, or very many points.
    pub(super) fn services(&self, Block(place): &Block, mut each: impl FnMut(Option<u32>)) {
        let mut tell = |[first, last]: [u32; 2]| match last.wrapping_sub(first) {
            0..POINT => (first..=last).for_each(|service| each(Some(service))),
            _ if first <= last => each(None),
            _ => {}
        };
        if place.first != ELSEWHERE {
            [[place.first, place.last], place.second].into_iter().for_each(tell);
            return;
        }
        let (points, spans) = self.of(place).unwrap_or_default();
        if points.len() > MANY_POINTS {
            tell([0, ELSEWHERE - 1]);
            return;
        }
        points.iter().for_each(|one| tell([one.first, one.last]));
        spans.iter().take(1).for_each(|one| tell([one.first, one.last]));
    }

    /// Appends the keys at which the hits of `block` change.
    pub(super) fn edges(&self, Block(place): &Block, into: &mut Vec<u32>) {
        if place.first == ELSEWHERE {
            let (points, spans) = self.of(place).unwrap_or_default();
            let used = points.iter().chain(spans).filter(|one| one.first <= one.last);
            into.extend(used.flat_map(|one| [one.first, one.last + 1]));
            return;
        }
        let used = [[place.first, place.last], place.second].into_iter().filter(|range| *range != NOTHING);
        into.extend(used.flat_map(|[first, last]| [first, last + 1]));
    }

    /// Whether `block` refers to intervals that are here, or holds some itself whose rules are below `rules`.
    pub(super) fn has(&self, Block(place): &Block, rules: u32) -> bool {
        if place.first == ELSEWHERE {
            return self.of(place).is_some();
        }
        let [first, last] = place.second;
        let hits = place.hits.map(Hit::from_bits);
        let is_sound = place.first <= place.last && (place.second == NOTHING || first <= last);
        is_sound && hits.iter().all(|hit| hit.is_below(rules))
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|chunk| size_of_val::<[Interval]>(chunk) + 32).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Chunk, Hit, Interval, Intervals};
    use crate::policy::HitAction;
    use crate::verdict::RuleId;

    fn piece(first: u32, last: u32, rule: u32) -> Interval {
        let hit = Hit::new(RuleId(rule), HitAction::Allow, false).unwrap();
        Interval { first, last, egress: hit, ingress: Hit::NONE }
    }

    #[test]
    fn what_is_held_in_place_needs_no_chunk() {
        for (name, intervals, in_place) in [
            ("one", vec![piece(5, 9, 6)], true),
            ("one that holds all", vec![piece(0, 0xff_ffff, 6)], true),
            ("two under the same rule", vec![piece(5, 9, 6), piece(20, 20, 6)], true),
            ("two under two rules", vec![piece(5, 9, 6), piece(10, 20, 7)], false),
            ("three", vec![piece(5, 9, 6), piece(11, 12, 6), piece(14, 15, 6)], false),
        ] {
            let mut chunk = Chunk::default();
            let block = chunk.block(0, &intervals).unwrap();
            assert_eq!(chunk.is_empty(), in_place, "{name}");
            assert!(chunk.is_sound(8) && (in_place || !chunk.is_sound(6)), "{name}");
            let store = Intervals::new(chunk);
            assert!(store.has(&block, 8), "{name}");
            assert_eq!(Intervals::new(Chunk::default()).has(&block, 8), in_place, "{name}");
            assert_eq!(store.has(&block, 6), !in_place, "rules of chunks are checked with these");
        }
        assert_eq!(Chunk::default().block(0, &[]), None);
    }

    proptest! {
        #[test]
        fn every_service_is_found_where_it_is(
            gaps in proptest::collection::vec((1_u32..30, 0_u32..30), 1..60),
            before in 0_usize..3,
        ) {
            // Disjoint intervals with gaps between, each under its own rule; some narrow, some wide.
            let (mut intervals, mut next) = (Vec::new(), 0);
            for (rule, (gap, width)) in (6..).zip(gaps) {
                intervals.push(piece(next + gap, next + gap + width, rule));
                next += gap + width + 1;
            }
            let mut chunk = Chunk::default();
            for _ in 0..before {
                chunk.block(1, &[piece(1, 2, 6), piece(3, 4, 7), piece(5, 90, 8)]).unwrap();
            }
            let block = chunk.block(1, &intervals).unwrap();
            let mut store = Intervals::new(Chunk::default());
            store.push(chunk);
            for service in 0..next + 40 {
                let expected = intervals.iter().find(|one| one.holds(service)).map(Interval::hits);
                prop_assert_eq!(store.find(&block, service), expected, "{}", service);
            }
            let mut edges = Vec::new();
            store.edges(&block, &mut edges);
            prop_assert!(intervals.iter().all(|one| edges.contains(&one.first) && edges.contains(&(one.last + 1))));
        }
    }
}
