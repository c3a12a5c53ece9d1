//! Policies of the whole cluster to rules of the tiers `admin` and `baseline`.

use super::super::cluster_policy::{ClusterPolicy, ClusterRule, Kind, Peer, Pods};
use super::super::labels::{KIND, all_of, any_pod, holds, of_namespace, of_node, of_pod};
use super::super::object::{narrowed, unsupported};
use super::super::{Direction, Lowering, OneSided, Order};
use crate::policy::diagnostics::{Code, Finding, quote};
use crate::policy::valid::{Action, Requirement, Selector};

/// Adds the rules of all these policies, those of a tier in the order of their priorities.
pub(super) fn all(policies: &[ClusterPolicy], lowering: &mut Lowering<'_, '_>) {
    let mut ordered: Vec<&ClusterPolicy> = policies.iter().collect();
    ordered.sort_by(|a, b| {
        let key = |one: &ClusterPolicy| (one.is_baseline, one.priority, one.kind == Kind::Baseline);
        key(a).cmp(&key(b)).then(a.name.value.cmp(&b.name.value))
    });
    for (at, policy) in ordered.iter().enumerate() {
        for other in ordered[..at].iter().rev().take_while(|other| same_place(other, policy)) {
            unordered(other, policy, lowering);
        }
    }
    let mut number = 0;
    for policy in ordered {
        let tier = if policy.is_baseline { "baseline" } else { "admin" };
        lowering.claim(&format!("{tier}/{}", policy.name.value), policy.name.span);
        for direction in Direction::BOTH {
            let rules = match direction {
                Direction::Ingress => &policy.ingress,
                Direction::Egress => &policy.egress,
            };
            for (index, rule) in rules.iter().enumerate() {
                number += 1;
                one(policy, rule, direction, index, number, lowering);
            }
        }
    }
}

fn same_place(a: &ClusterPolicy, b: &ClusterPolicy) -> bool {
    (a.is_baseline, a.priority) == (b.is_baseline, b.priority)
}

fn one(
    policy: &ClusterPolicy,
    rule: &ClusterRule,
    direction: Direction,
    index: usize,
    number: u32,
    lowering: &mut Lowering<'_, '_>,
) {
    let (order, tier) =
        if policy.is_baseline { (Order::BASELINE, "baseline") } else { (Order::ADMIN, "admin") };
    let peers: Vec<Selector> = rule.peers.iter().flat_map(|peer| peers(peer, rule, lowering)).collect();
    let side = OneSided {
        name: format!("{tier}/{}/{}/{index}", policy.name.value, direction.name()),
        direction,
        subject: &[pods(&policy.subject)],
        peers: &peers,
        ports: &rule.ports,
        action: rule.action,
        priority: number,
        origin: lowering.origin(rule.span),
    };
    side.rules().into_iter().for_each(|rule| lowering.push(order, tier, rule));
}

fn pods(pods: &Pods) -> Selector {
    let own = pods.pods.requirements(of_pod);
    all_of(own.into_iter().chain(pods.namespaces.requirements(of_namespace)).chain([any_pod()]))
}

fn peers(peer: &Peer, rule: &ClusterRule, lowering: &mut Lowering<'_, '_>) -> Vec<Selector> {
    match peer {
        Peer::Pods(one) => vec![pods(one)],
        Peer::Networks(prefixes) => {
            let origin = lowering.origin(rule.span);
            let mut names: Vec<_> =
                prefixes.iter().map(|prefix| lowering.blocks.name(*prefix, &origin)).collect();
            names.sort_unstable();
            names.dedup();
            vec![all_of([Requirement::Network(names)])]
        }
        Peer::Nodes(labels, span) => {
            let is_node = Requirement::In(KIND.to_owned(), vec!["node".to_owned()]);
            if !super::has_nodes(lowering) {
                let text = "this peer means nodes, and no `Node` object is given";
                if rule.action == Action::Allow {
                    narrowed(*span, format!("{text}: it allows nothing"), lowering.sink);
                } else {
                    unsupported(*span, format!("{text}: what to close is not known"), lowering.sink);
                }
                return Vec::new();
            }
            vec![all_of(labels.requirements(of_node).into_iter().chain([is_node]))]
        }
    }
}

/// The API gives policies of one tier and priority no order. Two of them that select the same pod and say different
/// things are refused, as nobody knows what they mean together.
fn unordered(a: &ClusterPolicy, b: &ClusterPolicy, lowering: &mut Lowering<'_, '_>) {
    let differ = |a: &[ClusterRule], b: &[ClusterRule]| {
        a.iter().any(|one| b.iter().any(|other| one.action != other.action))
    };
    if !differ(&a.ingress, &b.ingress) && !differ(&a.egress, &b.egress) {
        return;
    }
    let (first, second) = (pods(&a.subject), pods(&b.subject));
    let both = lowering
        .policy
        .workloads
        .iter()
        .find(|pod| holds(&first, &pod.labels) && holds(&second, &pod.labels));
    if let Some(pod) = both {
        let text = format!(
            "the policies {} and {} have the same tier and priority, both select {}, and say different things: \
             which of them counts is not told",
            quote(&a.name.value),
            quote(&b.name.value),
            quote(&pod.name)
        );
        let finding =
            Finding::error(Code::Conflict, b.name.span, text).also(a.name.span, "the other is here");
        lowering.sink.push(finding.help("give them different priorities"));
    }
}
