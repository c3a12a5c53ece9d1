//! Records of which only the labels of both ends are kept, for want of room.
//!
//! What policy says of a flow depends on the labels of its ends more than on their addresses, so the labels are what
//! a candidate policy can still be held against. One pair of addresses is kept of each, as an example.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use dataplane::verdict::Verdict;
use jiff::Timestamp;

use super::{FlowKind, FlowRecord, RecordLog, Sums};

/// Label tuples that are kept apart. Beyond it, those not seen for longest are only counted, as missed.
pub(super) const FOLDS_MAX: usize = 16_384;

/// What the flows of one folded record have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FoldKind {
    /// The labels of who opened them, in words.
    pub(super) source: Arc<str>,
    /// The labels of whom they were opened to.
    pub(super) destination: Arc<str>,
    pub(super) service: u32,
    pub(super) verdict: Verdict,
    pub(super) rule: Arc<str>,
    pub(super) potential: Option<Arc<str>>,
}

/// What they add up to.
#[derive(Clone, Debug)]
pub(super) struct Fold {
    pub(super) sums: Sums,
    /// Records that went into this one.
    pub(super) records: u64,
    /// One of them: who opened it, and to whom.
    pub(super) example: [IpAddr; 2],
}

/// What is known of flows whose addresses were given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded {
    /// The labels of who opened them: `app=shop,role=web`, `unlabelled`, `network NAME` or `unknown`, as they were
    /// when the records were folded.
    pub source: Arc<str>,
    /// The labels of whom they were opened to.
    pub destination: Arc<str>,
    /// How many records went into this one; the same addresses may have come more than once.
    pub records: u64,
}

impl Fold {
    pub(super) const fn sums(&mut self) -> &mut Sums {
        &mut self.sums
    }

    pub(super) const fn flows(&self) -> u64 {
        self.sums.flows
    }

    pub(super) fn record(&self, kind: &FoldKind) -> FlowRecord {
        let FoldKind { source, destination, service, verdict, rule, potential } = kind.clone();
        let [from, to] = self.example;
        let kind = FlowKind { source: from, destination: to, service, verdict, rule, potential };
        self.sums.record(kind, Some(Folded { source, destination, records: self.records }))
    }
}

impl Sums {
    /// Adds those of other flows.
    fn join(&mut self, other: Self) {
        self.flows = self.flows.saturating_add(other.flows);
        self.packets = self.packets.saturating_add(other.packets);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
        other.drafts.into_iter().for_each(|tally| self.add_draft(tally));
        self.facts.add(&other.facts);
        self.tier = self.tier.take().or(other.tier);
    }
}

/// Of so many times the eighth that is longest ago, at least one: how many those are, and the last of them.
fn oldest_eighth(mut times: Vec<Timestamp>) -> (usize, Timestamp) {
    let count = (times.len() / 8).max(1);
    let (_, last, _) = times.select_nth_unstable(count - 1);
    (count, *last)
}

/// Takes the eighth out of `map` that was not seen for longest.
fn take_oldest<K: Eq + std::hash::Hash, V>(
    map: &mut HashMap<K, V>,
    last_seen: impl Fn(&V) -> Timestamp,
) -> Vec<(K, V)> {
    if map.is_empty() {
        return Vec::new();
    }
    let (mut spare, last) = oldest_eighth(map.values().map(&last_seen).collect());
    let gone = map.extract_if(|_, value| {
        let goes = last_seen(value) <= last && spare > 0;
        spare -= usize::from(goes);
        goes
    });
    gone.collect()
}

impl RecordLog {
    /// If another kind would find no room: folds the eighth of the records that was not seen for longest into records
    /// that keep only what `labels` says of their addresses.
    pub fn make_room(&mut self, kind: &FlowKind, mut labels: impl FnMut(IpAddr) -> Arc<str>) {
        if !self.is_full_for(kind) {
            return;
        }
        self.changed = true;
        let mut known: HashMap<IpAddr, Arc<str>> = HashMap::new();
        for (kind, sums) in take_oldest(&mut self.kinds, |sums| sums.last_seen) {
            let mut named = |address| Arc::clone(known.entry(address).or_insert_with(|| labels(address)));
            let example = [kind.source, kind.destination];
            let [source, destination] = example.map(&mut named);
            let FlowKind { service, verdict, rule, potential, .. } = kind;
            self.fold(FoldKind { source, destination, service, verdict, rule, potential }, sums, example);
        }
    }

    fn fold(&mut self, kind: FoldKind, sums: Sums, example: [IpAddr; 2]) {
        if self.folded.len() >= FOLDS_MAX && !self.folded.contains_key(&kind) {
            for (_, fold) in take_oldest(&mut self.folded, |fold| fold.sums.last_seen) {
                self.missed = self.missed.saturating_add(fold.flows().max(1));
            }
        }
        match self.folded.get_mut(&kind) {
            Some(fold) => {
                if sums.last_seen >= fold.sums.last_seen {
                    fold.example = example;
                }
                fold.sums.join(sums);
                fold.records += 1;
            }
            None => drop(self.folded.insert(kind, Fold { sums, records: 1, example })),
        }
    }

    /// Makes room where nobody knows labels: the eighth of the records that was not seen for longest is only
    /// counted, as missed.
    pub(super) fn forget(&mut self) {
        for (_, sums) in take_oldest(&mut self.kinds, |sums| sums.last_seen) {
            self.missed = self.missed.saturating_add(sums.flows.max(1));
        }
    }
}
