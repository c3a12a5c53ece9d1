//! Records summed up between nodes.

use std::sync::Arc;

use hashbrown::HashMap;
use jiff::Timestamp;

use super::{Example, State, Sums};
use crate::observe::flows::FlowRecord;

/// Rules that are named for one service.
const RULES_MAX: usize = 8;

/// An edge that is being summed up.
#[derive(Debug)]
pub(super) struct Sum {
    /// What tells its services apart: the service, and what the draft says.
    pub(super) services: HashMap<(u32, Option<State>), Line>,
    pub(super) sums: Sums,
    pub(super) seen: [Timestamp; 2],
}

/// A service of it.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) sums: Sums,
    pub(super) seen: [Timestamp; 2],
    pub(super) rules: Vec<Arc<str>>,
    pub(super) potential: Vec<Arc<str>>,
    pub(super) draft_rules: Vec<Arc<str>>,
    pub(super) example: Example,
}

/// The edges by nodes and state.
#[derive(Debug, Default)]
pub(super) struct Edges {
    pub(super) edges: HashMap<([u32; 2], State), Sum>,
    pub(super) totals: Sums,
}

impl Edges {
    /// Adds a record to the edge between `ends`; `said` is what the draft says of it.
    pub(super) fn add(&mut self, ends: [u32; 2], record: &FlowRecord, said: Option<(State, &str)>) {
        let sums = Sums { records: 1, flows: record.flows, packets: record.packets, bytes: record.bytes };
        self.totals.add(&sums);
        let seen = [record.first_seen, record.last_seen];
        let edge = self.edges.entry((ends, super::state(record))).or_insert_with(|| Sum {
            services: HashMap::new(),
            sums: Sums::default(),
            seen,
        });
        edge.sums.add(&sums);
        widen(&mut edge.seen, seen);
        let example = Example { source: record.source, destination: record.destination };
        let line =
            edge.services.entry((record.service, said.map(|(state, _)| state))).or_insert_with(|| Line {
                sums: Sums::default(),
                seen,
                rules: Vec::new(),
                potential: Vec::new(),
                draft_rules: Vec::new(),
                example,
            });
        if seen[1] > line.seen[1] {
            line.example = example;
        }
        line.sums.add(&sums);
        widen(&mut line.seen, seen);
        note(&mut line.rules, &record.rule, || Arc::clone(&record.rule));
        if let Some(potential) = &record.potential {
            note(&mut line.potential, potential, || Arc::clone(potential));
        }
        if let Some((_, rule)) = said {
            note(&mut line.draft_rules, rule, || rule.into());
        }
    }
}

fn widen(seen: &mut [Timestamp; 2], other: [Timestamp; 2]) {
    *seen = [seen[0].min(other[0]), seen[1].max(other[1])];
}

fn note(names: &mut Vec<Arc<str>>, name: &str, shared: impl FnOnce() -> Arc<str>) {
    if names.len() < RULES_MAX && !names.iter().any(|known| **known == *name) {
        names.push(shared());
    }
}
