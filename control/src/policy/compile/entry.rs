//! Rules entered under every pair of ids that contains their peer lists.

use dataplane::policy::{Block, DecisionKey, Interval, Layer};
use hashbrown::HashMap;

use super::Limits;
use super::block::Builder;
use super::error::{CompileError, Part};
use super::level::Levels;
use super::vocabulary::{PeersId, number};

/// The distinct pairs of peer lists in each stage, with their rules in order.
pub(super) struct Pairs {
    list: Vec<Pair>,
    rules: Vec<Vec<u32>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Pair {
    stage: u8,
    from: PeersId,
    to: PeersId,
}

impl Pairs {
    /// From each rule's index, stage, and peer lists.
    pub(super) fn new(of_rules: impl Iterator<Item = (u32, u8, (PeersId, PeersId))>) -> Self {
        let mut index = HashMap::new();
        let mut pairs = Self { list: Vec::new(), rules: Vec::new() };
        for (rule, stage, (from, to)) in of_rules {
            let pair = Pair { stage, from, to };
            let at = *index.entry(pair).or_insert_with(|| {
                pairs.list.push(pair);
                pairs.rules.push(Vec::new());
                pairs.list.len() - 1
            });
            pairs.rules[at].push(rule);
        }
        pairs
    }

    /// How many entries the pairs need if each peer list were in so many ids: an upper bound, since pairs that meet
    /// in one entry share it.
    pub(super) fn entries(&self, from: &[u32], to: &[u32]) -> u64 {
        let product = |pair: &Pair| u64::from(from[pair.from as usize]) * u64::from(to[pair.to as usize]);
        self.list.iter().map(product).fold(0, u64::saturating_add)
    }
}

/// The decision table's content.
pub(super) struct Entered {
    pub(super) entries: Vec<(DecisionKey, Block)>,
    pub(super) intervals: Vec<Interval>,
}

/// What one pair of a key costs while it is entered and in the finished, half-full table, bytes.
const ENTRY_BYTES: u64 = 16 + 16 + 2 * 16;

/// Enters all pairs, and builds each distinct block once.
pub(super) fn enter(
    pairs: &Pairs,
    levels: &Levels,
    mut blocks: Builder<'_>,
    limits: Limits,
) -> Result<Entered, CompileError> {
    let mut placed = place(pairs, levels, limits)?;
    placed.sort_unstable();

    let mut entries = Vec::new();
    let mut single: Vec<Option<Block>> = vec![None; pairs.list.len()];
    let mut joint: HashMap<Vec<u32>, Option<Block>> = HashMap::new();
    for group in placed.chunk_by(|a, b| a.0 == b.0) {
        let block = match group {
            [(_, pair)] => match single[*pair as usize] {
                Some(block) => Some(block),
                None => {
                    let built = blocks.build(&pairs.rules[*pair as usize])?;
                    single[*pair as usize] = built;
                    built
                }
            },
            _ => {
                let set: Vec<u32> = group.iter().map(|(_, pair)| *pair).collect();
                match joint.get(&set) {
                    Some(block) => *block,
                    None => {
                        let mut rules: Vec<u32> =
                            set.iter().flat_map(|pair| &pairs.rules[*pair as usize]).copied().collect();
                        rules.sort_unstable();
                        let built = blocks.build(&rules)?;
                        joint.insert(set, built);
                        built
                    }
                }
            }
        };
        entries.extend(group.first().zip(block).map(|((key, _), block)| (*key, block)));
    }
    Ok(Entered { entries, intervals: blocks.finish() })
}

/// Each pair under each of its keys.
fn place(pairs: &Pairs, levels: &Levels, limits: Limits) -> Result<Vec<(DecisionKey, u32)>, CompileError> {
    let product = |pair: &Pair| {
        levels.from.ids[pair.from as usize].len() as u64 * levels.to.ids[pair.to as usize].len() as u64
    };
    let count = pairs.list.iter().map(product).fold(0, u64::saturating_add);
    let bytes = count.saturating_mul(ENTRY_BYTES);
    if bytes > limits.bytes {
        return Err(CompileError::TooLarge { part: Part::Entries, bytes, limit: limits.bytes });
    }
    let mut placed = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
    for (pair, &Pair { stage, from, to }) in pairs.list.iter().enumerate() {
        let (from, to) = (from as usize, to as usize);
        let layer = Layer { from: levels.from.level[from], to: levels.to.level[to] };
        for &source in &levels.from.ids[from] {
            let key = |&id: &u32| (DecisionKey::new(stage, layer, source, id), number(pair));
            placed.extend(levels.to.ids[to].iter().map(key));
        }
    }
    Ok(placed)
}
