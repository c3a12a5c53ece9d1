//! The native language: a document's tree to [`PolicySource`].

mod intent;
mod peers;
mod proof;

use super::fields::{Fields, boolean, items, word, words, wrong_type};
use super::yaml::{Node, Receiver, Value};
use super::{
    DOCUMENT, ENFORCEMENT, EnforcementSource, LISTENER, LabelsSource, ListenerSource, NETWORK, NetworkSource,
    PolicySource, SERVICE, ServiceSource, WORKLOAD, WorkloadSource,
};
use crate::policy::diagnostics::{Code, Finding, Sink, Span, quote};
use crate::policy::import::{Foreign, is_foreign};
use crate::policy::validate::OBJECTS_MAX;

/// The version of the language that this program reads.
pub(super) const VERSION: &str = "1";
/// The field that marks a native policy.
const MARKER: &str = "ringfence";
/// The fields of a document that are lists of objects.
const LISTS: [&str; 10] = [
    "workloads",
    "networks",
    "services",
    "rules",
    "rulesets",
    "ringfences",
    "tiers",
    "enforcement",
    "assertions",
    "tests",
];

/// Reports a file without a document.
pub(super) fn nothing_in(file: usize, sink: &mut Sink<'_>) {
    let finding = Finding::error(Code::Empty, Span::whole(file), "the file holds no policy");
    sink.push(finding.help("a policy begins with the line `ringfence: 1`"));
}

/// Adds the documents of a file to a policy.
pub(super) struct Native<'p> {
    pub(super) policy: &'p mut PolicySource,
    /// Where documents of other systems go.
    pub(super) foreign: &'p mut Foreign,
    /// How many there were, native or not.
    pub(super) documents: usize,
}

impl<'a> Receiver<'a> for Native<'_> {
    fn wants(&self, (key, value): &(Node<'a>, Node<'a>), list: &str) -> bool {
        key.text() == MARKER && value.text() == VERSION && LISTS.contains(&list)
    }

    fn item(&mut self, list: &str, item: Node<'a>, sink: &mut Sink<'_>) {
        let policy = &mut *self.policy;
        match list {
            "workloads" => keep(&mut policy.workloads, workload(item, sink)),
            "networks" => keep(&mut policy.networks, network(item, sink)),
            "services" => keep(&mut policy.services, service(item, sink)),
            "rules" => keep(&mut policy.rules, intent::rule(item, sink)),
            "rulesets" => keep(&mut policy.rulesets, intent::ruleset(item, sink)),
            "ringfences" => keep(&mut policy.ringfences, intent::ringfence(item, sink)),
            "tiers" => keep(&mut policy.tiers, intent::tier(item, sink)),
            "assertions" => keep(&mut policy.assertions, proof::assertion(item, sink)),
            "tests" => keep(&mut policy.tests, proof::test(item, sink)),
            _ => keep(&mut policy.enforcement, enforcement(item, sink)),
        }
    }

    fn document(&mut self, document: Node<'a>, sink: &mut Sink<'_>) -> bool {
        self.documents += 1;
        if is_foreign(&document) {
            return self.foreign.document(document, sink);
        }
        if !is_native(&document, sink) {
            return false;
        }
        let before = sink.errors();
        let Some(mut fields) = Fields::open(document, "a policy", DOCUMENT, sink) else { return false };
        if let Some(version) = fields.need(MARKER, sink)
            && version.text() != VERSION
        {
            let text = format!("version {} of the policy language is not known", quote(version.text()));
            sink.push(Finding::error(Code::Version, version.span, text).legal([VERSION]));
            return false;
        }
        let whole = sink.errors() == before;
        for list in LISTS {
            let Some(node) = fields.take(list, sink) else { continue };
            for item in items(node, &format!("a list of {list}"), sink) {
                self.item(list, item, sink);
            }
        }
        if let Some(node) = fields.take("infrastructure", sink) {
            infrastructure(node, self.policy, sink);
        }
        if let Some(node) = fields.take("ether_types", sink) {
            let types = words(node, "names or numbers of EtherTypes", sink).unwrap_or_default();
            self.policy.ether_types.0.extend(types.0);
        }
        whole
    }
}

/// Adds to a list, but no more than one beyond what any list may hold: that one is enough to refuse the policy.
fn keep<T>(list: &mut Vec<T>, item: Option<T>) {
    if list.len() <= OBJECTS_MAX {
        list.extend(item);
    }
}

/// Whether the document carries the marker; reports what it is instead.
fn is_native(node: &Node<'_>, sink: &mut Sink<'_>) -> bool {
    let Value::Mapping(entries) = &node.value else {
        wrong_type(node, "a policy, which begins with the line `ringfence: 1`", sink);
        return false;
    };
    let has = |name: &str| entries.iter().any(|(key, _)| key.text() == name);
    if has(MARKER) {
        return true;
    }
    let text = "this document is no ringfence policy, which has the marker `ringfence: 1`, and no object of Kubernetes, \
                which has `apiVersion` and `kind`";
    sink.push(
        Finding::error(Code::NotNative, node.span, text).help("a policy begins with the line `ringfence: 1`"),
    );
    false
}

fn workload(node: Node<'_>, sink: &mut Sink<'_>) -> Option<WorkloadSource> {
    let mut fields = Fields::open(node, "a workload", WORKLOAD, sink)?;
    let name = fields.need("name", sink).and_then(|node| word(node, "a name", sink));
    let labels = fields.take("labels", sink).map(|node| labels(node, sink));
    let addresses = fields.need("addresses", sink).and_then(|node| words(node, "IP addresses", sink));
    let macs = fields.take("macs", sink).and_then(|node| words(node, "Ethernet addresses", sink));
    let wire = fields.take("wire", sink).and_then(|node| word(node, "the name of a wire", sink));
    let listeners = fields.take("listeners", sink).map(|node| {
        let all = items(node, "a list of listeners", sink);
        all.into_iter().filter_map(|item| listener(item, sink)).collect()
    });
    Some(WorkloadSource {
        name: name?,
        labels: labels.unwrap_or_default(),
        addresses: addresses.unwrap_or_default(),
        macs: macs.unwrap_or_default(),
        wire,
        listeners: listeners.unwrap_or_default(),
    })
}

fn listener(node: Node<'_>, sink: &mut Sink<'_>) -> Option<ListenerSource> {
    let mut fields = Fields::open(node, "a listener", LISTENER, sink)?;
    let name = fields.need("name", sink).and_then(|node| word(node, "a name", sink));
    let service = fields.need("service", sink).and_then(|node| words(node, intent::SERVICES, sink));
    let labels = fields.need("labels", sink).map(|node| labels(node, sink));
    Some(ListenerSource { name: name?, service: service?, labels: labels? })
}

fn network(node: Node<'_>, sink: &mut Sink<'_>) -> Option<NetworkSource> {
    let mut fields = Fields::open(node, "a network", NETWORK, sink)?;
    let name = fields.need("name", sink).and_then(|node| word(node, "a name", sink));
    let cidrs = fields.need("cidrs", sink).and_then(|node| words(node, "address prefixes", sink));
    let labels = fields.take("labels", sink).map(|node| labels(node, sink));
    Some(NetworkSource { name: name?, cidrs: cidrs.unwrap_or_default(), labels: labels.unwrap_or_default() })
}

fn service(node: Node<'_>, sink: &mut Sink<'_>) -> Option<ServiceSource> {
    let mut fields = Fields::open(node, "a service", SERVICE, sink)?;
    let name = fields.need("name", sink).and_then(|node| word(node, "a name", sink));
    let ports = fields.need("ports", sink).and_then(|node| words(node, "port specifications", sink));
    Some(ServiceSource { name: name?, ports: ports.unwrap_or_default() })
}

fn enforcement(node: Node<'_>, sink: &mut Sink<'_>) -> Option<EnforcementSource> {
    let mut fields = Fields::open(node, "an enforcement entry", ENFORCEMENT, sink)?;
    let span = fields.span;
    let select = fields.need("select", sink).and_then(|node| peers::peers(node, sink));
    let mut given = 0;
    let mut mode = |name: &str, sink: &mut Sink<'_>| {
        let node = fields.take(name, sink)?;
        given += 1;
        word(node, "a mode", sink)
    };
    let (ingress, egress) = (mode("ingress", sink), mode("egress", sink));
    if given == 0 {
        let text = "an enforcement entry needs a field `ingress`, a field `egress`, or both";
        sink.push(Finding::error(Code::MissingField, span, text));
    }
    Some(EnforcementSource { select: select?, ingress, egress, span })
}

fn infrastructure(node: Node<'_>, policy: &mut PolicySource, sink: &mut Sink<'_>) {
    let Value::Mapping(entries) = node.value else {
        wrong_type(&node, "names of built-in rules, each with `true` or `false`", sink);
        return;
    };
    for (key, value) in entries {
        if let (Some(key), Some(on)) = (word(key, "a name", sink), boolean(value, sink)) {
            policy.infrastructure.push((key, on));
        }
    }
}

fn labels(node: Node<'_>, sink: &mut Sink<'_>) -> LabelsSource {
    let Value::Mapping(entries) = node.value else {
        wrong_type(&node, "label keys, each with a value or a list of values", sink);
        return LabelsSource::default();
    };
    let mut read = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let values = words(value, "a label value or a list of them", sink);
        if let (Some(key), Some(values)) = (word(key, "a label key", sink), values) {
            read.push((key, values));
        }
    }
    LabelsSource(read)
}
