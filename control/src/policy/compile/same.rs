//! Rules whose ends must share values of some keys: one pair of peer lists for each combination of values that
//! anything has, so that 5,000 applications cost a rule as much as 5,000 rules of its own, never 5,000 times 5,000.

use hashbrown::{HashMap, HashSet};

use super::Limits;
use super::entry::Pair;
use super::error::{CompileError, Part};
use super::vocabulary::{Encoded, Token, Vocabulary};
use crate::policy::valid::Rule;

/// A rule with `same`, before its peer lists are told apart by value.
struct Correlated {
    rule: u32,
    stage: u8,
    from: Encoded,
    to: Encoded,
}

/// The rules that correlate by the same keys.
struct Group {
    keys: Vec<u32>,
    rules: Vec<Correlated>,
    /// The combinations of values met so far, one value for each key.
    met: HashSet<Box<[Token]>>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Same {
    groups: Vec<Group>,
    index: HashMap<Vec<u32>, usize>,
    /// Pairs of peer lists made so far.
    made: u64,
}

/// What one pair of peer lists costs while it is evaluated, bytes; measured, rounded up.
const PAIR_BYTES: u64 = 256;

impl Same {
    /// Adds a rule, and opens its keys.
    pub(super) fn add(&mut self, at: u32, stage: u8, rule: &Rule, vocabulary: &mut Vocabulary) {
        let mut keys: Vec<u32> = rule.same.iter().map(|key| vocabulary.open(key)).collect();
        keys.sort_unstable();
        keys.dedup();
        let group = *self.index.entry(keys).or_insert_with_key(|keys| {
            self.groups.push(Group { keys: keys.clone(), rules: Vec::new(), met: HashSet::new() });
            self.groups.len() - 1
        });
        let (from, to) = (vocabulary.encoded(&rule.from), vocabulary.encoded(&rule.to));
        self.groups[group].rules.push(Correlated { rule: at, stage, from, to });
    }

    /// The rules and pairs of peer lists for the combinations among `held` (the sorted tokens of an endpoint) that
    /// were not met before. No endpoint met before satisfies any of these lists.
    pub(super) fn meet(
        &mut self,
        held: &[Token],
        vocabulary: &mut Vocabulary,
        limits: Limits,
        into: &mut Vec<(u32, Pair)>,
    ) -> Result<(), CompileError> {
        if self.groups.is_empty() {
            return Ok(());
        }
        let open: Vec<(u32, Token)> =
            held.iter().filter_map(|token| Some((vocabulary.open_key(*token)?, *token))).collect();
        let too_large = |pairs: u64| {
            let bytes = pairs.saturating_mul(PAIR_BYTES);
            let error = CompileError::TooLarge { part: Part::Memberships, bytes, limit: limits.bytes };
            if bytes > limits.bytes { Err(error) } else { Ok(()) }
        };
        for group in &mut self.groups {
            too_large(count(&group.keys, &open))?;
            for combination in combinations(&group.keys, &open) {
                if group.met.contains(&*combination) {
                    continue;
                }
                self.made += group.rules.len() as u64;
                too_large(self.made)?;
                for Correlated { rule, stage, from, to } in &group.rules {
                    let from = vocabulary.peers_with(from, &combination);
                    let to = vocabulary.peers_with(to, &combination);
                    into.push((*rule, Pair { stage: *stage, from, to }));
                }
                group.met.insert(combination);
            }
        }
        Ok(())
    }
}

/// How many choices there are.
fn count(keys: &[u32], open: &[(u32, Token)]) -> u64 {
    let values = |key: &u32| open.iter().filter(|(of, _)| of == key).count() as u64;
    keys.iter().map(values).fold(1, u64::saturating_mul)
}

/// Every choice of one value for each key; none if a key has no value.
fn combinations(keys: &[u32], open: &[(u32, Token)]) -> Vec<Box<[Token]>> {
    let mut chosen: Vec<Vec<Token>> = vec![Vec::new()];
    for key in keys {
        let values = || open.iter().filter(|(of, _)| of == key).map(|(_, token)| *token);
        let longer = |chosen: Vec<Token>| values().map(move |value| [chosen.as_slice(), &[value]].concat());
        chosen = chosen.into_iter().flat_map(longer).collect();
    }
    chosen.into_iter().map(Vec::into_boxed_slice).collect()
}

#[cfg(test)]
mod tests {
    use super::{combinations, count};

    #[test]
    fn one_value_for_each_key() {
        let open = [(1, 10), (1, 11), (2, 20), (3, 30), (3, 31)];
        for (name, keys, expected) in [
            ("one key", vec![1], vec![vec![10], vec![11]]),
            ("a key with one value", vec![1, 2], vec![vec![10, 20], vec![11, 20]]),
            ("a product", vec![1, 3], vec![vec![10, 30], vec![10, 31], vec![11, 30], vec![11, 31]]),
            ("a key without value", vec![1, 4], vec![]),
        ] {
            let made: Vec<Vec<u32>> = combinations(&keys, &open).into_iter().map(Vec::from).collect();
            assert_eq!(made, expected, "{name}");
            assert_eq!(count(&keys, &open), made.len() as u64, "{name}");
        }
    }
}
