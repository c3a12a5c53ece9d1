//! Which peer lists are narrow and which are wide, so that the rules need the fewest entries.

use dataplane::policy::{ANY_ID, Class, EMPTY_ID, Level};
use hashbrown::{DefaultHashBuilder, HashSet};
use std::hash::{BuildHasher, Hasher};

use super::class::Classes;
use super::entry::Pairs;
use super::lists::Interner;
use super::vocabulary::{PeersId, number};

/// Peer lists that match more classes than this are wide. Each candidate is tried, on each side.
const CANDIDATES: [u32; 7] = [0, 2, 8, 32, 256, 4096, u32::MAX];

/// One side of all classes: the ids of their sets of peer lists, level by level.
pub(super) struct Side {
    /// The level of each peer list.
    pub(super) level: Vec<Level>,
    /// The ids that contain each peer list, at its level.
    pub(super) ids: Vec<Vec<u32>>,
    /// Per class: its narrow and its wide id.
    of: Vec<[u32; 2]>,
}

/// Both sides.
pub(super) struct Levels {
    pub(super) from: Side,
    pub(super) to: Side,
}

impl Levels {
    /// The classes as the table holds them.
    pub(super) fn classes(&self, classes: &Classes<'_>) -> Vec<Class> {
        let ids = self.from.of.iter().zip(&self.to.of);
        let class = |((&from, &to), class): ((&[u32; 2], &[u32; 2]), &super::class::Members<'_>)| Class {
            from,
            to,
            egress: class.modes.egress,
            ingress: class.modes.ingress,
        };
        ids.zip(&classes.list).map(class).collect()
    }
}

/// Chooses the levels of both sides: the pair of candidates with the fewest entries.
pub(super) fn choose(classes: &Classes<'_>, pairs: &Pairs, peer_lists: usize) -> Levels {
    let from: Vec<&[PeersId]> = classes.list.iter().map(|class| class.from).collect();
    let to: Vec<&[PeersId]> = classes.list.iter().map(|class| class.to).collect();
    let (from_options, to_options) = (options(&from, peer_lists), options(&to, peer_lists));
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
    Levels { from: side(&from, from_level), to: side(&to, to_level) }
}

/// The candidate levels of one side, and for each how many ids would contain each peer list.
fn options(classes: &[&[PeersId]], peer_lists: usize) -> Vec<(Vec<Level>, Vec<u32>)> {
    let mut matched = vec![0_u32; peer_lists];
    classes.iter().flat_map(|lists| *lists).for_each(|peers| matched[*peers as usize] += 1);
    let all = number(classes.len());
    let mut options: Vec<(Vec<Level>, Vec<u32>)> = Vec::new();
    for most in CANDIDATES {
        let level = |matched: &u32| match *matched {
            matched if matched == all => Level::Any,
            matched if matched > most => Level::Wide,
            _ => Level::Narrow,
        };
        let levels: Vec<Level> = matched.iter().map(level).collect();
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
    for level in [Level::Narrow, Level::Wide] {
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

/// Numbers the sets of one side.
fn side(classes: &[&[PeersId]], levels: &[Level]) -> Side {
    let mut side = Side {
        level: levels.to_vec(),
        ids: vec![Vec::new(); levels.len()],
        of: vec![[EMPTY_ID; 2]; classes.len()],
    };
    let mut set = Vec::new();
    for (slot, level) in [Level::Narrow, Level::Wide].into_iter().enumerate() {
        let mut sets = Interner::default();
        sets.intern(&[]);
        for (lists, ids) in classes.iter().zip(&mut side.of) {
            set.clear();
            set.extend(lists.iter().filter(|peers| levels[**peers as usize] == level));
            let (id, is_new) = sets.intern(&set);
            if is_new {
                set.iter().for_each(|peers| side.ids[*peers as usize].push(id));
            }
            ids[slot] = id;
        }
    }
    for (ids, _) in side.ids.iter_mut().zip(levels).filter(|(_, level)| **level == Level::Any) {
        *ids = vec![ANY_ID];
    }
    side
}
