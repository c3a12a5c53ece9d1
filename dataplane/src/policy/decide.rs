//! Two classes and a service to a decision.
//!
//! Every list of peers that a rule names (its `from`, its `to`) has a *level*: it matches a few classes (narrow),
//! many (wide), or all (any). A class carries, per side and level, the id of the set of peer lists it satisfies
//! there. A rule is entered only in the *layer* of its own two levels, under every pair of ids that contains its
//! peer lists. So an `any → any` rule is one entry, and `env=prod → env=prod` as many as there are sets of wide peer
//! lists, not as many as there are classes. A decision probes each layer in use once and keeps the first rule of each
//! gate.
//!
//! A tier with a rule that passes ends a *stage*: within one the first rule counts, whatever its tier; a gate whose
//! hit passes, or that has none, asks the next stage. Most policies have one stage.

use super::answer::{answer, combine};
use super::class::{Class, EMPTY_ID, LAYERS, Layer, id};
use super::hit::Hit;
use super::map::Map;
use super::service::ServiceKey;
use crate::verdict::{Decision, OnRevoke, RuleId};

/// A piece of the service space in which the hits do not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// Where in [`TableParts::intervals`](super::TableParts::intervals) the intervals of one entry are: sorted, disjoint,
/// at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Block {
    /// Index of the first.
    pub start: u32,
    /// How many.
    pub len: core::num::NonZeroU32,
}

/// What an entry is found by: stage, layer, and an id of each side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DecisionKey(u64);

const ID_BITS: u32 = 26;
const LAYER_BITS: u32 = 4;

impl DecisionKey {
    /// Ids stay below this (26 bits).
    pub const ID_LIMIT: u32 = 1 << ID_BITS;

    /// From ids below [`DecisionKey::ID_LIMIT`].
    #[must_use]
    pub const fn new(stage: u8, layer: Layer, from: u32, to: u32) -> Self {
        let place = (stage as u64) << LAYER_BITS | layer.index() as u64;
        Self(place << (2 * ID_BITS) | (from as u64) << ID_BITS | to as u64)
    }

    const fn stage(self) -> u8 {
        (self.0 >> (2 * ID_BITS + LAYER_BITS)) as u8
    }

    const fn layer_bit(self) -> u16 {
        1 << (self.0 >> (2 * ID_BITS) & ((1 << LAYER_BITS) - 1))
    }
}

/// The classes, the entries, and their intervals.
#[derive(Debug)]
pub(super) struct Decisions {
    classes: Box<[Class]>,
    entries: Map<u64, Block>,
    intervals: Box<[Interval]>,
    /// Of each stage: the layers that have entries, one bit each.
    stages: Box<[u16]>,
    /// What the rules of hits that say so do on revocation; sorted by rule.
    revoke: Box<[(RuleId, OnRevoke)]>,
}

impl Decisions {
    /// The caller has checked that every block lies inside `intervals`.
    pub(super) fn new(
        classes: Vec<Class>,
        entries: &[(DecisionKey, Block)],
        intervals: Vec<Interval>,
        revoke: Vec<(RuleId, OnRevoke)>,
    ) -> Result<Self, DecisionKey> {
        let mut stages = vec![0; entries.iter().map(|(key, _)| key.stage() as usize + 1).max().unwrap_or(0)];
        entries.iter().for_each(|(key, _)| stages[key.stage() as usize] |= key.layer_bit());
        let entries: Vec<_> = entries.iter().map(|(key, block)| (key.0, *block)).collect();
        Ok(Self {
            classes: classes.into(),
            entries: Map::new(&entries).map_err(DecisionKey)?,
            intervals: intervals.into(),
            stages: stages.into(),
            revoke: revoke.into(),
        })
    }

    pub(super) fn decide(&self, source: u32, destination: u32, service: ServiceKey) -> Decision {
        let (Some(from), Some(to)) =
            (self.classes.get(source as usize), self.classes.get(destination as usize))
        else {
            return Decision::UNKNOWN;
        };
        let (egress, ingress) = self.hits(from, to, service);
        let (decision, says_revoke) = combine(
            answer(from.egress, egress, to.is_workload()),
            answer(to.ingress, ingress, from.is_workload()),
        );
        if says_revoke { self.with_revoke(decision) } else { decision }
    }

    #[cold]
    fn with_revoke(&self, decision: Decision) -> Decision {
        let said = self.revoke.binary_search_by_key(&decision.rule, |(rule, _)| *rule).ok();
        let on_revoke = said.and_then(|at| self.revoke.get(at)).map_or(OnRevoke::Cut, |(_, said)| *said);
        Decision { on_revoke, ..decision }
    }

    /// The first rule of each gate that does not pass: per stage at most nine probes, one binary search in each entry
    /// found.
    fn hits(&self, from: &Class, to: &Class, service: ServiceKey) -> (Hit, Hit) {
        let (mut egress, mut ingress) = (Hit::NONE, Hit::NONE);
        for (stage, layers) in (0..).zip(&self.stages) {
            let (mut out, mut into) = (Hit::NONE, Hit::NONE);
            for block in self.blocks(stage, *layers, from, to) {
                if let Some(found) = self.interval(block, service.value()) {
                    out = out.min(found.egress);
                    into = into.min(found.ingress);
                }
            }
            egress = if egress.is_final() { egress } else { out };
            ingress = if ingress.is_final() { ingress } else { into };
            if egress.is_final() && ingress.is_final() {
                break;
            }
        }
        let passed = |hit: Hit| if hit.is_final() { hit } else { Hit::NONE };
        (passed(egress), passed(ingress))
    }

    /// The entries of a pair of classes in one stage, one for each layer at most.
    #[inline]
    fn blocks(&self, stage: u8, layers: u16, from: &Class, to: &Class) -> impl Iterator<Item = Block> {
        LAYERS.into_iter().filter_map(move |layer| {
            let (source, destination) = (id(from.from, layer.from), id(to.to, layer.to));
            let unused = layers & 1 << layer.index() == 0;
            if unused || source == EMPTY_ID || destination == EMPTY_ID {
                return None;
            }
            self.entries.get(DecisionKey::new(stage, layer, source, destination).0)
        })
    }

    /// See [`PolicyTable::cuts`](super::PolicyTable::cuts).
    pub(super) fn cuts(&self, source: u32, destination: u32, into: &mut Vec<u32>) {
        into.push(0);
        let (Some(from), Some(to)) =
            (self.classes.get(source as usize), self.classes.get(destination as usize))
        else {
            return;
        };
        let stages = (0..).zip(&self.stages);
        for block in stages.flat_map(|(stage, layers)| self.blocks(stage, *layers, from, to)) {
            let start = block.start as usize;
            let intervals = self.intervals.get(start..start + block.len.get() as usize).unwrap_or_default();
            into.extend(intervals.iter().flat_map(|one| [one.first, one.last + 1]));
        }
    }

    /// The interval of `block` that holds `service`.
    #[inline]
    fn interval(&self, block: Block, service: u32) -> Option<&Interval> {
        let start = block.start as usize;
        let intervals = self.intervals.get(start..start + block.len.get() as usize)?;
        let after = intervals.partition_point(|interval| interval.first <= service);
        intervals.get(after.wrapping_sub(1)).filter(|interval| service <= interval.last)
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.classes) + self.entries.bytes() + size_of_val(&*self.intervals)
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
