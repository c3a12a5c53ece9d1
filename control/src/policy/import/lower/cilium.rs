//! Cilium's policies to rules: denies in the tier `cilium-deny`, allows beside those of Kubernetes' network policies.

use super::super::cilium::{CidrGroup, CiliumPolicy, Entry, Peer, Peers, Spec, Subject};
use super::super::labels::{KIND, LabelSelector, all_of, of_node};
use super::super::object::{narrowed, unsupported};
use super::super::ports::Ports;
use super::super::{Direction, Lowering, OneSided, Order};
use super::{TIER, has_nodes};
use crate::policy::diagnostics::{Code, Finding, Span, quote};
use crate::policy::source::Word;
use crate::policy::valid::{Action, Prefix, Requirement, Selector};

/// The tier of denies, which beat every allow of the tier after it.
const DENY: &str = "cilium-deny";

/// Adds the rules of one policy.
pub(super) fn one(policy: &CiliumPolicy, groups: &[CidrGroup], lowering: &mut Lowering<'_, '_>) {
    let base = match &policy.namespace {
        Some(namespace) => format!("cilium/{namespace}/{}", policy.name.value),
        None => format!("cilium-cluster/{}", policy.name.value),
    };
    lowering.claim(&base, policy.name.span);
    for (number, spec) in policy.rules.iter().enumerate() {
        let base = if policy.rules.len() > 1 { format!("{base}/{number}") } else { base.clone() };
        let subject = match &spec.subject {
            Subject::Endpoints(selector) => selector.clone(),
            Subject::Nobody(span) => {
                let text = "this selects endpoints that Cilium keeps for itself: there are none here";
                lowering.sink.push(Finding::warning(Code::Skipped, *span, text));
                continue;
            }
            Subject::Nodes(labels, span) => {
                if !has_nodes(lowering) {
                    let text = "a policy for nodes is not supported without their `Node` objects";
                    unsupported(*span, text, lowering.sink);
                    continue;
                }
                nodes(labels)
            }
        };
        rules(spec, &subject, &base, groups, lowering);
    }
}

fn rules(spec: &Spec, subject: &Selector, base: &str, groups: &[CidrGroup], lowering: &mut Lowering<'_, '_>) {
    let subject = std::slice::from_ref(subject);
    for entry in &spec.entries {
        let peers = match &entry.peers {
            Peers::Any => vec![Selector::default()],
            Peers::These(peers) => {
                peers.iter().flat_map(|peer| selectors(peer, entry, groups, lowering)).collect()
            }
        };
        let (order, tier, action, priority) = if entry.is_deny {
            (Order::BEFORE_NETWORK_POLICY, DENY, Action::Deny, 0)
        } else {
            (Order::NETWORK_POLICY, TIER, Action::Allow, lowering.priorities.0)
        };
        let rule = OneSided {
            name: format!("{base}/{}/{}", entry.list, entry.number),
            direction: if entry.is_ingress { Direction::Ingress } else { Direction::Egress },
            subject,
            peers: &peers,
            ports: &entry.ports,
            action,
            priority,
            origin: lowering.origin(entry.span),
        };
        rule.rules().into_iter().for_each(|rule| lowering.push(order, tier, rule));
    }
    for (direction, isolates) in Direction::BOTH.into_iter().zip(spec.isolates) {
        if !isolates {
            continue;
        }
        let rule = OneSided {
            name: format!("{base}/isolated-{}", direction.name()),
            direction,
            subject,
            peers: &[Selector::default()],
            ports: &Ports::any(),
            action: Action::Deny,
            priority: lowering.priorities.1,
            origin: lowering.origin(spec.span),
        };
        rule.rules().into_iter().for_each(|rule| lowering.push(Order::NETWORK_POLICY, TIER, rule));
    }
}

fn nodes(labels: &LabelSelector) -> Selector {
    let is_node = Requirement::In(KIND.to_owned(), vec!["node".to_owned()]);
    all_of(labels.requirements(of_node).into_iter().chain([is_node]))
}

fn selectors(
    peer: &Peer,
    entry: &Entry,
    groups: &[CidrGroup],
    lowering: &mut Lowering<'_, '_>,
) -> Vec<Selector> {
    let origin = lowering.origin(entry.span);
    match peer {
        Peer::Endpoints(selector) => vec![selector.clone()],
        Peer::Block(block) => {
            let inside = lowering.blocks.requirements(block, &origin);
            vec![all_of(inside.into_iter().chain([Requirement::NoWorkload]))]
        }
        Peer::Group(name) => {
            let Some(group) = groups.iter().find(|group| group.name == name.value) else {
                let text = format!("there is no `CiliumCIDRGroup` {}", quote(&name.value));
                lowering.sink.push(Finding::error(Code::UnknownNetwork, name.span, text));
                return Vec::new();
            };
            let mut names: Vec<_> =
                group.prefixes.iter().map(|prefix| lowering.blocks.name(*prefix, &origin)).collect();
            names.sort_unstable();
            names.dedup();
            if names.is_empty() {
                return Vec::new();
            }
            vec![all_of([Requirement::Network(names), Requirement::NoWorkload])]
        }
        Peer::Entity(name) => entity(name, entry, lowering),
        Peer::Nodes(labels, span) => {
            if has_nodes(lowering) {
                return vec![nodes(labels)];
            }
            untold(*span, "the labels of nodes are not known without their `Node` objects", entry, lowering)
        }
    }
}

/// What an entity means; those that no inventory tells allow nothing, and cannot be denied.
fn entity(name: &Word, entry: &Entry, lowering: &mut Lowering<'_, '_>) -> Vec<Selector> {
    let origin = lowering.origin(entry.span);
    let mut world = |prefix: Prefix| {
        let network = lowering.blocks.name(prefix, &origin);
        vec![all_of([Requirement::Network(vec![network]), Requirement::NoWorkload])]
    };
    match name.value.as_str() {
        "all" => vec![Selector::default()],
        "none" => Vec::new(),
        "world" => vec![all_of([Requirement::NoWorkload])],
        "world-ipv4" => world(Prefix { address: std::net::Ipv4Addr::UNSPECIFIED.into(), len: 0 }),
        "world-ipv6" => world(Prefix { address: std::net::Ipv6Addr::UNSPECIFIED.into(), len: 0 }),
        "cluster" if !entry.is_deny || has_nodes(lowering) => {
            vec![all_of([Requirement::Exists(KIND.to_owned())])]
        }
        // A pod's own node reaches it anyway, so towards pods any node may stand for the others.
        "remote-node" if has_nodes(lowering) && (entry.is_ingress || entry.is_deny || names_host(entry)) => {
            vec![nodes(&LabelSelector::default())]
        }
        "host" if has_nodes(lowering) && names_remote(entry) => vec![nodes(&LabelSelector::default())],
        "cluster" | "host" | "remote-node" | "kube-apiserver" | "health" | "init" | "ingress"
        | "unmanaged" => {
            let text = format!("which addresses are {} is not told by the inventory", quote(&name.value));
            untold(name.span, &text, entry, lowering)
        }
        other => {
            let text = format!("there is no entity {}", quote(other));
            lowering.sink.push(Finding::error(Code::UnknownWord, name.span, text));
            Vec::new()
        }
    }
}

fn names_host(entry: &Entry) -> bool {
    names(entry, "host")
}

fn names_remote(entry: &Entry) -> bool {
    names(entry, "remote-node")
}

fn names(entry: &Entry, entity: &str) -> bool {
    let Peers::These(peers) = &entry.peers else { return false };
    peers.iter().any(|peer| matches!(peer, Peer::Entity(name) if name.value == entity))
}

fn untold(span: Span, why: &str, entry: &Entry, lowering: &mut Lowering<'_, '_>) -> Vec<Selector> {
    if entry.is_deny {
        unsupported(span, format!("this cannot be denied: {why}"), lowering.sink);
    } else {
        narrowed(span, format!("this allows nothing: {why}"), lowering.sink);
    }
    Vec::new()
}
