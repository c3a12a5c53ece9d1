//! The endpoints of a policy, ready for looking at pairs of them.

use std::net::IpAddr;

use hashbrown::HashMap;

use super::ranges;
use super::work::{Exhausted, Work};
use crate::policy::compile::lists::Lists;
use crate::policy::compile::view::{Place, View};
use crate::policy::compile::{CompileError, Limits};
use crate::policy::valid::{Action, Rule, Selector, ServiceRange, Tier, ValidPolicy};

/// One rule with its tier.
#[derive(Clone, Copy)]
pub(super) struct Placed<'p> {
    /// The index of its tier.
    pub(super) tier: usize,
    pub(super) tier_name: &'p str,
    pub(super) rule: &'p Rule,
    /// The peer lists of its ends.
    pub(super) from: u32,
    pub(super) to: u32,
}

/// A policy with its endpoints.
pub(super) struct Estate<'p> {
    pub(super) policy: &'p ValidPolicy,
    pub(super) view: View,
    /// Every rule, in order of evaluation.
    pub(super) rules: Vec<Placed<'p>>,
    /// The peer lists that match each profile, ascending.
    pub(super) lists: Lists,
    /// The places of each profile as a source, and as a destination.
    sources: Vec<Vec<u32>>,
    destinations: Vec<Vec<u32>>,
    /// For each key of a `same`, which values each profile has, as peer lists.
    values: HashMap<&'p str, Lists>,
    /// Whether each tier has a rule that passes.
    passing: Vec<bool>,
}

/// A flow that shows something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// `protocol << 16 | port`.
    pub(super) service: u32,
}

impl<'p> Estate<'p> {
    /// Of `policy`, with the lists in `asked` evaluated beside those of its rules.
    pub(super) fn new(policy: &'p ValidPolicy, asked: &[&[Selector]]) -> Result<Self, CompileError> {
        let view = View::new(policy, asked, Limits::default())?;
        let each = |(tier, of): (usize, &'p Tier)| of.rules.iter().map(move |rule| (tier, &*of.name, rule));
        let each = policy.tiers.iter().enumerate().flat_map(each).zip(&view.rules);
        let rules: Vec<Placed<'p>> = each
            .map(|((tier, tier_name, rule), &(from, to))| Placed { tier, tier_name, rule, from, to })
            .collect();
        let by_profile = |places: &[Place]| {
            let mut by_profile = vec![Vec::new(); view.profiles()];
            for (at, place) in (0..).zip(places) {
                by_profile[place.profile as usize].push(at);
            }
            by_profile
        };
        let mut values = HashMap::new();
        for key in rules.iter().flat_map(|one| &one.rule.same) {
            let lists = view.values(key);
            values.entry(key.as_str()).or_insert_with(|| {
                let mut sorted = lists.to_vec();
                sorted.sort_unstable();
                view.by_profile(|list| sorted.binary_search(&list).is_ok())
            });
        }
        let passes = |tier: &Tier| tier.rules.iter().any(|rule| rule.action == Action::Pass);
        Ok(Self {
            policy,
            passing: policy.tiers.iter().map(passes).collect(),
            rules,
            lists: view.by_profile(|_| true),
            sources: by_profile(&view.sources),
            destinations: by_profile(&view.destinations),
            values,
            view,
        })
    }

    /// The places of a profile as a source.
    pub(super) fn sources(&self, profile: u32) -> &[u32] {
        &self.sources[profile as usize]
    }

    /// The places of a profile as a destination.
    pub(super) fn destinations(&self, profile: u32) -> &[u32] {
        &self.destinations[profile as usize]
    }

    /// The values that a profile has of a key that a rule's `same` names, as peer lists, ascending.
    pub(super) fn values(&self, key: &str, profile: u32) -> &[u32] {
        self.values.get(key).map_or(&[], |lists| lists.get(profile))
    }

    /// Whether two profiles have a value of `key` in common.
    pub(super) fn share(&self, key: &str, source: u32, destination: u32) -> bool {
        meet(self.values(key, source), self.values(key, destination))
    }

    /// Whether a tier has a rule that passes.
    pub(super) fn passes(&self, tier: usize) -> bool {
        self.passing[tier]
    }

    /// The services, of those in `services`, of one place of a profile to which a flow from another profile can go.
    pub(super) fn services_between(
        &self,
        source: u32,
        destination: u32,
        services: &[ServiceRange],
    ) -> Option<Vec<ServiceRange>> {
        let destinations =
            self.destinations(destination).iter().map(|at| &self.view.destinations[*at as usize]);
        let sources = || self.sources(source).iter().map(|at| &self.view.sources[*at as usize]);
        let mut reached = destinations.filter(|place| sources().any(|source| pair(source, place).is_some()));
        reached.find_map(|place| {
            let spoken: Vec<_> = ranges::common(self.view.services(place), services).collect();
            (!spoken.is_empty()).then_some(spoken)
        })
    }

    /// A flow from one of the profiles in `from` to one of those in `to` that speaks one of `services` and whose ends
    /// share a value of each key in `same`. Workloads are preferred.
    pub(super) fn flow(
        &self,
        from: &[u32],
        to: &[u32],
        same: &[&str],
        services: &[ServiceRange],
        work: &mut Work,
    ) -> Result<Option<Flow>, Exhausted> {
        // Profiles of workloads were met last.
        for &source in from.iter().rev() {
            let try_pair = |destination: u32, work: &mut Work| {
                work.take(1 + same.len())?;
                let fits = same.iter().all(|key| self.share(key, source, destination));
                Ok(if fits { self.flow_between(source, destination, services) } else { None })
            };
            let Some(key) = same.first() else {
                for &destination in to.iter().rev() {
                    if let Some(flow) = try_pair(destination, work)? {
                        return Ok(Some(flow));
                    }
                }
                continue;
            };
            for &value in self.values(key, source) {
                for &destination in self.view.matched(value).iter().rev() {
                    if to.binary_search(&destination).is_ok()
                        && let Some(flow) = try_pair(destination, work)?
                    {
                        return Ok(Some(flow));
                    }
                    work.take(1)?;
                }
            }
        }
        Ok(None)
    }

    /// A flow between places of two profiles.
    fn flow_between(&self, source: u32, destination: u32, services: &[ServiceRange]) -> Option<Flow> {
        let sources = self.sources(source).iter().map(|at| &self.view.sources[*at as usize]);
        sources.into_iter().find_map(|source| {
            let destinations = self.destinations(destination).iter();
            destinations.map(|at| &self.view.destinations[*at as usize]).find_map(|destination| {
                let range = ranges::common(self.view.services(destination), services).next()?;
                let (source, destination) = pair(source, destination)?;
                Some(Flow { source, destination, service: ranges::example(range) })
            })
        })
    }
}

/// Addresses between which a packet can go from one place to the other: of one family, and not one and the same.
pub(super) fn pair(source: &Place, destination: &Place) -> Option<(IpAddr, IpAddr)> {
    let others = [(Some(source.address), destination.other), (source.other, Some(destination.address))];
    let both = [(source.address, destination.address)].into_iter();
    let mut pairs =
        both.chain(others.into_iter().filter_map(|(source, destination)| source.zip(destination)));
    let same_family = source.address.is_ipv4() == destination.address.is_ipv4();
    pairs.find(|(source, destination)| source != destination).filter(|_| same_family)
}

/// Whether two ascending lists have a number in common: looks up the shorter one's in the longer.
pub(super) fn meet(a: &[u32], b: &[u32]) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let mut rest = long;
    short.iter().any(|one| {
        let at = rest.partition_point(|other| other < one);
        rest = &rest[at..];
        rest.first() == Some(one)
    })
}

/// The steps that [`meet`] takes at most.
pub(super) fn meet_steps(a: &[u32], b: &[u32]) -> usize {
    let (short, long) = (a.len().min(b.len()), a.len().max(b.len()));
    1 + short * (1 + long.checked_ilog2().unwrap_or(0) as usize)
}

/// What two ascending lists have in common.
pub(super) fn intersection(a: &[u32], b: &[u32]) -> Vec<u32> {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    short.iter().copied().filter(|one| long.binary_search(one).is_ok()).collect()
}

/// Whether all of the ascending list `inner` is in the ascending list `outer`.
pub(super) fn includes(outer: &[u32], inner: &[u32]) -> bool {
    inner.len() <= outer.len() && inner.iter().all(|one| outer.binary_search(one).is_ok())
}
