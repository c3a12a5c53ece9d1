//! Calico's `NetworkPolicy`, `GlobalNetworkPolicy`, `Tier`, `NetworkSet` and `GlobalNetworkSet`
//! (projectcalico.org/v3), layers 3 and 4.
//!
//! Tiers have an order, policies one within their tier, rules the one written; the first Allow or Deny ends, Pass goes
//! on with the next tier, Log says nothing about the flow. What no rule of a tier matched is denied there if any of the
//! tier's policies selects the endpoint in that direction, unless the tier's default action is Pass. Network policies
//! of Kubernetes stand in the tier `default`, with the order 1000.

mod entity;
mod rule;
mod selector;

pub(super) use entity::Entity;
pub(super) use rule::Rule;
pub(super) use selector::{Expression, NAMESPACE_LABEL, TERMS_MAX};

use super::blocks::prefix_or_address;
use super::object::{Object, word};
use crate::policy::diagnostics::{Code, Finding, Sink, quote};
use crate::policy::source::Word;
use crate::policy::valid::Prefix;

/// A policy as written.
pub(super) struct CalicoPolicy {
    /// `None` for one of the whole cluster.
    pub(super) namespace: Option<String>,
    pub(super) name: Word,
    pub(super) tier: Word,
    /// Infinite if not told.
    pub(super) order: f64,
    pub(super) subject: Expression,
    /// Of a policy of the whole cluster.
    pub(super) namespaces: Option<Expression>,
    /// Rules of the directions that it decides.
    pub(super) ingress: Option<Vec<Rule>>,
    pub(super) egress: Option<Vec<Rule>>,
    /// Where its selector stands.
    pub(super) place: crate::policy::diagnostics::Span,
}

/// A tier as written.
pub(super) struct CalicoTier {
    pub(super) name: String,
    /// Infinite if not told.
    pub(super) order: f64,
    /// What no rule matched goes on with the next tier.
    pub(super) passes: bool,
}

/// A set of prefixes with labels.
pub(super) struct Set {
    pub(super) name: Word,
    /// `None` for one of the whole cluster.
    pub(super) namespace: Option<String>,
    pub(super) labels: Vec<(String, String)>,
    pub(super) prefixes: Vec<Prefix>,
}

/// Reads a policy.
pub(super) fn policy(mut object: Object<'_>, is_global: bool, sink: &mut Sink<'_>) -> Option<CalicoPolicy> {
    let meta = super::inventory::meta(&mut object, sink)?;
    object.ignore(&["status"]);
    let spec = object.need("spec", sink);
    object.finish(sink);
    let mut spec = Object::open(spec?, "the specification of a Calico policy", sink)?;
    let before = sink.errors();
    let place = spec.place("selector").unwrap_or(spec.span);
    let default = || Word { value: "default".to_owned(), span: meta.name.span };
    let tier = spec.word("tier", sink).filter(|tier| !tier.value.is_empty()).unwrap_or_else(default);
    let order = order(&mut spec, sink);
    let subject = match spec.word("selector", sink).filter(|word| !word.value.trim().is_empty()) {
        Some(word) => Expression::read(&word, sink),
        None => Some(Expression::All),
    };
    let namespaces = match spec.word("namespaceSelector", sink).filter(|word| !word.value.trim().is_empty()) {
        Some(word) if is_global => Some(Expression::read(&word, sink)?),
        Some(word) => {
            let text = "only a policy of the whole cluster has a `namespaceSelector`";
            sink.push(Finding::error(Code::UnknownField, word.span, text));
            None
        }
        None => None,
    };
    spec.refuse("serviceAccountSelector", "labels of service accounts are not known here", sink);
    for field in ["doNotTrack", "preDNAT", "applyOnForward"] {
        let place = spec.place(field).unwrap_or(spec.span);
        if spec.boolean(field, sink) == Some(true) {
            let text = format!("`{field}` is not supported: it is about the interfaces of hosts");
            super::object::unsupported(place, text, sink);
        }
    }
    spec.ignore(&["performanceHints"]);
    let mut rules = |field: &str, sink: &mut Sink<'_>| -> Vec<Rule> {
        let items = spec.list(field, sink).unwrap_or_default();
        items.into_iter().filter_map(|item| rule::read(item, sink)).collect()
    };
    let (ingress, egress) = (rules("ingress", sink), rules("egress", sink));
    let types = spec.words("types", sink).unwrap_or_default();
    spec.finish(sink);
    let (is_ingress, is_egress) = directions(&types, !ingress.is_empty(), !egress.is_empty(), sink);
    let namespace = (!is_global).then_some(meta.namespace);
    let (name, subject) = (meta.name, subject?);
    let ingress = is_ingress.then_some(ingress);
    let egress = is_egress.then_some(egress);
    let policy = CalicoPolicy { namespace, name, tier, order, subject, namespaces, ingress, egress, place };
    (sink.errors() == before).then_some(policy)
}

/// The directions told; otherwise ingress, unless there are egress rules only, and egress if it has rules.
fn directions(types: &[Word], ingress: bool, egress: bool, sink: &mut Sink<'_>) -> (bool, bool) {
    for word in types.iter().filter(|word| !matches!(word.value.as_str(), "Ingress" | "Egress")) {
        let text = format!("there is no type {}", quote(&word.value));
        sink.push(Finding::error(Code::UnknownWord, word.span, text).legal(["Ingress", "Egress"]));
    }
    if types.is_empty() {
        return (ingress || !egress, egress);
    }
    let has = |wanted: &str| types.iter().any(|word| word.value == wanted);
    (has("Ingress"), has("Egress"))
}

fn order(spec: &mut Object<'_>, sink: &mut Sink<'_>) -> f64 {
    let Some(word) = spec.word("order", sink) else { return f64::INFINITY };
    let order = word.value.parse::<f64>().ok().filter(|order| order.is_finite());
    order.unwrap_or_else(|| {
        let text = format!("{} is not a number", quote(&word.value));
        sink.push(Finding::error(Code::BadNumber, word.span, text));
        f64::INFINITY
    })
}

/// Reads a `Tier`.
pub(super) fn tier(mut object: Object<'_>, sink: &mut Sink<'_>) -> Option<CalicoTier> {
    let name = super::inventory::meta(&mut object, sink)?.name.value;
    let mut spec = Object::open(object.take("spec")?, "a tier", sink)?;
    let order = order(&mut spec, sink);
    let passes = match spec.word("defaultAction", sink) {
        None => false,
        Some(word) => match word.value.as_str() {
            "Deny" => false,
            "Pass" => true,
            other => {
                let text = format!("there is no default action {}", quote(other));
                sink.push(Finding::error(Code::UnknownWord, word.span, text).legal(["Deny", "Pass"]));
                false
            }
        },
    };
    spec.finish(sink);
    Some(CalicoTier { name, order, passes })
}

/// Reads a `NetworkSet` or `GlobalNetworkSet`.
pub(super) fn set(mut object: Object<'_>, is_global: bool, sink: &mut Sink<'_>) -> Option<Set> {
    let meta = super::inventory::meta(&mut object, sink)?;
    let mut spec = Object::open(object.need("spec", sink)?, "a set of networks", sink)?;
    spec.refuse("allowedEgressDomains", "names of domains are not resolved here", sink);
    let nets = spec.list("nets", sink).unwrap_or_default();
    spec.finish(sink);
    let mut prefixes = Vec::with_capacity(nets.len());
    for net in nets {
        prefixes.push(prefix_or_address(&word(net, sink)?, sink)?);
    }
    let mut labels: Vec<_> = meta.labels.into_iter().map(|(key, value)| (key.value, value.value)).collect();
    let namespace = (!is_global).then_some(meta.namespace);
    labels.extend(namespace.iter().map(|name| (NAMESPACE_LABEL.to_owned(), name.clone())));
    Some(Set { name: meta.name, namespace, labels, prefixes })
}
