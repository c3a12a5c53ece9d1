//! Each address as the set of tokens that hold for it; equal sets are one profile.

use std::net::IpAddr;

use super::lists::{Interner, Lists};
use super::space::{Context, Space};
use super::vocabulary::{KNOWN, LABELLED, Token, Vocabulary, WORKLOAD};
use crate::policy::valid::{Labels, ServiceRange, Workload};

/// The profile of addresses of which nothing is known.
pub(super) const UNKNOWN: u32 = 0;

/// All profiles, and which addresses have them.
pub(super) struct Profiles {
    sets: Interner,
    /// Address, profile, index of the workload.
    addresses: Vec<(IpAddr, u32, u32)>,
    /// What listeners make of addresses, in the order of those.
    answers: Vec<Answering>,
    /// The profile of the addresses in each context that no workload owns.
    contexts: Vec<u32>,
    own: Own,
    tokens: Vec<Token>,
}

/// What one address is as a destination of one range of services of a listener.
pub(super) struct Answering {
    /// An index among the addresses it was described with.
    pub(super) at: usize,
    pub(super) range: ServiceRange,
    pub(super) profile: u32,
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
        workloads: impl IntoIterator<Item = &'w Workload>,
        space: &Space,
        vocabulary: &Vocabulary,
    ) -> Self {
        let mut sets = Interner::default();
        let mut tokens = Vec::new();
        sets.intern(&tokens);
        let mut contexts = Vec::with_capacity(space.contexts.len());
        for context in &space.contexts {
            inherit(context, &mut tokens);
            contexts.push(sets.intern(&tokens).0);
        }
        let (addresses, answers) = (Vec::new(), Vec::new());
        let mut profiles = Self { sets, addresses, answers, contexts, own: Own::default(), tokens };
        let (mut addresses, mut answers) = (Vec::new(), Vec::new());
        for (owner, workload) in (0..).zip(workloads) {
            let first = addresses.len();
            profiles.describe(workload, space, vocabulary, &mut answers, first, |address, profile| {
                addresses.push((address, profile, owner));
            });
        }
        (profiles.addresses, profiles.answers) = (addresses, answers);
        profiles
    }

    /// Tells the profile of each address of `workload`, the first of which is number `first`, and adds what its
    /// listeners make of them to `answers`.
    pub(super) fn describe(
        &mut self,
        workload: &Workload,
        space: &Space,
        vocabulary: &Vocabulary,
        answers: &mut Vec<Answering>,
        first: usize,
        mut each: impl FnMut(IpAddr, u32),
    ) {
        self.own.fill(workload, &workload.labels, vocabulary);
        for &address in &workload.addresses {
            each(address, self.intern(&space.contexts[space.of(address) as usize]));
        }
        let begin = answers.len();
        for listener in &workload.listeners {
            let mut labels = workload.labels.clone();
            labels.extend(listener.labels.clone());
            self.own.fill(workload, &labels, vocabulary);
            for (at, &address) in (first..).zip(&workload.addresses) {
                let profile = self.intern(&space.contexts[space.of(address) as usize]);
                answers.extend(listener.services.iter().map(|&range| Answering { at, range, profile }));
            }
        }
        answers[begin..].sort_by_key(|answer| answer.at);
    }

    fn intern(&mut self, context: &Context) -> u32 {
        self.own.effective(context, &mut self.tokens);
        self.sets.intern(&self.tokens).0
    }

    /// The sorted tokens of each profile.
    pub(super) const fn tokens(&self) -> &Lists {
        &self.sets.lists
    }

    /// Each workload address with its profile and the index of its workload.
    pub(super) fn owned(&self) -> &[(IpAddr, u32, u32)] {
        &self.addresses
    }

    /// What listeners make of addresses, by ascending index in [`Profiles::owned`].
    pub(super) fn answers(&self) -> &[Answering] {
        &self.answers
    }

    /// Gives up what only a whole table needs.
    pub(super) fn forget_addresses(&mut self) {
        (self.addresses, self.answers) = (Vec::new(), Vec::new());
    }

    /// How many profiles there are.
    pub(super) fn len(&self) -> usize {
        self.tokens().len()
    }

    /// The IPv4 ranges by class.
    pub(super) fn v4_ranges<C: Copy + PartialEq>(
        &self,
        space: &Space,
        class: impl Fn(u32) -> C,
    ) -> Vec<(u32, C)> {
        let ranges = self.ranges(&space.v4, class);
        ranges.into_iter().filter_map(|(first, class)| Some((u32::try_from(first).ok()?, class))).collect()
    }

    /// The IPv6 ranges by class.
    pub(super) fn v6_ranges<C: Copy + PartialEq>(
        &self,
        space: &Space,
        class: impl Fn(u32) -> C,
    ) -> Vec<(u128, C)> {
        self.ranges(&space.v6, class)
    }

    fn ranges<C: Copy + PartialEq>(
        &self,
        ranges: &[(u128, u32)],
        class: impl Fn(u32) -> C,
    ) -> Vec<(u128, C)> {
        let classed = ranges.iter().map(|&(first, context)| (first, class(self.contexts[context as usize])));
        let mut classed: Vec<_> = classed.collect();
        classed.dedup_by_key(|(_, class)| *class);
        classed
    }
}

/// What holds for an address in a network that no workload owns.
fn inherit(context: &Context, into: &mut Vec<Token>) {
    into.clear();
    into.extend(context.known.then_some(KNOWN));
    into.extend(context.keys.iter().flat_map(|(_, tokens)| tokens));
    into.extend(&context.networks);
    into.sort_unstable();
    into.dedup();
}

impl Own {
    /// `labels`: the workload's, or a listener's with the workload's behind them.
    fn fill(&mut self, workload: &Workload, labels: &Labels, vocabulary: &Vocabulary) {
        self.keys.clear();
        self.tokens.clear();
        self.tokens.extend([WORKLOAD, KNOWN]);
        self.tokens.extend((!workload.labels.is_empty()).then_some(LABELLED));
        self.tokens.extend(vocabulary.workload(&workload.name));
        vocabulary.labels(labels, &mut self.keys, &mut self.tokens);
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
