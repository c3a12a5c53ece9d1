//! The endpoints of a policy and the selectors that each satisfies, before anything is entered in a table: for
//! whoever must look at all pairs of endpoints.
//!
//! A *place* is a set of addresses that nothing in the policy tells apart. As a source, an address has one place. As
//! a destination, a workload with listeners has one for each listener and one for its other services.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::policy::GateMode;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::Limits;
use super::error::CompileError;
use super::lists::Lists;
use super::member::{self, Members, Modes};
use super::profile::Profiles;
use super::space::Space;
use super::vocabulary::{PeersId, Vocabulary, number};
use crate::policy::valid::{Requirement, Selector, ServiceRange, ValidPolicy, Workload};

/// A set of addresses of one family that nothing tells apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Place {
    /// What it satisfies: see [`View::matched`].
    pub(in crate::policy) profile: u32,
    /// One of its addresses.
    pub(in crate::policy) address: IpAddr,
    /// Another of its addresses, if it has one.
    pub(in crate::policy) other: Option<IpAddr>,
    /// How its gate treats rules: the egress gate of a source, the ingress gate of a destination.
    pub(in crate::policy) mode: GateMode,
    /// The services for which a destination is this place, an index for [`View::services`].
    pub(in crate::policy) services: u32,
}

/// Everything there is to look at.
pub(in crate::policy) struct View {
    /// The peer lists of each rule, `from` and `to`; tiers and rules in order.
    pub(in crate::policy) rules: Vec<(PeersId, PeersId)>,
    /// The peer lists that were asked for beside those of rules.
    pub(in crate::policy) asked: Vec<PeersId>,
    /// Places of sources, IPv4 before IPv6.
    pub(in crate::policy) sources: Vec<Place>,
    /// Places of destinations, likewise.
    pub(in crate::policy) destinations: Vec<Place>,
    profiles: usize,
    members: Members,
    services: Vec<Vec<ServiceRange>>,
    /// For each key that a rule's `same` names, the peer lists that stand for one of its values.
    same: HashMap<String, Vec<PeersId>>,
}

/// The services of a place of which no listener takes any.
pub(in crate::policy) const EVERY_SERVICE: u32 = 0;

impl View {
    /// Of `policy`, with the lists of selectors in `asked` evaluated beside those of its rules.
    ///
    /// # Errors
    /// The memberships would need more memory than the limit.
    pub(in crate::policy) fn new(
        policy: &ValidPolicy,
        asked: &[&[Selector]],
        limits: Limits,
    ) -> Result<Self, CompileError> {
        let values = same_values(policy);
        let mut vocabulary = Vocabulary::default();
        let rules = policy.tiers.iter().flat_map(|tier| &tier.rules);
        let rules = rules.map(|rule| (vocabulary.peers(&rule.from), vocabulary.peers(&rule.to))).collect();
        let enforced: Vec<_> = policy.enforcement.iter().map(|e| vocabulary.peers(&e.select)).collect();
        let asked = asked.iter().map(|list| vocabulary.peers(list)).collect();
        let mut same: HashMap<String, Vec<PeersId>> = HashMap::new();
        for (key, selector) in &values {
            same.entry((*key).to_owned()).or_default().push(vocabulary.peers(std::slice::from_ref(selector)));
        }

        let listeners = listeners(&policy.workloads);
        let space = Space::new(&policy.networks, &vocabulary, limits)?;
        let workloads = policy.workloads.iter().chain(listeners.iter().map(|(_, listener)| listener));
        let profiles = Profiles::new(workloads, &space, &vocabulary);
        let members = Members::new(&vocabulary, &profiles, limits)?;
        let modes = member::modes(&policy.enforcement, &enforced, &members, &profiles);
        let mut places =
            Places { policy, modes: &modes, services: Services::default(), index: HashMap::new() };
        let sources = places.sources(&profiles, &space);
        let destinations = places.destinations(&profiles, &space, &listeners);
        let services = places.services.lists;
        Ok(Self { rules, asked, sources, destinations, profiles: profiles.len(), members, services, same })
    }

    /// How many profiles there are.
    pub(in crate::policy) fn profiles(&self) -> usize {
        self.profiles
    }

    /// The profiles that a peer list matches, ascending.
    pub(in crate::policy) fn matched(&self, peers: PeersId) -> &[u32] {
        self.members.of(peers)
    }

    /// For each profile, the lists that match it, of those for which `wanted` holds; ascending.
    pub(in crate::policy) fn by_profile(&self, wanted: impl Fn(PeersId) -> bool) -> Lists {
        self.members.transposed(self.profiles, wanted)
    }

    /// The services of a place: sorted, disjoint.
    pub(in crate::policy) fn services(&self, place: &Place) -> &[ServiceRange] {
        &self.services[place.services as usize]
    }

    /// The peer lists that stand for one value of `key`, which a rule's `same` names.
    pub(in crate::policy) fn values(&self, key: &str) -> &[PeersId] {
        self.same.get(key).map_or(&[], Vec::as_slice)
    }
}

/// A selector for every value that anything has of a key which a rule's `same` names.
fn same_values(policy: &ValidPolicy) -> Vec<(&str, Selector)> {
    let rules = policy.tiers.iter().flat_map(|tier| &tier.rules);
    let mut keys: Vec<&str> = rules.flat_map(|rule| &rule.same).map(String::as_str).collect();
    keys.sort_unstable();
    keys.dedup();
    if keys.is_empty() {
        return Vec::new();
    }
    let listeners = policy.workloads.iter().flat_map(|workload| &workload.listeners);
    let labels = policy.workloads.iter().map(|one| &one.labels).chain(listeners.map(|one| &one.labels));
    let labels = labels.chain(policy.networks.iter().map(|one| &one.labels));
    let mut values: Vec<(&str, &str)> = labels
        .flat_map(|labels| keys.iter().filter_map(|key| Some((*key, labels.get(*key)?))))
        .flat_map(|(key, values)| values.iter().map(move |value| (key, value.as_str())))
        .collect();
    values.sort_unstable();
    values.dedup();
    let selector = |(key, value): (&'_ str, &str)| Selector {
        requirements: vec![Requirement::In(key.to_owned(), vec![value.to_owned()])],
    };
    values.into_iter().map(|(key, value)| (key, selector((key, value)))).collect()
}

/// Each listener as a workload of its own: the workload's labels with the listener's in place of theirs. With the
/// index of its workload.
fn listeners(workloads: &[Workload]) -> Vec<((u32, usize), Workload)> {
    let of = |(at, workload): (u32, &'_ Workload)| {
        let each = workload.listeners.iter().enumerate().map(move |(listener, one)| {
            let mut labels = workload.labels.clone();
            labels.extend(one.labels.clone());
            ((at, listener), Workload { labels, listeners: Vec::new(), ..workload.clone() })
        });
        each.collect::<Vec<_>>()
    };
    (0..).zip(workloads).filter(|(_, workload)| !workload.listeners.is_empty()).flat_map(of).collect()
}

/// Distinct lists of services.
struct Services {
    lists: Vec<Vec<ServiceRange>>,
    index: HashMap<Vec<ServiceRange>, u32>,
}

impl Default for Services {
    fn default() -> Self {
        let every = vec![ServiceRange::ANY];
        Self { lists: vec![every.clone()], index: HashMap::from([(every, EVERY_SERVICE)]) }
    }
}

impl Services {
    fn intern(&mut self, list: Vec<ServiceRange>) -> u32 {
        let next = number(self.lists.len());
        let lists = &mut self.lists;
        *self.index.entry(list).or_insert_with_key(|list| {
            lists.push(list.clone());
            next
        })
    }
}

/// What tells places of one side apart: profile, family, mode, services.
type PlaceKey = (u32, bool, GateMode, u32);

struct Places<'a> {
    policy: &'a ValidPolicy,
    modes: &'a [Modes],
    services: Services,
    index: HashMap<PlaceKey, (IpAddr, Option<IpAddr>)>,
}

impl Places<'_> {
    fn add(&mut self, address: IpAddr, other: Option<IpAddr>, key: PlaceKey) {
        match self.index.entry(key) {
            Entry::Occupied(mut met) => {
                let (first, second) = met.get_mut();
                let fresh = [Some(address), other].into_iter().flatten().find(|one| one != first);
                *second = second.or(fresh);
            }
            Entry::Vacant(free) => {
                free.insert((address, other));
            }
        }
    }

    /// The places met so far, in order.
    fn take(&mut self) -> Vec<Place> {
        let mut places: Vec<(PlaceKey, (IpAddr, Option<IpAddr>))> = self.index.drain().collect();
        places.sort_unstable_by_key(|((profile, v6, mode, services), _)| (*v6, *profile, *mode, *services));
        let place = |((profile, _, mode, services), (address, other))| Place {
            profile,
            address,
            other,
            mode,
            services,
        };
        places.into_iter().map(place).collect()
    }

    fn sources(&mut self, profiles: &Profiles, space: &Space) -> Vec<Place> {
        for &(address, profile, owner) in profiles.owned() {
            // What comes after the workloads are their listeners, which never are sources.
            if (owner as usize) < self.policy.workloads.len() {
                let mode = self.modes[profile as usize].egress;
                self.add(address, None, (profile, address.is_ipv6(), mode, EVERY_SERVICE));
            }
        }
        self.unowned(profiles, space);
        self.take()
    }

    fn destinations(
        &mut self,
        profiles: &Profiles,
        space: &Space,
        listeners: &[((u32, usize), Workload)],
    ) -> Vec<Place> {
        let workloads = &self.policy.workloads;
        for &(address, profile, owner) in profiles.owned() {
            let at = owner as usize;
            let (services, workload) = match workloads.get(at) {
                Some(workload) if workload.listeners.is_empty() => (EVERY_SERVICE, workload),
                Some(workload) => (self.services.intern(left_over(workload)), workload),
                None => {
                    let (workload, listener) = listeners[at - workloads.len()].0;
                    let workload = &workloads[workload as usize];
                    (self.services.intern(workload.listeners[listener].services.clone()), workload)
                }
            };
            let mode = match self.modes[profile as usize].ingress {
                // Labels of a listener do not bring a workload out of quarantine.
                _ if workload.labels.is_empty() => GateMode::Quarantine,
                mode => mode,
            };
            self.add(address, None, (profile, address.is_ipv6(), mode, services));
        }
        self.unowned(profiles, space);
        self.take()
    }

    /// Ranges of addresses, as far as no workload owns them.
    fn unowned(&mut self, profiles: &Profiles, space: &Space) {
        let v4 = profiles.v4_ranges(space, |profile| profile);
        let v4: Vec<_> = v4.into_iter().map(|(first, profile)| (u128::from(first), profile)).collect();
        let v6 = profiles.v6_ranges(space, |profile| profile);
        let (mut owned_v4, mut owned_v6) = (Vec::new(), Vec::new());
        for (address, ..) in profiles.owned() {
            match address {
                IpAddr::V4(v4) => owned_v4.push(u128::from(v4.to_bits())),
                IpAddr::V6(v6) => owned_v6.push(v6.to_bits()),
            }
        }
        let example = u128::from(Ipv4Addr::new(192, 0, 2, 1).to_bits());
        let v4_address = |bits| IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)));
        self.free(&v4, u128::from(u32::MAX), owned_v4, example, v4_address);
        let example = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).to_bits();
        self.free(&v6, u128::MAX, owned_v6, example, |bits| IpAddr::V6(Ipv6Addr::from_bits(bits)));
    }

    /// Adds each of `ranges` in which an address is free; `example` stands for its range if it is.
    fn free(
        &mut self,
        ranges: &[(u128, u32)],
        max: u128,
        mut owned: Vec<u128>,
        example: u128,
        address: impl Fn(u128) -> IpAddr,
    ) {
        owned.sort_unstable();
        owned.dedup();
        // The first address of a place that is met stands for it.
        let best = ranges.partition_point(|(first, _)| *first <= example).saturating_sub(1);
        let (before, after) = (0..best, best + 1..ranges.len());
        for at in std::iter::once(best).chain(before).chain(after) {
            let Some(&(first, profile)) = ranges.get(at) else { continue };
            let last = ranges.get(at + 1).map_or(max, |(next, _)| next - 1);
            let within =
                owned.partition_point(|bits| *bits < first)..owned.partition_point(|bits| *bits <= last);
            let within = &owned[within];
            if within.len() as u128 > last - first {
                continue;
            }
            let is_free = |bits: &u128| within.binary_search(bits).is_err();
            let preferred = (first..=last).contains(&example).then_some(example).filter(is_free);
            // The first address of a range is seldom a machine's.
            let mut others = (first..=last).skip(1).chain([first]);
            let Some(free) = preferred.or_else(|| others.find(is_free)) else { continue };
            let second = (first..=last).skip(1).chain([first]).find(|bits| *bits != free && is_free(bits));
            let free = address(free);
            self.add(
                free,
                second.map(&address),
                (profile, free.is_ipv6(), GateMode::Unmanaged, EVERY_SERVICE),
            );
        }
    }
}

/// The services that no listener of `workload` takes.
fn left_over(workload: &Workload) -> Vec<ServiceRange> {
    let mut taken: Vec<ServiceRange> =
        workload.listeners.iter().flat_map(|listener| &listener.services).copied().collect();
    taken.sort_unstable();
    let mut left = Vec::with_capacity(taken.len() + 1);
    let mut next = 0;
    for range in taken {
        if next < range.first {
            left.push(ServiceRange { first: next, last: range.first - 1 });
        }
        next = next.max(range.last + 1);
    }
    if next <= ServiceRange::ANY.last {
        left.push(ServiceRange { first: next, last: ServiceRange::ANY.last });
    }
    left
}
