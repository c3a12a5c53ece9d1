//! What can be changed in a policy, one thing at a time.

use std::fmt;
use std::net::IpAddr;

use dataplane::verdict::Gate;

use crate::policy::service;
use crate::policy::valid::{
    Enforcement, Labels, Mode, Network, Origin, Prefix, Requirement, Rule, Selector, ServiceRange, Tier,
    ValidPolicy,
};

/// A tier before all others, for exceptions that must beat everything.
pub(super) const FIRST_TIER: &str = "exceptions";
/// Its order, the lowest there is.
const FIRST_ORDER: i32 = -10_000;
/// The file that rules name which ringfence brings itself.
pub(super) const BUILT_IN_FILE: &str = "<built-in>";

/// One edit of a policy.
#[derive(Clone, Debug)]
pub(super) enum Edit {
    /// A rule at the front of a tier; [`FIRST_TIER`] is made for it.
    AddRule { tier: &'static str, rule: Rule },
    /// Everything that was written there: a rule, or the rules of a ringfence.
    Remove { name: String, origin: Origin },
    /// A staged rule decides.
    Enforce { rule: String },
    /// A rule speaks one more service.
    Extend { rule: String, key: u32 },
    /// A value for a key of a workload's own.
    AddLabel { workload: String, key: String, value: String },
    /// A value taken from a workload's own; the last one takes its key along.
    RemoveLabel { workload: String, key: String, value: String },
    /// The mode of one gate of one workload.
    Enforcement { workload: String, gate: Gate, mode: Mode },
    /// A network of one address, without labels.
    AddNetwork { name: String, address: IpAddr },
}

impl Edit {
    /// Makes the edit in the labels of the workload `name`.
    pub(super) fn relabel(&self, name: &str, own: &mut Labels) {
        match self {
            Self::AddLabel { workload, key, value } if workload == name => {
                own.entry(key.clone()).or_default().insert(value.clone());
            }
            Self::RemoveLabel { workload, key, value } if workload == name => {
                if let Some(values) = own.get_mut(key) {
                    values.remove(value);
                    if values.is_empty() {
                        own.remove(key);
                    }
                }
            }
            _ => {}
        }
    }

    /// Makes the edit in a policy.
    pub(super) fn apply(&self, policy: &mut ValidPolicy) {
        let mut rules = policy.tiers.iter_mut().flat_map(|tier| &mut tier.rules);
        match self {
            Self::AddRule { tier, rule } => {
                if *tier == FIRST_TIER && !policy.tiers.iter().any(|tier| tier.name == FIRST_TIER) {
                    policy.tiers.insert(0, Tier { name: FIRST_TIER.to_owned(), rules: Vec::new() });
                }
                if let Some(tier) = policy.tiers.iter_mut().find(|one| one.name == *tier) {
                    tier.rules.insert(0, rule.clone());
                }
            }
            Self::Remove { origin, .. } => {
                policy.tiers.iter_mut().for_each(|tier| tier.rules.retain(|rule| rule.origin != *origin));
            }
            Self::Enforce { rule } => {
                if let Some(rule) = rules.find(|one| one.name == *rule) {
                    rule.staged = false;
                }
            }
            Self::Extend { rule, key } => {
                if let Some(rule) = rules.find(|one| one.name == *rule) {
                    rule.services.push(ServiceRange { first: *key, last: *key });
                    service::normalise(&mut rule.services);
                }
            }
            Self::AddLabel { .. } | Self::RemoveLabel { .. } => {
                for workload in &mut policy.workloads {
                    self.relabel(&workload.name, &mut workload.labels);
                }
            }
            Self::Enforcement { workload, gate, mode } => {
                let told = |at: Gate| (*gate == at).then_some(*mode);
                policy.enforcement.insert(
                    0,
                    Enforcement {
                        select: vec![Selector {
                            requirements: vec![Requirement::Workload(vec![workload.clone()])],
                        }],
                        ingress: told(Gate::Ingress),
                        egress: told(Gate::Egress),
                        origin: nowhere(),
                    },
                );
            }
            Self::AddNetwork { name, address } => policy.networks.push(Network {
                name: name.clone(),
                labels: Labels::new(),
                prefixes: vec![host(*address)],
                origin: nowhere(),
            }),
        }
    }
}

/// Where what explanations propose is written: nowhere yet.
pub(super) fn nowhere() -> Origin {
    Origin { file: "<proposed>".into(), line: 0, column: 0 }
}

/// The prefix of one address.
fn host(address: IpAddr) -> Prefix {
    Prefix { address, len: if address.is_ipv4() { 32 } else { 128 } }
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddRule { tier, rule } => {
                let side = |side: &[Selector]| side.first().cloned().unwrap_or_default();
                let services: Vec<String> = rule.services.iter().map(ServiceRange::to_string).collect();
                let written = format!(
                    "{{name: {}, from: {}, to: {}, service: {}",
                    rule.name,
                    side(&rule.from),
                    side(&rule.to),
                    services.join(", ")
                );
                match *tier {
                    "application" => write!(f, "add to `rules`: `{written}}}`"),
                    "override" => write!(f, "add to `rules`: `{written}, action: override-deny}}`"),
                    tier => write!(
                        f,
                        "add to `tiers`: `{{name: {tier}, order: {FIRST_ORDER}, rules: [{written}, action: {}}}]}}`",
                        rule.action.name()
                    ),
                }
            }
            Self::Remove { name, origin } => match name.strip_prefix("infrastructure/") {
                Some(built_in) if &*origin.file == BUILT_IN_FILE => {
                    write!(f, "set `{built_in}: false` under `infrastructure`")
                }
                _ => write!(
                    f,
                    "remove `{name}` and what else is written at {}:{}:{}",
                    origin.file, origin.line, origin.column
                ),
            },
            Self::Enforce { rule } => write!(f, "remove `staged: true` from `{rule}`"),
            Self::Extend { rule, key } => {
                write!(f, "add `{}` to the service of `{rule}`", ServiceRange { first: *key, last: *key })
            }
            Self::AddLabel { workload, key, value } => {
                write!(f, "add the label `{key}: {value}` to the workload `{workload}`")
            }
            Self::RemoveLabel { workload, key, value } => {
                write!(f, "take the label `{key}: {value}` from the workload `{workload}`")
            }
            Self::Enforcement { workload, gate, mode } => write!(
                f,
                "add before all others to `enforcement`: `{{select: {{workload: {workload}}}, {}: {}}}`",
                gate.name(),
                mode.name()
            ),
            Self::AddNetwork { name, address } => {
                write!(f, "add to `networks`: `{{name: {name}, cidrs: \"{}\"}}`", host(*address))
            }
        }
    }
}
