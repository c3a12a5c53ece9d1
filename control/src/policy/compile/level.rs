//! Which peer lists are narrow and which are wide, so that the rules need the fewest entries.

use dataplane::policy::{ANY_ID, Class, EMPTY_ID, GateMode, Layer, Layers, Level};
use hashbrown::{DefaultHashBuilder, HashSet};
use std::hash::{BuildHasher, Hasher};

use super::class::Classes;
use super::entry::Pairs;
use super::lists::Interner;
use super::vocabulary::PeersId;

/// Peer lists that match more classes than this are wide. Each candidate is tried, on each side.
const CANDIDATES: [u32; 7] = [0, 2, 8, 32, 256, 4096, u32::MAX];

/// One side of all classes: the ids of their sets of peer lists, level by level.
pub(super) struct Side {
    /// The level of each peer list.
    level: Vec<Level>,
    /// The ids that contain each peer list, at its level.
    ids: Vec<Vec<u32>>,
    /// The layers in which a rule names each peer list on this side.
    layers: Vec<Layers>,
    /// The sets of narrow and of wide peer lists; an id is a set's number.
    sets: [Interner; 2],
    set: Vec<PeersId>,
}

/// What a class is on one side, and what of it was not met before.
#[derive(Clone, Copy)]
pub(super) struct Placed {
    pub(super) side: dataplane::policy::Side,
    /// The narrow and the wide id, if it is new.
    pub(super) new: [Option<u32>; 2],
}

/// The levels whose sets have ids.
pub(super) const NUMBERED: [Level; 2] = [Level::Narrow, Level::Wide];

impl Side {
    fn new(level: &[Level]) -> Self {
        let mut sets = [Interner::default(), Interner::default()];
        for sets in &mut sets {
            sets.intern(&[]);
        }
        let ids = |level: &Level| if *level == Level::Any { vec![ANY_ID] } else { Vec::new() };
        Self {
            level: level.to_vec(),
            ids: level.iter().map(ids).collect(),
            layers: vec![Layers::default(); level.len()],
            sets,
            set: Vec::new(),
        }
    }

    /// The level of a peer list; one that came after the levels were chosen is narrow.
    pub(super) fn level(&self, peers: PeersId) -> Level {
        self.level.get(peers as usize).copied().unwrap_or(Level::Narrow)
    }

    /// The ids that contain a peer list, at its level.
    pub(super) fn ids(&self, peers: PeersId) -> &[u32] {
        self.ids.get(peers as usize).map_or(&[], Vec::as_slice)
    }

    /// Notes that a rule names `peers` in `layer`.
    pub(super) fn mark(&mut self, peers: PeersId, layer: Layer) {
        let peers = peers as usize;
        if self.layers.len() <= peers {
            self.layers.resize(peers + 1, Layers::default());
            self.ids.resize(peers + 1, Vec::new());
        }
        self.layers[peers] = self.layers[peers].or(layer.bit());
    }

    /// The set of peer lists that an id stands for.
    pub(super) fn set(&self, level: Level, id: u32) -> &[PeersId] {
        match level {
            Level::Narrow => self.sets[0].lists.get(id),
            Level::Wide => self.sets[1].lists.get(id),
            Level::Any => &[],
        }
    }

    /// Numbers what satisfies just `lists`, but does not enter new ids: see [`Side::register`]. `None` if there are
    /// more sets than a table can number.
    pub(super) fn place(&mut self, lists: &[PeersId], mode: GateMode) -> Option<Placed> {
        let (mut ids, mut new) = ([EMPTY_ID; 2], [None; 2]);
        for (slot, level) in NUMBERED.into_iter().enumerate() {
            self.set.clear();
            self.set.extend(lists.iter().filter(|peers| {
                let of = self.level.get(**peers as usize).copied().unwrap_or(Level::Narrow);
                of == level
            }));
            let (id, is_new) = self.sets[slot].intern(&self.set);
            ids[slot] = id;
            new[slot] = is_new.then_some(id);
        }
        let layers = lists.iter().fold(Layers::default(), |all, peers| {
            all.or(self.layers.get(*peers as usize).copied().unwrap_or_default())
        });
        let side = dataplane::policy::Side::new(ids[0], ids[1], layers, mode)?;
        Some(Placed { side, new })
    }

    /// Enters an id under each peer list of its set.
    pub(super) fn register(&mut self, level: Level, id: u32) {
        let slot = usize::from(level == Level::Wide);
        for &peers in self.sets[slot].lists.get(id) {
            self.ids[peers as usize].push(id);
        }
    }

    fn place_and_register(&mut self, lists: &[PeersId], mode: GateMode) -> Option<dataplane::policy::Side> {
        let placed = self.place(lists, mode)?;
        for (level, id) in NUMBERED.into_iter().zip(placed.new) {
            id.into_iter().for_each(|id| self.register(level, id));
        }
        Some(placed.side)
    }

    /// How many sets have a number.
    pub(super) fn count(&self) -> usize {
        self.sets.iter().map(|sets| sets.lists.len()).sum()
    }
}

/// Both sides.
pub(super) struct Levels {
    pub(super) from: Side,
    pub(super) to: Side,
}

impl Levels {
    /// The layer of a rule with these peer lists.
    pub(super) fn layer(&self, from: PeersId, to: PeersId) -> Layer {
        Layer { from: self.from.level(from), to: self.to.level(to) }
    }

    /// Notes the layer of a rule with these peer lists.
    pub(super) fn mark(&mut self, from: PeersId, to: PeersId) {
        let layer = self.layer(from, to);
        self.from.mark(from, layer);
        self.to.mark(to, layer);
    }

    /// The classes as the table holds them, all ids entered. `None` if there are more than a table can number.
    pub(super) fn classes(&mut self, classes: &Classes<'_>) -> Option<Vec<Class>> {
        let class = |class: &super::class::Members<'_>| {
            let from = self.from.place_and_register(class.from, class.modes.egress)?;
            Some(Class { from, to: self.to.place_and_register(class.to, class.modes.ingress)? })
        };
        classes.list.iter().map(class).collect()
    }
}

/// Chooses the levels of both sides: the pair of candidates with the fewest entries. A list is at [`Level::Any`] if it
/// is `universal`: whatever comes later satisfies it too.
pub(super) fn choose(classes: &Classes<'_>, pairs: &Pairs, universal: &[bool]) -> Levels {
    let from: Vec<&[PeersId]> = classes.list.iter().map(|class| class.from).collect();
    let to: Vec<&[PeersId]> = classes.list.iter().map(|class| class.to).collect();
    let (from_options, to_options) = (options(&from, universal), options(&to, universal));
    let mut best: Option<(u64, &[Level], &[Level])> = None;
    for (from_level, from_count) in &from_options {
        for (to_level, to_count) in &to_options {
            let entries = pairs.entries(from_count, to_count);
            if best.is_none_or(|(fewest, ..)| entries < fewest) {
                best = Some((entries, from_level, to_level));
            }
        }
    }
    let (_, from_level, to_level) = best.unwrap_or((0, &[], &[]));
    let mut levels = Levels { from: Side::new(from_level), to: Side::new(to_level) };
    pairs.each().for_each(|(from, to)| levels.mark(from, to));
    levels
}

/// The candidate levels of one side, and for each how many ids would contain each peer list.
fn options(classes: &[&[PeersId]], universal: &[bool]) -> Vec<(Vec<Level>, Vec<u32>)> {
    let mut matched = vec![0_u32; universal.len()];
    classes.iter().flat_map(|lists| *lists).for_each(|peers| matched[*peers as usize] += 1);
    let mut options: Vec<(Vec<Level>, Vec<u32>)> = Vec::new();
    for most in CANDIDATES {
        let level = |(matched, is_universal): (&u32, &bool)| match *matched {
            _ if *is_universal => Level::Any,
            matched if matched > most => Level::Wide,
            _ => Level::Narrow,
        };
        let levels: Vec<Level> = matched.iter().zip(universal).map(level).collect();
        if options.last().is_none_or(|(last, _)| *last != levels) {
            let counts = count_ids(classes, &levels);
            options.push((levels, counts));
        }
    }
    options
}

/// How many distinct sets of peer lists contain each peer list, if levels were these. Sets are told apart by a 64-bit
/// hash: a collision makes the estimate one too small, nothing else.
fn count_ids(classes: &[&[PeersId]], levels: &[Level]) -> Vec<u32> {
    let build = DefaultHashBuilder::default();
    let mut counts = vec![0_u32; levels.len()];
    let mut met = HashSet::new();
    for level in NUMBERED {
        met.clear();
        for lists in classes {
            let mut hasher = build.build_hasher();
            let at_level = lists.iter().filter(|peers| levels[**peers as usize] == level);
            at_level.clone().for_each(|peers| hasher.write_u32(*peers));
            if met.insert(hasher.finish()) {
                at_level.for_each(|peers| counts[*peers as usize] += 1);
            }
        }
    }
    for (count, _) in counts.iter_mut().zip(levels).filter(|(_, level)| **level == Level::Any) {
        *count = 1;
    }
    counts
}
