//! Which flows there were, summed up by who spoke to whom about what, and what policy said.
//!
//! The log is what a candidate policy is simulated against, so it knows what it does not know: every event that a
//! worker had no room to tell, and every record given up for lack of room, is counted as missed; so are the times in
//! which nobody listened.

mod collect;
mod keep;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use dataplane::verdict::{Answer, Verdict};
use jiff::{SignedDuration, Timestamp};

pub use collect::{Clock, Collector, Wording};

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
    /// Their packets, both directions. A live flow's are added when it ends.
    pub packets: u64,
    /// Their bytes, both directions, likewise.
    pub bytes: u64,
    /// When the first was seen.
    pub first_seen: Timestamp,
    /// When the last packet was seen, as far as known.
    pub last_seen: Timestamp,
    /// What drafts said, where they said otherwise; of drafts of this process only.
    pub drafts: Vec<DraftTally>,
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
        Self { kinds: HashMap::new(), from, to: from, missed: 0, gaps: 0, changed: false }
    }

    /// Every record, in no particular order.
    pub fn each(&self) -> impl Iterator<Item = FlowRecord> + '_ {
        self.kinds.iter().map(|(kind, sums)| FlowRecord {
            source: kind.source,
            destination: kind.destination,
            service: kind.service,
            verdict: kind.verdict,
            rule: Arc::clone(&kind.rule),
            potential: kind.potential.clone(),
            flows: sums.flows,
            packets: sums.packets,
            bytes: sums.bytes,
            first_seen: sums.first_seen,
            last_seen: sums.last_seen,
            drafts: sums.drafts.clone(),
        })
    }

    /// How many kinds there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// How much of what happened is here.
    #[must_use]
    pub const fn completeness(&self) -> Completeness {
        Completeness { from: self.from, to: self.to, missed: self.missed, gaps: self.gaps }
    }

    /// The log is up to date as of `at`, but for `missed` events more.
    pub fn seen_until(&mut self, at: Timestamp, missed: u64) {
        self.to = self.to.max(at);
        self.missed = self.missed.saturating_add(missed);
        self.changed |= missed > 0;
    }

    /// Adds to the record of `kind`, making room if need be.
    pub fn add(&mut self, kind: FlowKind, addition: &Addition) {
        self.changed = true;
        if self.kinds.len() >= KINDS_MAX && !self.kinds.contains_key(&kind) {
            self.forget();
        }
        let sums = self.kinds.entry(kind).or_insert_with(|| Sums {
            flows: 0,
            packets: 0,
            bytes: 0,
            first_seen: addition.first_seen,
            last_seen: addition.last_seen,
            drafts: Vec::new(),
        });
        sums.flows = sums.flows.saturating_add(addition.flows);
        sums.packets = sums.packets.saturating_add(addition.packets);
        sums.bytes = sums.bytes.saturating_add(addition.bytes);
        sums.first_seen = sums.first_seen.min(addition.first_seen);
        sums.last_seen = sums.last_seen.max(addition.last_seen);
    }

    /// A draft answers otherwise than the policy in force did, to one flow of `kind`. Not of a kind that was given up.
    pub fn add_draft(&mut self, kind: &FlowKind, draft: u16, answer: Answer) {
        let Some(sums) = self.kinds.get_mut(kind) else { return };
        let same = |tally: &&mut DraftTally| tally.draft == draft && tally.answer == answer;
        match sums.drafts.iter_mut().find(same) {
            Some(tally) => tally.flows = tally.flows.saturating_add(1),
            None => sums.drafts.push(DraftTally { draft, answer, flows: 1 }),
        }
    }

    /// Forgets what drafts said that are not among `known`.
    pub fn keep_drafts(&mut self, known: &[u16]) {
        for sums in self.kinds.values_mut().filter(|sums| !sums.drafts.is_empty()) {
            sums.drafts.retain(|tally| known.contains(&tally.draft));
        }
    }

    /// Gives up records that no flow was added to for long; the log then begins later.
    pub fn expire(&mut self, now: Timestamp) {
        let Ok(first) = now.checked_sub(RETENTION) else { return };
        if first > self.from {
            self.kinds.retain(|_, sums| sums.last_seen >= first);
            self.from = first;
        }
    }

    /// Makes room: the eighth of the records that was not seen for longest is only counted, as missed.
    fn forget(&mut self) {
        let mut times: Vec<Timestamp> = self.kinds.values().map(|sums| sums.last_seen).collect();
        let goes = (times.len() / 8).max(1);
        let (_, last, _) = times.select_nth_unstable(goes - 1);
        let last = *last;
        let (mut spare, mut missed) = (goes, 0u64);
        self.kinds.retain(|_, sums| {
            let gone = sums.last_seen <= last && spare > 0;
            if gone {
                spare -= 1;
                missed = missed.saturating_add(sums.flows.max(1));
            }
            !gone
        });
        self.missed = self.missed.saturating_add(missed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn kind(n: u32) -> FlowKind {
        FlowKind {
            source: IpAddr::V4(n.into()),
            destination: IpAddr::V4([10, 0, 0, 1].into()),
            service: 6 << 16 | 443,
            verdict: Verdict::Allow,
            rule: "web".into(),
            potential: None,
        }
    }

    fn one(second: i64) -> Addition {
        Addition { flows: 1, packets: 3, bytes: 180, first_seen: at(second), last_seen: at(second + 1) }
    }

    #[test]
    fn equal_flows_are_one_record() {
        let mut log = RecordLog::new(at(0));
        for second in [5, 3, 9] {
            log.add(kind(1), &one(second));
        }
        log.add(kind(2), &one(4));
        log.seen_until(at(10), 0);
        let mut records: Vec<_> = log.each().collect();
        records.sort_by_key(|record| record.source);
        let sums: Vec<_> = records.iter().map(|r| (r.flows, r.packets, r.bytes)).collect();
        assert_eq!(sums, [(3, 9, 540), (1, 3, 180)]);
        assert_eq!((records[0].first_seen, records[0].last_seen), (at(3), at(10)));
        assert_eq!(log.completeness(), Completeness { from: at(0), to: at(10), missed: 0, gaps: 0 });
        log.expire(at(9 + 30 * 86_400));
        let left: Vec<_> = log.each().map(|record| record.source).collect();
        assert_eq!(left, [IpAddr::V4(1.into())], "the other was last seen too long ago");
        assert_eq!(log.completeness().from, at(9));
    }

    #[test]
    fn drafts_are_tallied_where_they_differ() {
        let mut log = RecordLog::new(at(0));
        log.add(kind(1), &one(1));
        for (draft, answer) in
            [(3, Answer::Deny), (3, Answer::Deny), (4, Answer::Reject), (3, Answer::Reject)]
        {
            log.add_draft(&kind(1), draft, answer);
        }
        log.add_draft(&kind(2), 3, Answer::Deny);
        let tallies = |log: &RecordLog| -> Vec<_> {
            log.each().flat_map(|record| record.drafts).map(|t| (t.draft, t.answer, t.flows)).collect()
        };
        let all = [(3, Answer::Deny, 2), (4, Answer::Reject, 1), (3, Answer::Reject, 1)];
        assert_eq!(tallies(&log), all);
        log.keep_drafts(&[4]);
        assert_eq!(tallies(&log), [(4, Answer::Reject, 1)]);
    }

    #[test]
    fn a_flood_of_kinds_stays_bounded_and_is_counted_as_missed() {
        let mut log = RecordLog::new(at(0));
        let kinds = u32::try_from(KINDS_MAX).unwrap() + 10_000;
        for n in 0..kinds {
            log.add(kind(n), &one(i64::from(n)));
        }
        assert!(log.kinds.len() <= KINDS_MAX);
        let kept: u64 = log.each().map(|record| record.flows).sum();
        assert_eq!(kept + log.completeness().missed, u64::from(kinds));
        assert!(log.kinds.contains_key(&kind(kinds - 1)), "the newest stays");
        assert!(!log.kinds.contains_key(&kind(0)), "the oldest goes");
    }
}
