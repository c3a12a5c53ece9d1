//! What was dropped, summed up: by reason exactly, and by (reason, rule, source, destination, service) as far as the
//! workers' records reach.

use std::collections::HashMap;

use dataplane::records::{DropRecord, Records};
use dataplane::verdict::{DropReason, Side};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::advice::advice;
use super::names::{Who, service_name};

/// Different kinds of drop that are kept apart.
const KINDS_MAX: usize = 8192;
/// Records taken from one worker in one go, so that collecting takes bounded time.
const TAKE_MAX: usize = Records::DROPS;

/// Drops that have these things in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, ToSchema)]
pub struct DropKind {
    /// The stable name of the reason.
    #[schema(example = "policy")]
    pub reason: &'static str,
    /// The rule or default that denied, if policy did.
    pub rule: Option<String>,
    /// The wire or proxy.
    pub wire: String,
    /// The side they came in on.
    pub side: &'static str,
    /// Who sent them; none if the frame was no IP packet that could be read.
    pub source: Option<Who>,
    /// To whom.
    pub destination: Option<Who>,
    /// The service, as `tcp/443`.
    pub service: Option<String>,
}

/// How many drops of one kind there were.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DropCount {
    /// What they have in common.
    #[serde(flatten)]
    pub kind: DropKind,
    /// How many, of those recorded.
    pub count: u64,
    /// When the last one was seen, to a tenth of a second.
    #[schema(value_type = String)]
    pub last: Timestamp,
    /// The addresses of the last one.
    #[schema(value_type = Option<String>)]
    pub last_source: Option<std::net::IpAddr>,
    /// The addresses of the last one.
    #[schema(value_type = Option<String>)]
    pub last_destination: Option<std::net::IpAddr>,
}

/// What gives records their words.
pub trait Wording {
    /// The kind a record belongs to.
    fn kind(&self, record: &DropRecord) -> DropKind;
}

/// The collected records.
#[derive(Debug, Default)]
pub struct Drops {
    kinds: HashMap<DropKind, DropCount>,
    recorded: u64,
    forgotten: u64,
}

impl Drops {
    /// Takes the records that a worker wrote since.
    pub fn collect(&mut self, records: &Records, words: &impl Wording, at: Timestamp) {
        for _ in 0..TAKE_MAX {
            let Some(record) = records.next_drop() else { return };
            self.add(&record, words.kind(&record), at);
        }
    }

    fn add(&mut self, record: &DropRecord, kind: DropKind, at: Timestamp) {
        self.recorded += 1;
        if self.kinds.len() >= KINDS_MAX && !self.kinds.contains_key(&kind) {
            self.forget();
        }
        let entry = self.kinds.entry(kind).or_insert_with_key(|kind| DropCount {
            kind: kind.clone(),
            count: 0,
            last: at,
            last_source: None,
            last_destination: None,
        });
        entry.count += 1;
        entry.last = at;
        entry.last_source = record.flow.map(|flow| flow.source.to_ip());
        entry.last_destination = record.flow.map(|flow| flow.destination.to_ip());
    }

    /// Makes room: the half of the kinds that was not seen for longest is only counted.
    fn forget(&mut self) {
        let mut times: Vec<Timestamp> = self.kinds.values().map(|entry| entry.last).collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        let median = *median;
        let mut spare = middle;
        let forgotten = &mut self.forgotten;
        self.kinds.retain(|_, entry| {
            let goes = entry.last <= median && spare > 0;
            if goes {
                spare -= 1;
                *forgotten += entry.count;
            }
            !goes
        });
    }

    /// The `limit` most frequent kinds, most frequent first.
    #[must_use]
    pub fn top(&self, limit: usize) -> Vec<DropCount> {
        let mut all: Vec<&DropCount> = self.kinds.values().collect();
        all.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.kind.cmp(&b.kind)));
        all.into_iter().take(limit).cloned().collect()
    }

    /// Records collected, and those of them that belong to kinds no longer kept apart.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        (self.recorded, self.forgotten)
    }
}

/// The kind of a record, with names that the caller looked up.
#[must_use]
pub fn kind(
    record: &DropRecord,
    rule: Option<String>,
    wire: String,
    who: impl Fn(dataplane::address::Address) -> Who,
) -> DropKind {
    DropKind {
        reason: record.reason.name(),
        rule,
        wire,
        side: Side::name(record.side),
        source: record.flow.map(|flow| who(flow.source)),
        destination: record.flow.map(|flow| who(flow.destination)),
        service: record.flow.map(|flow| service_name(flow.service)),
    }
}

/// One reason and how often it was the reason; exact, whatever records were lost.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReasonCount {
    /// Its stable name.
    pub reason: &'static str,
    /// Frames.
    pub count: u64,
    /// What it means.
    pub meaning: &'static str,
    /// What to do about it.
    pub advice: &'static str,
}

/// The counter of every reason, `sum` telling each.
pub fn reasons(sum: impl Fn(DropReason) -> u64) -> Vec<ReasonCount> {
    let of = |&reason: &DropReason| ReasonCount {
        reason: reason.name(),
        count: sum(reason),
        meaning: reason.meaning().trim(),
        advice: advice(reason),
    };
    DropReason::ALL.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::clock::Now;
    use dataplane::counters::WorkerCounters;
    use dataplane::verdict::{Epoch, WireId};

    struct ByEpoch;

    impl Wording for ByEpoch {
        fn kind(&self, record: &DropRecord) -> DropKind {
            kind(record, Some(format!("rule {}", record.epoch.0)), "w".into(), |_| Who::Unknown)
        }
    }

    fn record(epoch: u32) -> DropRecord {
        DropRecord {
            at: Now::default(),
            wire: WireId(0),
            side: Side::Inside,
            reason: DropReason::Policy,
            epoch: Epoch(epoch),
            rule: None,
            flow: None,
            held: false,
        }
    }

    #[test]
    fn equal_drops_are_counted_together_most_frequent_first() {
        let (queue, counters) = (Records::new(), WorkerCounters::default());
        for epoch in [1, 2, 2, 3, 2, 3] {
            queue.dropped(record(epoch), &counters);
        }
        let mut drops = Drops::default();
        drops.collect(&queue, &ByEpoch, Timestamp::UNIX_EPOCH);
        let top: Vec<_> = drops.top(2).into_iter().map(|d| (d.kind.rule.unwrap(), d.count)).collect();
        assert_eq!(top, [("rule 2".to_owned(), 3), ("rule 3".to_owned(), 2)]);
        assert_eq!(drops.totals(), (6, 0));
    }

    #[test]
    fn a_flood_of_kinds_stays_bounded_and_loses_no_count() {
        let (queue, counters) = (Records::new(), WorkerCounters::default());
        let mut drops = Drops::default();
        let kinds = 3 * u32::try_from(KINDS_MAX).unwrap();
        for epoch in 0..kinds {
            queue.dropped(record(epoch), &counters);
            let at = Timestamp::from_second(i64::from(epoch)).unwrap();
            drops.collect(&queue, &ByEpoch, at);
        }
        assert!(drops.kinds.len() <= KINDS_MAX);
        let kept: u64 = drops.top(usize::MAX).iter().map(|d| d.count).sum();
        let (recorded, forgotten) = drops.totals();
        assert_eq!(recorded, u64::from(kinds));
        assert_eq!(kept + forgotten, recorded);
        let newest = format!("rule {}", kinds - 1);
        assert!(drops.top(usize::MAX).iter().any(|d| d.kind.rule.as_ref() == Some(&newest)));
    }

    #[test]
    fn every_reason_has_a_counter() {
        let counts = reasons(|reason| reason as u64);
        assert_eq!(counts.len(), DropReason::COUNT);
        let at = DropReason::NoPolicy as usize;
        assert_eq!((counts[at].reason, counts[at].count), ("no_policy", at as u64));
    }
}
