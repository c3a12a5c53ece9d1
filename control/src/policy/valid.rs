//! Policy that is known to make sense: names resolved, ranges in order, every front-end in one representation.
//!
//! # Semantics (what compiler and oracle must agree on)
//!
//! **Endpoint.** An address is a *workload* if one owns it exactly, and lies in every *network* with a prefix
//! that contains it. Its labels: for each key, the workload's own values if it has any for that key; otherwise
//! the values of the narrowest containing networks (longest matching prefix; two networks with the same longest
//! prefix contribute both) that have that key. An endpoint that is no workload is *unmanaged*; in no network
//! with labels either, it is *unknown*: it has no labels, and no selector that asks for the absence of a label matches
//! it. A network without labels only names a set of addresses: it makes none of them known.
//!
//! **Selector.** All requirements must hold. `Peers` match if any selector does.
//!
//! **Listener.** As the *destination* of a flow whose service lies in one of a workload's listeners, the endpoint has
//! the workload's own labels with the listener's values in place of theirs, key by key; as a source it never has.
//!
//! **Rule.** It matches a flow if its `from` matches the source, its `to` the destination, its services the
//! service, and for every key in `same` both ends have the key with at least one value in common. A `staged` rule
//! matches nothing in the enforced table; it is compiled only where [`CompileOptions::staged`] asks for it.
//!
//! **Gates.** A flow `source → destination, service` passes the egress gate of its source and the ingress gate of
//! its destination. At each gate the first matching rule in (tier order, rule order) among the rules that speak at
//! that gate is the *hit*; if its action is `Pass`, the first in the tiers after its own is, and so on. Rules of one
//! tier with equal `priority` have no order among them; the policy's analysis has made sure that such rules never
//! disagree in action where they overlap, so the first in order may be named. What a tier does with the endpoints
//! it claims, and a front-end's own default, are rules too, the last of their tier.
//!
//! **Mode** of the gate's endpoint, by direction, turns the hit into an answer:
//! - `Off`: pass, [`RuleId::OFF_PASS`].
//! - `Full`: the hit's action; none: closed by [`RuleId::DEFAULT_DENY`].
//! - `Selective`: the hit's action; none: pass, [`RuleId::SELECTIVE_PASS`].
//! - `Observe`: as `Full`, but a closed gate passes, with the rule kept as `potential`.
//! - `Quarantine` (a workload without labels of its own, whatever else is said): a hit counts only if its tier is
//!   `infrastructure`; otherwise closed by [`RuleId::QUARANTINE`].
//! - unmanaged endpoint: the hit's action; none: pass with [`RuleId::UNMANAGED_PASS`] if the other end is a
//!   workload, otherwise closed by [`RuleId::UNMANAGED_DENY`].
//!
//! **Decision**: egress gate closed → deny, gate egress, its rule. Ingress gate closed → deny, gate ingress, its
//! rule. Both pass → allow; named is the ingress gate's rule, unless that passed by a default (id below
//! [`RuleId::FIRST`]) and the egress gate by a rule. `potential` is the egress gate's, else the ingress gate's.
//!
//! `Reject` closes as `Deny` does; the answer is a reject if the gate that is named closed by it.
//!
//! A listener's labels count for whatever looks at the destination: rules, `same`, and the enforcement of its ingress
//! gate. Quarantine looks at the workload's own labels only.
//!
//! [`CompileOptions::staged`]: super::CompileOptions::staged
//! [`RuleId::OFF_PASS`]: dataplane::verdict::RuleId::OFF_PASS
//! [`RuleId::DEFAULT_DENY`]: dataplane::verdict::RuleId::DEFAULT_DENY
//! [`RuleId::SELECTIVE_PASS`]: dataplane::verdict::RuleId::SELECTIVE_PASS
//! [`RuleId::QUARANTINE`]: dataplane::verdict::RuleId::QUARANTINE
//! [`RuleId::UNMANAGED_PASS`]: dataplane::verdict::RuleId::UNMANAGED_PASS
//! [`RuleId::UNMANAGED_DENY`]: dataplane::verdict::RuleId::UNMANAGED_DENY
//! [`RuleId::FIRST`]: dataplane::verdict::RuleId::FIRST

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

pub use dataplane::verdict::{OnRevoke, Verdict};

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// The file, as the user named it; `<built-in>` for what ringfence brings.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// Labels: key to set of values, neither empty.
pub type Labels = BTreeMap<String, BTreeSet<String>>;

/// A whole policy with its inventory: what the compiler takes. Made only by `validate` (and by tests).
#[derive(Clone, Debug, Default)]
pub struct ValidPolicy {
    /// Every workload; names unique, addresses unique across workloads.
    pub workloads: Vec<Workload>,
    /// Every network; names unique.
    pub networks: Vec<Network>,
    /// The tiers in order of evaluation.
    pub tiers: Vec<Tier>,
    /// Enforcement by selector and direction; the first that matches a workload and names the direction wins;
    /// none: `Full`.
    pub enforcement: Vec<Enforcement>,
    /// What to do with frames that are neither IP nor ARP, by EtherType: those listed pass. Sorted.
    pub ether_types: Vec<u16>,
    /// What must hold of every flow before the policy may be published; names unique, in the order of names.
    pub assertions: Vec<Assertion>,
    /// Questions with the answers that are expected, for `ringfence policy test`; in the order written.
    pub tests: Vec<PolicyTest>,
}

/// A machine, container or service address set that labels speak of.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Unique name.
    pub name: String,
    /// Its own labels; empty means quarantine.
    pub labels: Labels,
    /// Its addresses, v4 and v6, at least one. Never IPv4-mapped.
    pub addresses: Vec<IpAddr>,
    /// Its Ethernet addresses; if any are given, frames from its addresses must carry one of them on the inside.
    pub macs: Vec<[u8; 6]>,
    /// The wire it is behind, by name, if told.
    pub wire: Option<String>,
    /// Services of its own that carry labels; their ranges do not overlap.
    pub listeners: Vec<Listener>,
    /// Where it was written.
    pub origin: Origin,
}

/// A service of a workload with labels of its own.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Unique in its workload.
    pub name: String,
    /// What it answers to: sorted, disjoint, not adjacent.
    pub services: Vec<ServiceRange>,
    /// In place of the workload's own values, key by key.
    pub labels: Labels,
    /// Where it was written.
    pub origin: Origin,
}

/// A named set of prefixes.
#[derive(Clone, Debug)]
pub struct Network {
    /// Unique name.
    pub name: String,
    /// Labels that its addresses inherit.
    pub labels: Labels,
    /// Its prefixes (host bits zero), at least one.
    pub prefixes: Vec<Prefix>,
    /// Where it was written.
    pub origin: Origin,
}

/// An address prefix; host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    /// The network address.
    pub address: IpAddr,
    /// Its length: at most 32 or 128.
    pub len: u8,
}

/// An ordered list of rules.
#[derive(Clone, Debug)]
pub struct Tier {
    /// `infrastructure`, `override`, `application`, `boundary`, or a front-end's name.
    pub name: String,
    /// The rules in order.
    pub rules: Vec<Rule>,
}

/// The tier whose allows hold even in quarantine.
pub const INFRASTRUCTURE: &str = "infrastructure";

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Unique name over all tiers.
    pub name: String,
    /// The initiator of the flow: any of these.
    pub from: Vec<Selector>,
    /// The responder: any of these.
    pub to: Vec<Selector>,
    /// What is spoken: sorted, disjoint, not adjacent.
    pub services: Vec<ServiceRange>,
    /// What then.
    pub action: Action,
    /// At which gates the rule speaks; native rules at both.
    pub gates: Gates,
    /// Keys that both ends must share a value of.
    pub same: Vec<String>,
    /// What becomes of the live flows that this rule allowed, once policy allows them no more.
    pub on_revoke: OnRevoke,
    /// Only evaluated beside the enforced rules.
    pub staged: bool,
    /// Order within its tier, lower first; rules of equal priority have none among them. The list is sorted by it.
    pub priority: u32,
    /// Where it was written.
    pub origin: Origin,
}

impl Default for Rule {
    /// Denies nothing yet: no peers, no services; both gates, cut on revocation, enforced, priority 0.
    fn default() -> Self {
        Self {
            name: String::new(),
            from: Vec::new(),
            to: Vec::new(),
            services: Vec::new(),
            action: Action::Deny,
            gates: Gates { egress: true, ingress: true },
            same: Vec::new(),
            on_revoke: OnRevoke::Cut,
            staged: false,
            priority: 0,
            origin: Origin { file: "".into(), line: 0, column: 0 },
        }
    }
}

/// What a rule does with what it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Opens the gate.
    Allow,
    /// Closes the gate.
    Deny,
    /// Closes the gate and tells the sender: TCP by RST, the rest by an ICMP error.
    Reject,
    /// Leaves the gate to the tiers after this one.
    Pass,
}

/// The gates at which a rule speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gates {
    /// At the source's.
    pub egress: bool,
    /// At the destination's.
    pub ingress: bool,
}

/// A conjunction of requirements; without any, it matches every endpoint, unknown ones included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Selector {
    /// All must hold.
    pub requirements: Vec<Requirement>,
}

/// One condition on an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Requirement {
    /// The endpoint has the key with at least one of these values. Sorted.
    In(String, Vec<String>),
    /// The endpoint is known (a workload or in a network) and has none of these values for the key. Sorted.
    NotIn(String, Vec<String>),
    /// The endpoint has the key.
    Exists(String),
    /// The endpoint is known and lacks the key.
    NotExists(String),
    /// The endpoint is one of these workloads, by name. Sorted.
    Workload(Vec<String>),
    /// The endpoint's address lies in one of these networks, by name. Sorted.
    Network(Vec<String>),
    /// The endpoint is a workload, labelled or not.
    AnyWorkload,
    /// The endpoint's address lies in none of these networks, by name; unknown endpoints match. Sorted.
    NotNetwork(Vec<String>),
    /// The endpoint is no workload: in a network only, or unknown.
    NoWorkload,
}

/// An inclusive range in the service space: `protocol << 16 | port`, where for ICMP and ICMPv6 the low 16 bits are
/// `type << 8 | code` and for protocols without ports they are 0. `0..=0xff_ffff` is everything. A range never
/// spans two protocols unless it covers whole ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceRange {
    /// First key.
    pub first: u32,
    /// Last key, not below `first`.
    pub last: u32,
}

impl ServiceRange {
    /// Every protocol and port.
    pub const ANY: Self = Self { first: 0, last: 0x00ff_ffff };

    /// Whether `key` lies in it.
    #[must_use]
    pub const fn contains(self, key: u32) -> bool {
        self.first <= key && key <= self.last
    }
}

/// Enforcement of the workloads that match.
#[derive(Clone, Debug)]
pub struct Enforcement {
    /// Which workloads.
    pub select: Vec<Selector>,
    /// Mode of their ingress gates, if told.
    pub ingress: Option<Mode>,
    /// Mode of their egress gates, if told.
    pub egress: Option<Mode>,
    /// Where it was written.
    pub origin: Origin,
}

/// How a gate treats its rules; see the module's semantics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    /// No rule is looked at; everything passes.
    Off,
    /// Nothing is dropped; what would be is recorded as potentially blocked.
    Observe,
    /// Only denies bite.
    Selective,
    /// Default deny.
    Full,
}

/// A statement about every flow that could be, whichever labels its ends have: proved, not sampled.
#[derive(Clone, Debug)]
pub struct Assertion {
    /// Unique among assertions.
    pub name: String,
    /// What is stated.
    pub kind: AssertionKind,
    /// The initiator: any of these.
    pub from: Vec<Selector>,
    /// The responder: any of these.
    pub to: Vec<Selector>,
    /// What is spoken: sorted, disjoint, not adjacent. Those of `except` are taken out already.
    pub services: Vec<ServiceRange>,
    /// What is left out, as written: sorted, disjoint, not adjacent.
    pub except: Vec<ServiceRange>,
    /// Where it was written.
    pub origin: Origin,
}

/// What an assertion states of the flows from its `from` to its `to` that speak one of its services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AssertionKind {
    /// None of them is allowed. If it is about every service but those in `except`, what a rule of the tier
    /// [`INFRASTRUCTURE`] lets through is left out too: those rules are built in, seen and switched off by name. To say
    /// something about them, an assertion names their services.
    Never,
    /// All of them are allowed.
    Always,
}

/// One flow, and what policy must say of it.
#[derive(Clone, Debug)]
pub struct PolicyTest {
    /// Unique among tests; `SOURCE -> DESTINATION SERVICE` if none was given.
    pub name: String,
    /// The initiator.
    pub source: TestEnd,
    /// The responder.
    pub destination: TestEnd,
    /// One key of the service space; see [`ServiceRange`].
    pub service: u32,
    /// The verdict.
    pub expect: Verdict,
    /// The rule or named default that must be the cause, if told.
    pub rule: Option<String>,
    /// Where it was written.
    pub origin: Origin,
}

/// One end of a tested flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestEnd {
    /// An address, known or not. Never IPv4-mapped.
    Address(IpAddr),
    /// A workload of this policy, by name: the first of its addresses whose family the other end has too.
    Workload(String),
}

impl std::fmt::Display for TestEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Workload(name) => f.write_str(name),
        }
    }
}
