//! Policies of the whole cluster (policy.networking.k8s.io): `ClusterNetworkPolicy` v1alpha2, and v1alpha1's
//! `AdminNetworkPolicy` and `BaselineAdminNetworkPolicy`, which say the same in other words.
//!
//! A policy is an ordered list of rules with a priority within its tier. `Accept` and `Deny` are final; `Pass` leaves
//! the flow to the tiers after the Admin tier. Networks match the addresses of pods too, as the API says.

use super::blocks::prefix;
use super::labels::{LabelSelector, selector};
use super::object::{Object, narrowed, number, word};
use super::ports::{Ports, protocol, range, span};
use crate::policy::diagnostics::{Code, Finding, Sink, Span, quote};
use crate::policy::source::Word;
use crate::policy::source::yaml::{Node, Value};
use crate::policy::valid::{Action, Prefix};
use dataplane::headers::protocol::{SCTP, TCP, UDP};

/// The kinds of this group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Cluster,
    Admin,
    Baseline,
}

/// A policy as written.
pub(super) struct ClusterPolicy {
    pub(super) kind: Kind,
    pub(super) name: Word,
    pub(super) is_baseline: bool,
    /// Lower first.
    pub(super) priority: u32,
    pub(super) subject: Pods,
    pub(super) ingress: Vec<ClusterRule>,
    pub(super) egress: Vec<ClusterRule>,
}

/// Pods by their own labels and those of their namespaces.
pub(super) struct Pods {
    pub(super) namespaces: LabelSelector,
    pub(super) pods: LabelSelector,
}

/// One rule.
pub(super) struct ClusterRule {
    pub(super) action: Action,
    pub(super) peers: Vec<Peer>,
    pub(super) ports: Ports,
    pub(super) span: Span,
}

/// Another end.
pub(super) enum Peer {
    Pods(Pods),
    Networks(Vec<Prefix>),
    Nodes(LabelSelector, Span),
}

/// Reads a policy of one of the three kinds.
pub(super) fn read(mut object: Object<'_>, kind: Kind, sink: &mut Sink<'_>) -> Option<ClusterPolicy> {
    let name = super::inventory::meta(&mut object, sink)?.name;
    object.ignore(&["status"]);
    let spec = object.need("spec", sink);
    object.finish(sink);
    let mut spec = Object::open(spec?, "the specification of a policy", sink)?;
    let before = sink.errors();
    let is_baseline = match kind {
        Kind::Admin => false,
        Kind::Baseline => true,
        Kind::Cluster => tier(&mut spec, sink)?,
    };
    if kind == Kind::Baseline && name.value != "default" {
        let text = "the baseline policy has to be named `default`: there is only one";
        sink.push(Finding::error(Code::BadName, name.span, text));
    }
    let priority = match kind {
        Kind::Baseline => 0,
        _ => {
            let word = spec.need("priority", sink).and_then(|node| word(node, sink))?;
            number(&word, 0, 1_000, sink)?
        }
    };
    let subject = subject(spec.need("subject", sink)?, sink)?;
    let mut side = |list: &str, peers: &'static str, sink: &mut Sink<'_>| -> Vec<ClusterRule> {
        let rules = spec.list(list, sink).unwrap_or_default();
        rules.into_iter().filter_map(|item| rule(item, kind, peers, sink)).collect()
    };
    let (ingress, egress) = (side("ingress", "from", sink), side("egress", "to", sink));
    spec.finish(sink);
    let policy = ClusterPolicy { kind, name, is_baseline, priority, subject, ingress, egress };
    (sink.errors() == before).then_some(policy)
}

fn tier(spec: &mut Object<'_>, sink: &mut Sink<'_>) -> Option<bool> {
    let tier = spec.need("tier", sink).and_then(|node| word(node, sink))?;
    match tier.value.as_str() {
        "Admin" => Some(false),
        "Baseline" => Some(true),
        other => {
            let text = format!("there is no tier {}", quote(other));
            sink.push(Finding::error(Code::UnknownWord, tier.span, text).legal(["Admin", "Baseline"]));
            None
        }
    }
}

fn subject(node: Node<'_>, sink: &mut Sink<'_>) -> Option<Pods> {
    let mut object = Object::open(node, "a subject", sink)?;
    let span = object.span;
    let namespaces = object.take("namespaces");
    let pods = object.take("pods");
    object.finish(sink);
    match (namespaces, pods) {
        (Some(node), None) => {
            Some(Pods { namespaces: selector(node, sink)?, pods: LabelSelector::default() })
        }
        (None, Some(node)) => namespaced(node, sink),
        _ => {
            let text = "a subject is either `namespaces` or `pods`";
            sink.push(Finding::error(Code::BadSelector, span, text));
            None
        }
    }
}

fn namespaced(node: Node<'_>, sink: &mut Sink<'_>) -> Option<Pods> {
    let mut object = Object::open(node, "a selector of pods", sink)?;
    let mut one = |name: &str, sink: &mut Sink<'_>| match object.take(name) {
        Some(node) => selector(node, sink),
        None => Some(LabelSelector::default()),
    };
    let (outer, pods) = (one("namespaceSelector", sink), one("podSelector", sink));
    let outer = match object.take("namespaces") {
        Some(node) => namespaces(node, sink),
        None => outer,
    };
    object.finish(sink);
    Some(Pods { namespaces: outer?, pods: pods? })
}

/// A selector of namespaces; the first releases of v1alpha1 wrapped that of a peer in a field of its own.
fn namespaces(node: Node<'_>, sink: &mut Sink<'_>) -> Option<LabelSelector> {
    let is_wrapped = matches!(&node.value, Value::Mapping(fields) if fields.iter().any(|(key, _)| key.text() == "namespaceSelector"));
    if !is_wrapped {
        return selector(node, sink);
    }
    let mut object = Object::open(node, "a selector of namespaces", sink)?;
    let inner = object.need("namespaceSelector", sink);
    object.finish(sink);
    selector(inner?, sink)
}

fn rule(node: Node<'_>, kind: Kind, side: &'static str, sink: &mut Sink<'_>) -> Option<ClusterRule> {
    let mut rule = Object::open(node, "a rule", sink)?;
    let span = rule.span;
    rule.ignore(&["name"]);
    let action = rule
        .need("action", sink)
        .and_then(|node| word(node, sink))
        .and_then(|word| action(&word, kind, sink));
    let mut peers = Vec::new();
    match rule.list(side, sink) {
        Some(items) if !items.is_empty() => {
            for item in items {
                peers.extend(peer(item, side == "to", action, sink));
            }
        }
        _ => {
            let text = format!("a rule needs at least one peer in `{side}`");
            sink.push(Finding::error(Code::MissingField, span, text));
        }
    }
    let field = if kind == Kind::Cluster { "protocols" } else { "ports" };
    let place = rule.place(field);
    let ports = match rule.list(field, sink) {
        None => Ports::any(),
        Some(items) => {
            if items.is_empty() {
                let text =
                    format!("an empty list of {field} says neither all nor none: leave it out to mean all");
                sink.push(Finding::error(Code::EmptySet, place.unwrap_or(span), text));
            }
            let mut ports = Ports::default();
            for item in items {
                let read = if kind == Kind::Cluster { spoken } else { port };
                read(item, &mut ports, sink);
            }
            ports
        }
    };
    rule.finish(sink);
    Some(ClusterRule { action: action?, peers, ports, span })
}

fn action(word: &Word, kind: Kind, sink: &mut Sink<'_>) -> Option<Action> {
    let legal: &[&str] = match kind {
        Kind::Cluster => &["Accept", "Deny", "Pass"],
        Kind::Admin => &["Allow", "Deny", "Pass"],
        Kind::Baseline => &["Allow", "Deny"],
    };
    let known = legal.iter().find(|name| **name == word.value);
    match known.copied() {
        Some("Accept" | "Allow") => Some(Action::Allow),
        Some("Deny") => Some(Action::Deny),
        Some(_) => Some(Action::Pass),
        None => {
            let text = format!("there is no action {} here", quote(&word.value));
            sink.push(Finding::error(Code::UnknownWord, word.span, text).legal(legal.iter().copied()));
            None
        }
    }
}

fn peer(node: Node<'_>, is_egress: bool, action: Option<Action>, sink: &mut Sink<'_>) -> Option<Peer> {
    let mut object = Object::open(node, "a peer", sink)?;
    let span = object.span;
    let mut fields = Vec::new();
    let outward: &[&'static str] = if is_egress { &["networks", "nodes", "domainNames"] } else { &[] };
    for name in ["namespaces", "pods"].iter().chain(outward) {
        let place = object.place(name).unwrap_or(span);
        if let Some(node) = object.take(name) {
            fields.push((*name, place, node));
        }
    }
    object.finish(sink);
    let [(name, place, node)] = <[_; 1]>::try_from(fields)
        .map_err(|fields: Vec<_>| {
            let text = if fields.is_empty() {
                "a peer says whom it means: an empty one could be anybody"
            } else {
                "a peer has one field: several peers mean several ends"
            };
            sink.push(Finding::error(Code::BadSelector, span, text));
        })
        .ok()?;
    match name {
        "namespaces" => {
            let namespaces = namespaces(node, sink)?;
            Some(Peer::Pods(Pods { namespaces, pods: LabelSelector::default() }))
        }
        "pods" => Some(Peer::Pods(namespaced(node, sink)?)),
        "nodes" => Some(Peer::Nodes(selector(node, sink)?, place)),
        "networks" => {
            let Value::List(items) = node.value else {
                super::object::wrong_type(&node, "a list of address prefixes", sink);
                return None;
            };
            let words: Vec<Word> = items.into_iter().filter_map(|item| word(item, sink)).collect();
            Some(Peer::Networks(words.iter().map(|word| prefix(word, sink)).collect::<Option<_>>()?))
        }
        _ => {
            let text = "names of domains are not resolved here";
            if action == Some(Action::Allow) {
                narrowed(place, format!("{text}: nothing is allowed by this peer"), sink);
            } else {
                super::object::unsupported(place, text, sink);
            }
            None
        }
    }
}

/// An entry of v1alpha2's `protocols`.
fn spoken(node: Node<'_>, ports: &mut Ports, sink: &mut Sink<'_>) -> Option<()> {
    let mut object = Object::open(node, "a protocol", sink)?;
    let span = object.span;
    let mut given = 0;
    if let Some(name) = object.word("destinationNamedPort", sink) {
        given += 1;
        named(&name, ports, sink);
    }
    for (field, number) in [("tcp", TCP), ("udp", UDP), ("sctp", SCTP)] {
        let Some(mut inner) = object.object(field, "a protocol", sink) else { continue };
        given += 1;
        let port = inner.need("destinationPort", sink);
        inner.finish(sink);
        let mut port = Object::open(port?, "a port", sink)?;
        let at = port.span;
        let single = port.word("number", sink);
        let several = port.object("range", "a range of ports", sink);
        port.finish(sink);
        match (single, several) {
            (Some(word), None) => {
                let port = super::object::number(&word, 1, 65_535, sink)?;
                ports.ranges.push(range(number, port, port));
            }
            (None, Some(several)) => ports.ranges.push(bounds(several, number, sink)?),
            _ => one_of(at, "a port has either `number` or `range`", sink),
        }
    }
    object.finish(sink);
    if given != 1 {
        one_of(span, "an entry names one protocol or one named port", sink);
    }
    Some(())
}

/// An entry of v1alpha1's `ports`.
fn port(node: Node<'_>, ports: &mut Ports, sink: &mut Sink<'_>) -> Option<()> {
    let mut object = Object::open(node, "a port", sink)?;
    let span = object.span;
    let single = object.object("portNumber", "a port number", sink);
    let several = object.object("portRange", "a range of ports", sink);
    let name = object.word("namedPort", sink);
    object.finish(sink);
    let transport = |object: &mut Object<'_>, sink: &mut Sink<'_>| match object.word("protocol", sink) {
        Some(word) => protocol(&word, sink),
        None => Some(TCP),
    };
    match (single, several, name) {
        (Some(mut single), None, None) => {
            let transport = transport(&mut single, sink)?;
            let port = single.need("port", sink).and_then(|node| word(node, sink));
            single.finish(sink);
            let port = number(&port?, 1, 65_535, sink)?;
            ports.ranges.push(range(transport, port, port));
        }
        (None, Some(mut several), None) => {
            let transport = transport(&mut several, sink)?;
            ports.ranges.push(bounds(several, transport, sink)?);
        }
        (None, None, Some(name)) => named(&name, ports, sink),
        _ => one_of(span, "a port is one of `portNumber`, `portRange` and `namedPort`", sink),
    }
    Some(())
}

/// A port by name, of whatever protocol.
fn named(name: &Word, ports: &mut Ports, sink: &mut Sink<'_>) {
    if let Some(Err(name)) = super::ports::number_or_name(name, sink) {
        ports.named.extend([TCP, UDP, SCTP].map(|transport| (name.clone(), super::ports::whole(transport))));
    }
}

fn bounds(
    mut object: Object<'_>,
    transport: u8,
    sink: &mut Sink<'_>,
) -> Option<crate::policy::valid::ServiceRange> {
    let at = object.span;
    let first = object.need("start", sink).and_then(|node| word(node, sink));
    let last = object.need("end", sink).and_then(|node| word(node, sink));
    object.finish(sink);
    let first = number(&first?, 1, 65_535, sink)?;
    let last = number(&last?, 1, 65_535, sink)?;
    span(transport, first, last, at, sink)
}

fn one_of(span: Span, text: &str, sink: &mut Sink<'_>) {
    sink.push(Finding::error(Code::BadService, span, text));
}
