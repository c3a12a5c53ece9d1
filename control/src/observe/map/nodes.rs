//! Where an address is on the map.

use std::net::IpAddr;

use dataplane::address::Address;
use hashbrown::HashMap;

use super::{Kind, Question};
use crate::policy::tuple::{self, Inventory, Mentioned, Tuple};
use crate::policy::valid::ValidPolicy;

/// Examples of one node.
const EXAMPLES_MAX: usize = 5;

/// Where an address is, and which of the question's filters it meets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    /// An index of [`Nodes::nodes`].
    pub(super) node: u32,
    /// What of the question it meets.
    pub(super) chosen: Chosen,
}

/// One bit for each filter that is not met yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen(u16);

impl Chosen {
    /// Whether one of two ends meets each filter.
    pub(super) const fn and(self, other: Self) -> bool {
        self.0 & other.0 == 0
    }

    const fn alone(self) -> bool {
        self.0 == 0
    }
}

/// Some keys with the values that a workload has of each; sorted by key.
pub(super) type Values<'a> = Vec<(&'a str, Vec<&'a str>)>;

/// What a node is made by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place<'a> {
    pub(super) kind: Kind,
    /// The values of the group's keys.
    pub(super) group: Values<'a>,
    /// The values of the tiers' keys; for a network its name.
    pub(super) tier: Values<'a>,
}

/// A node as it is found.
#[derive(Clone, Debug)]
pub(super) struct Found<'a> {
    pub(super) place: Place<'a>,
    pub(super) workloads: u64,
    /// Whether one of them meets all filters by itself.
    pub(super) wanted: bool,
    pub(super) examples: Vec<String>,
}

/// Every node of the inventory and of the records.
pub(super) struct Nodes<'a> {
    policy: &'a ValidPolicy,
    question: &'a Question,
    inventory: Inventory<'a>,
    mentioned: Mentioned<'a>,
    /// The filters in the letters that they are compared in.
    search: Option<String>,
    index: HashMap<Place<'a>, u32>,
    pub(super) nodes: Vec<Found<'a>>,
    /// By workload.
    owned: Vec<Spot>,
    /// Of addresses that no workload owns.
    others: HashMap<IpAddr, Spot>,
}

impl<'a> Nodes<'a> {
    pub(super) fn new(policy: &'a ValidPolicy, question: &'a Question) -> Self {
        let keys = question.by.iter().chain(&question.tier);
        let wanted = question.labels.iter().map(|(key, _)| key);
        let mut mentioned = Mentioned::keys(keys.chain(wanted).map(String::as_str));
        if question.search.is_some() {
            mentioned.every_key(policy);
        }
        let mut nodes = Self {
            policy,
            question,
            inventory: Inventory::new(policy),
            mentioned,
            search: question.search.as_ref().map(|text| text.to_lowercase()),
            index: HashMap::new(),
            nodes: Vec::new(),
            owned: Vec::with_capacity(policy.workloads.len()),
            others: HashMap::new(),
        };
        for at in 0..policy.workloads.len() {
            nodes.workload(at);
        }
        nodes
    }

    /// Places a workload: where its first address is.
    fn workload(&mut self, at: usize) {
        let workload = &self.policy.workloads[at];
        let first = workload.addresses.first().copied().map(Address::from);
        let tuple = first.map(|first| self.inventory.tuple(&self.mentioned, first)).unwrap_or_default();
        let place = if workload.labels.is_empty() {
            Place { kind: Kind::Unlabelled, group: Vec::new(), tier: Vec::new() }
        } else {
            let (group, tier) = (pick(&self.question.by, &tuple), pick(&self.question.tier, &tuple));
            Place { kind: Kind::Labelled, group, tier }
        };
        let words = std::iter::once(workload.name.clone());
        let chosen = self.chosen(&tuple, || words.chain(workload.addresses.iter().map(ToString::to_string)));
        let node = self.intern(place);
        let found = &mut self.nodes[node as usize];
        found.workloads += 1;
        found.wanted |= chosen.alone();
        if found.examples.len() < EXAMPLES_MAX {
            found.examples.push(workload.name.clone());
        }
        self.owned.push(Spot { node, chosen });
    }

    /// Where `address` is.
    pub(super) fn spot(&mut self, address: IpAddr) -> Spot {
        let at = Address::from(address);
        if let Some(owner) = self.inventory.owner_at(at)
            && let Some(spot) = self.owned.get(owner as usize)
        {
            return *spot;
        }
        if let Some(spot) = self.others.get(&address) {
            return *spot;
        }
        let network = self.inventory.network(at);
        let (kind, tier) = match network {
            Some(network) => (Kind::Network, vec![(tuple::NETWORKS, vec![network.name.as_str()])]),
            None => (Kind::Unknown, Vec::new()),
        };
        let tuple = match self.question.chooses() {
            true => self.inventory.tuple(&self.mentioned, at),
            false => Tuple::default(),
        };
        let words = std::iter::once(address.to_string());
        let chosen = self.chosen(&tuple, || words.chain(network.map(|network| network.name.clone())));
        let node = self.intern(Place { kind, group: Vec::new(), tier });
        let found = &mut self.nodes[node as usize];
        if found.examples.len() < EXAMPLES_MAX {
            found.examples.push(address.to_string());
        }
        let spot = Spot { node, chosen };
        self.others.insert(address, spot);
        spot
    }

    fn intern(&mut self, place: Place<'a>) -> u32 {
        let next = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let nodes = &mut self.nodes;
        *self.index.entry(place).or_insert_with_key(|place| {
            nodes.push(Found { place: place.clone(), workloads: 0, wanted: false, examples: Vec::new() });
            next
        })
    }

    /// What of the question an end meets that has these labels and is called these words.
    fn chosen<I: Iterator<Item = String>>(&self, tuple: &Tuple<'a>, words: impl FnOnce() -> I) -> Chosen {
        let mut missing = 0;
        for (bit, (key, value)) in self.question.labels.iter().enumerate() {
            let held = tuple.labels.iter().find(|(have, _)| have == key);
            if !held.is_some_and(|(_, values)| values.contains(&value.as_str())) {
                missing |= 1 << (bit + 1);
            }
        }
        if let Some(search) = &self.search {
            let labels = tuple.labels.iter();
            let labels = labels.flat_map(|(key, values)| values.iter().map(move |v| format!("{key}={v}")));
            if !words().chain(labels).any(|word| word.to_lowercase().contains(search)) {
                missing |= 1;
            }
        }
        Chosen(missing)
    }
}

/// The values that `tuple` has of each of `keys`.
fn pick<'a>(keys: &[String], tuple: &Tuple<'a>) -> Values<'a> {
    let held = tuple.labels.iter().filter(|(key, _)| keys.iter().any(|wanted| wanted == key));
    held.cloned().collect()
}
