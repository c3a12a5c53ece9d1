//! What a class is to the decision, and where rules are entered.

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
    pub(super) const fn index(self) -> u8 {
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
    pub(super) fn is_workload(&self) -> bool {
        self.egress != GateMode::Unmanaged
    }
}

pub(super) fn id(ids: [u32; 2], level: Level) -> u32 {
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

/// Every layer, in the order of its index.
pub(super) const LAYERS: [Layer; LEVELS * LEVELS] = {
    let mut layers = [Layer { from: Level::Narrow, to: Level::Narrow }; LEVELS * LEVELS];
    let mut at = 0;
    while at < layers.len() {
        layers[at] = Layer { from: Level::ALL[at / LEVELS], to: Level::ALL[at % LEVELS] };
        at += 1;
    }
    layers
};
