//! Pods and nodes to workloads.
//!
//! A pod is the workload `namespace/name`. What only makes pods (a deployment and its like) stands for them where they
//! are not told themselves: one workload with an address for each replica; a stateful set has a workload for each of
//! its numbered pods. Where an address is not told, one that no machine has stands in for it ([`PLACEHOLDER_V4`],
//! [`PLACEHOLDER_V6`]), the same at every load.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::inventory::{Maker, Namespace, NodeObject, Pods};
use super::labels::{
    KIND, NAMESPACE, NAMESPACE_NAME, OWNER, OWNER_KIND, PORT, SERVICE_ACCOUNT, of_namespace, of_node, of_pod,
};
use super::{Lowering, PLACEHOLDER_V4, PLACEHOLDER_V6};
use crate::policy::diagnostics::{Code, Finding, Span, quote};
use crate::policy::source::Word;
use crate::policy::valid::{Labels, Listener, ServiceRange, Workload};

/// Takes the inventory over. `owners` knows the names and addresses of the workloads there are already.
pub(super) fn workloads(
    pods: &[Pods],
    namespaces: &[Namespace],
    nodes: &[NodeObject],
    lowering: &mut Lowering<'_, '_>,
) {
    let namespaces = namespace_labels(namespaces, lowering);
    let made = made(pods);
    let mut owners = Owners::of(lowering);
    let mut unknown: Option<(usize, &Pods)> = None;
    let mut on_host: Option<(usize, &Pods)> = None;
    for one in pods {
        let is_made = !matches!(one.maker, Maker::Pod) && made.contains(&key(one));
        if one.ended || is_made {
            continue;
        }
        if one.on_host {
            on_host = Some((on_host.map_or(1, |(n, _)| n + 1), on_host.map_or(one, |(_, first)| first)));
        } else if one.addresses.is_empty() {
            unknown = Some((unknown.map_or(1, |(n, _)| n + 1), unknown.map_or(one, |(_, first)| first)));
        }
        pods_of(one, namespaces.get(one.namespace.as_str()), &mut owners, lowering);
    }
    for node in nodes {
        let mut labels = Labels::new();
        labels.insert(KIND.to_owned(), ["node".to_owned()].into());
        for (key, value) in &node.labels {
            labels.insert(of_node(&key.value), [value.value.clone()].into());
        }
        let name = format!("node/{}", node.name.value);
        let addresses = owners.told(&node.addresses, &name, lowering);
        owners.push(name, &node.name, labels, addresses, Vec::new(), lowering);
    }
    if let Some((count, first)) = unknown {
        let text = format!(
            "{count} pods or controllers have no address here (`status.podIP`); an address from {PLACEHOLDER_V4}/4 and \
             one from {PLACEHOLDER_V6}/64 stand in for it, which no machine has"
        );
        let help = "give the pods themselves, as `kubectl get pods --all-namespaces -o yaml` prints them";
        lowering.placeholders = true;
        lowering.sink.push(Finding::warning(Code::Placeholder, first.name.span, text).help(help));
    }
    if let Some((count, first)) = on_host {
        lowering.placeholders = true;
        let text = format!(
            "{count} pods or controllers use the network of their node (`hostNetwork`): on the wire they cannot be told \
             from it, so they have an address here that no machine has, and no packet is ever theirs"
        );
        lowering.sink.push(Finding::warning(Code::Placeholder, first.name.span, text));
    }
}

/// Namespace, kind and name of an object that makes pods.
type Key = (String, String, String);

fn key(one: &Pods) -> Key {
    let kind = match one.maker {
        Maker::Pod => "Pod",
        Maker::Numbered(..) => "StatefulSet",
        Maker::Template(kind, _) => kind,
    };
    (one.namespace.clone(), kind.to_owned(), one.name.value.clone())
}

/// What is known by its pods: the owners of pods, and the owners of those.
fn made(pods: &[Pods]) -> HashSet<Key> {
    let owners: HashMap<Key, Key> = pods
        .iter()
        .filter_map(|one| Some((key(one), one.owner.clone()?)))
        .filter_map(|(key, (kind, name))| Some((key.clone(), (key.0, kind?, name))))
        .collect();
    let mut made = HashSet::new();
    for one in pods.iter().filter(|one| matches!(one.maker, Maker::Pod)) {
        let mut at = key(one);
        // A chain of owners is short: pod, replica set, deployment.
        for _ in 0..4 {
            let hash = one.labels.iter().find(|(key, _)| key.value == "pod-template-hash");
            let above = owners.get(&at).cloned().or_else(|| {
                // A replica set that is not told is named after its deployment and the hash of its template.
                let base = at.2.strip_suffix(&hash?.1.value)?.strip_suffix('-')?;
                (at.1 == "ReplicaSet").then(|| (at.0.clone(), "Deployment".to_owned(), base.to_owned()))
            });
            let Some(above) = above else { break };
            made.insert(above.clone());
            at = above;
        }
    }
    made
}

/// The labels that endpoints carry for their namespace, by its name.
fn namespace_labels<'p>(
    namespaces: &'p [Namespace],
    lowering: &mut Lowering<'_, '_>,
) -> BTreeMap<&'p str, Labels> {
    let mut all: BTreeMap<&str, Labels> = BTreeMap::new();
    for namespace in namespaces {
        let mut labels = Labels::new();
        for (key, value) in &namespace.labels {
            labels.insert(of_namespace(&key.value), [value.value.clone()].into());
        }
        // The API server sets it, whatever is written.
        labels.insert(of_namespace(NAMESPACE_NAME), [namespace.name.value.clone()].into());
        if all.get(namespace.name.value.as_str()).is_some_and(|other| *other != labels) {
            let text = format!("there are two namespaces {} that differ", quote(&namespace.name.value));
            lowering.sink.push(Finding::error(Code::DuplicateName, namespace.name.span, text));
        }
        all.insert(&namespace.name.value, labels);
    }
    all
}

fn pods_of(one: &Pods, namespace: Option<&Labels>, owners: &mut Owners, lowering: &mut Lowering<'_, '_>) {
    let mut labels = namespace
        .cloned()
        .unwrap_or_else(|| [(of_namespace(NAMESPACE_NAME), BTreeSet::from([one.namespace.clone()]))].into());
    let mut insert = |key: &str, value: &str| labels.insert(key.to_owned(), [value.to_owned()].into());
    insert(KIND, "pod");
    insert(NAMESPACE, &one.namespace);
    insert(SERVICE_ACCOUNT, &one.service_account);
    let (_, kind, name) = key(one);
    let itself = (!matches!(one.maker, Maker::Pod)).then_some((Some(kind), name));
    // Longer names cannot be the value of a label, and these are for people only.
    if let Some((kind, name)) = itself.or_else(|| one.owner.clone()).filter(|(_, name)| name.len() <= 63) {
        insert(OWNER, &name);
        if let Some(kind) = kind {
            insert(OWNER_KIND, &kind);
        }
    }
    for (key, value) in &one.labels {
        insert(&of_pod(&key.value), &value.value);
    }
    let base = format!("{}/{}", one.namespace, one.name.value);
    match one.maker {
        Maker::Pod | Maker::Template(..) => {
            let count = if let Maker::Template(_, count) = one.maker { count } else { 1 };
            let addresses = match one.addresses.as_slice() {
                told if told.is_empty() || one.on_host => owners.made_up(&base, count),
                told => owners.told(told, &base, lowering),
            };
            owners.push(base, &one.name, labels, addresses, listeners(one, lowering), lowering);
        }
        Maker::Numbered(count, start) => {
            for number in start..start.saturating_add(count) {
                let mut labels = labels.clone();
                let name = format!("{}-{number}", one.name.value);
                labels.insert("statefulset.kubernetes.io/pod-name".to_owned(), [name].into());
                labels.insert("apps.kubernetes.io/pod-index".to_owned(), [number.to_string()].into());
                let name = format!("{base}-{number}");
                let addresses = owners.made_up(&name, 1);
                owners.push(name, &one.name, labels, addresses, listeners(one, lowering), lowering);
            }
        }
    }
}

/// A listener for each port that has a name; a port with several names is one listener.
fn listeners(one: &Pods, lowering: &Lowering<'_, '_>) -> Vec<Listener> {
    let mut by_port: BTreeMap<(u8, u16), (BTreeSet<String>, Span)> = BTreeMap::new();
    for port in &one.ports {
        let entry = by_port.entry((port.protocol, port.port)).or_insert((BTreeSet::new(), port.span));
        entry.0.insert(port.name.clone());
    }
    let listener = |((protocol, port), (names, span)): ((u8, u16), (BTreeSet<String>, Span))| {
        let key = u32::from(protocol) << 16 | u32::from(port);
        Listener {
            name: format!("{}-{port}", super::ports::name(protocol)),
            services: vec![ServiceRange { first: key, last: key }],
            labels: [(PORT.to_owned(), names)].into(),
            origin: lowering.origin(span),
        }
    };
    by_port.into_iter().map(listener).collect()
}

/// Names and addresses that are taken.
struct Owners {
    names: HashMap<String, Option<Span>>,
    addresses: HashMap<IpAddr, String>,
}

impl Owners {
    fn of(lowering: &Lowering<'_, '_>) -> Self {
        let workloads = &lowering.policy.workloads;
        let names = workloads.iter().map(|one| (one.name.clone(), None)).collect();
        let addresses =
            workloads.iter().flat_map(|one| one.addresses.iter().map(|at| (*at, one.name.clone())));
        Self { names, addresses: addresses.collect() }
    }

    /// The addresses that were told, but for those that another has.
    fn told(&mut self, told: &[(IpAddr, Span)], name: &str, lowering: &mut Lowering<'_, '_>) -> Vec<IpAddr> {
        let mut own = Vec::with_capacity(told.len());
        for (address, span) in told {
            match self.addresses.get(address) {
                None => {
                    self.addresses.insert(*address, name.to_owned());
                    own.push(*address);
                }
                Some(other) => {
                    let text = format!("{address} is the address of {} already", quote(other));
                    lowering.sink.push(Finding::error(Code::DuplicateAddress, *span, text));
                }
            }
        }
        own
    }

    /// Stand-ins for `count` addresses of each family: a hash of the name, so that they stay when others come.
    fn made_up(&mut self, name: &str, count: u32) -> Vec<IpAddr> {
        let mut own = Vec::new();
        for number in 0..count.max(1) {
            for version in [4, 6] {
                let free = (0_u32..).map(|attempt| made_up(name, number, version, attempt));
                let address = { free }.find(|address| !self.addresses.contains_key(address));
                if let Some(address) = address {
                    self.addresses.insert(address, name.to_owned());
                    own.push(address);
                }
            }
        }
        own
    }

    fn push(
        &mut self,
        name: String,
        place: &Word,
        labels: Labels,
        addresses: Vec<IpAddr>,
        listeners: Vec<Listener>,
        lowering: &mut Lowering<'_, '_>,
    ) {
        match self.names.insert(name.clone(), Some(place.span)) {
            None => {}
            Some(first) => {
                let text = format!("there are two workloads named {}", quote(&name));
                let mut finding = Finding::error(Code::DuplicateName, place.span, text);
                if let Some(first) = first {
                    finding = finding.also(first, "first here");
                }
                lowering.sink.push(finding);
                return;
            }
        }
        if addresses.is_empty() {
            return;
        }
        let origin = lowering.origin(place.span);
        let (macs, wire) = (Vec::new(), None);
        lowering.policy.workloads.push(Workload { name, labels, addresses, macs, wire, listeners, origin });
    }
}

fn made_up(name: &str, number: u32, version: u8, attempt: u32) -> IpAddr {
    let text = format!("{version} {number} {attempt} {name}");
    let hash = blake3::hash(text.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.as_bytes()[..8]);
    let bits = u64::from_be_bytes(bytes);
    if version == 4 {
        // Neither the first nor the last address of the block, which is the limited broadcast.
        let host = u32::try_from(bits % ((1 << 28) - 2)).unwrap_or(0) + 1;
        IpAddr::V4(Ipv4Addr::from_bits(PLACEHOLDER_V4.to_bits() | host))
    } else {
        IpAddr::V6(Ipv6Addr::from_bits(PLACEHOLDER_V6.to_bits() | u128::from(bits.max(1))))
    }
}
