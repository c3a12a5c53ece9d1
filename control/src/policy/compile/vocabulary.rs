//! What the policy mentions, as numbers: only that can make a difference between two addresses.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use super::lists::Interner;
use crate::policy::valid::{Labels, Requirement, Selector};

/// Something the policy mentions that holds for an address or does not: a label value, a key, a name.
pub(super) type Token = u32;

/// A workload owns the address.
pub(super) const WORKLOAD: Token = 0;
/// A workload owns the address, or a network contains it.
pub(super) const KNOWN: Token = 1;
/// The workload has labels of its own.
pub(super) const LABELLED: Token = 2;
const FIRST_FREE: Token = 3;

/// A distinct list of peers (or of enforcement selectors).
pub(super) type PeersId = u32;

/// Whether `held`, the sorted tokens of an endpoint, meets all of `needs`.
pub(super) fn meets(held: &[Token], needs: &[Need<'_>]) -> bool {
    let has = |token: &Token| held.binary_search(token).is_ok();
    needs.iter().all(|need| match need {
        Need::Any(tokens) => tokens.iter().any(has),
        Need::NoneOf(tokens) => has(&KNOWN) && !tokens.iter().any(has),
        Need::Without(tokens) => !tokens.iter().any(has),
    })
}

/// One requirement over tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need<'l> {
    /// At least one holds.
    Any(&'l [Token]),
    /// The endpoint is known and none holds.
    NoneOf(&'l [Token]),
    /// None holds, known or not.
    Without(&'l [Token]),
}

/// Ends a selector. A need is encoded as a header (four times the number of its tokens, plus its kind) and its
/// tokens; no need has so many tokens that its header could be this.
const END: u32 = u32::MAX;
const ANY: u32 = 0;
const NONE_OF: u32 = 1;
const WITHOUT: u32 = 2;

type Names = HashMap<String, Token>;

struct Key {
    /// Numbers the mentioned keys.
    id: u32,
    exists: Option<Token>,
    values: Names,
    /// A rule's `same` names it: every value that anything has counts as mentioned.
    is_open: bool,
}

/// Everything mentioned.
#[derive(Default)]
pub(super) struct Vocabulary {
    keys: HashMap<String, Key>,
    workloads: Names,
    networks: Names,
    named: u32,
    /// The distinct peer lists, each encoded as numbers.
    peers: Interner,
    /// The values of open keys: token to key.
    open: HashMap<Token, u32>,
    any_open: bool,
}

/// The selectors of a peer list, encoded.
pub(super) type Encoded = Vec<Vec<u32>>;

impl Vocabulary {
    /// The number of a list of selectors: lists with the same selectors get the same one.
    pub(super) fn peers(&mut self, selectors: &[Selector]) -> PeersId {
        let encoded = self.encoded(selectors);
        self.intern(encoded)
    }

    /// The selectors, not yet numbered.
    pub(super) fn encoded(&mut self, selectors: &[Selector]) -> Encoded {
        selectors.iter().map(|selector| self.encode(selector)).collect()
    }

    /// The number of the list in which each selector of `encoded` also demands each of `tokens`.
    pub(super) fn peers_with(&mut self, encoded: &Encoded, tokens: &[Token]) -> PeersId {
        let needs: Vec<u32> = tokens.iter().flat_map(|token| [1 << 2 | ANY, *token]).collect();
        self.intern(encoded.iter().map(|selector| [needs.as_slice(), selector].concat()).collect())
    }

    fn intern(&mut self, mut encoded: Encoded) -> PeersId {
        if encoded.iter().any(|selector| *selector == [END]) {
            // It matches everything, whatever stands beside it.
            encoded = vec![vec![END]];
        }
        encoded.sort_unstable();
        encoded.dedup();
        match encoded.as_slice() {
            [one] => self.peers.intern(one).0,
            several => self.peers.intern(&several.concat()).0,
        }
    }

    /// Whether a peer list matches every endpoint, known or not, by what is written in it.
    pub(super) fn is_universal(&self, peers: PeersId) -> bool {
        self.peers.lists.get(peers) == [END]
    }

    /// Counts every value of `key` as mentioned; returns the key's number.
    pub(super) fn open(&mut self, key: &str) -> u32 {
        let Key { id, values, is_open, .. } = self.key(key);
        *is_open = true;
        let (id, known): (u32, Vec<Token>) = (*id, values.values().copied().collect());
        self.any_open = true;
        self.open.extend(known.into_iter().map(|token| (token, id)));
        id
    }

    /// Mentions the values that `labels` have of open keys.
    pub(super) fn observe(&mut self, labels: &Labels) {
        if !self.any_open {
            return;
        }
        for (key, values) in labels {
            let Some(key) = self.keys.get_mut(key.as_str()).filter(|key| key.is_open) else { continue };
            for value in values {
                let token = token(&mut key.values, &mut self.named, value);
                self.open.insert(token, key.id);
            }
        }
    }

    /// The open key of which `token` is a value.
    pub(super) fn open_key(&self, token: Token) -> Option<u32> {
        self.open.get(&token).copied()
    }

    fn encode(&mut self, selector: &Selector) -> Vec<u32> {
        let mut encoded = Vec::with_capacity(2 * selector.requirements.len() + 1);
        for requirement in &selector.requirements {
            let header = encoded.len();
            encoded.push(0);
            self.tokens_of(requirement, &mut encoded);
            let kind = match requirement {
                Requirement::NotIn(..) | Requirement::NotExists(..) => NONE_OF,
                Requirement::NotNetwork(_) | Requirement::NoWorkload => WITHOUT,
                _ => ANY,
            };
            encoded[header] = number(encoded.len() - header - 1) << 2 | kind;
        }
        encoded.push(END);
        encoded
    }

    fn tokens_of(&mut self, requirement: &Requirement, into: &mut Vec<Token>) {
        match requirement {
            Requirement::In(key, values) | Requirement::NotIn(key, values) => {
                let mut named = self.named;
                let key = self.key(key);
                into.extend(values.iter().map(|value| token(&mut key.values, &mut named, value)));
                self.named = named;
            }
            Requirement::Exists(key) | Requirement::NotExists(key) => into.push(self.exists(key)),
            Requirement::Workload(names) => {
                into.extend(names.iter().map(|name| token(&mut self.workloads, &mut self.named, name)));
            }
            Requirement::Network(names) | Requirement::NotNetwork(names) => {
                into.extend(names.iter().map(|name| token(&mut self.networks, &mut self.named, name)));
            }
            Requirement::AnyWorkload | Requirement::NoWorkload => into.push(WORKLOAD),
        }
    }

    fn key(&mut self, key: &str) -> &mut Key {
        let id = number(self.keys.len());
        let made = || Key { id, exists: None, values: HashMap::new(), is_open: false };
        self.keys.entry_ref(key).or_insert_with(made)
    }

    fn exists(&mut self, key: &str) -> Token {
        let free = FIRST_FREE + self.named;
        let token = *self.key(key).exists.get_or_insert(free);
        self.named += u32::from(token == free);
        token
    }

    /// How many tokens there are.
    pub(super) fn tokens(&self) -> usize {
        (FIRST_FREE + self.named) as usize
    }

    /// How many distinct peer lists there are.
    pub(super) fn peer_lists(&self) -> usize {
        self.peers.lists.len()
    }

    /// Every distinct peer list, in order of its number: any of its selectors may match.
    pub(super) fn each_peers(&self) -> impl Iterator<Item = impl Iterator<Item = Vec<Need<'_>>>> {
        self.peers.lists.iter().map(decode)
    }

    /// The selectors of one peer list.
    pub(super) fn selectors(&self, peers: PeersId) -> impl Iterator<Item = Vec<Need<'_>>> {
        decode(self.peers.lists.get(peers))
    }

    /// The mentioned keys of `labels` into `keys`, and their tokens into `tokens`: also keys whose values nobody
    /// mentions, since a workload's own value hides an inherited one.
    pub(super) fn labels(&self, labels: &Labels, keys: &mut Vec<u32>, tokens: &mut Vec<Token>) {
        for (key, values) in labels {
            let Some(key) = self.keys.get(key.as_str()) else { continue };
            keys.push(key.id);
            tokens.extend(values.iter().filter_map(|value| key.values.get(value.as_str())));
            tokens.extend(key.exists);
        }
    }

    /// One label's key and tokens, if the key is mentioned.
    pub(super) fn label(&self, key: &str, values: &BTreeSet<String>) -> Option<(u32, Vec<Token>)> {
        let key = self.keys.get(key)?;
        let held = values.iter().filter_map(|value| key.values.get(value.as_str()).copied());
        Some((key.id, held.chain(key.exists).collect()))
    }

    /// The token of a workload by name, if the policy names it.
    pub(super) fn workload(&self, name: &str) -> Option<Token> {
        self.workloads.get(name).copied()
    }

    /// The token of a network by name, if a selector names it.
    pub(super) fn network(&self, name: &str) -> Option<Token> {
        self.networks.get(name).copied()
    }
}

/// The selectors of an encoded peer list.
fn decode(mut encoded: &[u32]) -> impl Iterator<Item = Vec<Need<'_>>> {
    std::iter::from_fn(move || {
        let mut needs = Vec::new();
        while let Some((&header, rest)) = encoded.split_first() {
            encoded = rest;
            if header == END {
                return Some(needs);
            }
            let (tokens, rest) = encoded.split_at((header >> 2) as usize);
            encoded = rest;
            needs.push(match header & 3 {
                ANY => Need::Any(tokens),
                NONE_OF => Need::NoneOf(tokens),
                _ => Need::Without(tokens),
            });
        }
        None
    })
}

fn token(names: &mut Names, named: &mut u32, name: &str) -> Token {
    *names.entry_ref(name).or_insert_with(|| {
        *named += 1;
        FIRST_FREE + *named - 1
    })
}

/// An index as 32 bits. Every list here is bounded by what a policy file can hold in memory; beyond 2^32 the memory
/// limit has long been passed.
pub(super) fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
