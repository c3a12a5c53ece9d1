//! The semantics of [`control::policy::valid`], written down as directly as they can be said: one flow at a time,
//! every rule looked at, nothing precomputed. Shares no code with the compiler, so that the two can disagree.

use std::collections::BTreeSet;
use std::net::IpAddr;

use control::policy::valid::{
    Action, Mode, Network, Prefix, Requirement, Rule, Selector, Tier, ValidPolicy, Workload,
};

/// What policy says about a new flow, in names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether both gates are open.
    pub allowed: bool,
    /// `egress` or `ingress`: the gate that decided.
    pub gate: &'static str,
    /// The rule or default that decided.
    pub rule: String,
    /// The rule or default that would have closed a gate in mode `observe`.
    pub potential: Option<String>,
}

/// One end of a flow.
struct End<'a> {
    address: IpAddr,
    workload: Option<&'a Workload>,
    /// The containing networks, each with the length of its longest matching prefix.
    networks: Vec<(u8, &'a Network)>,
}

/// What one gate says: whether it passes, the name of its rule or default, whether that is a default, and what mode
/// `observe` let through.
struct GateAnswer {
    passes: bool,
    rule: String,
    is_default: bool,
    potential: Option<String>,
}

/// Decides a flow from `source` to `destination`; `service` is `protocol << 16 | port`.
#[must_use]
pub fn decide(policy: &ValidPolicy, source: IpAddr, destination: IpAddr, service: u32) -> Answer {
    let (from, to) = (end(policy, source), end(policy, destination));
    let hit = |egress: bool| {
        policy.tiers.iter().find_map(|tier| {
            let speaks = |rule: &&Rule| if egress { rule.gates.egress } else { rule.gates.ingress };
            let rule = tier.rules.iter().filter(speaks).find(|rule| matches(rule, &from, &to, service))?;
            Some((tier, rule))
        })
    };
    let egress = gate(mode(policy, &from, true), hit(true), to.workload.is_some());
    let ingress = gate(mode(policy, &to, false), hit(false), from.workload.is_some());

    let potential = egress.potential.clone().or_else(|| ingress.potential.clone());
    let (allowed, name, decided) = if !egress.passes {
        (false, "egress", egress)
    } else if !ingress.passes {
        (false, "ingress", ingress)
    } else if ingress.is_default && !egress.is_default {
        (true, "egress", egress)
    } else {
        (true, "ingress", ingress)
    };
    Answer { allowed, gate: name, rule: decided.rule, potential }
}

fn end(policy: &ValidPolicy, address: IpAddr) -> End<'_> {
    let longest = |network: &Network| {
        network.prefixes.iter().filter(|prefix| contains(prefix, address)).map(|prefix| prefix.len).max()
    };
    End {
        address,
        workload: policy.workloads.iter().find(|workload| workload.addresses.contains(&address)),
        networks: policy.networks.iter().filter_map(|network| Some((longest(network)?, network))).collect(),
    }
}

/// Compares bit by bit, from the front.
fn contains(prefix: &Prefix, address: IpAddr) -> bool {
    let (network, address): (Vec<u8>, Vec<u8>) = match (prefix.address, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => (network.octets().into(), address.octets().into()),
        (IpAddr::V6(network), IpAddr::V6(address)) => (network.octets().into(), address.octets().into()),
        _ => return false,
    };
    let bit = |bytes: &[u8], at: usize| bytes[at / 8] >> (7 - at % 8) & 1;
    (0..usize::from(prefix.len)).all(|at| bit(&network, at) == bit(&address, at))
}

impl End<'_> {
    fn is_known(&self) -> bool {
        self.workload.is_some() || !self.networks.is_empty()
    }

    /// The values of `key`: the workload's own, else those of the narrowest networks that have it.
    fn values(&self, key: &str) -> BTreeSet<&str> {
        if let Some(own) = self.workload.and_then(|workload| workload.labels.get(key)) {
            return own.iter().map(String::as_str).collect();
        }
        let having = || self.networks.iter().filter(|(_, network)| network.labels.contains_key(key));
        let narrowest = having().map(|(len, _)| *len).max();
        let contributing = having().filter(|(len, _)| Some(*len) == narrowest);
        contributing.flat_map(|(_, network)| &network.labels[key]).map(String::as_str).collect()
    }

    fn meets(&self, requirement: &Requirement) -> bool {
        let has_any = |key: &str, values: &[String]| {
            let held = self.values(key);
            values.iter().any(|value| held.contains(value.as_str()))
        };
        match requirement {
            Requirement::In(key, values) => has_any(key, values),
            Requirement::NotIn(key, values) => self.is_known() && !has_any(key, values),
            Requirement::Exists(key) => !self.values(key).is_empty(),
            Requirement::NotExists(key) => self.is_known() && self.values(key).is_empty(),
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

    fn is_selected(&self, selectors: &[Selector]) -> bool {
        selectors
            .iter()
            .any(|selector| selector.requirements.iter().all(|requirement| self.meets(requirement)))
    }
}

fn matches(rule: &Rule, from: &End<'_>, to: &End<'_>, service: u32) -> bool {
    let spoken = rule.services.iter().any(|range| range.first <= service && service <= range.last);
    spoken && from.is_selected(&rule.from) && to.is_selected(&rule.to)
}

/// How a gate is run: a workload's mode, quarantine, or no workload at all.
enum Regime {
    Mode(Mode),
    Quarantine,
    Unmanaged,
}

fn mode(policy: &ValidPolicy, end: &End<'_>, egress: bool) -> Regime {
    let Some(workload) = end.workload else {
        return Regime::Unmanaged;
    };
    if workload.labels.is_empty() {
        return Regime::Quarantine;
    }
    let told = policy.enforcement.iter().filter(|enforcement| end.is_selected(&enforcement.select));
    let mode = told.filter_map(|e| if egress { e.egress } else { e.ingress }).next();
    debug_assert!(workload.addresses.contains(&end.address), "the workload was found by this address");
    Regime::Mode(mode.unwrap_or(Mode::Full))
}

fn gate(regime: Regime, hit: Option<(&Tier, &Rule)>, other_is_workload: bool) -> GateAnswer {
    let by_default = |passes: bool, name: &str| GateAnswer {
        passes,
        rule: name.to_owned(),
        is_default: true,
        potential: None,
    };
    let by_hit = |(_, rule): (&Tier, &Rule)| GateAnswer {
        passes: rule.action == Action::Allow,
        rule: rule.name.clone(),
        is_default: false,
        potential: None,
    };
    let full = |hit: Option<_>| hit.map_or_else(|| by_default(false, "default/deny"), by_hit);
    match regime {
        Regime::Mode(Mode::Off) => by_default(true, "default/off"),
        Regime::Mode(Mode::Full) => full(hit),
        Regime::Mode(Mode::Selective) => hit.map_or_else(|| by_default(true, "default/selective"), by_hit),
        Regime::Mode(Mode::Observe) => {
            let mut answer = full(hit);
            if !answer.passes {
                answer.passes = true;
                answer.potential = Some(answer.rule.clone());
            }
            answer
        }
        Regime::Quarantine => {
            let counts = hit.filter(|(tier, _)| tier.name == "infrastructure");
            counts.map_or_else(|| by_default(false, "default/quarantine"), by_hit)
        }
        Regime::Unmanaged => hit.map_or_else(
            || {
                if other_is_workload {
                    by_default(true, "default/unmanaged-peer")
                } else {
                    by_default(false, "default/unmanaged")
                }
            },
            by_hit,
        ),
    }
}
