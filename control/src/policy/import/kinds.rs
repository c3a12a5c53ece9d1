//! Which documents are other systems', and what is done with each kind of object.

use std::collections::BTreeMap;

use super::calico::{self, CalicoPolicy, CalicoTier, Set};
use super::cilium::{self, CidrGroup, CiliumPolicy};
use super::cluster_policy::{self, ClusterPolicy, Kind};
use super::inventory::{self, Namespace, NodeObject, Pods};
use super::network_policy::{self, NetworkPolicy};
use super::object::{Object, unsupported};
use crate::policy::OBJECTS_MAX;
use crate::policy::diagnostics::{Code, Finding, Sink, Span, quote};
use crate::policy::source::yaml::{Node, Value};

/// Everything that the foreign documents of one load say.
#[derive(Default)]
pub(in crate::policy) struct Foreign {
    /// How many objects there were.
    pub(super) objects: usize,
    pub(super) pods: Vec<Pods>,
    pub(super) namespaces: Vec<Namespace>,
    pub(super) nodes: Vec<NodeObject>,
    pub(super) network_policies: Vec<NetworkPolicy>,
    pub(super) cluster_policies: Vec<ClusterPolicy>,
    pub(super) cilium: Vec<CiliumPolicy>,
    pub(super) cidr_groups: Vec<CidrGroup>,
    pub(super) calico: Vec<CalicoPolicy>,
    pub(super) tiers: Vec<CalicoTier>,
    pub(super) sets: Vec<Set>,
    /// Kinds that carry no policy, with how many there were and where the first was.
    skipped: BTreeMap<String, (usize, Span)>,
}

/// Whether a document is an object of the Kubernetes API, or a list of them.
pub(in crate::policy) fn is_foreign(node: &Node<'_>) -> bool {
    let Value::Mapping(entries) = &node.value else { return false };
    let has = |name: &str| entries.iter().any(|(key, value)| key.text() == name && !value.text().is_empty());
    has("apiVersion") && has("kind")
}

/// Calico's groups: of its API server, and of its own resources.
const CALICO: &str = "projectcalico.org";
const CALICO_CRD: &str = "crd.projectcalico.org";

/// Kinds that make pods, by group.
const MAKERS: &[(&str, &str)] = &[
    ("apps", "Deployment"),
    ("apps", "ReplicaSet"),
    ("apps", "DaemonSet"),
    ("apps", "StatefulSet"),
    ("extensions", "Deployment"),
    ("extensions", "ReplicaSet"),
    ("extensions", "DaemonSet"),
    ("", "ReplicationController"),
    ("batch", "Job"),
    ("batch", "CronJob"),
    ("kubevirt.io", "VirtualMachine"),
];

/// Kinds that decide who reaches whom in ways that ringfence does not know: leaving one out would open what it closes.
const UNSUPPORTED: &[(&str, &str, &str)] = &[
    ("k8s.ovn.org", "UserDefinedNetwork", "it separates pods into networks of their own"),
    ("k8s.ovn.org", "ClusterUserDefinedNetwork", "it separates pods into networks of their own"),
    ("k8s.ovn.org", "EgressFirewall", "it closes ways out of the cluster"),
    ("k8s.cni.cncf.io", "MultiNetworkPolicy", "it speaks of further networks of pods"),
    (CALICO, "HostEndpoint", "interfaces of hosts are not told from their other traffic"),
    (CALICO_CRD, "HostEndpoint", "interfaces of hosts are not told from their other traffic"),
    ("security.istio.io", "AuthorizationPolicy", "it speaks of identities and requests"),
    ("security.istio.io", "PeerAuthentication", "it speaks of identities"),
    ("security.istio.io", "RequestAuthentication", "it speaks of requests"),
];

/// Kinds whose name ends like that of a policy about traffic, and which are none.
const HARMLESS: &[&str] = &[
    "PodSecurityPolicy",
    "ValidatingAdmissionPolicy",
    "MutatingAdmissionPolicy",
    "StagedNetworkPolicy",
    "StagedGlobalNetworkPolicy",
    "StagedKubernetesNetworkPolicy",
];

impl Foreign {
    /// Whether no foreign document was met.
    pub(in crate::policy) fn is_empty(&self) -> bool {
        self.objects == 0
    }

    /// Whether there is no policy among the objects.
    pub(super) fn is_inventory(&self) -> bool {
        self.network_policies.is_empty()
            && self.cluster_policies.is_empty()
            && self.cilium.is_empty()
            && self.calico.is_empty()
    }

    /// Reads a document for which [`is_foreign`] holds. Returns whether it could be read whole.
    pub(in crate::policy) fn document(&mut self, node: Node<'_>, sink: &mut Sink<'_>) -> bool {
        let before = sink.errors();
        self.object(node, None, 0, sink);
        sink.errors() == before
    }

    /// Reads an object; `within` is the version and kind that items of a list have unless they say otherwise.
    fn object(
        &mut self,
        node: Node<'_>,
        within: Option<(&str, &str)>,
        depth: u8,
        sink: &mut Sink<'_>,
    ) -> Option<()> {
        let mut object = Object::open(node, "an object", sink)?;
        let span = object.place("kind").unwrap_or(object.span);
        let version = object.word("apiVersion", sink).map(|word| word.value);
        let kind = object.word("kind", sink).map(|word| word.value);
        let version = version.or_else(|| Some(within?.0.to_owned()));
        let kind = kind.or_else(|| Some(within?.1.to_owned()));
        let (Some(version), Some(kind)) = (version, kind) else {
            let text = "an object needs `apiVersion` and `kind`";
            sink.push(Finding::error(Code::MissingField, span, text));
            return None;
        };
        if let Some(item) = kind.strip_suffix("List")
            && depth < 4
        {
            object.ignore(&["metadata"]);
            let within = (!item.is_empty()).then_some((version.as_str(), item));
            let items = object.list("items", sink);
            object.finish(sink);
            for one in items.unwrap_or_default() {
                self.object(one, within, depth + 1, sink);
            }
            self.objects += 1;
            return Some(());
        }
        self.objects += 1;
        if self.objects > OBJECTS_MAX {
            if self.objects == OBJECTS_MAX + 1 {
                let text = format!("more than {OBJECTS_MAX} objects");
                sink.push(Finding::error(Code::Limit, span, text));
            }
            return None;
        }
        self.read(&version, &kind, object, span, sink)
    }

    fn read(
        &mut self,
        version: &str,
        kind: &str,
        object: Object<'_>,
        span: Span,
        sink: &mut Sink<'_>,
    ) -> Option<()> {
        let group = version.split_once('/').map_or("", |(group, _)| group);
        match (group, kind) {
            ("", "Pod") => self.pods.push(inventory::pod(object, sink)?),
            ("", "Namespace") => self.namespaces.push(inventory::namespace(object, sink)?),
            ("", "Node") => self.nodes.push(inventory::node(object, sink)?),
            ("networking.k8s.io" | "extensions", "NetworkPolicy") => {
                self.network_policies.push(network_policy::read(object, sink)?);
            }
            ("policy.networking.k8s.io", "ClusterNetworkPolicy") => {
                self.cluster_policies.push(cluster_policy::read(object, Kind::Cluster, sink)?);
            }
            ("policy.networking.k8s.io", "AdminNetworkPolicy") => {
                self.cluster_policies.push(cluster_policy::read(object, Kind::Admin, sink)?);
            }
            ("policy.networking.k8s.io", "BaselineAdminNetworkPolicy") => {
                self.cluster_policies.push(cluster_policy::read(object, Kind::Baseline, sink)?);
            }
            ("cilium.io", "CiliumNetworkPolicy") => self.cilium.push(cilium::read(object, false, sink)?),
            ("cilium.io", "CiliumClusterwideNetworkPolicy") => {
                self.cilium.push(cilium::read(object, true, sink)?);
            }
            (CALICO | CALICO_CRD, "NetworkPolicy") => self.calico.push(calico::policy(object, false, sink)?),
            (CALICO | CALICO_CRD, "GlobalNetworkPolicy") => {
                self.calico.push(calico::policy(object, true, sink)?)
            }
            (CALICO | CALICO_CRD, "Tier") => self.tiers.push(calico::tier(object, sink)?),
            (CALICO | CALICO_CRD, "NetworkSet") => self.sets.push(calico::set(object, false, sink)?),
            (CALICO | CALICO_CRD, "GlobalNetworkSet") => self.sets.push(calico::set(object, true, sink)?),
            ("cilium.io", "CiliumCIDRGroup") => self.cidr_groups.push(cilium::group(object, sink)?),
            _ => {
                if let Some((_, maker)) = MAKERS.iter().find(|(of, name)| *of == group && *name == kind) {
                    self.pods.push(inventory::maker(object, maker, sink)?);
                } else {
                    self.other(group, kind, version, span, sink);
                }
            }
        }
        Some(())
    }

    /// Refuses an object that carries policy; passes over any other.
    fn other(&mut self, group: &str, kind: &str, version: &str, span: Span, sink: &mut Sink<'_>) {
        if let Some((.., why)) = UNSUPPORTED.iter().find(|(of, name, _)| *of == group && *name == kind) {
            unsupported(span, format!("objects of kind {} are not supported: {why}", quote(kind)), sink);
        } else if (kind.ends_with("Policy") || kind.ends_with("Firewall")) && !HARMLESS.contains(&kind) {
            let text = format!("there is no front-end for the kind {} of {}", quote(kind), quote(version));
            unsupported(span, text, sink);
        } else {
            let name = format!("{kind} ({version})");
            self.skipped.entry(name).or_insert((0, span)).0 += 1;
        }
    }

    /// Tells what was passed over.
    pub(super) fn tell_skipped(&self, sink: &mut Sink<'_>) {
        for (kind, (count, first)) in &self.skipped {
            let objects = if *count == 1 { "object" } else { "objects" };
            let text = format!("{count} {objects} of kind {kind} carry no policy and no inventory: left out");
            sink.push(Finding::warning(Code::Skipped, *first, text));
        }
    }
}
