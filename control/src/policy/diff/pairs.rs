//! Which pairs of groups can differ, and at which services they do.

use dataplane::policy::{Endpoint, ServiceKey};
use dataplane::verdict::Decision;
use hashbrown::HashMap;

use super::ends::Ends;
use super::{Becomes, Side};
use crate::policy::valid::{Rule, Selector};

/// Services at which a pair becomes something: sorted, disjoint ranges, not adjacent.
pub(super) type Services = Vec<(u32, u32)>;

/// The pairs that become the same thing at the same services.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) becomes: Becomes,
    pub(super) services: Services,
    /// Source and destination groups, sources ascending.
    pub(super) pairs: Vec<(u32, u32)>,
}

/// What comparing found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) buckets: Vec<Bucket>,
    /// Pairs of groups that were compared.
    pub(super) compared: u64,
    /// Pairs of groups that can differ but were beyond the limit.
    pub(super) skipped: u64,
}

/// Compares decisions of two tables.
pub(super) struct Comparison<'a> {
    sides: [Side<'a>; 2],
    /// For each group and family, its endpoint in both tables.
    endpoints: Vec<[Option<[Endpoint; 2]>; 2]>,
    cuts: Vec<u32>,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(ends: &Ends<'_>, sides: [Side<'a>; 2]) -> Self {
        let resolve = |address| sides.map(|side| side.compiled.table.resolve(address));
        let endpoints = ends.groups.iter().map(|group| group.example.map(|one| one.map(resolve)));
        Self { sides, endpoints: endpoints.collect(), cuts: Vec::new() }
    }

    /// Both decisions at each piece of the service space at which they do not agree on whether the flow may be.
    fn differences(&mut self, from: u32, to: u32, mut found: impl FnMut(Becomes, u32, u32)) {
        let (from, to) = (&self.endpoints[from as usize], &self.endpoints[to as usize]);
        let common = from.iter().zip(to).find_map(|(from, to)| Some(((*from)?, (*to)?)));
        let Some((from, to)) = common else { return };
        self.cuts.clear();
        for side in [0, 1] {
            self.sides[side].compiled.table.cuts(from[side], to[side], &mut self.cuts);
        }
        self.cuts.sort_unstable();
        self.cuts.dedup();
        for (at, &first) in self.cuts.iter().enumerate() {
            let Some(key) = ServiceKey::from_value(first) else { break };
            let last = self.cuts.get(at + 1).map_or(ServiceKey::MAX, |next| next - 1).min(ServiceKey::MAX);
            let decided = |side: usize| self.sides[side].compiled.table.decide(from[side], to[side], key);
            if let Some(becomes) = Becomes::between(decided(0), decided(1)) {
                found(becomes, first, last);
            }
        }
    }

    /// Both decisions on one flow.
    pub(super) fn decisions(&self, from: u32, to: u32, key: ServiceKey) -> Option<[Decision; 2]> {
        let (from, to) = (&self.endpoints[from as usize], &self.endpoints[to as usize]);
        let (from, to) = from.iter().zip(to).find_map(|(from, to)| Some(((*from)?, (*to)?)))?;
        Some([0, 1].map(|side: usize| self.sides[side].compiled.table.decide(from[side], to[side], key)))
    }
}

/// The pairs of groups that can differ: for every source, its destinations.
struct Suspects {
    /// For each source group, the numbers of the rectangles that it is a source of.
    sources: Vec<Vec<u32>>,
    /// The destinations of each rectangle.
    destinations: Vec<Vec<u32>>,
    changed: Vec<u32>,
}

impl Suspects {
    fn new(ends: &Ends<'_>, rules: [Vec<&Rule>; 2]) -> Self {
        let mut suspects = Self {
            sources: vec![Vec::new(); ends.groups.len()],
            destinations: Vec::new(),
            changed: Vec::new(),
        };
        suspects
            .changed
            .extend((0..).zip(&ends.groups).filter(|(_, group)| group.changed).map(|(at, _): (u32, _)| at));
        for (side, rules) in rules.into_iter().enumerate() {
            suspects.enter(ends, side, &rules);
        }
        suspects
    }

    fn enter(&mut self, ends: &Ends<'_>, side: usize, rules: &[&Rule]) {
        let mut numbers: HashMap<&[Selector], usize> = HashMap::new();
        let mut lists: Vec<&[Selector]> = Vec::new();
        let mut rectangles: Vec<(usize, usize)> = Vec::new();
        for rule in rules {
            let [from, to] = [&*rule.from, &*rule.to].map(|list| {
                *numbers.entry(list).or_insert_with(|| {
                    lists.push(list);
                    lists.len() - 1
                })
            });
            rectangles.push((from, to));
        }
        rectangles.sort_unstable();
        rectangles.dedup();
        let members = ends.matching(side, &lists);
        for of_source in rectangles.chunk_by(|a, b| a.0 == b.0) {
            let mut to: Vec<u32> = of_source.iter().flat_map(|(_, to)| &members[*to]).copied().collect();
            to.sort_unstable();
            to.dedup();
            let number = u32::try_from(self.destinations.len()).unwrap_or(u32::MAX);
            self.destinations.push(to);
            for source in of_source.first().map(|(from, _)| &members[*from]).into_iter().flatten() {
                self.sources[*source as usize].push(number);
            }
        }
    }

    /// The destinations of one source, into `into`; `seen` has a stamp for each group.
    fn of(&self, source: u32, is_changed: bool, seen: &mut [u32], into: &mut Vec<u32>) {
        into.clear();
        if is_changed {
            into.extend(0..u32::try_from(seen.len()).unwrap_or(u32::MAX));
            return;
        }
        let lists = self.sources[source as usize].iter().map(|number| &self.destinations[*number as usize]);
        for &to in std::iter::once(&self.changed).chain(lists).flatten() {
            if seen[to as usize] != source + 1 {
                seen[to as usize] = source + 1;
                into.push(to);
            }
        }
        into.sort_unstable();
    }
}

/// Compares every pair that can differ, up to `limit` pairs.
pub(super) fn compare(
    ends: &Ends<'_>,
    comparison: &mut Comparison<'_>,
    rules: [Vec<&Rule>; 2],
    limit: u64,
) -> Found {
    let suspects = Suspects::new(ends, rules);
    let mut found = Found::default();
    let mut buckets: HashMap<(Becomes, Services), usize> = HashMap::new();
    let (mut seen, mut destinations) = (vec![0; ends.groups.len()], Vec::new());
    let mut pieces: [Services; 2] = Default::default();
    for (source, group) in (0..).zip(&ends.groups) {
        suspects.of(source, group.changed, &mut seen, &mut destinations);
        let room = usize::try_from(limit - found.compared).unwrap_or(usize::MAX);
        found.skipped += destinations.len().saturating_sub(room) as u64;
        for &to in destinations.iter().take(room) {
            found.compared += 1;
            comparison.differences(source, to, |becomes, first, last| {
                let pieces = &mut pieces[usize::from(becomes == Becomes::Deny)];
                match pieces.last_mut() {
                    Some((_, end)) if *end + 1 == first => *end = last,
                    _ => pieces.push((first, last)),
                }
            });
            for becomes in [Becomes::Allow, Becomes::Deny] {
                let pieces = &mut pieces[usize::from(becomes == Becomes::Deny)];
                if pieces.is_empty() {
                    continue;
                }
                let next = found.buckets.len();
                let at = *buckets.entry((becomes, std::mem::take(pieces))).or_insert_with_key(|key| {
                    found.buckets.push(Bucket { becomes, services: key.1.clone(), pairs: Vec::new() });
                    next
                });
                found.buckets[at].pairs.push((source, to));
            }
        }
    }
    found
}
