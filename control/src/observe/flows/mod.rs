//! Which flows there were, summed up by who spoke to whom about what, and what policy said.
//!
//! The log is what a candidate policy is simulated against, so it knows what it does not know: every event that a
//! worker had no room to tell is counted as missed; so are the times in which nobody listened. When there are too
//! many kinds of flow, those not seen for longest are folded: their addresses are given up, their labels are kept
//! (`fold`), and how many flows are known by labels only is told too.

mod collect;
mod facts;
mod fold;
mod keep;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use dataplane::verdict::{Answer, Verdict};
use jiff::{SignedDuration, Timestamp};

pub use collect::{Clock, Collector, Wording};
pub use facts::{Details, Facts, Outcome, Outcomes, RoundTrips};
pub use fold::Folded;
use fold::{Fold, FoldKind};

/// Different kinds of flow that are kept apart.
pub const KINDS_MAX: usize = 65_536;
/// How long a record is kept that no flow is added to.
const RETENTION: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What the flows of one record have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKind {
    /// Who opened them.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// What was asked for: `protocol << 16 | port`, as in the policy's service space.
    pub service: u32,
    /// What policy said.
    pub verdict: Verdict,
    /// The rule or default that decided.
    pub rule: Arc<str>,
    /// The rule or default that a gate in mode `observe` would have denied them with.
    pub potential: Option<Arc<str>>,
}

/// Flows of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    /// Who opened them.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// What was asked for: `protocol << 16 | port`, as in the policy's service space.
    pub service: u32,
    /// What policy said.
    pub verdict: Verdict,
    /// The rule or default that decided.
    pub rule: Arc<str>,
    /// The rule or default that a gate in mode `observe` would have denied them with.
    pub potential: Option<Arc<str>>,
    /// How many there were; for denied ones, how many packets asked.
    pub flows: u64,
    /// Their packets, both directions. A live flow's are added about once a minute, and when it ends.
    pub packets: u64,
    /// Their bytes, both directions, likewise.
    pub bytes: u64,
    /// When the first was seen.
    pub first_seen: Timestamp,
    /// When the last packet was seen, as far as known.
    pub last_seen: Timestamp,
    /// What drafts said, where they said otherwise; of drafts of this process only.
    pub drafts: Vec<DraftTally>,
    /// What else they add up to.
    pub facts: Facts,
    /// The tier of the rule.
    pub tier: Option<Arc<str>>,
    /// Set if these flows are known by the labels of their ends only: the addresses are then those of one of them.
    pub folded: Option<Folded>,
}

/// How often a draft would have answered otherwise than the policy in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DraftTally {
    /// The draft's number in its snapshots.
    pub draft: u16,
    /// What it would have answered.
    pub answer: Answer,
    /// To how many flows.
    pub flows: u64,
}

/// How much of what happened the log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completeness {
    /// Since when flows were recorded.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// Events in that time that are not in the log: flows opened, ended or denied.
    pub missed: u64,
    /// How often in that time nobody listened: the daemon was down.
    pub gaps: u32,
    /// Flows that are in the log by the labels of their ends only, not by their addresses.
    pub folded: u64,
}

impl Completeness {
    /// Whether nothing is missing.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.missed == 0 && self.gaps == 0
    }
}

/// What flows of one kind add up to.
#[derive(Clone, Debug)]
struct Sums {
    flows: u64,
    packets: u64,
    bytes: u64,
    first_seen: Timestamp,
    last_seen: Timestamp,
    drafts: Vec<DraftTally>,
    facts: Facts,
    tier: Option<Arc<str>>,
}

impl Sums {
    /// Of no flows, at the time of the first.
    fn at(first_seen: Timestamp, last_seen: Timestamp) -> Self {
        let facts = Facts::default();
        Self { flows: 0, packets: 0, bytes: 0, first_seen, last_seen, drafts: Vec::new(), facts, tier: None }
    }

    fn add(&mut self, addition: &Addition) {
        self.flows = self.flows.saturating_add(addition.flows);
        self.packets = self.packets.saturating_add(addition.packets);
        self.bytes = self.bytes.saturating_add(addition.bytes);
        self.first_seen = self.first_seen.min(addition.first_seen);
        self.last_seen = self.last_seen.max(addition.last_seen);
    }

    fn add_draft(&mut self, tally: DraftTally) {
        let same = |known: &&mut DraftTally| known.draft == tally.draft && known.answer == tally.answer;
        match self.drafts.iter_mut().find(same) {
            Some(known) => known.flows = known.flows.saturating_add(tally.flows),
            None => self.drafts.push(tally),
        }
    }
}

/// Something that happened to flows of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Addition {
    /// Flows that began.
    pub flows: u64,
    /// Packets to add.
    pub packets: u64,
    /// Bytes to add.
    pub bytes: u64,
    /// When the first was seen.
    pub first_seen: Timestamp,
    /// When the last packet was seen.
    pub last_seen: Timestamp,
}

/// The collected flows.
#[derive(Debug)]
pub struct RecordLog {
    kinds: HashMap<FlowKind, Sums>,
    folded: HashMap<FoldKind, Fold>,
    from: Timestamp,
    to: Timestamp,
    missed: u64,
    gaps: u32,
    /// Whether anything changed since it was last saved.
    changed: bool,
}

impl RecordLog {
    /// Nothing recorded yet, from `from` on.
    #[must_use]
    pub fn new(from: Timestamp) -> Self {
        let (kinds, folded) = (HashMap::new(), HashMap::new());
        Self { kinds, folded, from, to: from, missed: 0, gaps: 0, changed: false }
    }

    /// Every record, in no particular order; also those that are known by labels only.
    pub fn each(&self) -> impl Iterator<Item = FlowRecord> + '_ {
        let kinds = self.kinds.iter().map(|(kind, sums)| sums.record(kind.clone(), None));
        kinds.chain(self.folded.iter().map(|(kind, fold)| fold.record(kind)))
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kinds.len() + self.folded.len()
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How much of what happened is here.
    #[must_use]
    pub fn completeness(&self) -> Completeness {
        let folded = self.folded.values().fold(0, |sum: u64, fold| sum.saturating_add(fold.flows()));
        Completeness { from: self.from, to: self.to, missed: self.missed, gaps: self.gaps, folded }
    }

    /// The log is up to date as of `at`, but for `missed` events more.
    pub fn seen_until(&mut self, at: Timestamp, missed: u64) {
        self.to = self.to.max(at);
        self.missed = self.missed.saturating_add(missed);
        self.changed |= missed > 0;
    }

    /// Adds to the record of `kind`. Without room for another kind, some are given up and counted as missed: see
    /// [`RecordLog::make_room`].
    pub fn add(&mut self, kind: FlowKind, addition: &Addition) {
        self.changed = true;
        if self.is_full_for(&kind) {
            self.forget();
        }
        let new = || Sums::at(addition.first_seen, addition.last_seen);
        self.kinds.entry(kind).or_insert_with(new).add(addition);
    }

    /// What else is known of `flows` that were just added to the record of `kind`, and the tier of its rule.
    pub fn add_details(
        &mut self,
        kind: &FlowKind,
        flows: u64,
        details: &Details,
        tier: impl FnOnce() -> Option<Arc<str>>,
    ) {
        let Some(sums) = self.kinds.get_mut(kind) else { return };
        sums.facts.note(details, flows);
        if sums.tier.is_none() {
            sums.tier = tier();
        }
    }

    /// A draft answers otherwise than the policy in force did, to one flow of `kind`. Not of a kind that was given up.
    pub fn add_draft(&mut self, kind: &FlowKind, draft: u16, answer: Answer) {
        if let Some(sums) = self.kinds.get_mut(kind) {
            sums.add_draft(DraftTally { draft, answer, flows: 1 });
        }
    }

    fn is_full_for(&self, kind: &FlowKind) -> bool {
        self.kinds.len() >= KINDS_MAX && !self.kinds.contains_key(kind)
    }

    /// Forgets what drafts said that are not among `known`.
    pub fn keep_drafts(&mut self, known: &[u16]) {
        let folded = self.folded.values_mut().map(Fold::sums);
        for sums in self.kinds.values_mut().chain(folded).filter(|sums| !sums.drafts.is_empty()) {
            sums.drafts.retain(|tally| known.contains(&tally.draft));
        }
    }

    /// Gives up records that no flow was added to for long; the log then begins later.
    pub fn expire(&mut self, now: Timestamp) {
        let Ok(first) = now.checked_sub(RETENTION) else { return };
        if first > self.from {
            self.kinds.retain(|_, sums| sums.last_seen >= first);
            self.folded.retain(|_, fold| fold.sums().last_seen >= first);
            self.from = first;
        }
    }
}

impl Sums {
    fn record(&self, kind: FlowKind, folded: Option<Folded>) -> FlowRecord {
        FlowRecord {
            source: kind.source,
            destination: kind.destination,
            service: kind.service,
            verdict: kind.verdict,
            rule: kind.rule,
            potential: kind.potential,
            flows: self.flows,
            packets: self.packets,
            bytes: self.bytes,
            first_seen: self.first_seen,
            last_seen: self.last_seen,
            drafts: self.drafts.clone(),
            facts: self.facts,
            tier: self.tier.clone(),
            folded,
        }
    }
}

#[cfg(test)]
mod tests;
