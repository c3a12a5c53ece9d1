//! Small tables for the tests of this crate, made without the compiler.

use std::collections::BTreeMap;

use super::{
    ANY_ID, Behind, Class, DecisionKey, EMPTY_ID, End, GateMode, Hit, HitAction, Interval, Layer, Layers,
    Level, Listening, PolicyTable, Side, TableParts, WorkloadParts,
};
use crate::address::{Address, Mac};
use crate::verdict::{OnRevoke, RuleId};

/// One end of a sample rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    /// The workload added as this one, from 0.
    Workload(u32),
    /// Every endpoint.
    Any,
}

impl Who {
    fn key(self) -> (Level, u32) {
        match self {
            // Class 0 is that of unknown addresses, and its set of peer lists is empty.
            Self::Workload(index) => (Level::Narrow, index + 1),
            Self::Any => (Level::Any, ANY_ID),
        }
    }
}

/// A table in the making: workloads in mode `full`, every other address unmanaged.
#[derive(Default)]
pub(crate) struct Sample {
    parts: TableParts,
    rules: BTreeMap<(Who, Who), Vec<Span>>,
}

/// First and last service key, and the rule that covers them.
type Span = (u32, u32, Hit);

impl Sample {
    pub(crate) fn new() -> Self {
        let unknown = class(EMPTY_ID, GateMode::Unmanaged);
        let parts = TableParts {
            v4_ranges: vec![(0, unknown)],
            v6_ranges: vec![(0, unknown)],
            rules: RuleId::FIRST.0,
            ..TableParts::default()
        };
        Self { parts, rules: BTreeMap::new() }
    }

    /// Adds a workload with these addresses (text), not told which wire, any MAC.
    pub(crate) fn workload(self, addresses: &[&str]) -> Self {
        self.workload_bound(addresses, Behind::NotTold, &[])
    }

    /// Adds a workload with these addresses (text), wire, and MAC addresses.
    pub(crate) fn workload_bound(mut self, addresses: &[&str], behind: Behind, macs: &[Mac]) -> Self {
        let own = class(self.next_id(), GateMode::Full);
        let end = |address: &&str| {
            let address: std::net::IpAddr = address.parse().unwrap();
            End { address: Address::from(address), class: own, listening: Vec::new() }
        };
        let ends = addresses.iter().map(end).collect();
        self.parts.workloads.push(WorkloadParts { behind, macs: macs.to_vec(), ends });
        self
    }

    /// The id of the next workload's own set of peer lists.
    fn next_id(&self) -> u32 {
        u32::try_from(self.parts.workloads.len()).unwrap() + 1
    }

    /// Lets the last workload be another one, `who`, for these services.
    pub(crate) fn listening(mut self, (first, last): (u32, u32), who: u32) -> Self {
        let other = class(who + 1, GateMode::Full);
        let ends = &mut self.parts.workloads.last_mut().unwrap().ends;
        ends.iter_mut().for_each(|end| end.listening.push(Listening { first, last, class: other }));
        self
    }

    /// Puts both gates of the last workload in `mode`.
    pub(crate) fn mode(mut self, mode: GateMode) -> Self {
        let id = self.next_id() - 1;
        let ends = &mut self.parts.workloads.last_mut().unwrap().ends;
        ends.iter_mut().for_each(|end| end.class = class(id, mode));
        self
    }

    /// Adds a rule that speaks at both gates, after all others; its id is [`RuleId::FIRST`] plus its place.
    pub(crate) fn rule(mut self, from: Who, to: Who, services: (u32, u32), action: HitAction) -> Self {
        let hit = Hit::new(RuleId(self.parts.rules), action, false).unwrap();
        self.parts.rules += 1;
        self.rules.entry((from, to)).or_default().push((services.0, services.1, hit));
        self
    }

    /// Says what revocation does to the flows of the last rule.
    pub(crate) fn on_revoke(mut self, on_revoke: OnRevoke) -> Self {
        let last = RuleId(self.parts.rules - 1);
        let spans = self.rules.values_mut().flatten().filter(|span| span.2.rule() == last);
        spans.for_each(|span| span.2 = span.2.with_revoke());
        self.parts.revoke.push((last, on_revoke));
        self
    }

    /// Adds an allow rule.
    pub(crate) fn allow(self, from: Who, to: Who, services: (u32, u32)) -> Self {
        self.rule(from, to, services, HitAction::Allow)
    }

    pub(crate) fn ether_type(mut self, ether_type: u16) -> Self {
        self.parts.ether_types.push(ether_type);
        self.parts.ether_types.sort_unstable();
        self
    }

    pub(crate) fn parts(mut self) -> TableParts {
        for (&(from, to), rules) in &self.rules {
            let ((from_level, from_id), (to_level, to_id)) = (from.key(), to.key());
            let block = self.parts.intervals.block(0, &cut(rules)).unwrap();
            let layer = Layer { from: from_level, to: to_level };
            self.parts.entries.push((DecisionKey::new(0, layer, from_id, to_id), block));
        }
        self.parts
    }

    pub(crate) fn build(self) -> PolicyTable {
        PolicyTable::new(self.parts()).unwrap()
    }
}

/// The class of what satisfies just the set of narrow peer lists `id`.
fn class(id: u32, mode: GateMode) -> Class {
    let side = Side::new(id, EMPTY_ID, Layers::ALL, mode).unwrap();
    Class { from: side, to: side }
}

/// The pieces in which the first of `rules` does not change.
fn cut(rules: &[Span]) -> Vec<Interval> {
    let mut edges: Vec<u32> = rules.iter().flat_map(|&(first, last, _)| [first, last + 1]).collect();
    edges.sort_unstable();
    edges.dedup();
    let pieces = edges.windows(2).filter_map(|edge| {
        let hit = rules
            .iter()
            .filter(|&&(first, last, _)| first <= edge[0] && edge[0] <= last)
            .map(|r| r.2)
            .min()?;
        Some(Interval { first: edge[0], last: edge[1] - 1, egress: hit, ingress: hit })
    });
    pieces.collect()
}
