//! `source` and `destination` of a rule: all that is told must hold.

use super::super::blocks::prefix_or_address;
use super::super::object::{Object, narrowed, unsupported, word};
use super::Expression;
use crate::policy::diagnostics::{Sink, Span};
use crate::policy::source::Word;
use crate::policy::source::yaml::Node;
use crate::policy::valid::Prefix;

/// An end as written.
#[derive(Default)]
pub(in super::super) struct Entity {
    pub(in super::super) selector: Option<Expression>,
    pub(in super::super) not_selector: Option<Expression>,
    pub(in super::super) namespaces: Option<Expression>,
    pub(in super::super) nets: Option<Vec<Prefix>>,
    pub(in super::super) not_nets: Vec<Prefix>,
    /// Names of service accounts.
    pub(in super::super) accounts: Option<Vec<String>>,
    /// Ports, and ports that are left out, as written.
    pub(super) ports: Option<Vec<Word>>,
    pub(super) not_ports: Vec<Word>,
    /// Where it stands.
    pub(in super::super) span: Span,
}

/// Reads an end. `allows`: whether the rule opens something, so that what cannot be told may be left out.
pub(super) fn read(node: Node<'_>, is_source: bool, allows: bool, sink: &mut Sink<'_>) -> Option<Entity> {
    let mut object = Object::open(node, "an end of a rule", sink)?;
    let span = object.span;
    let mut expression = |field: &str, sink: &mut Sink<'_>| -> Option<Option<Expression>> {
        match object.word(field, sink).filter(|word| !word.value.trim().is_empty()) {
            Some(word) => Expression::read(&word, sink).map(Some),
            None => Some(None),
        }
    };
    let selector = expression("selector", sink);
    let not_selector = expression("notSelector", sink);
    let namespaces = expression("namespaceSelector", sink);
    let nets = prefixes(&mut object, "nets", sink);
    let not_nets = prefixes(&mut object, "notNets", sink);
    let mut accounts = None;
    if let Some(mut told) = object.object("serviceAccounts", "service accounts", sink) {
        told.refuse("selector", "labels of service accounts are not known here", sink);
        accounts = told.words("names", sink).filter(|names| !names.is_empty());
        told.finish(sink);
    }
    let mut ports = object.list("ports", sink).filter(|ports| !ports.is_empty());
    let not_ports = object.list("notPorts", sink).unwrap_or_default();
    if is_source && (ports.is_some() || !not_ports.is_empty()) {
        unsupported(span, "ports of the source are not supported: flows are judged by where they go", sink);
        ports = None;
    }
    let untold = object.place("services").or_else(|| object.place("domains"));
    if let Some(place) = untold
        && (object.take("services").is_some() | object.take("domains").is_some())
    {
        if allows {
            narrowed(place, "services and domains are not resolved here: this rule allows nothing", sink);
            object.ignore(&["services", "domains"]);
            object.finish(sink);
            return Some(Entity { nets: Some(Vec::new()), span, ..Entity::default() });
        }
        unsupported(place, "services and domains are not resolved here: what to close is not known", sink);
    }
    object.finish(sink);
    let words = |nodes: Vec<Node<'_>>, sink: &mut Sink<'_>| -> Vec<Word> {
        nodes.into_iter().filter_map(|node| word(node, sink)).collect()
    };
    Some(Entity {
        selector: selector?,
        not_selector: not_selector?,
        namespaces: namespaces?,
        nets: nets?.filter(|nets| !nets.is_empty()),
        not_nets: not_nets?.unwrap_or_default(),
        accounts: accounts.map(|names| names.into_iter().map(|name| name.value).collect()),
        ports: ports.map(|ports| words(ports, sink)),
        not_ports: words(not_ports, sink),
        span,
    })
}

fn prefixes(object: &mut Object<'_>, field: &str, sink: &mut Sink<'_>) -> Option<Option<Vec<Prefix>>> {
    let Some(words) = object.words(field, sink) else { return Some(None) };
    words.iter().map(|word| prefix_or_address(word, sink)).collect::<Option<Vec<_>>>().map(Some)
}
