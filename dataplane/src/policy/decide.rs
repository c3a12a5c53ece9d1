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

use core::num::NonZeroU64;

use super::answer::{answer, combine};
use super::block::{Block, Chunk, Intervals};
use super::class::{Class, ID_BITS, Layer, Layers, Side};
use super::hit::Hit;
use super::map::{Filter, Key, Map, with};
use super::service::ServiceKey;
use crate::verdict::{Decision, OnRevoke, RuleId};

/// What an entry is found by: stage, layer, and an id of each side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DecisionKey(NonZeroU64);

const LAYER_BITS: u32 = 4;

impl DecisionKey {
    /// From ids below [`ID_LIMIT`](super::ID_LIMIT).
    #[must_use]
    pub const fn new(stage: u8, layer: Layer, from: u32, to: u32) -> Self {
        // A layer is never 15, so adding one carries nowhere that matters.
        let place = (stage as u64) << LAYER_BITS | (layer.index() as u64 + 1);
        let bits = place << (2 * ID_BITS) | (from as u64) << ID_BITS | to as u64;
        match NonZeroU64::new(bits) {
            Some(bits) => Self(bits),
            None => Self(NonZeroU64::MIN),
        }
    }

    const fn stage(self) -> usize {
        (self.0.get() >> (2 * ID_BITS + LAYER_BITS)) as usize
    }

    const fn layer(self) -> Layers {
        let index = self.0.get() >> (2 * ID_BITS) & ((1 << LAYER_BITS) - 1);
        Layers::at(index - 1)
    }
}

/// The entries and their intervals.
#[derive(Clone, Debug)]
pub(super) struct Decisions {
    entries: Map<NonZeroU64, Block>,
    /// The keys of the entries, each with each of its services; alone where it has more than a few.
    filter: Filter,
    /// The layers in which a key alone is in the filter.
    alone: Layers,
    intervals: Intervals,
    /// Of each stage: the layers that have entries.
    stages: Vec<Layers>,
    /// What the rules of hits that say so do on revocation; sorted by rule.
    revoke: std::sync::Arc<[(RuleId, OnRevoke)]>,
}

impl Decisions {
    /// The caller has checked that every block lies inside `intervals`.
    pub(super) fn new(
        entries: &[(DecisionKey, Block)],
        intervals: Intervals,
        revoke: Vec<(RuleId, OnRevoke)>,
    ) -> Result<Self, DecisionKey> {
        let keyed: Vec<_> = entries.iter().map(|(key, block)| (key.0, *block)).collect();
        let mut decisions = Self {
            entries: Map::new(&keyed).map_err(DecisionKey)?,
            filter: Filter::new(&[]),
            alone: Layers::default(),
            intervals,
            stages: Vec::new(),
            revoke: revoke.into(),
        };
        let traces = decisions.mark(entries);
        decisions.filter = Filter::new(&traces);
        Ok(decisions)
    }

    /// Adds entries, in place of those with the same keys, and a chunk of intervals. The caller has checked the
    /// blocks against [`Decisions::intervals`] with the chunk.
    pub(super) fn add(&mut self, entries: &[(DecisionKey, Block)]) {
        if entries.is_empty() {
            return;
        }
        let keyed: Vec<_> = entries.iter().map(|(key, block)| (key.0, *block)).collect();
        self.entries.change(&[], &keyed);
        let traces = self.mark(entries);
        self.filter.add(&traces);
    }

    pub(super) fn push(&mut self, chunk: Chunk) {
        if !chunk.is_empty() {
            self.intervals.push(chunk);
        }
    }

    pub(super) const fn intervals(&self) -> &Intervals {
        &self.intervals
    }

    /// Notes the layers of `entries`, and returns what the filter must let pass for them.
    fn mark(&mut self, entries: &[(DecisionKey, Block)]) -> Vec<u64> {
        let mut traces = Vec::with_capacity(entries.len());
        // Beyond this, an entry is in the filter without its services: the filter stays a small part of the table.
        let most = 4 * entries.len() + (1 << 20);
        for (key, block) in entries {
            let hash = key.0.mix();
            let begin = traces.len();
            let mut by_service = begin < most;
            self.intervals.services(block, |service| match service {
                Some(service) => traces.push(with(hash, service)),
                None => by_service = false,
            });
            if !by_service {
                traces.truncate(begin);
                traces.push(hash);
                self.alone = self.alone.or(key.layer());
            }
            if self.stages.len() <= key.stage() {
                self.stages.resize(key.stage() + 1, Layers::default());
            }
            if let Some(used) = self.stages.get_mut(key.stage()) {
                *used = used.or(key.layer());
            }
        }
        traces
    }

    #[inline]
    pub(super) fn decide(&self, source: &Class, destination: &Class, service: ServiceKey) -> Decision {
        let (egress, ingress) = self.hits(source.from, destination.to, service);
        let (decision, says_revoke) = combine(
            answer(source.from.mode(), egress, destination.is_workload()),
            answer(destination.to.mode(), ingress, source.is_workload()),
        );
        if says_revoke { self.with_revoke(decision) } else { decision }
    }

    #[cold]
    fn with_revoke(&self, decision: Decision) -> Decision {
        let said = self.revoke.binary_search_by_key(&decision.rule, |(rule, _)| *rule).ok();
        let on_revoke = said.and_then(|at| self.revoke.get(at)).map_or(OnRevoke::Cut, |(_, said)| *said);
        Decision { on_revoke, ..decision }
    }

    /// The first rule of each gate that does not pass: per stage at most nine probes. Those that find nothing for the
    /// service end at the filter, nearly always.
    #[inline]
    fn hits(&self, from: Side, to: Side, service: ServiceKey) -> (Hit, Hit) {
        let (mut egress, mut ingress) = (Hit::NONE, Hit::NONE);
        let both = from.layers().and(to.layers());
        for (stage, used) in (0..).zip(&self.stages) {
            let (mut out, mut into) = (Hit::NONE, Hit::NONE);
            let mut layers = both.and(*used);
            while let Some(layer) = layers.pop() {
                let key = DecisionKey::new(stage, layer, from.id(layer.from), to.id(layer.to)).0;
                let hash = key.mix();
                let may_have = self.filter.passes(with(hash, service.value()))
                    || self.alone.has(layer) && self.filter.passes(hash);
                if !may_have {
                    continue;
                }
                let Some(block) = self.entries.get_hashed(key, hash) else { continue };
                if let Some((at_egress, at_ingress)) = self.intervals.find(&block, service.value()) {
                    out = out.min(at_egress);
                    into = into.min(at_ingress);
                }
            }
            egress = if egress.is_final() { egress } else { out };
            ingress = if ingress.is_final() { ingress } else { into };
            if egress.is_final() && ingress.is_final() {
                break;
            }
        }
        let last = |hit: Hit| if hit.is_final() { hit } else { Hit::NONE };
        (last(egress), last(ingress))
    }

    /// Appends the service keys at which the decision on a pair of classes may change.
    pub(super) fn cuts(&self, source: &Class, destination: &Class, into: &mut Vec<u32>) {
        let both = source.from.layers().and(destination.to.layers());
        for (stage, used) in (0..).zip(&self.stages) {
            let mut layers = both.and(*used);
            while let Some(layer) = layers.pop() {
                let (from, to) = (source.from.id(layer.from), destination.to.id(layer.to));
                if let Some(block) = self.entries.get(DecisionKey::new(stage, layer, from, to).0) {
                    self.intervals.edges(&block, into);
                }
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.entries.bytes() + self.filter.bytes() + self.intervals.bytes() + size_of_val(&*self.revoke)
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
