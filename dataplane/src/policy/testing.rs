//! Small tables for the tests of this crate, made without the compiler.

use core::num::NonZeroU32;
use std::collections::BTreeMap;

use super::{
    ANY_ID, Behind, Block, Class, DecisionKey, EMPTY_ID, GateMode, Hit, HitAction, Interval, Layer, Level,
    PolicyTable, TableParts,
};
use crate::address::{Address, Mac};
use crate::verdict::RuleId;

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
        let unmanaged = GateMode::Unmanaged;
        let unknown = Class { from: [EMPTY_ID; 2], to: [EMPTY_ID; 2], egress: unmanaged, ingress: unmanaged };
        let parts = TableParts {
            classes: vec![unknown],
            v4_ranges: vec![(0, 0)],
            v6_ranges: vec![(0, 0)],
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
        let (class, workload) = (self.parts.classes.len(), self.parts.bindings.len());
        let (class, workload) = (u32::try_from(class).unwrap(), u32::try_from(workload).unwrap());
        let ids = [workload + 1, EMPTY_ID];
        let full = GateMode::Full;
        self.parts.classes.push(Class { from: ids, to: ids, egress: full, ingress: full });
        self.parts.bindings.push((behind, macs.to_vec()));
        for address in addresses {
            let address: std::net::IpAddr = address.parse().unwrap();
            self.parts.addresses.push((Address::from(address), class, workload));
        }
        self
    }

    /// Puts both gates of the last workload in `mode`.
    pub(crate) fn mode(mut self, mode: GateMode) -> Self {
        let last = self.parts.classes.last_mut().unwrap();
        (last.egress, last.ingress) = (mode, mode);
        self
    }

    /// Adds a rule that speaks at both gates, after all others; its id is [`RuleId::FIRST`] plus its place.
    pub(crate) fn rule(mut self, from: Who, to: Who, services: (u32, u32), action: HitAction) -> Self {
        let hit = Hit::new(RuleId(self.parts.rules), action, false).unwrap();
        self.parts.rules += 1;
        self.rules.entry((from, to)).or_default().push((services.0, services.1, hit));
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
            let start = self.parts.intervals.len();
            self.parts.intervals.extend(cut(rules));
            let len = u32::try_from(self.parts.intervals.len() - start).unwrap();
            let block = Block { start: u32::try_from(start).unwrap(), len: NonZeroU32::new(len).unwrap() };
            let layer = Layer { from: from_level, to: to_level };
            self.parts.entries.push((DecisionKey::new(0, layer, from_id, to_id), block));
        }
        self.parts
    }

    pub(crate) fn build(self) -> PolicyTable {
        PolicyTable::new(self.parts()).unwrap()
    }
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
