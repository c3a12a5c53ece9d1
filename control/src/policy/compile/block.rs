//! The services of a list of rules, cut into intervals in which the first rule of each gate does not change.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU32;

use dataplane::policy::{Block, Hit, Interval};

use super::Limits;
use super::error::{CompileError, Part};
use super::vocabulary::number;
use crate::policy::valid::ServiceRange;

/// A rule's hit at each gate; [`Hit::NONE`] where it does not speak.
#[derive(Clone, Copy, Debug)]
pub(super) struct GateHits {
    pub(super) egress: Hit,
    pub(super) ingress: Hit,
}

/// Appends blocks to one array of intervals.
pub(super) struct Builder<'a> {
    services: &'a [&'a [ServiceRange]],
    hits: &'a [GateHits],
    limits: Limits,
    intervals: Vec<Interval>,
}

impl<'a> Builder<'a> {
    /// From each rule's services and hits.
    pub(super) fn new(services: &'a [&'a [ServiceRange]], hits: &'a [GateHits], limits: Limits) -> Self {
        Self { services, hits, limits, intervals: Vec::new() }
    }

    /// The block of `rules`, in order of evaluation; `None` if they cover no service.
    pub(super) fn build(&mut self, rules: &[u32]) -> Result<Option<Block>, CompileError> {
        let made = match rules {
            [rule] => self.plain(*rule),
            _ => self.sweep(rules),
        };
        let bytes = size_of::<Interval>() as u64 * (self.intervals.len() + made.len()) as u64;
        let end = u32::try_from(self.intervals.len() + made.len());
        if bytes > self.limits.bytes || end.is_err() {
            return Err(CompileError::TooLarge { part: Part::Intervals, bytes, limit: self.limits.bytes });
        }
        let start = number(self.intervals.len());
        let len = NonZeroU32::new(number(made.len()));
        self.intervals.extend(made);
        Ok(len.map(|len| Block { start, len }))
    }

    /// The intervals of all blocks.
    pub(super) fn finish(self) -> Vec<Interval> {
        self.intervals
    }

    /// One rule needs no sweep.
    fn plain(&self, rule: u32) -> Vec<Interval> {
        let GateHits { egress, ingress } = self.hits[rule as usize];
        let ranges = self.services[rule as usize].iter();
        ranges.map(|range| Interval { first: range.first, last: range.last, egress, ingress }).collect()
    }

    /// Walks the edges of all ranges with the open ones in two heaps, first rule on top.
    fn sweep(&self, rules: &[u32]) -> Vec<Interval> {
        let ranges = |rule: &u32| {
            let rule = *rule;
            self.services[rule as usize].iter().map(move |range| (*range, rule))
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
                let hits = self.hits[rule as usize];
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
