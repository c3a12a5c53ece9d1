//! The map as data: groups, the nodes in them, and the edges between nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// What policy says of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = MapState)]
pub enum State {
    /// Both gates let them through.
    Allowed,
    /// A gate in mode `observe` let them through; enforced, it would not have.
    PotentiallyBlocked,
    /// A gate is closed.
    Blocked,
}

/// What a group or node stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = MapKind)]
pub enum Kind {
    /// Workloads with labels.
    Labelled,
    /// Workloads without.
    Unlabelled,
    /// Addresses of a named network that no workload owns.
    Network,
    /// All other addresses.
    Unknown,
}

/// Who depends on whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map {
    /// The groups by name: those of labelled workloads, then `unlabelled`, `networks`, `unknown`.
    pub groups: Vec<Group>,
    /// The edges: of each state those with the most flows first, the states in turn.
    pub edges: Vec<Edge>,
    /// What the records that match come to, edges left out included.
    pub totals: Sums,
    /// What did not fit.
    pub left_out: LeftOut,
}

/// Nodes with the same values of the keys that groups are made by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = MapGroup)]
pub struct Group {
    /// Its name in this answer.
    pub id: String,
    /// What it stands for.
    pub kind: Kind,
    /// `app=shop`; a workload with several values is in a group of its own, `app=crm+shop`.
    pub name: String,
    /// The labels that the group is made by; keys that its workloads lack are not there.
    pub labels: BTreeMap<String, BTreeSet<String>>,
    /// Workloads in it, traffic or not.
    pub workloads: u64,
    /// Its nodes, by name.
    pub nodes: Vec<Node>,
}

/// One end of edges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = MapNode)]
pub struct Node {
    /// Its name in this answer.
    pub id: String,
    /// What it stands for.
    pub kind: Kind,
    /// `role=web`; a network's name; the group's name if there are no tiers.
    pub name: String,
    /// The labels that its group and the node are made by.
    pub labels: BTreeMap<String, BTreeSet<String>>,
    /// Workloads in it, traffic or not.
    pub workloads: u64,
    /// Some of them by name; of networks and the unknown, some addresses.
    pub examples: Vec<String>,
}

/// What flows add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = MapSums)]
pub struct Sums {
    /// Record kinds: who spoke to whom about what, and what policy said.
    pub records: u64,
    /// Flows; of blocked ones, packets that asked for one.
    pub flows: u64,
    /// Packets, both directions; those of a live flow come when it ends.
    pub packets: u64,
    /// Bytes, both directions, likewise.
    pub bytes: u64,
}

impl Sums {
    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.flows = self.flows.saturating_add(other.flows);
        self.packets = self.packets.saturating_add(other.packets);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// Flows from one node to another of which policy says the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = MapEdge)]
pub struct Edge {
    /// Its name in this answer.
    pub id: String,
    /// Who opened them: a node's id.
    pub from: String,
    /// To whom: a node's id.
    pub to: String,
    /// What policy said.
    pub state: State,
    /// What the draft says: the worst of its services.
    pub draft: Option<State>,
    /// What they come to.
    #[serde(flatten)]
    pub sums: Sums,
    /// When the first was seen.
    #[schema(value_type = String)]
    pub first_seen: Timestamp,
    /// When the last packet of any was seen.
    #[schema(value_type = String)]
    pub last_seen: Timestamp,
    /// By service, those with the most flows first. A service stands twice if the draft says different things of its
    /// flows.
    pub services: Vec<Service>,
    /// Services that did not fit; the edge's sums count them.
    pub services_left_out: usize,
}

/// One service of an edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = MapService)]
pub struct Service {
    /// `tcp/443`.
    pub service: String,
    /// What policy said.
    pub state: State,
    /// What the draft says.
    pub draft: Option<State>,
    /// The rules and defaults that decided; at most eight.
    pub rules: Vec<String>,
    /// The rules and defaults that would have closed a gate in mode `observe`; at most eight.
    pub potential: Vec<String>,
    /// The draft's rules and defaults that decide, or would close a gate in mode `observe`; at most eight.
    pub draft_rules: Vec<String>,
    /// What they come to.
    #[serde(flatten)]
    pub sums: Sums,
    /// When the first was seen.
    #[schema(value_type = String)]
    pub first_seen: Timestamp,
    /// When the last packet of any was seen.
    #[schema(value_type = String)]
    pub last_seen: Timestamp,
    /// The flow of them that was seen last.
    pub example: Example,
}

/// One flow, by its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = MapExample)]
pub struct Example {
    /// Who opened it.
    #[schema(value_type = String)]
    pub source: IpAddr,
    /// To whom.
    #[schema(value_type = String)]
    pub destination: IpAddr,
}

/// What did not fit in the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = MapLeftOut)]
pub struct LeftOut {
    /// Groups without an edge that is shown.
    pub groups: usize,
    /// Nodes without an edge that is shown, of groups that are.
    pub nodes: usize,
    /// Edges.
    pub edges: usize,
    /// The flows of those edges.
    pub flows: u64,
}
