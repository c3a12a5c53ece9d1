//! One end of a flow as people see it: its workload, its networks, its labels and where each comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use dataplane::policy::ServiceKey;

use super::edit::Edit;
use super::{EndView, LabelView};
use crate::policy::valid::{
    Enforcement, Labels, Listener, Mode, Network, Prefix, Requirement, Rule, Selector, ValidPolicy, Workload,
};

/// An address with all that the policy knows of it.
#[derive(Clone)]
pub(super) struct End<'a> {
    pub(super) address: IpAddr,
    pub(super) workload: Option<&'a Workload>,
    /// What answers here, if this is the destination and its service is a listener's.
    listener: Option<&'a Listener>,
    /// Narrowest first.
    networks: Vec<(u8, &'a Network)>,
    /// Networks that edits put around it, by name.
    added: Vec<String>,
    /// The workload's own labels.
    pub(super) own: Labels,
    /// Effective values, each with its origin.
    labels: BTreeMap<String, Vec<LabelView>>,
}

/// How a gate treats rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Regime {
    Off,
    Observe,
    Selective,
    Full,
    Quarantine,
    Unmanaged,
}

impl Regime {
    pub(super) const fn of(mode: Mode) -> Self {
        match mode {
            Mode::Off => Self::Off,
            Mode::Observe => Self::Observe,
            Mode::Selective => Self::Selective,
            Mode::Full => Self::Full,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Observe => "observe",
            Self::Selective => "selective",
            Self::Full => "full",
            Self::Quarantine => "quarantine",
            Self::Unmanaged => "unmanaged",
        }
    }
}

impl<'a> End<'a> {
    /// `service`: what is spoken with this end, if it is the destination.
    pub(super) fn new(policy: &'a ValidPolicy, address: IpAddr, service: Option<ServiceKey>) -> Self {
        let workload = policy.workloads.iter().find(|workload| workload.addresses.contains(&address));
        Self::of(policy, workload, address, service)
    }

    /// As [`End::new`], where the workload that owns the address is known.
    pub(super) fn of(
        policy: &'a ValidPolicy,
        workload: Option<&'a Workload>,
        address: IpAddr,
        service: Option<ServiceKey>,
    ) -> Self {
        let longest = |network: &Network| {
            let around = network.prefixes.iter().filter(|prefix| prefix_contains(prefix, address));
            around.map(|prefix| prefix.len).max()
        };
        let mut networks: Vec<(u8, &Network)> =
            policy.networks.iter().filter_map(|network| Some((longest(network)?, network))).collect();
        networks.sort_by_key(|(len, _)| std::cmp::Reverse(*len));
        let answers = |listener: &&Listener| {
            service.is_some_and(|key| listener.services.iter().any(|range| range.contains(key.value())))
        };
        let listener = workload.and_then(|workload| workload.listeners.iter().find(answers));
        let own = workload.map(|workload| workload.labels.clone()).unwrap_or_default();
        let labels = effective_labels(&own, listener, &networks);
        Self { address, workload, listener, networks, added: Vec::new(), own, labels }
    }

    /// As it is once `edits` are made.
    pub(super) fn edited(&self, edits: &[Edit]) -> Self {
        let mut end = self.clone();
        for edit in edits {
            if let Some(workload) = self.workload {
                edit.relabel(&workload.name, &mut end.own);
            }
            if let Edit::AddNetwork { name, address } = edit
                && *address == self.address
            {
                end.added.push(name.clone());
            }
        }
        end.labels = effective_labels(&end.own, end.listener, &end.networks);
        end
    }

    /// The gate's regime; `told` picks the direction's mode out of an enforcement.
    pub(super) fn regime(&self, policy: &ValidPolicy, told: impl Fn(&Enforcement) -> Option<Mode>) -> Regime {
        if self.workload.is_none() {
            return Regime::Unmanaged;
        }
        if self.own.is_empty() {
            return Regime::Quarantine;
        }
        let first = policy.enforcement.iter().find(|e| told(e).is_some() && self.is_selected(&e.select));
        first.and_then(told).map_or(Regime::Full, Regime::of)
    }

    /// Whether any of the selectors matches.
    pub(super) fn is_selected(&self, selectors: &[Selector]) -> bool {
        selectors.iter().any(|selector| selector.requirements.iter().all(|need| self.meets(need)))
    }

    /// What is missing for the selector that is nearest to matching.
    pub(super) fn missing<'s>(&self, selectors: &'s [Selector]) -> Vec<&'s Requirement> {
        let missing = |selector: &'s Selector| -> Vec<&'s Requirement> {
            selector.requirements.iter().filter(|need| !self.meets(need)).collect()
        };
        selectors.iter().map(missing).min_by_key(Vec::len).unwrap_or_default()
    }

    pub(super) fn meets(&self, requirement: &Requirement) -> bool {
        let known =
            self.workload.is_some() || self.networks.iter().any(|(_, network)| !network.labels.is_empty());
        match requirement {
            Requirement::In(key, values) => self.has(key, values),
            Requirement::NotIn(key, values) => known && !self.has(key, values),
            Requirement::Exists(key) => self.labels.contains_key(key.as_str()),
            Requirement::NotExists(key) => known && !self.labels.contains_key(key.as_str()),
            Requirement::Workload(names) => {
                self.workload.is_some_and(|workload| names.contains(&workload.name))
            }
            Requirement::Network(names) => self.lies_in(names),
            Requirement::AnyWorkload => self.workload.is_some(),
            Requirement::NotNetwork(names) => !self.lies_in(names),
            Requirement::NoWorkload => self.workload.is_none(),
        }
    }

    fn lies_in(&self, names: &[String]) -> bool {
        let networks = self.networks.iter().map(|(_, network)| &network.name);
        networks.chain(&self.added).any(|name| names.contains(name))
    }

    fn has(&self, key: &str, values: &[String]) -> bool {
        self.values(key).any(|value| values.iter().any(|wanted| wanted == value))
    }

    /// The effective values of a key.
    pub(super) fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.labels.get(key).into_iter().flatten().map(|label| label.value.as_str())
    }

    pub(super) fn view(&self, regime: Regime) -> EndView {
        EndView {
            address: self.address,
            workload: self.workload.map(|workload| workload.name.clone()),
            listener: self.listener.map(|listener| listener.name.clone()),
            networks: self.networks.iter().map(|(_, network)| network.name.clone()).collect(),
            labels: self.labels.clone(),
            mode: regime.name(),
        }
    }
}

/// Whether both ends have every key of the rule's `same` with a value in common; otherwise the first they have not.
pub(super) fn unlike<'r>(rule: &'r Rule, from: &End<'_>, to: &End<'_>) -> Option<&'r str> {
    let alike = |key: &str| from.values(key).any(|value| to.values(key).any(|other| other == value));
    rule.same.iter().map(String::as_str).find(|key| !alike(key))
}

/// A listener's values hide the workload's own, key by key; own values hide inherited ones; a narrower network hides
/// wider ones; networks with the same longest prefix both contribute.
fn effective_labels(
    own: &Labels,
    listener: Option<&Listener>,
    networks: &[(u8, &Network)],
) -> BTreeMap<String, Vec<LabelView>> {
    let views = |values: &BTreeSet<String>, origin: &str| -> Vec<LabelView> {
        values.iter().map(|value| LabelView { value: value.clone(), origin: origin.to_owned() }).collect()
    };
    let mut labels: BTreeMap<String, Vec<LabelView>> = BTreeMap::new();
    for (key, values) in listener.iter().flat_map(|listener| &listener.labels) {
        labels.insert(key.clone(), views(values, "listener"));
    }
    for (key, values) in own {
        labels.entry(key.clone()).or_insert_with(|| views(values, "own"));
    }
    for group in networks.chunk_by(|a, b| a.0 == b.0) {
        let mut level: BTreeMap<&String, Vec<LabelView>> = BTreeMap::new();
        for (_, network) in group {
            for (key, values) in &network.labels {
                level.entry(key).or_default().extend(views(values, &network.name));
            }
        }
        for (key, values) in level {
            labels.entry(key.clone()).or_insert(values);
        }
    }
    labels
}

fn prefix_contains(prefix: &Prefix, address: IpAddr) -> bool {
    let len = u32::from(prefix.len);
    match (prefix.address, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            (network.to_bits() ^ address.to_bits()).checked_shr(32 - len).is_none_or(|differs| differs == 0)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            (network.to_bits() ^ address.to_bits()).checked_shr(128 - len).is_none_or(|differs| differs == 0)
        }
        _ => false,
    }
}
