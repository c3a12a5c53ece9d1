//! What the policy mentions, as numbers: only that can make a difference between two addresses.

use hashbrown::HashMap;

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

/// One requirement over tokens.
#[derive(Clone, Debug)]
pub(super) enum Need {
    /// At least one holds.
    Any(Vec<Token>),
    /// The endpoint is known and none holds.
    NoneOf(Vec<Token>),
}

/// A selector: all must hold.
pub(super) type Conjunction = Vec<Need>;

struct Key<'a> {
    /// Numbers the mentioned keys.
    id: u32,
    exists: Option<Token>,
    values: HashMap<&'a str, Token>,
}

/// Everything mentioned.
#[derive(Default)]
pub(super) struct Vocabulary<'a> {
    keys: HashMap<&'a str, Key<'a>>,
    workloads: HashMap<&'a str, Token>,
    networks: HashMap<&'a str, Token>,
    named: u32,
    index: HashMap<Vec<&'a Selector>, PeersId>,
    peers: Vec<Vec<Conjunction>>,
}

impl<'a> Vocabulary<'a> {
    /// The number of a list of selectors: lists with the same selectors get the same one.
    pub(super) fn peers(&mut self, selectors: &'a [Selector]) -> PeersId {
        let mut list: Vec<&Selector> = selectors.iter().collect();
        list.sort_unstable();
        list.dedup();
        if let Some(empty) = list.iter().position(|selector| selector.requirements.is_empty()) {
            // It matches everything, whatever stands beside it.
            list = vec![list[empty]];
        }
        if let Some(&known) = self.index.get(&list) {
            return known;
        }
        let conjunctions = list.iter().map(|selector| self.conjunction(selector)).collect();
        self.peers.push(conjunctions);
        let id = number(self.peers.len() - 1);
        self.index.insert(list, id);
        id
    }

    fn conjunction(&mut self, selector: &'a Selector) -> Conjunction {
        selector.requirements.iter().map(|requirement| self.need(requirement)).collect()
    }

    fn need(&mut self, requirement: &'a Requirement) -> Need {
        match requirement {
            Requirement::In(key, values) => Need::Any(self.values(key, values)),
            Requirement::NotIn(key, values) => Need::NoneOf(self.values(key, values)),
            Requirement::Exists(key) => Need::Any(vec![self.exists(key)]),
            Requirement::NotExists(key) => Need::NoneOf(vec![self.exists(key)]),
            Requirement::Workload(names) => Need::Any(
                names.iter().map(|name| token(&mut self.workloads, &mut self.named, name)).collect(),
            ),
            Requirement::Network(names) => {
                Need::Any(names.iter().map(|name| token(&mut self.networks, &mut self.named, name)).collect())
            }
            Requirement::AnyWorkload => Need::Any(vec![WORKLOAD]),
        }
    }

    fn key(&mut self, key: &'a str) -> &mut Key<'a> {
        let id = number(self.keys.len());
        self.keys.entry(key).or_insert_with(|| Key { id, exists: None, values: HashMap::new() })
    }

    fn values(&mut self, key: &'a str, values: &'a [String]) -> Vec<Token> {
        let mut named = self.named;
        let key = self.key(key);
        let tokens = values.iter().map(|value| token(&mut key.values, &mut named, value)).collect();
        self.named = named;
        tokens
    }

    fn exists(&mut self, key: &'a str) -> Token {
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
        self.peers.len()
    }

    /// Every distinct peer list, in order of its number: any of the selectors may match.
    pub(super) fn each_peers(&self) -> impl Iterator<Item = &[Conjunction]> {
        self.peers.iter().map(Vec::as_slice)
    }

    /// The tokens of each mentioned key in `labels`: also of keys whose values nobody mentions, since a workload's
    /// own value hides an inherited one.
    pub(super) fn labels(&self, labels: &Labels) -> Vec<(u32, Vec<Token>)> {
        let mentioned =
            labels.iter().filter_map(|(key, values)| Some((self.keys.get(key.as_str())?, values)));
        let tokens = mentioned.map(|(key, values)| {
            let held = values.iter().filter_map(|value| key.values.get(value.as_str()).copied());
            (key.id, held.chain(key.exists).collect())
        });
        tokens.collect()
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

fn token<'a>(names: &mut HashMap<&'a str, Token>, named: &mut u32, name: &'a str) -> Token {
    *names.entry(name).or_insert_with(|| {
        *named += 1;
        FIRST_FREE + *named - 1
    })
}

/// An index as 32 bits. Every list here is bounded by what a policy file can hold in memory; beyond 2^32 the memory
/// limit has long been passed.
pub(super) fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
