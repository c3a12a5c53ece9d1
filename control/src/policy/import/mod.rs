//! Policy in other systems' words, and their inventory: Kubernetes first.
//!
//! A document with `apiVersion` and `kind` is one of these; native documents carry the marker `ringfence`. Both kinds
//! may be mixed in one load. A front-end is a file or folder here that reads its objects and turns them into rules in
//! the tier that its system gives them:
//!
//! | tier | holds |
//! |---|---|
//! | `admin` | `ClusterNetworkPolicy` and `AdminNetworkPolicy` of the Admin tier |
//! | `cilium-deny` | the denies of `CiliumNetworkPolicy` and `CiliumClusterwideNetworkPolicy` |
//! | `network-policy` | `NetworkPolicy` and Cilium's: allows, then a deny for what each policy isolates |
//! | `calico/TIER` | the policies of that tier of Calico; those of its tier `default` are in `network-policy` |
//! | `baseline` | the Baseline tier, `BaselineAdminNetworkPolicy` |
//! | `kubernetes` | `kubernetes/open-ingress` and `kubernetes/open-egress`: what nothing selects is open there |
//!
//! Every rule of these speaks at one gate only: that of the end that the policy selects.
//!
//! Where a load holds pods and nodes only, and native rules, these are inventory for those rules: the tiers above are
//! not there, and what no rule allows is denied.
//!
//! Where a load holds policy of other systems, the built-in rules `dns`, `dhcp` and `ntp` are off unless a native document turns
//! them on: those systems have none, and a pod that they isolate would be open to them.

mod blocks;
mod calico;
mod cilium;
mod cluster;
mod cluster_policy;
mod inventory;
mod kinds;
mod labels;
mod lower;
mod network_policy;
mod object;
mod ports;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

pub(super) use kinds::{Foreign, is_foreign};

use super::diagnostics::{Code, Finding, Sink, Span, quote};
use super::source::PolicySource;
use super::valid::{
    Action, Gates, INFRASTRUCTURE, Network, Origin, Prefix, Rule, Selector, Tier, ValidPolicy,
};
use blocks::Blocks;

/// Where IPv4 addresses stand in that are not known: reserved by RFC 1112, 4, so that no machine has one.
const PLACEHOLDER_V4: Ipv4Addr = Ipv4Addr::new(240, 0, 0, 0);
/// As [`PLACEHOLDER_V4`], for IPv6: the discard-only block of RFC 6666.
const PLACEHOLDER_V6: Ipv6Addr = Ipv6Addr::new(0x0100, 0, 0, 0, 0, 0, 0, 0);
/// The network that holds both blocks, if a load needs stand-ins.
const PLACEHOLDERS: &str = "kubernetes/placeholder";

/// Built-in rules that no other system has.
const NOT_BUILT_IN: [&str; 3] = ["infrastructure/dns", "infrastructure/dhcp", "infrastructure/ntp"];

/// The most rules that the foreign documents of one load may become.
const RULES_MAX: usize = super::OBJECTS_MAX;

/// Where a tier stands: Calico's order, into which the tiers of Kubernetes fit at the places that Calico gives them.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Order(f64);

impl Order {
    /// The Admin tier.
    const ADMIN: Self = Self(1_000.0);
    /// Denies that beat every allow of the network policies.
    const BEFORE_NETWORK_POLICY: Self = Self(999_999.0);
    /// The tier of network policies, which is Calico's `default`.
    const NETWORK_POLICY: Self = Self(1_000_000.0);
    /// The Baseline tier.
    const BASELINE: Self = Self(10_000_000.0);
    /// What comes after everything.
    const LAST: Self = Self(f64::INFINITY);
}

/// The policy that foreign documents are added to.
struct Lowering<'a, 's> {
    policy: &'a mut ValidPolicy,
    sink: &'a mut Sink<'s>,
    /// The files' names, by number.
    files: &'a [Arc<str>],
    blocks: Blocks,
    /// Whether an address stands in for one that is not known.
    placeholders: bool,
    /// Whether the blocks of network policies leave out the endpoints of the cluster, as under Cilium.
    blocks_are_outside: bool,
    tiers: Vec<(Order, Tier)>,
    rules: usize,
    /// Where the policy was written whose rules begin with a name.
    named: HashMap<String, Span>,
    /// Labels of namespaces, by the name of those.
    namespaces: HashMap<String, Vec<(String, String)>>,
    /// Priorities of Kubernetes' network policies in their tier: of allows, and of what each isolates.
    priorities: (u32, u32),
}

/// Adds `foreign` to a valid policy; `native` is what that was made from.
pub(super) fn lower(
    foreign: Foreign,
    native: &PolicySource,
    files: &[Arc<str>],
    policy: &mut ValidPolicy,
    sink: &mut Sink<'_>,
) {
    if foreign.is_empty() {
        return;
    }
    if foreign.is_inventory() && !native.rules.is_empty() {
        // Pods and nodes that native rules speak of: nothing here asks for another default than theirs.
        let mut lowering = Lowering::new(policy, sink, files);
        lower::inventory(&foreign, &mut lowering);
        return lowering.finish();
    }
    let turned_on =
        |name: &str| native.infrastructure.iter().any(|(word, on)| on.value && name.ends_with(&word.value));
    for tier in policy.tiers.iter_mut().filter(|tier| tier.name == INFRASTRUCTURE) {
        tier.rules.retain(|rule| !NOT_BUILT_IN.contains(&rule.name.as_str()) || turned_on(&rule.name));
    }
    let mut lowering = Lowering::new(policy, sink, files);
    lower::all(&foreign, &mut lowering);
    lowering.finish();
}

impl<'a, 's> Lowering<'a, 's> {
    fn new(policy: &'a mut ValidPolicy, sink: &'a mut Sink<'s>, files: &'a [Arc<str>]) -> Self {
        let (tiers, blocks) = (Vec::new(), Blocks::default());
        Self {
            policy,
            sink,
            files,
            blocks,
            placeholders: false,
            blocks_are_outside: false,
            tiers,
            rules: 0,
            named: HashMap::new(),
            namespaces: HashMap::new(),
            priorities: (0, 1),
        }
    }

    fn origin(&self, span: Span) -> Origin {
        let file = self.files.get(span.file as usize).cloned().unwrap_or_default();
        Origin { file, line: span.line, column: span.column }
    }

    /// The labels of a namespace, the name that Kubernetes puts there included.
    fn namespace_labels(&self, name: &str) -> Vec<(String, String)> {
        let mut labels = self.namespaces.get(name).cloned().unwrap_or_default();
        labels.push((labels::NAMESPACE_NAME.to_owned(), name.to_owned()));
        labels.push(("projectcalico.org/name".to_owned(), name.to_owned()));
        labels
    }

    /// How many rules a tier has so far.
    fn rules_of(&self, order: Order, tier: &str) -> u32 {
        let tier = self.tiers.iter().find(|(at, one)| *at == order && one.name == tier);
        tier.map_or(0, |(_, tier)| u32::try_from(tier.rules.len()).unwrap_or(u32::MAX))
    }

    /// Reports a second policy of the same kind and name; `base` is what the names of its rules begin with.
    fn claim(&mut self, base: &str, place: Span) {
        if let Some(first) = self.named.insert(base.to_owned(), place) {
            let text = format!("there are two policies named {}", quote(base));
            self.sink.push(Finding::error(Code::DuplicateName, place, text).also(first, "first here"));
        }
    }

    /// Adds a rule to a tier, unless it can match nothing at all.
    fn push(&mut self, order: Order, tier: &str, rule: Rule) {
        if rule.from.is_empty() || rule.to.is_empty() || rule.services.is_empty() {
            return;
        }
        self.rules += 1;
        if self.rules > RULES_MAX {
            if self.rules == RULES_MAX + 1 {
                let text = format!("the documents of other systems make more than {RULES_MAX} rules");
                self.sink.push(Finding::error(Code::Limit, Span::default(), text));
            }
            return;
        }
        if let Some((_, tier)) = self.tiers.iter_mut().find(|(at, one)| *at == order && one.name == tier) {
            tier.rules.push(rule);
        } else {
            self.tiers.push((order, Tier { name: tier.to_owned(), rules: vec![rule] }));
        }
    }

    /// Puts the tiers where they belong: before the native `application` what stands before the network policies,
    /// these before `boundary`, the rest after everything.
    fn finish(mut self) {
        self.tiers.sort_by(|(a, one), (b, other)| a.0.total_cmp(&b.0).then(one.name.cmp(&other.name)));
        for (order, mut tier) in self.tiers {
            tier.rules.sort_by(|a, b| (a.priority, &a.name).cmp(&(b.priority, &b.name)));
            let before = if order.0 < Order::NETWORK_POLICY.0 {
                Some("application")
            } else if order == Order::NETWORK_POLICY {
                Some("boundary")
            } else {
                None
            };
            let tiers = &mut self.policy.tiers;
            let at = before.and_then(|name| tiers.iter().position(|one| one.name == name));
            tiers.insert(at.unwrap_or(tiers.len()), tier);
        }
        let mut networks = self.blocks.into_networks();
        if self.placeholders {
            let prefixes = vec![
                Prefix { address: IpAddr::V4(PLACEHOLDER_V4), len: 4 },
                Prefix { address: IpAddr::V6(PLACEHOLDER_V6), len: 64 },
            ];
            let origin = Origin { file: "<built-in>".into(), line: 1, column: 1 };
            let labels = BTreeMap::new();
            networks.push(Network { name: PLACEHOLDERS.to_owned(), labels, prefixes, origin });
        }
        for network in networks {
            if let Some(taken) = self.policy.networks.iter().find(|one| one.name == network.name) {
                let text =
                    format!("the name of the network `{}` is one that ringfence gives itself", taken.name);
                self.sink.push(Finding::error(Code::Reserved, Span::default(), text));
            } else {
                self.policy.networks.push(network);
            }
        }
        self.policy.workloads.sort_by(|a, b| a.name.cmp(&b.name));
        self.policy.networks.sort_by(|a, b| a.name.cmp(&b.name));
    }
}

/// At the source's gate, or at the destination's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];

    const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

/// A rule that speaks at the gate of its subject only.
struct OneSided<'a> {
    name: String,
    direction: Direction,
    /// The end whose gate it is.
    subject: &'a [Selector],
    /// The other end.
    peers: &'a [Selector],
    ports: &'a ports::Ports,
    action: Action,
    priority: u32,
    origin: Origin,
}

impl OneSided<'_> {
    /// The rules that say it: one for the ports by number, and one for each port by name.
    fn rules(self) -> Vec<Rule> {
        let parts = self.ports.parts();
        let rule = |(suffix, needs, services): (String, Vec<_>, Vec<_>)| {
            let (from, to) = match self.direction {
                Direction::Ingress => (self.peers, self.subject),
                Direction::Egress => (self.subject, self.peers),
            };
            let narrowed = |one: &Selector| labels::all_of(one.requirements.iter().chain(&needs).cloned());
            let settled =
                |selectors: Vec<Selector>| BTreeSet::from_iter(selectors).into_iter().collect::<Vec<_>>();
            Rule {
                name: format!("{}{suffix}", self.name),
                from: settled(from.to_vec()),
                to: settled(to.iter().map(narrowed).collect()),
                services,
                action: self.action,
                gates: Gates {
                    egress: self.direction == Direction::Egress,
                    ingress: self.direction == Direction::Ingress,
                },
                priority: self.priority,
                origin: self.origin.clone(),
                ..Rule::default()
            }
        };
        parts.into_iter().map(rule).collect()
    }
}
