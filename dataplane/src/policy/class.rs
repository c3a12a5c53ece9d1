//! What a class is to the decision, in sixteen bytes that lie beside each address.

use core::fmt;

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

    /// The set of this layer alone.
    #[must_use]
    pub const fn bit(self) -> Layers {
        Layers(1 << self.index())
    }
}

/// A set of layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Layers(u16);

impl Layers {
    /// All nine.
    pub const ALL: Self = Self((1 << LAYER_COUNT) - 1);

    /// Those in either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn has(self, layer: Layer) -> bool {
        self.0 & layer.bit().0 != 0
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The layer with this index alone.
    pub(super) const fn at(index: u64) -> Self {
        Self(1 << index)
    }

    /// Takes out the first.
    pub(super) fn pop(&mut self) -> Option<Layer> {
        let layer = LAYERS.get(self.0.trailing_zeros() as usize)?;
        self.0 &= self.0 - 1;
        Some(*layer)
    }
}

const LAYER_COUNT: usize = LEVELS * LEVELS;

/// Every layer, in the order of its index.
const LAYERS: [Layer; LAYER_COUNT] = {
    let mut layers = [Layer { from: Level::Narrow, to: Level::Narrow }; LAYER_COUNT];
    let mut at = 0;
    while at < layers.len() {
        layers[at] = Layer { from: Level::ALL[at / LEVELS], to: Level::ALL[at % LEVELS] };
        at += 1;
    }
    layers
};

/// The id of the empty set of peer lists at a level: no entry has it.
pub const EMPTY_ID: u32 = 0;
/// The id that all classes have at [`Level::Any`].
pub const ANY_ID: u32 = 1;
/// Ids stay below this.
pub const ID_LIMIT: u32 = 1 << ID_BITS;

pub(super) const ID_BITS: u32 = 26;

/// One side of a class: what it is as a source, or as a destination. In 64 bits: the ids of the sets of narrow and of
/// wide peer lists that it satisfies (26 each), the layers in which a rule names one of its peer lists (9), and how
/// its gate treats rules (3). Two words, so that an address and its class fill 24 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Side([u32; 2]);

const LOW: u32 = 32 - ID_BITS;
const HIGH_MODE: u32 = 3;

impl Side {
    /// `None` if an id is not below [`ID_LIMIT`].
    #[must_use]
    pub const fn new(narrow: u32, wide: u32, layers: Layers, mode: GateMode) -> Option<Self> {
        if narrow >= ID_LIMIT || wide >= ID_LIMIT {
            return None;
        }
        // Six bits beside the narrow id: mode and the upper three layers. Six beside the wide id: the other layers.
        let layers = layers.0 as u32;
        let beside = (layers >> LOW) << HIGH_MODE | mode as u32;
        Some(Self([narrow << LOW | beside, wide << LOW | layers & ((1 << LOW) - 1)]))
    }

    pub(super) const fn id(self, level: Level) -> u32 {
        match level {
            Level::Narrow => self.0[0] >> LOW,
            Level::Wide => self.0[1] >> LOW,
            Level::Any => ANY_ID,
        }
    }

    pub(super) const fn layers(self) -> Layers {
        let low = self.0[1] & ((1 << LOW) - 1);
        let high = self.0[0] >> HIGH_MODE & ((1 << (LOW - HIGH_MODE)) - 1);
        #[expect(clippy::cast_possible_truncation, reason = "nine bits")]
        Layers((high << LOW | low) as u16)
    }

    /// How the gate treats rules.
    #[must_use]
    pub const fn mode(self) -> GateMode {
        match self.0[0] & ((1 << HIGH_MODE) - 1) {
            0 => GateMode::Off,
            1 => GateMode::Observe,
            2 => GateMode::Selective,
            3 => GateMode::Full,
            4 => GateMode::Quarantine,
            _ => GateMode::Unmanaged,
        }
    }
}

impl fmt::Debug for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (narrow, wide) = (self.id(Level::Narrow), self.id(Level::Wide));
        write!(f, "{narrow}/{wide} {:#b} {:?}", self.layers().0, self.mode())
    }
}

/// What a class is to the decision: addresses of one class cannot be told apart by the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Class {
    /// As a source; its mode is that of the egress gate.
    pub from: Side,
    /// As a destination; its mode is that of the ingress gate.
    pub to: Side,
}

impl Class {
    pub(super) fn is_workload(&self) -> bool {
        self.from.mode() != GateMode::Unmanaged
    }

    /// A number in the place of a class, for an address whose class is found elsewhere.
    pub(super) const fn from_number(number: u32) -> Self {
        Self { from: Side([number, 0]), to: Side([0, 0]) }
    }

    pub(super) const fn number(self) -> u32 {
        self.from.0[0]
    }
}

/// How a gate turns the first matching rule, or none, into an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum GateMode {
    /// Passes without looking.
    Off = 0,
    /// As `Full`, but a closed gate passes and its rule is kept as potential.
    Observe = 1,
    /// The rule's action; without one it passes.
    Selective = 2,
    /// The rule's action; without one it is closed.
    Full = 3,
    /// Only infrastructure rules count; without one it is closed. Unlabelled workloads.
    Quarantine = 4,
    /// No workload: the rule's action; without one it passes if the other end is a workload.
    Unmanaged = 5,
}

#[cfg(test)]
mod tests {
    use super::{ANY_ID, GateMode, ID_LIMIT, Layer, Layers, Level, Side};

    #[test]
    fn a_side_keeps_its_parts() {
        let modes = [
            GateMode::Off,
            GateMode::Observe,
            GateMode::Selective,
            GateMode::Full,
            GateMode::Quarantine,
            GateMode::Unmanaged,
        ];
        for mode in modes {
            for layers in 0..=Layers::ALL.0 {
                let side = Side::new(ID_LIMIT - 1, 5, Layers(layers), mode).unwrap();
                assert_eq!((side.mode(), side.layers()), (mode, Layers(layers)));
                let ids = Level::ALL.map(|level| side.id(level));
                assert_eq!(ids, [ID_LIMIT - 1, 5, ANY_ID]);
            }
        }
        assert_eq!(Side::new(ID_LIMIT, 0, Layers::ALL, GateMode::Off), None);
        assert_eq!(Side::new(0, ID_LIMIT, Layers::ALL, GateMode::Off), None);
    }

    #[test]
    fn layers_come_out_once_each() {
        let wide = Layer { from: Level::Wide, to: Level::Any };
        let narrow = Layer { from: Level::Narrow, to: Level::Narrow };
        let mut layers = wide.bit().or(narrow.bit());
        assert_eq!([layers.pop(), layers.pop(), layers.pop()], [Some(narrow), Some(wide), None]);
        let mut all = Layers::ALL;
        assert_eq!(std::iter::from_fn(|| all.pop()).count(), 9);
    }
}
