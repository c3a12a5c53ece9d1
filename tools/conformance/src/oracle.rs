//! The semantics of [`control::policy::valid`], written down as directly as they can be said: one flow at a time,
//! every rule looked at, nothing precomputed. Shares no code with the compiler, so that the two can disagree.

use std::collections::BTreeSet;
use std::net::IpAddr;

use control::policy::valid::{
    Action, Listener, Mode, Network, OnRevoke, Prefix, Requirement, Rule, Selector, Tier, ValidPolicy,
    Verdict, Workload,
};

/// What policy says about a new flow, in names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What happens to the flow.
    pub verdict: Verdict,
    /// `egress` or `ingress`: the gate that decided.
    pub gate: &'static str,
    /// The rule or default that decided.
    pub rule: String,
    /// The rule or default that would have closed a gate in mode `observe`.
    pub potential: Option<String>,
    /// What becomes of the flow, if it is allowed, once policy allows it no more; `Cut` for all others.
    pub on_revoke: OnRevoke,
}

/// One end of a flow.
struct End<'a> {
    address: IpAddr,
    workload: Option<&'a Workload>,
    /// What answers at the destination, if it is a listener.
    listener: Option<&'a Listener>,
    /// The containing networks, each with the length of its longest matching prefix.
    networks: Vec<(u8, &'a Network)>,
}

/// What one gate says: how it answers, the name of its rule or default, whether that is a default, and what mode
/// `observe` let through.
struct GateAnswer {
    action: Verdict,
    rule: String,
    is_default: bool,
    potential: Option<String>,
    on_revoke: OnRevoke,
}

/// Decides a flow from `source` to `destination` by the rules in force; `service` is `protocol << 16 | port`.
#[must_use]
pub fn decide(policy: &ValidPolicy, source: IpAddr, destination: IpAddr, service: u32) -> Answer {
    let (egress, ingress) = gates(policy, source, destination, service, |rule| !rule.staged);
    both([egress, ingress])
}

/// As [`decide`], but each end lives under a policy of its own, which decides at its gate.
#[must_use]
pub fn decide_between(
    policies: [&ValidPolicy; 2],
    source: IpAddr,
    destination: IpAddr,
    service: u32,
) -> Answer {
    let [egress, ingress] =
        policies.map(|policy| gates(policy, source, destination, service, |rule| !rule.staged));
    both([egress.0, ingress.1])
}

/// As [`decide`], as if the staged rules were in force too.
#[must_use]
pub fn decide_staged(policy: &ValidPolicy, source: IpAddr, destination: IpAddr, service: u32) -> Answer {
    let (egress, ingress) = gates(policy, source, destination, service, |_| true);
    both([egress, ingress])
}

/// Whether `rule` matches the flow, whatever else there is; whether it is staged and where it speaks is not looked at.
#[must_use]
pub fn is_matched(
    policy: &ValidPolicy,
    rule: &Rule,
    source: IpAddr,
    destination: IpAddr,
    service: u32,
) -> bool {
    matches(rule, &end(policy, source, None), &end(policy, destination, Some(service)), service)
}

fn gates(
    policy: &ValidPolicy,
    source: IpAddr,
    destination: IpAddr,
    service: u32,
    counts: fn(&Rule) -> bool,
) -> (GateAnswer, GateAnswer) {
    let (from, to) = (end(policy, source, None), end(policy, destination, Some(service)));
    let hit = |egress: bool| {
        let speaks = |rule: &&Rule| if egress { rule.gates.egress } else { rule.gates.ingress };
        let first = |tier: &'_ Tier| {
            let mut rules = tier.rules.iter().filter(|rule| counts(rule)).filter(speaks);
            rules.find(|rule| matches(rule, &from, &to, service)).cloned()
        };
        let firsts = policy.tiers.iter().filter_map(|tier| Some((tier.name.as_str(), first(tier)?)));
        firsts.into_iter().find(|(_, rule)| rule.action != Action::Pass)
    };
    let egress = gate(mode(policy, &from, true), hit(true), to.workload.is_some());
    let ingress = gate(mode(policy, &to, false), hit(false), from.workload.is_some());
    (egress, ingress)
}

fn both([egress, ingress]: [GateAnswer; 2]) -> Answer {
    let potential = egress.potential.clone().or_else(|| ingress.potential.clone());
    let (name, decided) = if !egress.action.is_allow() {
        ("egress", egress)
    } else if !ingress.action.is_allow() || egress.is_default || !ingress.is_default {
        ("ingress", ingress)
    } else {
        ("egress", egress)
    };
    let on_revoke = if decided.action.is_allow() { decided.on_revoke } else { OnRevoke::Cut };
    Answer { verdict: decided.action, gate: name, rule: decided.rule, potential, on_revoke }
}

/// `service`: what is spoken with this end, if it is the destination.
fn end(policy: &ValidPolicy, address: IpAddr, service: Option<u32>) -> End<'_> {
    let longest = |network: &Network| {
        network.prefixes.iter().filter(|prefix| contains(prefix, address)).map(|prefix| prefix.len).max()
    };
    let workload = policy.workloads.iter().find(|workload| workload.addresses.contains(&address));
    let answers = |listener: &&Listener| {
        let mut services = listener.services.iter();
        services.any(|range| service.is_some_and(|key| range.first <= key && key <= range.last))
    };
    End {
        address,
        workload,
        listener: workload.and_then(|workload| workload.listeners.iter().find(answers)),
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
        self.workload.is_some() || self.networks.iter().any(|(_, network)| !network.labels.is_empty())
    }

    /// The values of `key`: the listener's, else the workload's own, else those of the narrowest networks that have
    /// it.
    fn values(&self, key: &str) -> BTreeSet<&str> {
        if let Some(own) = self.listener.and_then(|listener| listener.labels.get(key)) {
            return own.iter().map(String::as_str).collect();
        }
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
    let alike = |key: &String| !from.values(key).is_disjoint(&to.values(key));
    spoken && from.is_selected(&rule.from) && to.is_selected(&rule.to) && rule.same.iter().all(alike)
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

fn gate(regime: Regime, hit: Option<(&str, Rule)>, other_is_workload: bool) -> GateAnswer {
    let by_default = |passes: bool, name: &str| GateAnswer {
        action: if passes { Verdict::Allow } else { Verdict::Deny },
        rule: name.to_owned(),
        is_default: true,
        potential: None,
        on_revoke: OnRevoke::Cut,
    };
    let by_hit = |(_, rule): (&str, Rule)| GateAnswer {
        action: match rule.action {
            Action::Allow => Verdict::Allow,
            Action::Reject => Verdict::Reject,
            Action::Deny | Action::Pass => Verdict::Deny,
        },
        rule: rule.name,
        is_default: false,
        potential: None,
        on_revoke: rule.on_revoke,
    };
    let full = |hit: Option<_>| hit.map_or_else(|| by_default(false, "default/deny"), by_hit);
    match regime {
        Regime::Mode(Mode::Off) => by_default(true, "default/off"),
        Regime::Mode(Mode::Full) => full(hit),
        Regime::Mode(Mode::Selective) => hit.map_or_else(|| by_default(true, "default/selective"), by_hit),
        Regime::Mode(Mode::Observe) => {
            let mut answer = full(hit);
            if !answer.action.is_allow() {
                answer.action = Verdict::Allow;
                answer.potential = Some(answer.rule.clone());
            }
            answer
        }
        Regime::Quarantine => {
            let counts = hit.filter(|(tier, _)| *tier == "infrastructure");
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
