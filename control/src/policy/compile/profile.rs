//! Each address as the set of tokens that hold for it; equal sets are one profile.

use std::net::IpAddr;

use dataplane::address::Address;
use hashbrown::HashMap;

use super::space::{Context, OUTSIDE, Space};
use super::vocabulary::{KNOWN, LABELLED, Token, Vocabulary, WORKLOAD, number};
use crate::policy::valid::Workload;

/// The profile of addresses of which nothing is known.
pub(super) const UNKNOWN: u32 = 0;

/// All profiles, and which addresses have them.
pub(super) struct Profiles {
    /// Sorted tokens of each profile.
    tokens: Vec<Box<[Token]>>,
    /// Address, profile, index of the workload.
    addresses: Vec<(IpAddr, u32, u32)>,
    /// The profile of the addresses in each context that no workload owns.
    contexts: Vec<u32>,
}

/// What a workload brings itself.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Own {
    /// Sorted by key.
    keys: Vec<(u32, Vec<Token>)>,
    name: Option<Token>,
    labelled: bool,
}

#[derive(Default)]
struct Interner {
    index: HashMap<Box<[Token]>, u32>,
    tokens: Vec<Box<[Token]>>,
}

impl Interner {
    fn intern(&mut self, mut tokens: Vec<Token>) -> u32 {
        tokens.sort_unstable();
        tokens.dedup();
        let tokens: Box<[Token]> = tokens.into();
        if let Some(&known) = self.index.get(&tokens) {
            return known;
        }
        let id = number(self.tokens.len());
        self.tokens.push(tokens.clone());
        self.index.insert(tokens, id);
        id
    }
}

impl Profiles {
    pub(super) fn new(workloads: &[Workload], space: &Space, vocabulary: &Vocabulary<'_>) -> Self {
        let mut interner = Interner::default();
        interner.intern(Vec::new());
        let contexts = space.contexts.iter().enumerate().map(|(at, context)| {
            if number(at) == OUTSIDE { UNKNOWN } else { interner.intern(inherited(context).collect()) }
        });
        let contexts = contexts.collect();

        let mut owns: HashMap<Own, u32> = HashMap::new();
        let mut met: HashMap<(u32, u32), u32> = HashMap::new();
        let mut addresses = Vec::with_capacity(workloads.len());
        for (at, workload) in workloads.iter().enumerate() {
            let mut keys = vocabulary.labels(&workload.labels);
            keys.sort_unstable();
            let name = vocabulary.workload(&workload.name);
            let own = Own { keys, name, labelled: !workload.labels.is_empty() };
            let id = owns.get(&own).copied().unwrap_or_else(|| {
                let id = number(owns.len());
                owns.insert(own.clone(), id);
                id
            });
            for &address in &workload.addresses {
                let around = space.of(address);
                let profile = *met
                    .entry((id, around))
                    .or_insert_with(|| interner.intern(effective(&own, &space.contexts[around as usize])));
                addresses.push((address, profile, number(at)));
            }
        }
        Self { tokens: interner.tokens, addresses, contexts }
    }

    /// How many profiles there are.
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The tokens of each profile, sorted.
    pub(super) fn tokens(&self) -> &[Box<[Token]>] {
        &self.tokens
    }

    /// Each workload address with its class and its workload.
    pub(super) fn addresses(&self, class: impl Fn(u32) -> u32) -> Vec<(Address, u32, u32)> {
        let addresses = self.addresses.iter();
        addresses.map(|&(address, profile, owner)| (address.into(), class(profile), owner)).collect()
    }

    /// The IPv4 ranges by class.
    pub(super) fn v4_ranges(&self, space: &Space, class: impl Fn(u32) -> u32) -> Vec<(u32, u32)> {
        let ranges = self.ranges(&space.v4, class);
        ranges.into_iter().filter_map(|(first, class)| Some((u32::try_from(first).ok()?, class))).collect()
    }

    /// The IPv6 ranges by class.
    pub(super) fn v6_ranges(&self, space: &Space, class: impl Fn(u32) -> u32) -> Vec<(u128, u32)> {
        self.ranges(&space.v6, class)
    }

    fn ranges(&self, ranges: &[(u128, u32)], class: impl Fn(u32) -> u32) -> Vec<(u128, u32)> {
        let classed = ranges.iter().map(|&(first, context)| (first, class(self.contexts[context as usize])));
        let mut classed: Vec<_> = classed.collect();
        classed.dedup_by_key(|(_, class)| *class);
        classed
    }
}

/// What holds for an address in a network that no workload owns.
fn inherited(context: &Context) -> impl Iterator<Item = Token> {
    let labels = context.keys.iter().flat_map(|(_, tokens)| tokens);
    labels.chain(&context.networks).copied().chain([KNOWN])
}

/// What holds for a workload's address: its own values of a key hide inherited ones.
fn effective(own: &Own, context: &Context) -> Vec<Token> {
    let mut tokens = vec![WORKLOAD, KNOWN];
    tokens.extend(own.labelled.then_some(LABELLED));
    tokens.extend(own.name);
    tokens.extend(own.keys.iter().flat_map(|(_, tokens)| tokens));
    tokens.extend(&context.networks);
    let hidden = |key: u32| own.keys.binary_search_by_key(&key, |(own, _)| *own).is_ok();
    tokens.extend(context.keys.iter().filter(|(key, _)| !hidden(*key)).flat_map(|(_, tokens)| tokens));
    tokens
}
