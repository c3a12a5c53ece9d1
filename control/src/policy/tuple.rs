//! What a policy can tell of an address: its *label tuple*, over the keys, values and names that policies mention.
//!
//! Two addresses with the same label tuple satisfy the same selectors of every policy that was looked at, so one can
//! stand for the other.

use std::fmt;
use std::hash::Hash;

use dataplane::address::Address;
use hashbrown::{HashMap, HashSet};

use super::valid::{Labels, Network, Requirement, Selector, ServiceRange, ValidPolicy, Workload};

/// Stands for every value of a key that no policy mentions.
pub(crate) const OTHER: &str = "(other)";

/// The keys, values and names that some policies mention.
#[derive(Debug, Default)]
pub(crate) struct Mentioned<'a> {
    /// The mentioned values of each key; `None` if they are compared with each other, so that each counts.
    keys: HashMap<&'a str, Option<HashSet<&'a str>>>,
    workloads: HashSet<&'a str>,
    networks: HashSet<&'a str>,
}

impl<'a> Mentioned<'a> {
    /// What any of `policies` mentions.
    pub(crate) fn of(policies: &[&'a ValidPolicy]) -> Self {
        let mut mentioned = Self::default();
        for policy in policies {
            for rule in policy.tiers.iter().flat_map(|tier| &tier.rules) {
                rule.from.iter().chain(&rule.to).for_each(|selector| mentioned.add(selector));
                for key in &rule.same {
                    mentioned.keys.insert(key, None);
                }
            }
            policy.enforcement.iter().flat_map(|one| &one.select).for_each(|one| mentioned.add(one));
        }
        mentioned
    }

    /// These keys, with every value.
    pub(crate) fn keys(keys: impl Iterator<Item = &'a str>) -> Self {
        Self { keys: keys.map(|key| (key, None)).collect(), ..Self::default() }
    }

    /// Every key that anything in `policy` has, with every value.
    pub(crate) fn every_key(&mut self, policy: &'a ValidPolicy) {
        let labels = policy.workloads.iter().map(|one| &one.labels);
        let labels = labels.chain(policy.networks.iter().map(|one| &one.labels));
        self.keys.extend(labels.flat_map(|labels| labels.keys()).map(|key| (key.as_str(), None)));
    }

    /// What `selectors` mention, too.
    pub(crate) fn also(&mut self, selectors: &'a [Selector]) {
        selectors.iter().for_each(|selector| self.add(selector));
    }

    fn add(&mut self, selector: &'a Selector) {
        for requirement in &selector.requirements {
            match requirement {
                Requirement::In(key, values) | Requirement::NotIn(key, values) => {
                    let known = self.keys.entry(key).or_insert_with(|| Some(HashSet::new()));
                    if let Some(known) = known {
                        known.extend(values.iter().map(String::as_str));
                    }
                }
                Requirement::Exists(key) | Requirement::NotExists(key) => {
                    self.keys.entry(key).or_insert_with(|| Some(HashSet::new()));
                }
                Requirement::Workload(names) => self.workloads.extend(names.iter().map(String::as_str)),
                Requirement::Network(names) | Requirement::NotNetwork(names) => {
                    self.networks.extend(names.iter().map(String::as_str));
                }
                Requirement::AnyWorkload | Requirement::NoWorkload => {}
            }
        }
    }

    /// The values of a label as far as they count, sorted; `None` if nobody mentions the key.
    fn values(&self, key: &str, values: impl Iterator<Item = &'a str>) -> Option<Vec<&'a str>> {
        let known = self.keys.get(key)?;
        let counts =
            |value| if known.as_ref().is_none_or(|known| known.contains(value)) { value } else { OTHER };
        let mut values: Vec<&str> = values.map(counts).collect();
        values.sort_unstable();
        values.dedup();
        Some(values)
    }

    fn labels(&self, labels: &'a Labels) -> Vec<Label<'a>> {
        let label = |(key, values): (&'a String, &'a std::collections::BTreeSet<String>)| {
            Some((key.as_str(), self.values(key, values.iter().map(String::as_str))?))
        };
        labels.iter().filter_map(label).collect()
    }
}

/// A key with its values, sorted.
pub(crate) type Label<'a> = (&'a str, Vec<&'a str>);

/// What is at an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A workload with labels of its own.
    Workload,
    /// A workload without.
    Unlabelled,
    /// No workload, but a network with labels contains it.
    Network,
    /// Neither.
    #[default]
    Unknown,
}

/// What policies can tell of an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Tuple<'a> {
    pub(crate) kind: Kind,
    /// Effective labels with a mentioned key, by key.
    pub(crate) labels: Vec<Label<'a>>,
    /// The workload's name, if it is mentioned.
    pub(crate) name: Option<&'a str>,
    /// The mentioned networks that contain it, sorted.
    pub(crate) networks: Vec<&'a str>,
    /// Listeners with mentioned labels: what they answer to, and those labels.
    pub(crate) listeners: Vec<(&'a [ServiceRange], Vec<Label<'a>>)>,
}

impl<'a> Tuple<'a> {
    /// Whether any of the selectors matches, at whatever service.
    pub(crate) fn may_match(&self, selectors: &[Selector]) -> bool {
        self.matches(selectors, &[])
            || self.listeners.iter().any(|(_, labels)| self.matches(selectors, labels))
    }

    /// Whether any of the selectors matches, with `instead` in place of labels of the same keys.
    pub(crate) fn matches(&self, selectors: &[Selector], instead: &[Label<'a>]) -> bool {
        selectors.iter().any(|one| one.requirements.iter().all(|need| self.meets(need, instead)))
    }

    /// The values of a key, those of `instead` first.
    fn held<'s>(&'s self, key: &str, instead: &'s [Label<'a>]) -> Option<&'s [&'a str]> {
        let label = instead.iter().chain(&self.labels).find(|(have, _)| *have == key);
        label.map(|(_, values)| values.as_slice())
    }

    fn meets(&self, requirement: &Requirement, instead: &[Label<'a>]) -> bool {
        let has = |key: &str, wanted: &[String]| {
            let held = self.held(key, instead).unwrap_or_default();
            held.iter().any(|value| wanted.iter().any(|wanted| wanted == value))
        };
        let exists = |key: &str| self.held(key, instead).is_some();
        let known = self.kind != Kind::Unknown;
        let within = |names: &[String]| names.iter().any(|name| self.networks.contains(&name.as_str()));
        match requirement {
            Requirement::In(key, values) => has(key, values),
            Requirement::NotIn(key, values) => known && !has(key, values),
            Requirement::Exists(key) => exists(key),
            Requirement::NotExists(key) => known && !exists(key),
            Requirement::Workload(names) => self.name.is_some_and(|own| names.iter().any(|name| name == own)),
            Requirement::Network(names) => within(names),
            Requirement::NotNetwork(names) => !within(names),
            Requirement::AnyWorkload => self.is_workload(),
            Requirement::NoWorkload => !self.is_workload(),
        }
    }

    /// Whether a workload is there.
    pub(crate) fn is_workload(&self) -> bool {
        matches!(self.kind, Kind::Workload | Kind::Unlabelled)
    }

    /// Everything that tells it apart, each as a word for people under the name of what it is.
    pub(crate) fn facets(&self) -> Vec<(&'a str, String)> {
        let mut facets = vec![(KIND, self.kind.name().to_owned())];
        facets.extend(self.labels.iter().map(|(key, values)| (*key, values.join("+"))));
        facets.extend(self.name.map(|name| (NAME, name.to_owned())));
        if !self.networks.is_empty() {
            facets.push((NETWORKS, self.networks.join("+")));
        }
        if !self.listeners.is_empty() {
            let one = |(services, labels): &(&[ServiceRange], Vec<Label<'_>>)| {
                let services: Vec<String> = services.iter().map(ServiceRange::to_string).collect();
                let labels: Vec<String> =
                    labels.iter().map(|(key, values)| format!("{key}={}", values.join("+"))).collect();
                format!("{}:{}", services.join("+"), labels.join("+"))
            };
            facets.push((LISTENERS, self.listeners.iter().map(one).collect::<Vec<_>>().join(" ")));
        }
        facets
    }
}

/// The facets that are no label; label keys have none of these characters.
pub(crate) const KIND: &str = "(kind)";
/// The workload's name.
pub(crate) const NAME: &str = "(workload)";
/// The networks around it.
pub(crate) const NETWORKS: &str = "(network)";
/// Its listeners.
pub(crate) const LISTENERS: &str = "(listeners)";

impl Kind {
    /// The word for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Workload => "workload",
            Self::Unlabelled => "unlabelled",
            Self::Network => "network",
            Self::Unknown => "unknown",
        }
    }
}

/// One facet as people read it.
pub(crate) fn facet(name: &str, value: &str) -> String {
    match name {
        KIND => format!("({value})"),
        NAME => value.to_owned(),
        NETWORKS => format!("net:{value}"),
        LISTENERS => format!("listening {value}"),
        key => format!("{key}={value}"),
    }
}

/// `app=shop,env=prod`, `net:office`, `(unknown)`.
impl fmt::Display for Tuple<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facets = self.facets();
        let told = |(name, _): &&(&str, String)| *name != KIND && *name != LISTENERS;
        if !facets.iter().any(|one| told(&one)) {
            return write!(f, "({})", self.kind.name());
        }
        for (at, (name, value)) in facets.iter().filter(told).enumerate() {
            write!(f, "{}{}", if at == 0 { "" } else { "," }, facet(name, value))?;
        }
        Ok(())
    }
}

/// The workloads and networks of a policy, by address.
#[derive(Debug)]
pub(crate) struct Inventory<'a> {
    policy: &'a ValidPolicy,
    owners: HashMap<Address, u32>,
    /// Length over 128 bits (IPv4 mapped) and network bits to the networks that have the prefix.
    prefixes: HashMap<(u8, u128), Vec<u32>>,
    /// The lengths in use, longest first.
    lens: Vec<u8>,
}

fn mask(len: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0)
}

impl<'a> Inventory<'a> {
    pub(crate) fn new(policy: &'a ValidPolicy) -> Self {
        let mut owners = HashMap::with_capacity(policy.workloads.len());
        for (at, workload) in (0..).zip(&policy.workloads) {
            owners.extend(workload.addresses.iter().map(|address| (Address::from(*address), at)));
        }
        let (mut prefixes, mut lens) = (HashMap::<_, Vec<u32>>::new(), Vec::new());
        for (at, network) in (0..).zip(&policy.networks) {
            for prefix in &network.prefixes {
                let len = if prefix.address.is_ipv4() { prefix.len + 96 } else { prefix.len };
                prefixes.entry((len, Address::from(prefix.address).bits() & mask(len))).or_default().push(at);
                lens.push(len);
            }
        }
        lens.sort_unstable_by(|a, b| b.cmp(a));
        lens.dedup();
        Self { policy, owners, prefixes, lens }
    }

    /// The workload that owns `address`.
    pub(crate) fn owner(&self, address: Address) -> Option<&'a Workload> {
        self.policy.workloads.get(self.owner_at(address)? as usize)
    }

    /// The index of the workload that owns `address`.
    pub(crate) fn owner_at(&self, address: Address) -> Option<u32> {
        self.owners.get(&address).copied()
    }

    /// The narrowest network that holds `address`; of several with one prefix, the first.
    pub(crate) fn network(&self, address: Address) -> Option<&'a Network> {
        let lens = self.lens.iter().filter(|len| !address.is_v4() || **len >= 96);
        let mut around = lens.filter_map(|&len| self.prefixes.get(&(len, address.bits() & mask(len))));
        self.policy.networks.get(*around.next()?.first()? as usize)
    }

    /// The label tuple of `address`.
    pub(crate) fn tuple(&self, mentioned: &Mentioned<'a>, address: Address) -> Tuple<'a> {
        let mut tuple = Tuple::default();
        if let Some(workload) = self.owner(address) {
            tuple.kind = if workload.labels.is_empty() { Kind::Unlabelled } else { Kind::Workload };
            tuple.labels = mentioned.labels(&workload.labels);
            tuple.name = mentioned.workloads.get(workload.name.as_str()).copied();
            tuple.listeners = (workload.listeners.iter())
                .map(|one| (one.services.as_slice(), mentioned.labels(&one.labels)))
                .filter(|(_, labels)| !labels.is_empty())
                .collect();
        }
        self.inherit(mentioned, address, &mut tuple);
        tuple.labels.sort_unstable();
        tuple.networks.sort_unstable();
        tuple.listeners.sort_unstable();
        tuple
    }

    /// A narrower network hides wider ones, key by key; networks with the same longest prefix both contribute.
    fn inherit(&self, mentioned: &Mentioned<'a>, address: Address, tuple: &mut Tuple<'a>) {
        let (mut seen, mut level) = (Vec::new(), HashMap::<&'a str, Vec<&'a str>>::new());
        // ::/0 is shorter than 0.0.0.0/0 (96), so v4 addresses must not match v6 prefixes.
        for &len in self.lens.iter().filter(|len| !address.is_v4() || **len >= 96) {
            let Some(around) = self.prefixes.get(&(len, address.bits() & mask(len))) else { continue };
            for &at in around {
                if seen.contains(&at) {
                    continue;
                }
                seen.push(at);
                let network = &self.policy.networks[at as usize];
                tuple.networks.extend(mentioned.networks.get(network.name.as_str()));
                for (key, values) in &network.labels {
                    if mentioned.keys.contains_key(key.as_str()) {
                        level.entry(key).or_default().extend(values.iter().map(String::as_str));
                    }
                }
            }
            for (key, values) in level.drain() {
                if tuple.held(key, &[]).is_none() {
                    tuple
                        .labels
                        .extend(mentioned.values(key, values.into_iter()).map(|values| (key, values)));
                }
            }
        }
        let known = seen.iter().any(|at| !self.policy.networks[*at as usize].labels.is_empty());
        if tuple.kind == Kind::Unknown && known {
            tuple.kind = Kind::Network;
        }
    }
}
