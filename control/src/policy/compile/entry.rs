//! Rules entered under every pair of ids that contains their peer lists.

use dataplane::policy::{Block, DecisionKey, Level};
use hashbrown::HashMap;

use super::Limits;
use super::block::Blocks;
use super::error::{CompileError, Part};
use super::level::{Levels, NUMBERED};
use super::vocabulary::{PeersId, number};

/// The distinct pairs of peer lists in each stage, with their rules in order.
#[derive(Default)]
pub(super) struct Pairs {
    list: Vec<Pair>,
    rules: Vec<Vec<u32>>,
    index: HashMap<Pair, u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Pair {
    pub(super) stage: u8,
    pub(super) from: PeersId,
    pub(super) to: PeersId,
}

impl Pairs {
    /// Adds a rule; returns the pair's number if it is new.
    pub(super) fn add(&mut self, rule: u32, pair: Pair) -> Option<u32> {
        let next = number(self.list.len());
        let at = *self.index.entry(pair).or_insert(next);
        if at == next {
            self.list.push(pair);
            self.rules.push(vec![rule]);
            return Some(next);
        }
        let rules = &mut self.rules[at as usize];
        if let Err(place) = rules.binary_search(&rule) {
            rules.insert(place, rule);
        }
        None
    }

    pub(super) fn get(&self, pair: u32) -> Pair {
        self.list[pair as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether each peer list of `count` stands on a side of a pair.
    pub(super) fn used(&self, count: usize) -> (Vec<bool>, Vec<bool>) {
        let (mut from, mut to) = (vec![false; count], vec![false; count]);
        for pair in &self.list {
            from[pair.from as usize] = true;
            to[pair.to as usize] = true;
        }
        (from, to)
    }

    pub(super) fn each(&self) -> impl Iterator<Item = (PeersId, PeersId)> {
        self.list.iter().map(|pair| (pair.from, pair.to))
    }

    /// How many entries the pairs need if each peer list were in so many ids: an upper bound, since pairs that meet
    /// in one entry share it.
    pub(super) fn entries(&self, from: &[u32], to: &[u32]) -> u64 {
        let product = |pair: &Pair| u64::from(from[pair.from as usize]) * u64::from(to[pair.to as usize]);
        self.list.iter().map(product).fold(0, u64::saturating_add)
    }

    /// The rules of several pairs, in order.
    fn rules(&self, group: &[(DecisionKey, u32)]) -> Vec<u32> {
        let rules = |(_, pair): &(DecisionKey, u32)| &self.rules[*pair as usize];
        let mut rules: Vec<u32> = group.iter().flat_map(rules).copied().collect();
        rules.sort_unstable();
        rules.dedup();
        rules
    }
}

/// What one pair of a key costs while it is entered and in the finished table, bytes.
const ENTRY_BYTES: u64 = 16 + 48;

/// Each pair under its keys, before the pairs of one key are put together.
pub(super) struct Entry {
    placed: Vec<(DecisionKey, u32)>,
    limits: Limits,
    before: usize,
}

impl Entry {
    /// `before`: how many pairs the table has in its entries already.
    pub(super) const fn new(limits: Limits, before: usize) -> Self {
        Self { placed: Vec::new(), limits, before }
    }

    /// How many pairs the table has in its entries with these.
    pub(super) const fn placed(&self) -> usize {
        self.before + self.placed.len()
    }

    fn room(&self, more: u64) -> Result<(), CompileError> {
        let bytes = (self.placed() as u64).saturating_add(more).saturating_mul(ENTRY_BYTES);
        if bytes > self.limits.bytes {
            return Err(CompileError::TooLarge { part: Part::Entries, bytes, limit: self.limits.bytes });
        }
        Ok(())
    }

    /// Enters every pair under all ids.
    pub(super) fn all(&mut self, pairs: &Pairs, levels: &Levels) -> Result<(), CompileError> {
        let product =
            |pair: &Pair| levels.from.ids(pair.from).len() as u64 * levels.to.ids(pair.to).len() as u64;
        let count = pairs.list.iter().map(product).fold(0, u64::saturating_add);
        self.room(count)?;
        self.placed.reserve_exact(usize::try_from(count).unwrap_or(0));
        for (at, &Pair { stage, from, to }) in pairs.list.iter().enumerate() {
            let layer = levels.layer(from, to);
            for &source in levels.from.ids(from) {
                let key = |&id: &u32| (DecisionKey::new(stage, layer, source, id), number(at));
                self.placed.extend(levels.to.ids(to).iter().map(key));
            }
        }
        Ok(())
    }

    /// Enters the pairs of the set with number `id` on the `from` side, under all ids of the other side; `by_from`
    /// tells the pairs of a peer list.
    pub(super) fn source(
        &mut self,
        (level, id): (Level, u32),
        (pairs, by_from): (&Pairs, &[Vec<u32>]),
        levels: &Levels,
    ) -> Result<(), CompileError> {
        for peers in levels.from.set(level, id) {
            for &at in by_from.get(*peers as usize).into_iter().flatten() {
                let Pair { stage, from, to } = pairs.get(at);
                let (layer, others) = (levels.layer(from, to), levels.to.ids(to));
                self.room(others.len() as u64)?;
                let key = |&other: &u32| (DecisionKey::new(stage, layer, id, other), at);
                self.placed.extend(others.iter().map(key));
            }
        }
        Ok(())
    }

    /// As [`Entry::source`], on the `to` side.
    pub(super) fn destination(
        &mut self,
        (level, id): (Level, u32),
        (pairs, by_to): (&Pairs, &[Vec<u32>]),
        levels: &Levels,
    ) -> Result<(), CompileError> {
        for peers in levels.to.set(level, id) {
            for &at in by_to.get(*peers as usize).into_iter().flatten() {
                let Pair { stage, from, to } = pairs.get(at);
                let (layer, others) = (levels.layer(from, to), levels.from.ids(from));
                self.room(others.len() as u64)?;
                let key = |&other: &u32| (DecisionKey::new(stage, layer, other, id), at);
                self.placed.extend(others.iter().map(key));
            }
        }
        Ok(())
    }

    /// The entries, each with its block.
    pub(super) fn finish(
        mut self,
        pairs: &Pairs,
        blocks: &mut Blocks,
    ) -> Result<Vec<(DecisionKey, Block)>, CompileError> {
        self.placed.sort_unstable();
        let mut entries = Vec::new();
        for group in self.placed.chunk_by(|a, b| a.0 == b.0) {
            let block = match group {
                [(_, pair)] => blocks.of(&pairs.rules[*pair as usize])?,
                _ => blocks.of(&pairs.rules(group))?,
            };
            entries.extend(group.first().zip(block).map(|((key, _), block)| (*key, block)));
        }
        Ok(entries)
    }
}

/// The levels whose ids an entry may have to be made for.
pub(super) const LEVELS: [Level; 2] = NUMBERED;
