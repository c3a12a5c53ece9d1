//! Policy as written: YAML (or JSON) text to [`PolicySource`], every value with its place.
//!
//! Nothing is judged here beyond shape: which fields exist, and whether a mapping, a list or a word stands in them.
//! Scalars are words: their text counts as written (`1.10` stays `1.10`, `off` stays `off`), only a blank, `~` or
//! `null` is nothing. Where a list of words is expected, one word may stand alone.
//!
//! The types carry the documentation of the language: their docstrings are the descriptions of the JSON Schema.

mod fields;
mod intent;
mod native;
mod peers;
mod proof;
mod schema;
pub(super) mod yaml;

use schemars::JsonSchema;

pub use intent::{RingfenceSource, RuleSource, RulesetSource, TierSource};
pub use peers::{PeersSource, RequirementSource, SelectorSource, TestSource};
pub use proof::{AssertionSource, PolicyTestSource};
pub use schema::json_schema;

use super::diagnostics::{Sink, Span};
use super::import::Foreign;
use super::load::SourceFile;

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub span: Span,
}

/// A word and where it was written.
pub type Word = Spanned<String>;

/// One word, or a list of words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words(pub Vec<Word>);

/// A policy, or a part of one: several files and documents make one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(title = "ringfence policy", deny_unknown_fields)]
pub struct PolicySource {
    /// The machines and containers that labels speak of. At most 1,000,000.
    #[schemars(default)]
    pub workloads: Vec<WorkloadSource>,
    /// Named sets of address prefixes, for what is not a workload of its own. At most 100,000.
    #[schemars(default)]
    pub networks: Vec<NetworkSource>,
    /// Named sets of protocols and ports. At most 100,000.
    #[schemars(default)]
    pub services: Vec<ServiceSource>,
    /// Who may speak to whom, and how. Order has no meaning: an override beats every `allow`, an `allow` beats every
    /// `deny` and `reject`, and what no rule allows is denied. At most 1,000,000, those of rulesets and tiers included.
    #[schemars(default, with = "Vec<schema::PlainRule>")]
    pub rules: Vec<RuleSource>,
    /// Rules that share a scope: what belongs to one application, one environment, one team. At most 100,000.
    #[schemars(default)]
    pub rulesets: Vec<RulesetSource>,
    /// Groups of endpoints that speak among themselves and with nobody else, unless a rule says otherwise. At most
    /// 10,000.
    #[schemars(default)]
    pub ringfences: Vec<RingfenceSource>,
    /// Tiers of your own beside `infrastructure` (order 0), `override` (1000), `application` (2000) and `boundary`
    /// (3000). At most 100.
    #[schemars(default)]
    pub tiers: Vec<TierSource>,
    /// How strictly the policy is applied, by selector. The first entry that matches a workload and names the
    /// direction counts; without one, `full`. At most 10,000.
    #[schemars(default)]
    pub enforcement: Vec<EnforcementSource>,
    /// The built-in rules that every network needs, each on unless turned off with `false`.
    #[schemars(default, with = "schema::Infrastructure")]
    pub infrastructure: Vec<(Word, Spanned<bool>)>,
    /// EtherTypes other than IPv4, IPv6 and ARP whose frames pass: names such as `lldp`, or numbers such as
    /// `0x88cc`. All others are dropped. At most 1,024.
    #[schemars(default)]
    pub ether_types: Words,
    /// What must hold of every flow, whichever labels its ends have, before the policy is published. At most 10,000.
    #[schemars(default)]
    pub assertions: Vec<AssertionSource>,
    /// Flows with the verdict that is expected, for `ringfence policy test`. At most 100,000.
    #[schemars(default)]
    pub tests: Vec<PolicyTestSource>,
}

/// A machine or container.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(rename = "workload", deny_unknown_fields)]
pub struct WorkloadSource {
    /// Unique among workloads: letters, digits, `.`, `_`, `-` and `/`, up to 253 characters, and not an IP address.
    pub name: Word,
    /// What it is: keys with one or several values. A workload without labels is in quarantine.
    #[schemars(default)]
    pub labels: LabelsSource,
    /// Its IPv4 and IPv6 addresses, each of one workload only. At least one, at most 1,024.
    pub addresses: Words,
    /// Its Ethernet addresses: frames that claim one of its addresses must come from one of these. At most 64.
    #[schemars(default)]
    pub macs: Words,
    /// The wire it stands behind, as the daemon's configuration names it: its addresses are refused elsewhere.
    #[schemars(default, with = "String")]
    pub wire: Option<Word>,
    /// Services of its own that carry labels of their own. At most 1,024.
    #[schemars(default)]
    pub listeners: Vec<ListenerSource>,
}

/// A service of a workload with labels of its own: flows to it see these in place of the workload's, key by key.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(rename = "listener", deny_unknown_fields)]
pub struct ListenerSource {
    /// Unique in its workload; letters as for a workload.
    pub name: Word,
    /// Names of services, or port specifications; no two listeners of a workload share a port.
    pub service: Words,
    /// Keys with one or several values, at least one key.
    pub labels: LabelsSource,
}

/// A named set of address prefixes.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(rename = "network", deny_unknown_fields)]
pub struct NetworkSource {
    /// Unique among networks; letters as for a workload.
    pub name: Word,
    /// Prefixes such as `192.168.0.0/16` or `2001:db8::/32`, no bits set beyond the length. At least one, at most
    /// 65,536.
    pub cidrs: Words,
    /// Labels that its addresses inherit where they have no value of their own for the key; the narrowest network
    /// counts.
    #[schemars(default)]
    pub labels: LabelsSource,
}

/// A named set of protocols and ports.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(rename = "service", deny_unknown_fields)]
pub struct ServiceSource {
    /// Unique among services: letters, digits, `.`, `_` and `-`, and not the name of a protocol.
    pub name: Word,
    /// Port specifications: `tcp/443`, `udp/8000-8099`, `sctp/3868`, `icmp/echo-request`, `icmp/3/4`,
    /// `icmpv6/packet-too-big`, `gre`, `esp`, `ah`, `proto/47`, `any`. At least one, at most 4,096.
    pub ports: Words,
}

/// How strictly the policy is applied to the workloads that match.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(rename = "enforcement", deny_unknown_fields)]
pub struct EnforcementSource {
    /// Which workloads.
    pub select: PeersSource,
    /// For flows towards them.
    #[schemars(default, with = "schema::Mode")]
    pub ingress: Option<Word>,
    /// For flows that they open.
    #[schemars(default, with = "schema::Mode")]
    pub egress: Option<Word>,
    /// Where it was written.
    #[schemars(skip)]
    pub span: Span,
}

/// Keys with their values, in the order written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelsSource(pub Vec<(Word, Words)>);

/// The fields of a document, in the order in which messages list them.
const DOCUMENT: &[&str] = &[
    "ringfence",
    "workloads",
    "networks",
    "services",
    "rules",
    "rulesets",
    "ringfences",
    "tiers",
    "enforcement",
    "infrastructure",
    "ether_types",
    "assertions",
    "tests",
];
const WORKLOAD: &[&str] = &["name", "labels", "addresses", "macs", "wire", "listeners"];
const LISTENER: &[&str] = &["name", "service", "labels"];
const NETWORK: &[&str] = &["name", "cidrs", "labels"];
const SERVICE: &[&str] = &["name", "ports"];
const ENFORCEMENT: &[&str] = &["select", "ingress", "egress"];

/// Reads every document of `file`, number `index` of the load, into `policy` or `foreign`. Returns whether the whole file could
/// be read: if not, objects may be missing that the policy refers to.
pub(super) fn read(
    file: &SourceFile,
    index: usize,
    policy: &mut PolicySource,
    foreign: &mut Foreign,
    sink: &mut Sink<'_>,
) -> bool {
    let mut native = native::Native { policy, foreign, documents: 0 };
    let whole = yaml::documents(&file.text, index, &mut native, sink);
    if whole && native.documents == 0 {
        native::nothing_in(index, sink);
        return false;
    }
    whole
}
