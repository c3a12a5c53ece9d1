//! Two classes and a service to a decision.
//!
//! Every list of peers that a rule names (its `from`, its `to`) has a *level*: it matches a few classes (narrow),
//! many (wide), or all (any). A class carries, per side and level, the id of the set of peer lists it satisfies
//! there. A rule is entered only in the *layer* of its own two levels, under every pair of ids that contains its
//! peer lists. So an `any → any` rule is one entry, and `env=prod → env=prod` as many as there are sets of wide peer
//! lists, not as many as there are classes. A decision probes each layer in use once and keeps the first rule of each
//! gate.

use super::map::Map;
use super::service::ServiceKey;
use crate::verdict::{Decision, Gate, OnRevoke, RuleId, Verdict};

/// How many classes a peer list matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// A few.
    Narrow = 0,
    /// Many.
    Wide = 1,
    /// All, unknown endpoints included.
    Any = 2,
}

/// The number of levels.
pub const LEVELS: usize = 3;

impl Level {
    /// Every level, in order.
    pub const ALL: [Self; LEVELS] = [Self::Narrow, Self::Wide, Self::Any];
}

/// The levels of a rule's two peer lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layer {
    /// Of `from`.
    pub from: Level,
    /// Of `to`.
    pub to: Level,
}

impl Layer {
    const fn index(self) -> u8 {
        self.from as u8 * 3 + self.to as u8
    }
}

/// The id of the empty set of peer lists at a level: no entry has it, so its layers are not probed.
pub const EMPTY_ID: u32 = 0;
/// The id that all classes have at [`Level::Any`].
pub const ANY_ID: u32 = 1;

/// What a class is to the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Class {
    /// As a source: ids of the sets of narrow and of wide peer lists it satisfies.
    pub from: [u32; 2],
    /// As a destination, likewise.
    pub to: [u32; 2],
    /// How its egress gate treats rules.
    pub egress: GateMode,
    /// How its ingress gate treats rules.
    pub ingress: GateMode,
}

impl Class {
    fn is_workload(&self) -> bool {
        self.egress != GateMode::Unmanaged
    }
}

fn id(ids: [u32; 2], level: Level) -> u32 {
    match level {
        Level::Narrow => ids[0],
        Level::Wide => ids[1],
        Level::Any => ANY_ID,
    }
}

/// How a gate turns the first matching rule, or none, into an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum GateMode {
    /// Passes without looking.
    Off,
    /// As `Full`, but a closed gate passes and its rule is kept as potential.
    Observe,
    /// The rule's action; without one it passes.
    Selective,
    /// The rule's action; without one it is closed.
    Full,
    /// Only infrastructure rules count; without one it is closed. Unlabelled workloads.
    Quarantine,
    /// No workload: the rule's action; without one it passes if the other end is a workload.
    Unmanaged,
}

/// What a hit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HitAction {
    /// Opens the gate.
    Allow,
    /// Closes the gate.
    Deny,
}

/// The first matching rule of a gate, or none, in 32 bits: rule id, whether its tier is infrastructure, action.
/// Rule ids ascend in the order of evaluation, so the smaller of two hits is the one that counts. The action has two
/// bits: one value is free for "go on with the next tier".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hit(u32);

impl Hit {
    /// No rule matched; larger than every other.
    pub const NONE: Self = Self(u32::MAX);
    /// The largest rule id that a hit can hold.
    pub const MAX_RULE: RuleId = RuleId((1 << 29) - 2);

    const INFRASTRUCTURE: u32 = 4;
    const DENY: u32 = 1;

    /// Of a rule up to [`Hit::MAX_RULE`]; `None` above.
    #[must_use]
    pub fn new(rule: RuleId, action: HitAction, infrastructure: bool) -> Option<Self> {
        let action = if action == HitAction::Deny { Self::DENY } else { 0 };
        let tier = if infrastructure { Self::INFRASTRUCTURE } else { 0 };
        (rule <= Self::MAX_RULE).then_some(Self(rule.0 << 3 | tier | action))
    }

    /// The rule.
    #[must_use]
    pub const fn rule(self) -> RuleId {
        RuleId(self.0 >> 3)
    }

    const fn closes(self) -> bool {
        self.0 & Self::DENY != 0
    }

    const fn is_infrastructure(self) -> bool {
        self.0 & Self::INFRASTRUCTURE != 0
    }
}

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

/// What an entry is found by: a layer and an id of each side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DecisionKey(u64);

impl DecisionKey {
    /// Ids stay below this (30 bits).
    pub const ID_LIMIT: u32 = 1 << 30;

    /// From ids below [`DecisionKey::ID_LIMIT`].
    #[must_use]
    pub const fn new(layer: Layer, from: u32, to: u32) -> Self {
        Self((layer.index() as u64) << 60 | (from as u64) << 30 | to as u64)
    }

    const fn layer_bit(self) -> u16 {
        1 << (self.0 >> 60)
    }
}

/// The classes, the entries, and their intervals.
#[derive(Debug)]
pub(super) struct Decisions {
    classes: Box<[Class]>,
    entries: Map<u64, Block>,
    intervals: Box<[Interval]>,
    /// Layers that have entries, one bit each.
    layers: u16,
}

impl Decisions {
    /// The caller has checked that every block lies inside `intervals`.
    pub(super) fn new(
        classes: Vec<Class>,
        entries: &[(DecisionKey, Block)],
        intervals: Vec<Interval>,
    ) -> Result<Self, DecisionKey> {
        let layers = entries.iter().fold(0, |layers, (key, _)| layers | key.layer_bit());
        let entries: Vec<_> = entries.iter().map(|(key, block)| (key.0, *block)).collect();
        let entries = Map::new(&entries).map_err(DecisionKey)?;
        Ok(Self { classes: classes.into(), entries, intervals: intervals.into(), layers })
    }

    pub(super) fn decide(&self, source: u32, destination: u32, service: ServiceKey) -> Decision {
        let (Some(from), Some(to)) =
            (self.classes.get(source as usize), self.classes.get(destination as usize))
        else {
            return deny(Gate::Egress, RuleId::UNMANAGED_DENY, None);
        };
        let (egress, ingress) = self.hits(from, to, service);
        combine(
            answer(from.egress, egress, to.is_workload()),
            answer(to.ingress, ingress, from.is_workload()),
        )
    }

    /// The first rule of each gate: at most nine probes, one binary search in each entry found.
    fn hits(&self, from: &Class, to: &Class, service: ServiceKey) -> (Hit, Hit) {
        let (mut egress, mut ingress) = (Hit::NONE, Hit::NONE);
        for block in self.blocks(from, to) {
            if let Some(found) = self.interval(block, service.value()) {
                egress = egress.min(found.egress);
                ingress = ingress.min(found.ingress);
            }
        }
        (egress, ingress)
    }

    /// The entries of a pair of classes, one for each layer at most.
    #[inline]
    fn blocks(&self, from: &Class, to: &Class) -> impl Iterator<Item = Block> {
        LAYERS.into_iter().filter_map(move |layer| {
            let (source, destination) = (id(from.from, layer.from), id(to.to, layer.to));
            let unused = self.layers & 1 << layer.index() == 0;
            if unused || source == EMPTY_ID || destination == EMPTY_ID {
                return None;
            }
            self.entries.get(DecisionKey::new(layer, source, destination).0)
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
        for block in self.blocks(from, to) {
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

const LAYERS: [Layer; LEVELS * LEVELS] = {
    let mut layers = [Layer { from: Level::Narrow, to: Level::Narrow }; LEVELS * LEVELS];
    let mut at = 0;
    while at < layers.len() {
        layers[at] = Layer { from: Level::ALL[at / LEVELS], to: Level::ALL[at % LEVELS] };
        at += 1;
    }
    layers
};

/// What one gate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    passes: bool,
    rule: RuleId,
    potential: Option<RuleId>,
}

/// Applies the mode of a gate to its hit.
fn answer(mode: GateMode, hit: Hit, other_is_workload: bool) -> Answer {
    let hit = if mode == GateMode::Quarantine && !hit.is_infrastructure() { Hit::NONE } else { hit };
    let (passes, rule) = match mode {
        GateMode::Off => (true, RuleId::OFF_PASS),
        _ if hit != Hit::NONE => (!hit.closes(), hit.rule()),
        GateMode::Observe | GateMode::Full => (false, RuleId::DEFAULT_DENY),
        GateMode::Selective => (true, RuleId::SELECTIVE_PASS),
        GateMode::Quarantine => (false, RuleId::QUARANTINE),
        GateMode::Unmanaged if other_is_workload => (true, RuleId::UNMANAGED_PASS),
        GateMode::Unmanaged => (false, RuleId::UNMANAGED_DENY),
    };
    let observed = mode == GateMode::Observe && !passes;
    Answer { passes: passes || observed, rule, potential: observed.then_some(rule) }
}

const fn deny(gate: Gate, rule: RuleId, potential: Option<RuleId>) -> Decision {
    Decision { verdict: Verdict::Deny, gate, rule, potential, on_revoke: OnRevoke::Cut }
}

/// Both gates must pass; see [`Decision::gate`] for which one is named.
fn combine(egress: Answer, ingress: Answer) -> Decision {
    let potential = egress.potential.or(ingress.potential);
    if !egress.passes {
        return deny(Gate::Egress, egress.rule, potential);
    }
    if !ingress.passes {
        return deny(Gate::Ingress, ingress.rule, potential);
    }
    let egress_named = ingress.rule < RuleId::FIRST && egress.rule >= RuleId::FIRST;
    let (gate, rule) = if egress_named { (Gate::Egress, egress.rule) } else { (Gate::Ingress, ingress.rule) };
    Decision { verdict: Verdict::Allow, gate, rule, potential, on_revoke: OnRevoke::Cut }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
