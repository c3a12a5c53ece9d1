//! The services of a list of rules, cut into intervals in which the first rule of each gate does not change.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use dataplane::policy::{Block, Chunk, Hit, Interval};
use hashbrown::HashMap;

use super::Limits;
use super::error::{CompileError, Part};
use crate::policy::valid::ServiceRange;

/// A rule's hit at each gate; [`Hit::NONE`] where it does not speak.
#[derive(Clone, Copy, Debug)]
pub(super) struct GateHits {
    pub(super) egress: Hit,
    pub(super) ingress: Hit,
}

/// Makes the block of each distinct list of rules once.
pub(super) struct Blocks {
    rules: RuleParts,
    limits: Limits,
    known: HashMap<Box<[u32]>, Option<Block>>,
    /// The intervals of the next chunk.
    fresh: Chunk,
    chunk: u32,
    /// How many intervals were made, those held in place included.
    made: usize,
}

/// What blocks need of rules, by index.
#[derive(Default)]
pub(super) struct RuleParts {
    hits: Vec<GateHits>,
    services: Vec<ServiceRange>,
    ends: Vec<usize>,
}

impl RuleParts {
    pub(super) fn push(&mut self, hits: GateHits, services: &[ServiceRange]) {
        self.hits.push(hits);
        self.services.extend_from_slice(services);
        self.ends.push(self.services.len());
    }

    fn services(&self, rule: u32) -> &[ServiceRange] {
        let at = rule as usize;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.services[start..self.ends[at]]
    }
}

impl Blocks {
    pub(super) fn new(rules: RuleParts, limits: Limits) -> Self {
        Self { rules, limits, known: HashMap::new(), fresh: Chunk::default(), chunk: 0, made: 0 }
    }

    /// The block of `rules`, in order of evaluation; `None` if they cover no service.
    pub(super) fn of(&mut self, rules: &[u32]) -> Result<Option<Block>, CompileError> {
        if let Some(known) = self.known.get(rules) {
            return Ok(*known);
        }
        let made = match rules {
            [rule] => self.plain(*rule),
            _ => self.sweep(rules),
        };
        self.made += made.len();
        let bytes = self.fresh.bytes().max(size_of::<Interval>() * self.made) as u64;
        if bytes > self.limits.bytes {
            return Err(CompileError::TooLarge { part: Part::Intervals, bytes, limit: self.limits.bytes });
        }
        let block = self.fresh.block(self.chunk, &made);
        self.known.insert(rules.into(), block);
        Ok(block)
    }

    /// Ends the chunk: its intervals. An empty one does not count.
    pub(super) fn take(&mut self, is_first: bool) -> Chunk {
        self.chunk += u32::from(is_first || !self.fresh.is_empty());
        std::mem::take(&mut self.fresh)
    }

    /// How many intervals were made, each list of rules once.
    pub(super) const fn made(&self) -> usize {
        self.made
    }

    /// One rule needs no sweep.
    fn plain(&self, rule: u32) -> Vec<Interval> {
        let GateHits { egress, ingress } = self.rules.hits[rule as usize];
        let ranges = self.rules.services(rule).iter();
        ranges.map(|range| Interval { first: range.first, last: range.last, egress, ingress }).collect()
    }

    /// Walks the edges of all ranges with the open ones in two heaps, first rule on top.
    fn sweep(&self, rules: &[u32]) -> Vec<Interval> {
        let ranges = |rule: &u32| {
            let rule = *rule;
            self.rules.services(rule).iter().map(move |range| (*range, rule))
        };
        let mut opening: Vec<(ServiceRange, u32)> = rules.iter().flat_map(ranges).collect();
        opening.sort_unstable();
        let mut edges: Vec<u32> =
            opening.iter().flat_map(|(range, _)| [range.first, range.last + 1]).collect();
        edges.sort_unstable();
        edges.dedup();

        let (mut egress, mut ingress) = (Open::default(), Open::default());
        let mut opening = opening.into_iter().peekable();
        let mut made: Vec<Interval> = Vec::new();
        for edge in edges.windows(2) {
            let (first, last) = (edge[0], edge[1] - 1);
            while let Some((range, rule)) = opening.next_if(|(range, _)| range.first == first) {
                let hits = self.rules.hits[rule as usize];
                egress.add(hits.egress, range.last);
                ingress.add(hits.ingress, range.last);
            }
            append(
                &mut made,
                Interval { first, last, egress: egress.top(first), ingress: ingress.top(first) },
            );
        }
        made
    }
}

/// The open ranges of one gate.
#[derive(Default)]
struct Open(BinaryHeap<Reverse<(Hit, u32)>>);

impl Open {
    fn add(&mut self, hit: Hit, last: u32) {
        if hit != Hit::NONE {
            self.0.push(Reverse((hit, last)));
        }
    }

    /// The first rule whose range reaches `at`.
    fn top(&mut self, at: u32) -> Hit {
        while let Some(Reverse((hit, last))) = self.0.peek() {
            if *last >= at {
                return *hit;
            }
            self.0.pop();
        }
        Hit::NONE
    }
}

/// Appends, or lengthens the last interval if nothing changes.
fn append(made: &mut Vec<Interval>, next: Interval) {
    if next.egress == Hit::NONE && next.ingress == Hit::NONE {
        return;
    }
    match made.last_mut() {
        Some(last)
            if last.last + 1 == next.first && (last.egress, last.ingress) == (next.egress, next.ingress) =>
        {
            last.last = next.last;
        }
        _ => made.push(next),
    }
}
