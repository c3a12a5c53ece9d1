//! `CiliumNetworkPolicy` and `CiliumClusterwideNetworkPolicy` (cilium.io/v2), layers 3 and 4.
//!
//! The allows of all policies, Kubernetes' own included, are a union, and any deny beats them. An endpoint is isolated
//! in the directions in which a policy that selects it has an entry, an empty one (`ingress: [{}]`, which allows
//! nothing) included, unless `enableDefaultDeny` says otherwise. Prefixes never match endpoints or nodes of the
//! cluster. An entry without peers means every peer; one with an empty list of them, none.

mod entry;
mod ports;
mod selectors;

pub(super) use entry::{Entry, Peer, Peers};

use super::blocks::prefix_or_address;
use super::labels::{LabelSelector, selector};
use super::object::Object;
use crate::policy::diagnostics::{Code, Finding, Sink, Span};
use crate::policy::source::Word;
use crate::policy::source::yaml::Node;
use crate::policy::valid::{Prefix, Selector};

/// A policy as written.
pub(super) struct CiliumPolicy {
    /// `None` for one of the whole cluster.
    pub(super) namespace: Option<String>,
    pub(super) name: Word,
    pub(super) rules: Vec<Spec>,
}

/// Its `spec`, or one of its `specs`.
pub(super) struct Spec {
    pub(super) subject: Subject,
    pub(super) entries: Vec<Entry>,
    /// Whether what no entry allows is denied, towards the subject and from it.
    pub(super) isolates: [bool; 2],
    pub(super) span: Span,
}

/// Whom it selects.
pub(super) enum Subject {
    Endpoints(Selector),
    /// Endpoints that are never in an inventory, such as Cilium's own health checks.
    Nobody(Span),
    Nodes(LabelSelector, Span),
}

/// A named set of prefixes.
pub(super) struct CidrGroup {
    pub(super) name: String,
    pub(super) prefixes: Vec<Prefix>,
}

/// Reads a policy.
pub(super) fn read(mut object: Object<'_>, clusterwide: bool, sink: &mut Sink<'_>) -> Option<CiliumPolicy> {
    let meta = super::inventory::meta(&mut object, sink)?;
    let namespace = (!clusterwide).then_some(meta.namespace);
    object.ignore(&["status"]);
    let one = object.take("spec");
    let several = object.list("specs", sink).unwrap_or_default();
    object.finish(sink);
    let before = sink.errors();
    let nodes: Vec<Node<'_>> = one.into_iter().chain(several).collect();
    if nodes.is_empty() {
        let text = "a policy needs `spec` or `specs`";
        sink.push(Finding::error(Code::MissingField, meta.name.span, text));
    }
    let rules = nodes.into_iter().filter_map(|node| spec(node, namespace.as_deref(), sink)).collect();
    (sink.errors() == before).then_some(CiliumPolicy { namespace, name: meta.name, rules })
}

fn spec(node: Node<'_>, namespace: Option<&str>, sink: &mut Sink<'_>) -> Option<Spec> {
    let mut spec = Object::open(node, "the specification of a Cilium policy", sink)?;
    let span = spec.span;
    spec.ignore(&["description", "labels", "log"]);
    let place = spec.place("nodeSelector").unwrap_or(span);
    let subject = match (spec.take("endpointSelector"), spec.take("nodeSelector")) {
        (Some(node), None) => selectors::subject(node, namespace, sink),
        (None, Some(node)) => selector(node, sink).map(|labels| Subject::Nodes(labels, place)),
        _ => {
            let text = "a policy has either `endpointSelector` or `nodeSelector`";
            sink.push(Finding::error(Code::BadSelector, span, text));
            None
        }
    };
    let mut entries = Vec::new();
    let mut isolates = [false; 2];
    for (field, side, is_deny) in [
        ("ingress", "from", false),
        ("ingressDeny", "from", true),
        ("egress", "to", false),
        ("egressDeny", "to", true),
    ] {
        let at = usize::from(side == "to");
        for (number, item) in spec.list(field, sink).unwrap_or_default().into_iter().enumerate() {
            isolates[at] = true;
            entries.extend(entry::read(item, field, side, is_deny, number, namespace, sink));
        }
    }
    if let Some(mut told) = spec.object("enableDefaultDeny", "the default of a policy", sink) {
        for (at, direction) in ["ingress", "egress"].into_iter().enumerate() {
            isolates[at] = told.boolean(direction, sink).unwrap_or(isolates[at]);
        }
        told.finish(sink);
    }
    spec.finish(sink);
    Some(Spec { subject: subject?, entries, isolates, span })
}

/// Reads a `CiliumCIDRGroup`.
pub(super) fn group(mut object: Object<'_>, sink: &mut Sink<'_>) -> Option<CidrGroup> {
    let name = super::inventory::meta(&mut object, sink)?.name.value;
    let mut spec = Object::open(object.need("spec", sink)?, "a group of prefixes", sink)?;
    let words = spec.words("externalCIDRs", sink).unwrap_or_default();
    spec.finish(sink);
    let prefixes = words.iter().map(|word| prefix_or_address(word, sink)).collect::<Option<_>>()?;
    Some(CidrGroup { name, prefixes })
}
