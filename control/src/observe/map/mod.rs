//! The application dependency map: who speaks to whom, by label, what policy said of it, and what a draft says.
//!
//! Workloads are put into groups by the values of some label keys and into nodes by others; a workload with several
//! values is in one group that is named after all of them, so that every recorded flow is on exactly one edge and sums
//! stay right. Labels are those that policy sees: a workload's own, or else those of the narrowest network around it.
//!
//! A pure function over records, the inventory in force and a draft's table. Its answer is bounded: edges by the
//! question, groups and nodes by constants here; what does not fit is counted.

mod answer;
mod edges;
mod nodes;
mod shape;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use dataplane::address::Address;
use dataplane::policy::ServiceKey;
use dataplane::verdict::Verdict;
use jiff::Timestamp;

pub use answer::{Edge, Example, Group, Kind, LeftOut, Map, Node, Service, State, Sums};
use edges::Edges;
use nodes::Nodes;

use super::flows::FlowRecord;
use crate::policy::Named;
use crate::policy::valid::ValidPolicy;

/// Keys that groups, or nodes, may be made by.
pub const KEYS_MAX: usize = 8;
/// The most edges in one answer.
pub const EDGES_MAX: usize = 10_000;

/// What the map shall show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// The label keys that groups are made by; without any, all labelled workloads are one group.
    pub by: Vec<String>,
    /// The label keys that nodes are made by in each group; without any, a group is one node.
    pub tier: Vec<String>,
    /// Only flows that were seen at this time or later.
    pub since: Option<Timestamp>,
    /// Only flows that were first seen at this time or earlier.
    pub until: Option<Timestamp>,
    /// Only flows with these labels, each at either end.
    pub labels: Vec<(String, String)>,
    /// Only flows with this in a name, a label or an address of either end, in capitals or not.
    pub search: Option<String>,
    /// At most so many edges; [`EDGES_MAX`] at most.
    pub limit: usize,
}

impl Question {
    /// Whether a record's time is asked for.
    fn admits(&self, record: &FlowRecord) -> bool {
        self.since.is_none_or(|since| record.last_seen >= since)
            && self.until.is_none_or(|until| record.first_seen <= until)
    }

    /// Whether ends are chosen, not only counted.
    const fn chooses(&self) -> bool {
        self.search.is_some() || !self.labels.is_empty()
    }
}

/// The map of `records` over the inventory of `policy`, with what `draft` says beside what was said.
#[must_use]
pub fn draw(
    records: &[FlowRecord],
    policy: &ValidPolicy,
    draft: Option<Named<'_>>,
    question: &Question,
) -> Map {
    let mut nodes = Nodes::new(policy, question);
    let mut edges = Edges::default();
    for record in records.iter().filter(|record| question.admits(record)) {
        let ends = [record.source, record.destination].map(|address| nodes.spot(address));
        if ends[0].chosen.and(ends[1].chosen) {
            let said = draft.map(|draft| decide(draft, record.source, record.destination, record.service));
            edges.add(ends.map(|end| end.node), record, said);
        }
    }
    shape::shape(nodes, edges, question)
}

/// What was said of a record's flows.
#[must_use]
pub fn state(record: &FlowRecord) -> State {
    match (record.verdict, &record.potential) {
        (Verdict::Allow, None) => State::Allowed,
        (Verdict::Allow, Some(_)) => State::PotentiallyBlocked,
        (Verdict::Deny | Verdict::Reject, _) => State::Blocked,
    }
}

/// What a table says of a flow, and by which rule: the one that would close a gate in mode `observe`, if there is one.
#[must_use]
pub fn decide(named: Named<'_>, source: IpAddr, destination: IpAddr, service: u32) -> (State, &str) {
    let table = named.table;
    let Some(key) = ServiceKey::from_value(service) else { return (State::Blocked, "?") };
    let [source, destination] = [source, destination].map(|end| table.resolve(Address::from(end)));
    let decision = table.decide(source, destination, key);
    let rule = named.rule_name(decision.potential.unwrap_or(decision.rule));
    match (decision.verdict.is_allow(), decision.potential) {
        (true, None) => (State::Allowed, rule),
        (true, Some(_)) => (State::PotentiallyBlocked, rule),
        (false, _) => (State::Blocked, named.rule_name(decision.rule)),
    }
}
