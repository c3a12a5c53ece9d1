//! One entry of `ingress`, `egress` and their denies.

use super::super::blocks::{Block, fields, prefix_or_address};
use super::super::labels::{LabelSelector, selector};
use super::super::object::{Object, narrowed, unsupported, word, wrong_type};
use super::super::ports::Ports;
use super::{ports, selectors};
use crate::policy::diagnostics::{Code, Finding, Sink, Span};
use crate::policy::source::Word;
use crate::policy::source::yaml::{Node, Value};
use crate::policy::valid::Selector;

/// An entry as written.
pub(in super::super) struct Entry {
    /// The list it stands in, and its number there.
    pub(in super::super) list: &'static str,
    pub(in super::super) number: usize,
    pub(in super::super) is_ingress: bool,
    pub(in super::super) is_deny: bool,
    pub(in super::super) peers: Peers,
    pub(in super::super) ports: Ports,
    pub(in super::super) span: Span,
}

/// The other ends of an entry.
pub(in super::super) enum Peers {
    /// Everybody.
    Any,
    /// These, possibly none.
    These(Vec<Peer>),
}

/// Another end.
pub(in super::super) enum Peer {
    Endpoints(Selector),
    Block(Block),
    /// A `CiliumCIDRGroup` but for parts of it.
    Group(Word),
    Entity(Word),
    Nodes(LabelSelector, Span),
}

/// Kinds of peers that ringfence cannot tell: their addresses come from elsewhere.
const UNTOLD: &[(&str, &str)] = &[
    ("FQDNs", "names of domains are not resolved here"),
    ("Services", "services are not resolved here"),
    ("Groups", "groups of a cloud provider are not resolved here"),
];

/// Reads an entry of the list `list`, whose peers are in fields that begin with `side`.
pub(super) fn read(
    node: Node<'_>,
    list: &'static str,
    side: &'static str,
    is_deny: bool,
    number: usize,
    namespace: Option<&str>,
    sink: &mut Sink<'_>,
) -> Option<Entry> {
    let mut entry = Object::open(node, "an entry", sink)?;
    let span = entry.span;
    let is_empty = entry.is_empty();
    let before = sink.errors();
    let mut kinds = 0;
    let mut these = Vec::new();
    for kind in ["Endpoints", "CIDR", "CIDRSet", "Entities", "Nodes"] {
        let Some(items) = entry.list(&format!("{side}{kind}"), sink) else { continue };
        kinds += 1;
        these.extend(items.into_iter().filter_map(|item| peer(item, kind, namespace, sink)));
    }
    for (kind, why) in UNTOLD {
        let field = format!("{side}{kind}");
        let place = entry.place(&field).unwrap_or(span);
        if entry.take(&field).is_some() {
            kinds += 1;
            if is_deny {
                unsupported(place, format!("`{field}` is not supported: {why}"), sink);
            } else {
                narrowed(place, format!("`{field}` allows nothing: {why}"), sink);
            }
        }
    }
    entry.refuse(&format!("{side}Requires"), "what it adds to other policies is not read", sink);
    for field in ["authentication", "auth"] {
        entry.refuse(field, "ringfence does not authenticate", sink);
    }
    if kinds > 1 {
        let text = "an entry has one kind of peer: Cilium refuses several";
        sink.push(Finding::error(Code::BadSelector, span, text));
    }
    let ports = ports::read(&mut entry, sink);
    entry.finish(sink);
    if is_empty && is_deny {
        let text = "an empty entry denies nothing: say whom it means";
        sink.push(Finding::error(Code::EmptySet, span, text).help("`{fromEntities: [all]}` means everybody"));
    }
    // An entry that says nothing allows nothing: it only isolates.
    let peers = if kinds == 0 && !is_empty { Peers::Any } else { Peers::These(these) };
    let is_ingress = side == "from";
    (sink.errors() == before).then_some(Entry {
        list,
        number,
        is_ingress,
        is_deny,
        peers,
        ports: ports?,
        span,
    })
}

fn peer(node: Node<'_>, kind: &str, namespace: Option<&str>, sink: &mut Sink<'_>) -> Option<Peer> {
    match kind {
        "Endpoints" => selectors::peer(node, namespace, sink),
        "CIDR" => {
            let prefix = prefix_or_address(&word(node, sink)?, sink)?;
            Some(Peer::Block(Block { prefix, except: Vec::new() }))
        }
        "CIDRSet" => set(node, sink),
        "Entities" => word(node, sink).map(Peer::Entity),
        _ => {
            let span = node.span;
            Some(Peer::Nodes(selector(node, sink)?, span))
        }
    }
}

fn set(node: Node<'_>, sink: &mut Sink<'_>) -> Option<Peer> {
    if !matches!(node.value, Value::Mapping(_)) {
        wrong_type(&node, "a set of prefixes", sink);
        return None;
    }
    let mut set = Object::open(node, "a set of prefixes", sink)?;
    set.refuse("cidrGroupSelector", "name the group by `cidrGroupRef`", sink);
    let group = set.word("cidrGroupRef", sink);
    let peer = match group {
        Some(group) => {
            set.refuse("except", "write the group's prefixes out", sink);
            Some(Peer::Group(group))
        }
        None => fields(&mut set, sink).map(Peer::Block),
    };
    set.finish(sink);
    peer
}
