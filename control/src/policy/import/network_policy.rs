//! Kubernetes `NetworkPolicy` v1 (networking.k8s.io/v1, types.go).
//!
//! A policy's peers are a union of allows; a pod that any policy selects is isolated in the directions of that policy.
//! Of the four kinds of empty, a list that is absent, `null` or `[]` says nothing (`ingress`: no allow; `from`: every
//! source; `ports`: every port), and `[{}]` holds one entry that says nothing: a rule that allows everything, a peer
//! that is refused, a port that is every port of TCP.

use super::Direction;
use super::blocks::{Block, block};
use super::labels::{LabelSelector, selector};
use super::object::{Object, number, word};
use super::ports::{Ports, number_or_name, protocol, range, span, whole};
use crate::policy::diagnostics::{Code, Finding, Sink, Span, quote};
use crate::policy::source::Word;
use crate::policy::source::yaml::{Node, Value};

/// A policy as written.
pub(super) struct NetworkPolicy {
    pub(super) namespace: String,
    pub(super) name: Word,
    /// The pods of its namespace that it selects.
    pub(super) subject: LabelSelector,
    /// What it allows towards them, if it isolates that direction.
    pub(super) ingress: Option<Vec<Allow>>,
    /// What it allows them to open, if it isolates that direction.
    pub(super) egress: Option<Vec<Allow>>,
}

impl NetworkPolicy {
    /// What it allows in a direction, if it isolates that.
    pub(super) fn allows(&self, direction: Direction) -> Option<&[Allow]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }
}

/// One entry of `ingress` or `egress`.
pub(super) struct Allow {
    /// The other ends; `None`: any.
    pub(super) peers: Option<Vec<Peer>>,
    pub(super) ports: Ports,
    pub(super) span: Span,
}

/// Another end.
pub(super) enum Peer {
    /// Pods: of the policy's own namespace if no namespace selector is given.
    Pods(Option<LabelSelector>, LabelSelector),
    /// Addresses.
    Block(Block),
}

/// Reads a `NetworkPolicy`. What cannot be read is reported, and the whole load refused.
pub(super) fn read(mut object: Object<'_>, sink: &mut Sink<'_>) -> Option<NetworkPolicy> {
    let meta = super::inventory::meta(&mut object, sink)?;
    object.ignore(&["status"]);
    let spec = object.take("spec");
    object.finish(sink);
    let Some(spec) = spec else {
        let text = "a network policy without `spec` isolates every pod of its namespace: write that out";
        sink.push(Finding::error(Code::MissingField, meta.name.span, text));
        return None;
    };
    let mut spec = Object::open(spec, "the specification of a network policy", sink)?;
    let subject = match spec.take("podSelector") {
        Some(node) => selector(node, sink)?,
        None => LabelSelector::default(),
    };
    let mut ingress = Vec::new();
    for item in spec.list("ingress", sink).unwrap_or_default() {
        ingress.push(allow(item, "from", sink));
    }
    let mut egress = Vec::new();
    for item in spec.list("egress", sink).unwrap_or_default() {
        egress.push(allow(item, "to", sink));
    }
    let types = spec.words("policyTypes", sink).unwrap_or_default();
    spec.finish(sink);
    let (is_ingress, is_egress) = directions(&types, !egress.is_empty(), sink);
    let all = |list: Vec<Option<Allow>>| list.into_iter().collect::<Option<Vec<_>>>();
    let (ingress, egress) = (all(ingress)?, all(egress)?);
    let unheard = |rules: &[Allow], told: bool, word: &str, sink: &mut Sink<'_>| {
        if let (false, Some(first)) = (told, rules.first()) {
            let text = format!("this has no effect: `policyTypes` does not name {word}");
            sink.push(Finding::warning(Code::NeverMatches, first.span, text));
        }
    };
    unheard(&ingress, is_ingress, "Ingress", sink);
    unheard(&egress, is_egress, "Egress", sink);
    Some(NetworkPolicy {
        namespace: meta.namespace,
        name: meta.name,
        subject,
        ingress: is_ingress.then_some(ingress),
        egress: is_egress.then_some(egress),
    })
}

/// The directions that a policy isolates: those told; otherwise ingress, and egress if it has a rule.
fn directions(types: &[Word], has_egress: bool, sink: &mut Sink<'_>) -> (bool, bool) {
    for word in types.iter().filter(|word| !matches!(word.value.as_str(), "Ingress" | "Egress")) {
        let text = format!("there is no policy type {}", quote(&word.value));
        sink.push(Finding::error(Code::UnknownWord, word.span, text).legal(["Ingress", "Egress"]));
    }
    if types.is_empty() {
        return (true, has_egress);
    }
    let has = |wanted: &str| types.iter().any(|word| word.value == wanted);
    (has("Ingress"), has("Egress"))
}

fn allow(node: Node<'_>, side: &'static str, sink: &mut Sink<'_>) -> Option<Allow> {
    let mut rule = Object::open(node, "a rule", sink)?;
    let span = rule.span;
    let before = sink.errors();
    let peers: Vec<_> =
        (rule.list(side, sink).unwrap_or_default()).into_iter().filter_map(|item| peer(item, sink)).collect();
    let ports = ports(rule.list("ports", sink).unwrap_or_default(), sink);
    rule.finish(sink);
    let peers = (!peers.is_empty()).then_some(peers);
    (sink.errors() == before).then_some(Allow { peers, ports, span })
}

fn peer(node: Node<'_>, sink: &mut Sink<'_>) -> Option<Peer> {
    let span = node.span;
    let mut peer = Object::open(node, "a peer", sink)?;
    let pods = peer.take("podSelector");
    let namespaces = peer.take("namespaceSelector");
    let addresses = peer.take("ipBlock");
    peer.finish(sink);
    if let Some(addresses) = addresses {
        if pods.is_some() || namespaces.is_some() {
            let text = "a peer is either an `ipBlock` or selects pods, not both";
            sink.push(Finding::error(Code::BadSelector, span, text));
            return None;
        }
        return block(addresses, sink).map(Peer::Block);
    }
    if pods.is_none() && namespaces.is_none() {
        let text = "a peer needs `podSelector`, `namespaceSelector` or `ipBlock`; an empty one means nothing";
        sink.push(
            Finding::error(Code::MissingField, span, text).help("leave the list out to mean every peer"),
        );
        return None;
    }
    let namespaces = match namespaces {
        Some(node) => Some(selector(node, sink)?),
        None => None,
    };
    let pods = match pods {
        Some(node) => selector(node, sink)?,
        None => LabelSelector::default(),
    };
    Some(Peer::Pods(namespaces, pods))
}

fn ports(items: Vec<Node<'_>>, sink: &mut Sink<'_>) -> Ports {
    if items.is_empty() {
        return Ports::any();
    }
    let mut ports = Ports::default();
    for item in items {
        port(item, &mut ports, sink);
    }
    ports
}

fn port(node: Node<'_>, ports: &mut Ports, sink: &mut Sink<'_>) -> Option<()> {
    let mut object = Object::open(node, "a port", sink)?;
    let at = object.span;
    let transport = match object.word("protocol", sink) {
        Some(word) => protocol(&word, sink)?,
        None => 6,
    };
    let port = object.take("port");
    let end = object.word("endPort", sink);
    object.finish(sink);
    let Some(port) = port else {
        if let Some(end) = end {
            let text = "`endPort` needs a `port` to begin with";
            sink.push(Finding::error(Code::MissingField, end.span, text));
        }
        ports.ranges.push(whole(transport));
        return Some(());
    };
    if matches!(port.value, Value::Word(ref text) if text.is_empty()) {
        sink.push(Finding::error(Code::BadService, port.span, "a port cannot be an empty word"));
        return None;
    }
    match (number_or_name(&word(port, sink)?, sink)?, end) {
        (Ok(first), None) => ports.ranges.push(range(transport, first, first)),
        (Ok(first), Some(end)) => {
            let last = number(&end, 1, 65_535, sink)?;
            ports.ranges.push(span(transport, first, last, at, sink)?);
        }
        (Err(name), None) => ports.named.push((name, whole(transport))),
        (Err(_), Some(end)) => {
            let text = "`endPort` needs a `port` by number, not by name";
            sink.push(Finding::error(Code::BadService, end.span, text));
        }
    }
    Some(())
}
