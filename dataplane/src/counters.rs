//! What a worker counts.
//!
//! Each worker owns one [`WorkerCounters`]; only that worker adds, anybody reads. A single writer needs no
//! read-modify-write: a relaxed load and store is exact and costs no bus lock.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::verdict::{DropReason, Side};

/// A count with one writer and any number of readers.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning worker may call this: two writers would lose counts.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Replaces the count, where it says how many there are at the moment. Only the owning worker may call this.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The count so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts of one side of one worker's queue pair.
#[derive(Debug, Default)]
pub struct SideCounters {
    /// Frames received from this side.
    pub received: Counter,
    /// Bytes of those frames, without preamble and checksum.
    pub received_bytes: Counter,
    /// Frames that came in on this side, or were made here as if they had, and were taken by the other side's
    /// transmit ring. Counted by the owner of that ring; the pipeline counts the rest.
    pub forwarded: Counter,
}

/// All counts of one worker. Conservation, whenever the worker is between batches:
/// `received + made = forwarded + dropped + held`, summed over both sides and all reasons.
#[derive(Debug)]
#[repr(align(128))]
pub struct WorkerCounters {
    inside: SideCounters,
    outside: SideCounters,
    dropped: [Counter; DropReason::COUNT],
    /// Frames made here, to tell a sender that its frame was refused.
    pub made: Counter,
    /// Frames that were not made because the limit was reached, or no chunk was free.
    pub answers_suppressed: Counter,
    /// Fragments held at this moment, waiting for their first one.
    pub held: Counter,
    /// Policy decisions made: for new flows, stale flows and stateless messages. Equals the sum of all rule and
    /// default hits.
    pub decisions: Counter,
    /// Packets of a flow that the table knew, decided under the epoch in force.
    pub flow_hits: Counter,
    /// Packets of a flow that had to be decided again because the epoch changed.
    pub flow_stale: Counter,
    /// Packets for which the table knew no flow.
    pub flow_misses: Counter,
    /// Flows inserted.
    pub flows_opened: Counter,
    /// Flows evicted to make room.
    pub flows_evicted: Counter,
    /// Flows cut because a newer policy denies them.
    pub flows_cut: Counter,
    /// Frames whose unfinished checksum was completed.
    pub checksums_finished: Counter,
    /// Packets that a gate in mode `observe` would have dropped.
    pub potentially_blocked: Counter,
    /// Drop records that the queue had no room for.
    pub drop_records_lost: Counter,
    /// Flow events there were, told or lost.
    pub flow_events: Counter,
    /// Flow events that the queue had no room for.
    pub flow_events_lost: Counter,
}

impl Default for WorkerCounters {
    fn default() -> Self {
        Self {
            inside: SideCounters::default(),
            outside: SideCounters::default(),
            dropped: core::array::from_fn(|_| Counter::default()),
            made: Counter::default(),
            answers_suppressed: Counter::default(),
            held: Counter::default(),
            decisions: Counter::default(),
            flow_hits: Counter::default(),
            flow_stale: Counter::default(),
            flow_misses: Counter::default(),
            flows_opened: Counter::default(),
            flows_evicted: Counter::default(),
            flows_cut: Counter::default(),
            checksums_finished: Counter::default(),
            potentially_blocked: Counter::default(),
            drop_records_lost: Counter::default(),
            flow_events: Counter::default(),
            flow_events_lost: Counter::default(),
        }
    }
}

impl WorkerCounters {
    /// The counts of frames that came in on `side`.
    #[must_use]
    pub fn side(&self, side: Side) -> &SideCounters {
        match side {
            Side::Inside => &self.inside,
            Side::Outside => &self.outside,
        }
    }

    /// Frames dropped for `reason`.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> &Counter {
        &self.dropped[reason as usize]
    }

    /// Frames dropped for any reason.
    #[must_use]
    pub fn dropped_in_all(&self) -> u64 {
        self.dropped.iter().map(Counter::get).sum()
    }

    /// Frames received or made minus those forwarded, dropped or held. Zero between batches; anything else is a leak.
    #[must_use]
    pub fn unaccounted(&self) -> i128 {
        let sum = |count: fn(&SideCounters) -> &Counter| {
            i128::from(count(&self.inside).get()) + i128::from(count(&self.outside).get())
        };
        sum(|side| &side.received) + i128::from(self.made.get())
            - sum(|side| &side.forwarded)
            - i128::from(self.dropped_in_all())
            - i128::from(self.held.get())
    }
}
