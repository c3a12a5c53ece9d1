//! Who speaks: from addresses to classes.

use std::sync::Arc;

use dataplane::address::Address;
use hashbrown::{HashMap, HashSet};

use super::classes::{Group, Side, VALUES};
use super::{Observation, Terms, Tightness};
use crate::policy::tuple::{Inventory, Kind, Mentioned, Tuple};
use crate::policy::valid::{AssertionKind, ServiceRange, ValidPolicy};

/// Prefixes of unknown addresses that one class speaks to, or is spoken to by, before they are "anywhere".
const fn prefixes_max(tightness: Tightness) -> usize {
    match tightness {
        Tightness::Workload => 256,
        Tightness::Tier | Tightness::App => 16,
        Tightness::Wide => 0,
    }
}

/// Where an end of an observation is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) class: u32,
    /// The workload, if it is one.
    pub(super) workload: Option<u32>,
}

/// The classes of a workload.
struct Home {
    source: u32,
    target: u32,
    listeners: Vec<(Arc<[ServiceRange]>, u32)>,
}

/// Everything about endpoints.
pub(super) struct Ends<'a> {
    pub(super) policy: &'a ValidPolicy,
    pub(super) terms: &'a Terms,
    inventory: Inventory<'a>,
    mentioned: Mentioned<'a>,
    values: HashMap<&'a str, u32>,
    pub(super) words: Vec<&'a str>,
    /// Sources, then destinations.
    pub(super) sides: [Side<'a>; 2],
    /// By source class: destination classes that have workloads in common with it, and how many.
    pub(super) twins: Vec<Vec<(u32, u64)>>,
    /// By workload; none for those in quarantine.
    homes: Vec<Option<Home>>,
    /// Sides and classes at whose other end unknown addresses are too many to be named.
    crowded: HashSet<(usize, Group<'a>)>,
    pub(super) nevers: Vec<u32>,
}

impl<'a> Ends<'a> {
    pub(super) fn new(policy: &'a ValidPolicy, terms: &'a Terms, observations: &[Observation]) -> Self {
        let mut mentioned = Mentioned::keys(terms.keys.iter().map(String::as_str));
        let nevers: Vec<u32> = (0..)
            .zip(&policy.assertions)
            .filter(|(_, one)| one.kind == AssertionKind::Never)
            .map(|(at, one)| {
                mentioned.also(&one.from);
                mentioned.also(&one.to);
                at
            })
            .collect();
        let mut ends = Self {
            policy,
            terms,
            inventory: Inventory::new(policy),
            mentioned,
            values: HashMap::new(),
            words: Vec::new(),
            sides: [Side::default(), Side::default()],
            twins: Vec::new(),
            homes: Vec::with_capacity(policy.workloads.len()),
            crowded: HashSet::new(),
            nevers,
        };
        for at in 0..policy.workloads.len() {
            let home = ends.home(at);
            ends.homes.push(home);
        }
        ends.crowd(observations);
        ends
    }

    fn home(&mut self, at: usize) -> Option<Home> {
        let workload = &self.policy.workloads[at];
        let first = Address::from(*workload.addresses.first()?);
        let tuple = self.inventory.tuple(&self.mentioned, first);
        if tuple.kind != Kind::Workload {
            return None;
        }
        let group = self.group(&tuple, &[], &workload.name);
        let never = self.never(&tuple);
        let source = self.sides[0].class(group.clone(), None, || never[0].clone());
        self.sides[0].classes[source as usize].size += 1;
        let mut listeners = Vec::new();
        for (services, labels) in &tuple.listeners {
            let services: Arc<[ServiceRange]> = (*services).into();
            let group = self.group(&tuple, labels, &workload.name);
            let class = self.sides[1].class(group, Some(Arc::clone(&services)), || never[1].clone());
            listeners.push((services, class));
        }
        let rest = (!listeners.is_empty()).then(|| rest(&listeners));
        let target = self.sides[1].class(group, rest, || never[1].clone());
        self.twins.resize(self.sides[0].classes.len(), Vec::new());
        for class in listeners.iter().map(|(_, class)| *class).chain([target]) {
            self.sides[1].classes[class as usize].size += 1;
            let twins = &mut self.twins[source as usize];
            match twins.iter_mut().find(|(twin, _)| *twin == class) {
                Some((_, count)) => *count += 1,
                None => twins.push((class, 1)),
            }
        }
        Some(Home { source, target, listeners })
    }

    /// The class of a workload by its labels; by its name if that is wanted, or it has none of the keys.
    fn group(&mut self, tuple: &Tuple<'a>, instead: &[(&'a str, Vec<&'a str>)], name: &'a str) -> Group<'a> {
        let mut values: Vec<Vec<u32>> = Vec::with_capacity(self.terms.keys.len());
        for key in &self.terms.keys {
            let held = instead.iter().chain(&tuple.labels).find(|(have, _)| have == key);
            let mut numbers: Vec<u32> =
                held.into_iter().flat_map(|(_, values)| values).map(|value| self.number(value)).collect();
            numbers.sort_unstable();
            values.push(numbers);
        }
        let named = self.terms.tightness == Tightness::Workload || values.iter().all(Vec::is_empty);
        if named { Group::Workload(name) } else { Group::Labels(values) }
    }

    fn number(&mut self, value: &'a str) -> u32 {
        let words = &mut self.words;
        *self.values.entry(value).or_insert_with(|| {
            words.push(value);
            VALUES + u32::try_from(words.len() - 1).unwrap_or(u32::MAX - VALUES)
        })
    }

    /// The word of a value's number.
    pub(super) fn word(&self, number: u32) -> &'a str {
        self.words.get((number - VALUES) as usize).copied().unwrap_or_default()
    }

    /// The `never` assertions whose `from`, and whose `to`, an endpoint may be.
    fn never(&self, tuple: &Tuple<'a>) -> [Vec<u32>; 2] {
        let matching = |side: usize| {
            let one = |at: &&u32| {
                let assertion = &self.policy.assertions[**at as usize];
                tuple.may_match(if side == 0 { &assertion.from } else { &assertion.to })
            };
            self.nevers.iter().filter(one).copied().collect()
        };
        [matching(0), matching(1)]
    }

    /// Notes at which classes unknown addresses are too many to be named.
    fn crowd(&mut self, observations: &[Observation]) {
        let max = prefixes_max(self.terms.tightness);
        let mut met: HashMap<(usize, Group<'a>), HashSet<(u128, u8)>> = HashMap::new();
        for one in observations {
            for (side, address, other) in [(0, one.source, one.destination), (1, one.destination, one.source)]
            {
                if self.inventory.owner_at(address).is_some() || self.inventory.network(address).is_some() {
                    continue;
                }
                let Some(spot) = self.workload(1 - side, other, one.service) else { continue };
                let group = self.sides[1 - side].classes[spot.class as usize].group.clone();
                met.entry((side, group)).or_default().insert(self.prefix(address));
            }
        }
        self.crowded = met.into_iter().filter(|(_, met)| met.len() > max).map(|(key, _)| key).collect();
    }

    fn prefix(&self, address: Address) -> (u128, u8) {
        let len = match (self.terms.tightness, address.is_v4()) {
            (Tightness::Workload, _) => 128,
            (_, true) => 120,
            (_, false) => 64,
        };
        (address.bits() & (u128::MAX << (128 - u32::from(len))), len)
    }

    fn workload(&self, side: usize, address: Address, service: u32) -> Option<Spot> {
        let workload = self.inventory.owner_at(address)?;
        let home = self.homes.get(workload as usize)?.as_ref()?;
        let takes =
            |(services, _): &&(Arc<[ServiceRange]>, u32)| services.iter().any(|one| one.contains(service));
        let class = match side {
            0 => home.source,
            _ => home.listeners.iter().find(takes).map_or(home.target, |(_, class)| *class),
        };
        Some(Spot { class, workload: Some(workload) })
    }

    /// The class of an end of an observation; `None` for a workload in quarantine.
    pub(super) fn spot(
        &mut self,
        side: usize,
        address: Address,
        other: Address,
        service: u32,
    ) -> Option<Spot> {
        if self.inventory.owner_at(address).is_some() {
            return self.workload(side, address, service);
        }
        let group = match self.inventory.network(address) {
            Some(network) => Group::Network(network.name.as_str()),
            None => {
                let beside = self.workload(1 - side, other, service);
                let beside =
                    beside.map(|spot| self.sides[1 - side].classes[spot.class as usize].group.clone());
                if beside.is_some_and(|group| self.crowded.contains(&(side, group))) {
                    Group::Anywhere
                } else {
                    let (first, len) = self.prefix(address);
                    Group::Prefix(first, len)
                }
            }
        };
        let never = self.never(&self.inventory.tuple(&self.mentioned, address));
        Some(Spot { class: self.alone(side, group, &never[side]), workload: None })
    }

    /// A class for one workload, by its name.
    pub(super) fn by_name(&mut self, side: usize, spot: Spot) -> u32 {
        let Some(workload) = spot.workload else { return spot.class };
        let workload = &self.policy.workloads[workload as usize];
        let first = workload.addresses.first().copied().map(Address::from);
        let never = first.map(|first| self.never(&self.inventory.tuple(&self.mentioned, first)));
        self.alone(side, Group::Workload(&workload.name), never.as_ref().map_or(&[], |never| &never[side]))
    }

    fn alone(&mut self, side: usize, group: Group<'a>, never: &[u32]) -> u32 {
        let class = self.sides[side].class(group, None, Vec::new);
        let one = &mut self.sides[side].classes[class as usize];
        one.size = one.size.max(1);
        let fresh = never.iter().filter(|at| !one.never.contains(at));
        let fresh: Vec<u32> = fresh.copied().collect();
        one.never.extend(fresh);
        class
    }
}

/// The services that none of the listeners takes.
fn rest(listeners: &[(Arc<[ServiceRange]>, u32)]) -> Arc<[ServiceRange]> {
    let mut taken: Vec<ServiceRange> =
        listeners.iter().flat_map(|(services, _)| services.iter().copied()).collect();
    taken.sort_unstable();
    let (mut left, mut next) = (Vec::new(), 0);
    for range in taken {
        if next < range.first {
            left.push(ServiceRange { first: next, last: range.first - 1 });
        }
        next = next.max(range.last + 1);
    }
    if next <= ServiceRange::ANY.last {
        left.push(ServiceRange { first: next, last: ServiceRange::ANY.last });
    }
    left.into()
}
