//! Pods, what makes pods, namespaces and nodes, as written.

use std::net::IpAddr;

use super::labels::{check_key, check_value, is_plain, is_reserved};
use super::object::{Object, number, word};
use crate::policy::diagnostics::{Code, Finding, Sink, Span, quote};
use crate::policy::source::Word;
use crate::policy::source::yaml::Node;

/// The most pods that one object stands for.
const REPLICAS_MAX: u32 = 1_024;

/// What the metadata of an object say.
pub(super) struct Meta {
    pub(super) name: Word,
    /// `default` unless told.
    pub(super) namespace: String,
    pub(super) labels: Vec<(Word, Word)>,
    /// Kind, if told, and name of the object that made this one.
    pub(super) owner: Option<(Option<String>, String)>,
}

/// A pod, or as many alike as something makes.
pub(super) struct Pods {
    pub(super) namespace: String,
    /// The pod's name, or that of what makes the pods.
    pub(super) name: Word,
    pub(super) labels: Vec<(Word, Word)>,
    pub(super) service_account: String,
    pub(super) ports: Vec<NamedPort>,
    /// Addresses, if they are known.
    pub(super) addresses: Vec<(IpAddr, Span)>,
    pub(super) maker: Maker,
    /// Kind, if told, and name of the object that made it.
    pub(super) owner: Option<(Option<String>, String)>,
    /// Shares the address of its node.
    pub(super) on_host: bool,
    /// Has ended: its address may be another's by now.
    pub(super) ended: bool,
}

/// What a [`Pods`] was read from.
pub(super) enum Maker {
    /// A pod itself.
    Pod,
    /// A `StatefulSet`: so many pods with numbers from the second on.
    Numbered(u32, u32),
    /// Anything else of this kind that makes so many pods.
    Template(&'static str, u32),
}

/// A container port that has a name.
pub(super) struct NamedPort {
    pub(super) name: String,
    pub(super) protocol: u8,
    pub(super) port: u16,
    pub(super) span: Span,
}

/// A namespace.
pub(super) struct Namespace {
    pub(super) name: Word,
    pub(super) labels: Vec<(Word, Word)>,
}

/// A node.
pub(super) struct NodeObject {
    pub(super) name: Word,
    pub(super) labels: Vec<(Word, Word)>,
    pub(super) addresses: Vec<(IpAddr, Span)>,
}

/// Reads `metadata`.
pub(super) fn meta(object: &mut Object<'_>, sink: &mut Sink<'_>) -> Option<Meta> {
    let mut meta = Object::open(object.need("metadata", sink)?, "metadata", sink)?;
    let name = meta.need("name", sink).and_then(|node| word(node, sink))?;
    check_name(&name, sink);
    let namespace = meta.word("namespace", sink);
    if let Some(namespace) = &namespace {
        check_name(namespace, sink);
    }
    let labels = labels(&mut meta, sink);
    let mut owner = None;
    for one in meta.list("ownerReferences", sink).unwrap_or_default() {
        let mut one = Object::open(one, "an owner reference", sink)?;
        let kind = one.word("kind", sink).map(|kind| kind.value);
        if let Some(name) = one.word("name", sink) {
            owner = Some((kind, name.value));
        }
    }
    let namespace = namespace.map_or_else(|| "default".to_owned(), |word| word.value);
    Some(Meta { name, namespace, labels, owner })
}

/// Names that end up in names of workloads and rules.
fn check_name(name: &Word, sink: &mut Sink<'_>) {
    if name.value.len() > 253 || !is_plain(&name.value, |b| b".-_".contains(&b)) {
        let text = format!("{} cannot be the name of an object", quote(&name.value));
        sink.push(Finding::error(Code::BadName, name.span, text));
    }
}

fn labels(meta: &mut Object<'_>, sink: &mut Sink<'_>) -> Vec<(Word, Word)> {
    let labels = meta.map("labels", sink).unwrap_or_default();
    for (key, value) in &labels {
        check_key(key, sink);
        check_value(value, sink);
        if is_reserved(&key.value) {
            let text = format!("the label {} would be taken for one of ringfence's own", quote(&key.value));
            sink.push(Finding::error(Code::Reserved, key.span, text));
        }
    }
    labels
}

/// Reads a `Namespace`.
pub(super) fn namespace(mut object: Object<'_>, sink: &mut Sink<'_>) -> Option<Namespace> {
    let Meta { name, labels, .. } = meta(&mut object, sink)?;
    Some(Namespace { name, labels })
}

/// Reads a `Node`.
pub(super) fn node(mut object: Object<'_>, sink: &mut Sink<'_>) -> Option<NodeObject> {
    let Meta { name, labels, .. } = meta(&mut object, sink)?;
    let mut addresses = Vec::new();
    if let Some(mut status) = object.object("status", "the status of a node", sink) {
        for one in status.list("addresses", sink).unwrap_or_default() {
            let mut one = Object::open(one, "an address of a node", sink)?;
            let kind = one.word("type", sink)?;
            let Some(text) = one.word("address", sink) else { continue };
            if matches!(kind.value.as_str(), "InternalIP" | "ExternalIP") {
                addresses.extend(address(&text, sink).map(|address| (address, text.span)));
            }
        }
    }
    Some(NodeObject { name, labels, addresses })
}

/// Reads a `Pod`.
pub(super) fn pod(mut object: Object<'_>, sink: &mut Sink<'_>) -> Option<Pods> {
    let meta = meta(&mut object, sink)?;
    let mut addresses = Vec::new();
    let mut ended = false;
    if let Some(mut status) = object.object("status", "the status of a pod", sink) {
        for one in status.list("podIPs", sink).unwrap_or_default() {
            let mut one = Object::open(one, "an address of a pod", sink)?;
            if let Some(text) = one.word("ip", sink) {
                addresses.extend(address(&text, sink).map(|address| (address, text.span)));
            }
        }
        if let Some(text) = status.word("podIP", sink)
            && let Some(address) = address(&text, sink)
            && !addresses.iter().any(|(other, _)| *other == address)
        {
            addresses.push((address, text.span));
        }
        let phase = status.word("phase", sink);
        ended = phase.is_some_and(|phase| matches!(phase.value.as_str(), "Succeeded" | "Failed"));
    }
    let labels = meta.labels.clone();
    let mut pods = template(meta, labels, object.take("spec"), Maker::Pod, sink)?;
    (pods.addresses, pods.ended) = (addresses, ended);
    Some(pods)
}

/// Reads what makes pods: the kind says where in it their template stands.
pub(super) fn maker(mut object: Object<'_>, kind: &'static str, sink: &mut Sink<'_>) -> Option<Pods> {
    let meta = meta(&mut object, sink)?;
    let mut spec = Object::open(object.need("spec", sink)?, "the specification of a controller", sink)?;
    if kind == "CronJob" {
        let inner = spec.object("jobTemplate", "a job template", sink)?.object("spec", "a job", sink);
        spec = inner?;
    }
    let count = |word: Option<Word>, sink: &mut Sink<'_>| match word {
        Some(word) => number(&word, 0, u32::MAX, sink),
        None => Some(1),
    };
    let replicas = count(spec.word("replicas", sink), sink)?.min(REPLICAS_MAX);
    let maker = if kind == "StatefulSet" {
        let start =
            match spec.object("ordinals", "ordinals", sink).and_then(|mut one| one.word("start", sink)) {
                Some(word) => number(&word, 0, i32::MAX.cast_unsigned(), sink)?,
                None => 0,
            };
        Maker::Numbered(replicas, start)
    } else {
        Maker::Template(kind, replicas)
    };
    let mut inner = Object::open(spec.need("template", sink)?, "a pod template", sink)?;
    let labels = match inner.object("metadata", "metadata", sink) {
        Some(mut meta) => labels(&mut meta, sink),
        None => Vec::new(),
    };
    template(meta, labels, inner.take("spec"), maker, sink)
}

fn template(
    meta: Meta,
    labels: Vec<(Word, Word)>,
    spec: Option<Node<'_>>,
    maker: Maker,
    sink: &mut Sink<'_>,
) -> Option<Pods> {
    let Meta { name, namespace, owner, .. } = meta;
    let mut pods = Pods {
        namespace,
        name,
        labels,
        service_account: "default".to_owned(),
        ports: Vec::new(),
        addresses: Vec::new(),
        maker,
        owner,
        on_host: false,
        ended: false,
    };
    let Some(spec) = spec else { return Some(pods) };
    let mut spec = Object::open(spec, "the specification of a pod", sink)?;
    if let Some(account) = spec.word("serviceAccountName", sink).or_else(|| spec.word("serviceAccount", sink))
    {
        pods.service_account = account.value;
    }
    pods.on_host = spec.boolean("hostNetwork", sink).unwrap_or(false);
    for container in spec.list("containers", sink).unwrap_or_default() {
        let container = Object::open(container, "a container", sink)?;
        ports(container, &mut pods.ports, sink);
    }
    for container in spec.list("initContainers", sink).unwrap_or_default() {
        let mut container = Object::open(container, "a container", sink)?;
        // Only init containers that stay (sidecars, KEP-753) listen while the pod runs.
        if container.word("restartPolicy", sink).is_some_and(|policy| policy.value == "Always") {
            ports(container, &mut pods.ports, sink);
        }
    }
    Some(pods)
}

fn ports(mut container: Object<'_>, named: &mut Vec<NamedPort>, sink: &mut Sink<'_>) {
    for one in container.list("ports", sink).unwrap_or_default() {
        let Some(mut one) = Object::open(one, "a container port", sink) else { continue };
        let span = one.span;
        let protocol = match one.word("protocol", sink) {
            None => 6,
            Some(word) => match super::ports::protocol(&word, sink) {
                Some(protocol) => protocol,
                None => continue,
            },
        };
        let Some(port) = one.word("containerPort", sink) else { continue };
        let port = number(&port, 1, 65_535, sink).and_then(|port| u16::try_from(port).ok());
        if let (Some(port), Some(name)) = (port, one.word("name", sink)) {
            check_value(&name, sink);
            named.push(NamedPort { name: name.value, protocol, port, span });
        }
    }
}

/// An address of one machine.
pub(super) fn address(word: &Word, sink: &mut Sink<'_>) -> Option<IpAddr> {
    let address = word.value.parse::<IpAddr>().ok().filter(|address| {
        let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
        !(mapped || address.is_unspecified() || address.is_multicast())
    });
    if address.is_none() && !word.value.is_empty() {
        let text = format!("{} is not an address that a pod or node can have", quote(&word.value));
        sink.push(Finding::error(Code::BadAddress, word.span, text));
    }
    address
}
