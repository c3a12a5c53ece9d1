//! Which peer lists one profile satisfies: for a change, where evaluating every list would cost too much.

use hashbrown::HashMap;

use super::profile::Profiles;
use super::vocabulary::{Need, PeersId, Token, Vocabulary, meets, number};

/// Peer lists by one of the tokens that each of their selectors cannot do without.
pub(super) struct Matcher {
    by_token: HashMap<Token, Vec<PeersId>>,
    /// Those with a selector that demands no token.
    others: Vec<PeersId>,
    /// In how many profiles each token held, when this was made.
    frequency: Vec<u32>,
    lists: usize,
}

impl Matcher {
    pub(super) fn new(profiles: &Profiles, vocabulary: &Vocabulary) -> Self {
        let mut frequency = vec![0; vocabulary.tokens()];
        profiles.tokens().iter().flatten().for_each(|token| frequency[*token as usize] += 1);
        let mut matcher = Self { by_token: HashMap::new(), others: Vec::new(), frequency, lists: 0 };
        matcher.extend(vocabulary);
        matcher
    }

    /// Takes in the lists that the vocabulary has got since.
    pub(super) fn extend(&mut self, vocabulary: &Vocabulary) {
        for peers in number(self.lists)..number(vocabulary.peer_lists()) {
            for needs in vocabulary.selectors(peers) {
                match self.rarest(&needs) {
                    Some(tokens) => {
                        for token in tokens {
                            self.by_token.entry(*token).or_default().push(peers);
                        }
                    }
                    None => self.others.push(peers),
                }
            }
        }
        self.lists = vocabulary.peer_lists();
    }

    /// The need for one of the tokens that the fewest profiles have.
    fn rarest<'n>(&self, needs: &[Need<'n>]) -> Option<&'n [Token]> {
        let held = |token: &Token| self.frequency.get(*token as usize).copied().unwrap_or(0);
        let positive = needs.iter().filter_map(|need| match need {
            Need::Any(tokens) => Some(*tokens),
            Need::NoneOf(_) | Need::Without(_) => None,
        });
        positive.min_by_key(|tokens| tokens.iter().map(|token| u64::from(held(token))).sum::<u64>())
    }

    /// The lists that an endpoint with the sorted tokens `held` satisfies, ascending.
    pub(super) fn lists_of(&self, held: &[Token], vocabulary: &Vocabulary) -> Vec<PeersId> {
        let proposed = held.iter().filter_map(|token| self.by_token.get(token)).flatten();
        let mut lists: Vec<PeersId> = proposed.chain(&self.others).copied().collect();
        lists.sort_unstable();
        lists.dedup();
        lists.retain(|peers| vocabulary.selectors(*peers).any(|needs| meets(held, &needs)));
        lists
    }
}
