//! Which flows there were, summed up by who spoke to whom about what, and what policy said.
//!
//! The log is what a candidate policy is simulated against, so it knows what it does not know: every event that a
//! worker had no room to tell, and every record given up for lack of room, is counted as missed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use dataplane::verdict::Verdict;
use jiff::Timestamp;

/// Different kinds of flow that are kept apart.
pub const KINDS_MAX: usize = 65_536;

/// What the flows of one record have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKind {
    /// Who opened them.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// What was asked for: `protocol << 16 | port`, as in the policy's service space.
    pub service: u32,
    /// What policy said; for a live flow that was cut later, what it said first.
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
}

impl Completeness {
    /// Whether nothing is missing.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.missed == 0
    }
}

/// What flows of one kind add up to.
#[derive(Clone, Copy, Debug)]
struct Sums {
    flows: u64,
    packets: u64,
    bytes: u64,
    first_seen: Timestamp,
    last_seen: Timestamp,
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
}

impl RecordLog {
    /// Nothing recorded yet, from `from` on.
    #[must_use]
    pub fn new(from: Timestamp) -> Self {
        Self { kinds: HashMap::new(), from, to: from, missed: 0 }
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
        })
    }

    /// How much of what happened is here.
    #[must_use]
    pub const fn completeness(&self) -> Completeness {
        Completeness { from: self.from, to: self.to, missed: self.missed }
    }

    /// The log is up to date as of `at`, but for `missed` events more.
    pub fn seen_until(&mut self, at: Timestamp, missed: u64) {
        self.to = self.to.max(at);
        self.missed = self.missed.saturating_add(missed);
    }

    /// Adds to the record of `kind`, making room if need be.
    pub fn add(&mut self, kind: FlowKind, addition: &Addition) {
        if self.kinds.len() >= KINDS_MAX && !self.kinds.contains_key(&kind) {
            self.forget();
        }
        let sums = self.kinds.entry(kind).or_insert(Sums {
            flows: 0,
            packets: 0,
            bytes: 0,
            first_seen: addition.first_seen,
            last_seen: addition.last_seen,
        });
        sums.flows = sums.flows.saturating_add(addition.flows);
        sums.packets = sums.packets.saturating_add(addition.packets);
        sums.bytes = sums.bytes.saturating_add(addition.bytes);
        sums.first_seen = sums.first_seen.min(addition.first_seen);
        sums.last_seen = sums.last_seen.max(addition.last_seen);
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
        assert_eq!(log.completeness(), Completeness { from: at(0), to: at(10), missed: 0 });
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
