//! Foreign objects to workloads and rules.

mod calico;
mod cilium;
mod cluster_policy;

use std::collections::BTreeMap;

use super::kinds::Foreign;
use super::labels::{KIND, NAMESPACE, all_of, any_pod, of_namespace, of_pod};
use super::network_policy::{Allow, NetworkPolicy, Peer};
use super::ports::Ports;
use super::{Direction, Lowering, OneSided, Order, PLACEHOLDERS, cluster};
use crate::policy::valid::{Action, Labels, Requirement, Selector};

/// The tier of network policies.
const TIER: &str = "network-policy";
/// The tier of what nothing selects.
const OPEN: &str = "kubernetes";

/// Adds workloads.
pub(super) fn inventory(foreign: &Foreign, lowering: &mut Lowering<'_, '_>) {
    cluster::workloads(&foreign.pods, &foreign.namespaces, &foreign.nodes, lowering);
    foreign.tell_skipped(lowering.sink);
}

/// Adds everything.
pub(super) fn all(foreign: &Foreign, lowering: &mut Lowering<'_, '_>) {
    inventory(foreign, lowering);
    lowering.blocks_are_outside = !foreign.cilium.is_empty();
    lowering.namespaces = (foreign.namespaces.iter())
        .map(|one| {
            let labels = one.labels.iter().map(|(key, value)| (key.value.clone(), value.value.clone()));
            (one.name.value.clone(), labels.collect())
        })
        .collect();
    lowering.priorities = calico::all(foreign, lowering);
    let wide = wide(&foreign.network_policies);
    for policy in &foreign.network_policies {
        network_policy(policy, &wide, lowering);
    }
    for policy in &foreign.cilium {
        cilium::one(policy, &foreign.cidr_groups, lowering);
    }
    cluster_policy::all(&foreign.cluster_policies, lowering);
    open(lowering);
}

/// Policies that isolate a whole namespace in a direction, the first by name for each.
type Wide<'p> = BTreeMap<(&'p str, &'static str), &'p str>;

fn wide(policies: &[NetworkPolicy]) -> Wide<'_> {
    let mut wide = Wide::new();
    for policy in policies.iter().filter(|policy| policy.subject.terms.is_empty()) {
        for direction in Direction::BOTH {
            if policy.allows(direction).is_some() {
                let name = policy.name.value.as_str();
                let first = wide.entry((policy.namespace.as_str(), direction.name())).or_insert(name);
                *first = (*first).min(name);
            }
        }
    }
    wide
}

/// A network policy: its allows, and a deny for everything else in the directions that it isolates.
fn network_policy(policy: &NetworkPolicy, wide: &Wide<'_>, lowering: &mut Lowering<'_, '_>) {
    let namespace = Requirement::In(NAMESPACE.to_owned(), vec![policy.namespace.clone()]);
    let own = policy.subject.requirements(of_pod);
    let subject = [all_of(own.into_iter().chain([namespace]))];
    let base = format!("{TIER}/{}/{}", policy.namespace, policy.name.value);
    lowering.claim(&base, policy.name.span);
    for direction in Direction::BOTH {
        let Some(allows) = policy.allows(direction) else { continue };
        for (number, allow) in allows.iter().enumerate() {
            let peers = peers(allow, &policy.namespace, lowering);
            let rule = OneSided {
                name: format!("{base}/{}/{number}", direction.name()),
                direction,
                subject: &subject,
                peers: &peers,
                ports: &allow.ports,
                action: Action::Allow,
                priority: lowering.priorities.0,
                origin: lowering.origin(allow.span),
            };
            rule.rules().into_iter().for_each(|rule| lowering.push(Order::NETWORK_POLICY, TIER, rule));
        }
        let place = (policy.namespace.as_str(), direction.name());
        if wide.get(&place).is_some_and(|name| *name != policy.name.value) {
            // Another policy isolates the whole namespace: this one's pods are among its.
            continue;
        }
        let rule = OneSided {
            name: format!("{base}/isolated-{}", direction.name()),
            direction,
            subject: &subject,
            peers: &[Selector::default()],
            ports: &Ports::any(),
            action: Action::Deny,
            priority: lowering.priorities.1,
            origin: lowering.origin(policy.name.span),
        };
        rule.rules().into_iter().for_each(|rule| lowering.push(Order::NETWORK_POLICY, TIER, rule));
    }
}

/// The other ends that an allow names.
fn peers(allow: &Allow, namespace: &str, lowering: &mut Lowering<'_, '_>) -> Vec<Selector> {
    let Some(peers) = &allow.peers else { return vec![Selector::default()] };
    let origin = lowering.origin(allow.span);
    let one = |peer: &Peer| match peer {
        Peer::Pods(namespaces, pods) => {
            all_of(pods.requirements(of_pod).into_iter().chain(match namespaces {
                None => vec![Requirement::In(NAMESPACE.to_owned(), vec![namespace.to_owned()])],
                Some(selector) => {
                    let mut all = selector.requirements(of_namespace);
                    all.push(any_pod());
                    all
                }
            }))
        }
        Peer::Block(block) => {
            let mut all = lowering.blocks.requirements(block, &origin);
            if lowering.blocks_are_outside {
                all.push(Requirement::NoWorkload);
            } else if lowering.placeholders {
                without_placeholders(&mut all);
            }
            all_of(all)
        }
    };
    peers.iter().map(one).collect()
}

/// A pod whose address is not known is in no block that an allow names.
fn without_placeholders(all: &mut Vec<Requirement>) {
    let name = PLACEHOLDERS.to_owned();
    match all
        .iter_mut()
        .find_map(|one| if let Requirement::NotNetwork(names) = one { Some(names) } else { None })
    {
        Some(names) => {
            names.push(name);
            names.sort_unstable();
        }
        None => all.push(Requirement::NotNetwork(vec![name])),
    }
}

/// Whether the inventory has nodes.
fn has_nodes(lowering: &Lowering<'_, '_>) -> bool {
    let is_node = |labels: &Labels| labels.get(KIND).is_some_and(|kind| kind.contains("node"));
    lowering.policy.workloads.iter().any(|workload| is_node(&workload.labels))
}

/// What no policy selects is open, by a name that every decision can give.
fn open(lowering: &mut Lowering<'_, '_>) {
    let origin = crate::policy::valid::Origin { file: "<built-in>".into(), line: 1, column: 1 };
    for direction in Direction::BOTH {
        let rule = OneSided {
            name: format!("{OPEN}/open-{}", direction.name()),
            direction,
            subject: &[all_of([Requirement::Exists(KIND.to_owned())])],
            peers: &[Selector::default()],
            ports: &Ports::any(),
            action: Action::Allow,
            priority: 0,
            origin: origin.clone(),
        };
        rule.rules().into_iter().for_each(|rule| lowering.push(Order::LAST, OPEN, rule));
    }
}
