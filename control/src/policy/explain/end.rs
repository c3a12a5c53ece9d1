//! One end of a flow as people see it: its workload, its networks, its labels and where each comes from.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{EndView, LabelView};
use crate::policy::valid::{
    Enforcement, Mode, Network, Prefix, Requirement, Selector, ValidPolicy, Workload,
};

/// An address with all that the policy knows of it.
pub(super) struct End<'a> {
    address: IpAddr,
    pub(super) workload: Option<&'a Workload>,
    /// Narrowest first.
    networks: Vec<(u8, &'a Network)>,
    /// Effective values, each with its origin: `None` is the workload itself.
    labels: BTreeMap<&'a str, Vec<(&'a str, Option<&'a str>)>>,
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
    pub(super) fn new(policy: &'a ValidPolicy, address: IpAddr) -> Self {
        let workload = policy.workloads.iter().find(|workload| workload.addresses.contains(&address));
        let longest = |network: &Network| {
            let around = network.prefixes.iter().filter(|prefix| prefix_contains(prefix, address));
            around.map(|prefix| prefix.len).max()
        };
        let mut networks: Vec<(u8, &Network)> =
            policy.networks.iter().filter_map(|network| Some((longest(network)?, network))).collect();
        networks.sort_by_key(|(len, _)| std::cmp::Reverse(*len));
        let labels = effective_labels(workload, &networks);
        Self { address, workload, networks, labels }
    }

    /// The gate's regime; `told` picks the direction's mode out of an enforcement.
    pub(super) fn regime(&self, policy: &ValidPolicy, told: impl Fn(&Enforcement) -> Option<Mode>) -> Regime {
        let Some(workload) = self.workload else {
            return Regime::Unmanaged;
        };
        if workload.labels.is_empty() {
            return Regime::Quarantine;
        }
        let first = policy.enforcement.iter().find(|e| told(e).is_some() && self.is_selected(&e.select));
        match first.and_then(told) {
            Some(Mode::Off) => Regime::Off,
            Some(Mode::Observe) => Regime::Observe,
            Some(Mode::Selective) => Regime::Selective,
            Some(Mode::Full) | None => Regime::Full,
        }
    }

    /// Whether any of the selectors matches.
    pub(super) fn is_selected(&self, selectors: &[Selector]) -> bool {
        selectors.iter().any(|selector| selector.requirements.iter().all(|need| self.meets(need)))
    }

    fn meets(&self, requirement: &Requirement) -> bool {
        let known = self.workload.is_some() || !self.networks.is_empty();
        match requirement {
            Requirement::In(key, values) => self.has(key, values),
            Requirement::NotIn(key, values) => known && !self.has(key, values),
            Requirement::Exists(key) => self.labels.contains_key(key.as_str()),
            Requirement::NotExists(key) => known && !self.labels.contains_key(key.as_str()),
            Requirement::Workload(names) => {
                self.workload.is_some_and(|workload| names.contains(&workload.name))
            }
            Requirement::Network(names) => {
                self.networks.iter().any(|(_, network)| names.contains(&network.name))
            }
            Requirement::AnyWorkload => self.workload.is_some(),
            Requirement::NotNetwork(names) => {
                !self.networks.iter().any(|(_, network)| names.contains(&network.name))
            }
            Requirement::NoWorkload => self.workload.is_none(),
        }
    }

    fn has(&self, key: &str, values: &[String]) -> bool {
        let held = self.labels.get(key);
        held.is_some_and(|held| held.iter().any(|(value, _)| values.iter().any(|wanted| wanted == value)))
    }

    pub(super) fn view(&self, regime: Regime) -> EndView {
        let label = |(value, origin): &(&str, Option<&str>)| LabelView {
            value: (*value).to_owned(),
            origin: origin.unwrap_or("own").to_owned(),
        };
        EndView {
            address: self.address,
            workload: self.workload.map(|workload| workload.name.clone()),
            networks: self.networks.iter().map(|(_, network)| network.name.clone()).collect(),
            labels: self
                .labels
                .iter()
                .map(|(k, v)| ((*k).to_owned(), v.iter().map(label).collect()))
                .collect(),
            mode: regime.name(),
        }
    }
}

/// A workload's own value hides inherited ones; a narrower network hides wider ones; networks with the same longest
/// prefix both contribute.
fn effective_labels<'a>(
    workload: Option<&'a Workload>,
    networks: &[(u8, &'a Network)],
) -> BTreeMap<&'a str, Vec<(&'a str, Option<&'a str>)>> {
    let mut labels: BTreeMap<&str, Vec<(&str, Option<&str>)>> = BTreeMap::new();
    for (key, values) in workload.iter().flat_map(|workload| &workload.labels) {
        labels.insert(key, values.iter().map(|value| (value.as_str(), None)).collect());
    }
    for group in networks.chunk_by(|a, b| a.0 == b.0) {
        let mut level: BTreeMap<&str, Vec<(&str, Option<&str>)>> = BTreeMap::new();
        for (_, network) in group {
            for (key, values) in &network.labels {
                let inherited = values.iter().map(|value| (value.as_str(), Some(network.name.as_str())));
                level.entry(key).or_default().extend(inherited);
            }
        }
        for (key, values) in level {
            labels.entry(key).or_insert(values);
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
