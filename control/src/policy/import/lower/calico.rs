//! Calico's policies to rules: a tier here for each of its tiers, but for `default`, which is that of Kubernetes'
//! network policies.

use super::super::calico::{
    CalicoPolicy, CalicoTier, Entity, Expression, NAMESPACE_LABEL, Rule, Set, TERMS_MAX,
};
use super::super::kinds::Foreign;
use super::super::labels::{KIND, NAMESPACE, SERVICE_ACCOUNT, all_of, any_pod, of_namespace, of_pod};
use super::super::ports::Ports;
use super::super::{Direction, Lowering, OneSided, Order};
use super::TIER;
use crate::policy::diagnostics::{Code, Finding, Span, quote};
use crate::policy::valid::{Action, Network, Prefix, Requirement, Selector};

/// The order of Kubernetes' network policies in the tier `default`.
const KUBERNETES_ORDER: f64 = 1_000.0;

/// Adds the rules of all policies. Returns the priorities that Kubernetes' network policies have among them: that of
/// their allows, and that of what comes after every rule.
pub(super) fn all(foreign: &Foreign, lowering: &mut Lowering<'_, '_>) -> (u32, u32) {
    networks(&foreign.sets, lowering);
    let mut policies: Vec<&CalicoPolicy> = foreign.calico.iter().collect();
    policies.sort_by(|a, b| a.order.total_cmp(&b.order).then(a.name.value.cmp(&b.name.value)));
    let is_default = |policy: &&&CalicoPolicy| policy.tier.value == "default";
    let (mut next, mut allow) = (0, None);
    for policy in policies.iter().filter(is_default) {
        if policy.order > KUBERNETES_ORDER && allow.is_none() {
            allow = Some(next);
            next += 1;
        }
        rules(policy, (Order::NETWORK_POLICY, TIER), foreign, &mut next, lowering);
    }
    let allow = allow.unwrap_or_else(|| {
        next += 1;
        next - 1
    });
    let default_passes = foreign.tiers.iter().any(|tier| tier.name == "default" && tier.passes);
    for policy in policies.iter().filter(is_default).filter(|_| !default_passes) {
        end_of_tier(policy, (Order::NETWORK_POLICY, TIER), next, lowering);
    }
    for policy in policies.iter().filter(|policy| !is_default(policy)) {
        let Some(tier) = foreign.tiers.iter().find(|tier| tier.name == policy.tier.value) else {
            let text = format!("there is no `Tier` {}", quote(&policy.tier.value));
            lowering.sink.push(Finding::error(Code::UnknownWord, policy.tier.span, text));
            continue;
        };
        of_tier(policy, tier, foreign, lowering);
    }
    (allow, next)
}

fn of_tier(policy: &CalicoPolicy, tier: &CalicoTier, foreign: &Foreign, lowering: &mut Lowering<'_, '_>) {
    let name = format!("calico/{}", tier.name);
    let place = (Order(tier.order), name.as_str());
    // The next number of this tier: its rules come in the order of their policies.
    let mut next = lowering.rules_of(place.0, place.1);
    rules(policy, place, foreign, &mut next, lowering);
    if !tier.passes {
        end_of_tier(policy, place, u32::MAX, lowering);
    }
}

fn base(policy: &CalicoPolicy) -> String {
    match &policy.namespace {
        Some(namespace) => format!("calico/{namespace}/{}", policy.name.value),
        None => format!("calico-global/{}", policy.name.value),
    }
}

fn rules(
    policy: &CalicoPolicy,
    (order, tier): (Order, &str),
    foreign: &Foreign,
    next: &mut u32,
    lowering: &mut Lowering<'_, '_>,
) {
    let base = base(policy);
    lowering.claim(&base, policy.name.span);
    let subject = subject(policy, lowering);
    for direction in Direction::BOTH {
        for (number, rule) in sides(policy, direction).unwrap_or_default().iter().enumerate() {
            let Some(action) = rule.action else { continue };
            let (near, far) = match direction {
                Direction::Ingress => (&rule.destination, &rule.source),
                Direction::Egress => (&rule.source, &rule.destination),
            };
            let namespace = policy.namespace.as_deref();
            let own = ends(near, namespace, rule.version, &foreign.sets, lowering);
            let subject = both(&subject, &own, rule.span, lowering);
            let peers = ends(far, namespace, rule.version, &foreign.sets, lowering);
            let rule = OneSided {
                name: format!("{base}/{}/{number}", direction.name()),
                direction,
                subject: &subject,
                peers: &peers,
                ports: &rule.ports,
                action,
                priority: *next,
                origin: lowering.origin(rule.span),
            };
            *next += 1;
            rule.rules().into_iter().for_each(|rule| lowering.push(order, tier, rule));
        }
    }
}

fn sides(policy: &CalicoPolicy, direction: Direction) -> Option<&[Rule]> {
    match direction {
        Direction::Ingress => policy.ingress.as_deref(),
        Direction::Egress => policy.egress.as_deref(),
    }
}

/// What the tier does with endpoints that this policy selects and that none of its rules matched.
fn end_of_tier(
    policy: &CalicoPolicy,
    (order, tier): (Order, &str),
    priority: u32,
    lowering: &mut Lowering<'_, '_>,
) {
    let subject = subject(policy, lowering);
    for direction in Direction::BOTH {
        if sides(policy, direction).is_none() {
            continue;
        }
        let rule = OneSided {
            name: format!("{}/end-of-tier-{}", base(policy), direction.name()),
            direction,
            subject: &subject,
            peers: &[Selector::default()],
            ports: &Ports::any(),
            action: Action::Deny,
            priority,
            origin: lowering.origin(policy.name.span),
        };
        rule.rules().into_iter().for_each(|rule| lowering.push(order, tier, rule));
    }
}

/// What a label of a pod is called here.
fn key(key: &str) -> Option<String> {
    match key {
        NAMESPACE_LABEL => Some(NAMESPACE.to_owned()),
        "projectcalico.org/serviceaccount" => Some(SERVICE_ACCOUNT.to_owned()),
        _ if key.starts_with("projectcalico.org/") || key.starts_with("pcsa.") => None,
        _ => Some(key.strip_prefix("pcns.").map_or_else(|| of_pod(key), of_namespace)),
    }
}

/// What a label of a namespace is called at its pods.
fn namespace_key(key: &str) -> Option<String> {
    match key {
        "projectcalico.org/name" => Some(NAMESPACE.to_owned()),
        _ if key.starts_with("projectcalico.org/") => None,
        _ => Some(of_namespace(key)),
    }
}

/// The pods for which `expression` holds, or does not.
fn pods(
    expression: &Expression,
    holds: bool,
    keys: fn(&str) -> Option<String>,
    span: Span,
    lowering: &mut Lowering<'_, '_>,
) -> Vec<Selector> {
    match expression.terms(holds, keys) {
        Ok(terms) => terms.into_iter().map(|term| all_of(term.into_iter().chain([any_pod()]))).collect(),
        Err(why) => {
            let code = if why.contains("not supported") { Code::Unsupported } else { Code::Limit };
            let text = format!("this selector cannot be used: {why}");
            lowering.sink.push(Finding::error(code, span, text));
            Vec::new()
        }
    }
}

fn subject(policy: &CalicoPolicy, lowering: &mut Lowering<'_, '_>) -> Vec<Selector> {
    let own = pods(&policy.subject, true, key, policy.place, lowering);
    let limits = match (&policy.namespace, &policy.namespaces) {
        (Some(name), _) => vec![all_of([Requirement::In(NAMESPACE.to_owned(), vec![name.clone()])])],
        (None, Some(expression)) => pods(expression, true, namespace_key, policy.place, lowering),
        (None, None) => return own,
    };
    both(&own, &limits, policy.place, lowering)
}

/// The addresses that an end of a rule means.
fn ends(
    entity: &Entity,
    namespace: Option<&str>,
    version: Option<u32>,
    sets: &[Set],
    lowering: &mut Lowering<'_, '_>,
) -> Vec<Selector> {
    let origin = lowering.origin(entity.span);
    let mut parts: Vec<Vec<Selector>> = Vec::new();
    // In a namespace, every selector stays inside it; without one, a negated selector alone means everybody else.
    let negates = entity.not_selector.is_some() || entity.accounts.is_some();
    let selects =
        entity.selector.is_some() || entity.namespaces.is_some() || (namespace.is_some() && negates);
    if selects {
        parts.push(selected(entity, namespace, sets, lowering));
    }
    if let Some(not) = &entity.not_selector {
        parts.push(not_selected(not, entity.span, sets, lowering));
    }
    if let Some(names) = &entity.accounts {
        let mut names = names.clone();
        names.sort_unstable();
        names.dedup();
        parts.push(vec![all_of([Requirement::In(SERVICE_ACCOUNT.to_owned(), names)])]);
    }
    if let Some(nets) = &entity.nets {
        let mut names: Vec<_> = nets.iter().map(|net| lowering.blocks.name(*net, &origin)).collect();
        names.sort_unstable();
        names.dedup();
        parts.push(if names.is_empty() { Vec::new() } else { vec![all_of([Requirement::Network(names)])] });
    }
    if !entity.not_nets.is_empty() {
        let mut names: Vec<_> =
            entity.not_nets.iter().map(|net| lowering.blocks.name(*net, &origin)).collect();
        names.sort_unstable();
        names.dedup();
        parts.push(vec![all_of([Requirement::NotNetwork(names)])]);
    }
    if let Some(version) = version {
        let address = match version {
            4 => std::net::Ipv4Addr::UNSPECIFIED.into(),
            _ => std::net::Ipv6Addr::UNSPECIFIED.into(),
        };
        let name = lowering.blocks.name(Prefix { address, len: 0 }, &origin);
        parts.push(vec![all_of([Requirement::Network(vec![name])])]);
    }
    parts.into_iter().fold(vec![Selector::default()], |all, part| both(&all, &part, entity.span, lowering))
}

/// Pods and sets of networks that the selectors of an end choose: within the policy's own namespace, unless they say
/// something about namespaces themselves.
fn selected(
    entity: &Entity,
    namespace: Option<&str>,
    sets: &[Set],
    lowering: &mut Lowering<'_, '_>,
) -> Vec<Selector> {
    let all = Expression::All;
    let expression = entity.selector.as_ref().unwrap_or(&all);
    let mut chosen = pods(expression, true, key, entity.span, lowering);
    let limits = match (&entity.namespaces, namespace) {
        (Some(expression), _) => Some(pods(expression, true, namespace_key, entity.span, lowering)),
        (None, Some(name)) => {
            Some(vec![all_of([Requirement::In(NAMESPACE.to_owned(), vec![name.to_owned()])])])
        }
        (None, None) => None,
    };
    if let Some(limits) = &limits {
        chosen = both(&chosen, limits, entity.span, lowering);
    }
    let reaches = |set: &&Set| match (&entity.namespaces, namespace) {
        (Some(Expression::Global), _) => set.namespace.is_none(),
        (Some(expression), _) => set.namespace.as_ref().is_some_and(|name| {
            let labels = lowering.namespace_labels(name);
            expression.matches(&labels)
        }),
        (None, Some(name)) => set.namespace.as_deref() == Some(name),
        (None, None) => true,
    };
    let matching = sets
        .iter()
        .filter(|set| !set.prefixes.is_empty())
        .filter(reaches)
        .filter(|set| expression.matches(&set.labels));
    let mut names: Vec<String> = matching.map(network_name).collect();
    names.sort_unstable();
    if !names.is_empty() {
        chosen.push(all_of([Requirement::Network(names)]));
    }
    chosen
}

/// Everybody whom a selector does not choose: pods, and whatever is no pod.
fn not_selected(
    not: &Expression,
    span: Span,
    sets: &[Set],
    lowering: &mut Lowering<'_, '_>,
) -> Vec<Selector> {
    let matching = sets.iter().filter(|set| !set.prefixes.is_empty() && not.matches(&set.labels));
    let mut names: Vec<String> = matching.map(network_name).collect();
    names.sort_unstable();
    let outside = (!names.is_empty()).then_some(Requirement::NotNetwork(names));
    let mut all = pods(not, false, key, span, lowering);
    all.push(all_of([Requirement::NoWorkload]));
    all.push(all_of([Requirement::In(KIND.to_owned(), vec!["node".to_owned()])]));
    match outside {
        Some(outside) => both(&all, &[all_of([outside])], span, lowering),
        None => all,
    }
}

/// What is in both lists: every pair, but for those that nothing can satisfy.
fn both(a: &[Selector], b: &[Selector], span: Span, lowering: &mut Lowering<'_, '_>) -> Vec<Selector> {
    if a.len().saturating_mul(b.len()) > TERMS_MAX {
        let text = format!("what is selected here stands for more than {TERMS_MAX} simple selectors");
        lowering.sink.push(Finding::error(Code::Limit, span, text));
        return Vec::new();
    }
    let pair = |one: &Selector, other: &Selector| {
        all_of(one.requirements.iter().chain(&other.requirements).cloned())
    };
    let all = a.iter().flat_map(|one| b.iter().map(move |other| pair(one, other)));
    all.filter(|one| !is_impossible(one)).collect()
}

/// Whether it asks for a workload and for none, or for two kinds of workload.
fn is_impossible(selector: &Selector) -> bool {
    let kinds =
        selector.requirements.iter().filter(|one| matches!(one, Requirement::In(key, _) if key == KIND));
    let kinds = kinds.count();
    kinds > 1 || (kinds > 0 && selector.requirements.contains(&Requirement::NoWorkload))
}

fn network_name(set: &Set) -> String {
    match &set.namespace {
        Some(namespace) => format!("calico/{namespace}/{}", set.name.value),
        None => format!("calico-global/{}", set.name.value),
    }
}

fn networks(sets: &[Set], lowering: &mut Lowering<'_, '_>) {
    for set in sets.iter().filter(|set| !set.prefixes.is_empty()) {
        let name = network_name(set);
        lowering.claim(&format!("network/{name}"), set.name.span);
        let mut prefixes = set.prefixes.clone();
        prefixes.sort_unstable();
        prefixes.dedup();
        let origin = lowering.origin(set.name.span);
        let labels = std::collections::BTreeMap::new();
        lowering.policy.networks.push(Network { name, labels, prefixes, origin });
    }
}
