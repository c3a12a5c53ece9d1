//! Each address as the set of tokens that hold for it; equal sets are one profile.

use std::net::IpAddr;

use super::lists::{Interner, Lists};
use super::space::{Context, OUTSIDE, Space};
use super::vocabulary::{KNOWN, LABELLED, Token, Vocabulary, WORKLOAD};
use crate::policy::valid::Workload;
use dataplane::address::Address;

/// The profile of addresses of which nothing is known.
pub(super) const UNKNOWN: u32 = 0;

/// All profiles, and which addresses have them.
pub(super) struct Profiles {
    /// Sorted tokens of each profile.
    pub(super) tokens: Lists,
    /// Address, profile, index of the workload.
    addresses: Vec<(IpAddr, u32, u32)>,
    /// The profile of the addresses in each context that no workload owns.
    contexts: Vec<u32>,
}

/// What a workload brings itself; reused from one to the next.
#[derive(Default)]
struct Own {
    /// Mentioned keys that it has: inherited values of these are hidden.
    keys: Vec<u32>,
    tokens: Vec<Token>,
}

impl Profiles {
    pub(super) fn new<'w>(
        workloads: impl Iterator<Item = &'w Workload>,
        space: &Space,
        vocabulary: &Vocabulary<'_>,
    ) -> Self {
        let mut profiles = Interner::default();
        let mut tokens = Vec::new();
        profiles.intern(&tokens);
        let mut contexts = Vec::with_capacity(space.contexts.len());
        for (at, context) in (0..).zip(&space.contexts) {
            inherit(context, &mut tokens);
            contexts.push(if at == OUTSIDE { UNKNOWN } else { profiles.intern(&tokens).0 });
        }

        let mut own = Own::default();
        let mut addresses = Vec::with_capacity(workloads.size_hint().0);
        for (at, workload) in (0..).zip(workloads) {
            own.fill(workload, vocabulary);
            for &address in &workload.addresses {
                own.effective(&space.contexts[space.of(address) as usize], &mut tokens);
                addresses.push((address, profiles.intern(&tokens).0, at));
            }
        }
        Self { tokens: profiles.lists, addresses, contexts }
    }

    /// How many profiles there are.
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Each workload address with its profile and its workload.
    pub(super) fn owned(&self) -> &[(IpAddr, u32, u32)] {
        &self.addresses
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
fn inherit(context: &Context, into: &mut Vec<Token>) {
    into.clear();
    into.push(KNOWN);
    into.extend(context.keys.iter().flat_map(|(_, tokens)| tokens));
    into.extend(&context.networks);
    into.sort_unstable();
    into.dedup();
}

impl Own {
    fn fill(&mut self, workload: &Workload, vocabulary: &Vocabulary<'_>) {
        self.keys.clear();
        self.tokens.clear();
        self.tokens.extend([WORKLOAD, KNOWN]);
        self.tokens.extend((!workload.labels.is_empty()).then_some(LABELLED));
        self.tokens.extend(vocabulary.workload(&workload.name));
        vocabulary.labels(&workload.labels, &mut self.keys, &mut self.tokens);
    }

    /// What holds for one of the workload's addresses: its own values of a key hide inherited ones.
    fn effective(&self, context: &Context, into: &mut Vec<Token>) {
        into.clear();
        into.extend(&self.tokens);
        into.extend(&context.networks);
        let inherited = context.keys.iter().filter(|(key, _)| !self.keys.contains(key));
        into.extend(inherited.flat_map(|(_, tokens)| tokens));
        into.sort_unstable();
        into.dedup();
    }
}
