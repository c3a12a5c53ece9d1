//! Copies of frames for whoever asks to see them.
//!
//! While nobody asks, a worker pays one load per batch. While somebody does, it holds each frame against a filter and
//! copies what matches, up to a snap length, into a chunk of a bounded queue that the control thread made beforehand:
//! no allocation, no lock. When no chunk is free the copy is lost, counted; the frame goes its way in any case.

mod filter;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use crossbeam::queue::ArrayQueue;

use crate::address::Address;
use crate::clock::Now;
use crate::counters::Counter;
use crate::headers::Ip;
use crate::policy::ServiceKey;
use crate::verdict::{DropReason, Epoch, RuleId, Side, WireId};

pub use filter::{Ends, Fates, Filter, Sieve};

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was handed on to the other side.
    Forwarded,
    /// It was lost.
    Dropped(DropReason),
}

/// A frame and what became of it, as the worker sees it.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// When its batch was taken.
    pub at: Now,
    /// The wire it came in on.
    pub wire: WireId,
    /// The side it came in on.
    pub side: Side,
    /// What became of it.
    pub fate: Fate,
    /// The policy that said so.
    pub epoch: Epoch,
    /// The rule or default, where one was asked.
    pub rule: Option<RuleId>,
    /// What its headers said, if they could be read.
    pub ip: Option<&'a Ip>,
    /// Its place among the frames of its batch: see [`Copied::order`].
    pub order: u32,
}

/// A copy of a frame.
#[derive(Clone, Debug, Default)]
pub struct Copied {
    /// When its batch was taken.
    pub at: Now,
    /// The wire it came in on.
    pub wire: WireId,
    /// Whether it came in on the outside.
    pub from_outside: bool,
    /// Why it was dropped, if it was.
    pub dropped: Option<DropReason>,
    /// The policy that said so.
    pub epoch: Epoch,
    /// The rule or default, where one was asked.
    pub rule: Option<RuleId>,
    /// Copies of frames of this side that were lost before it, since the capture began.
    pub lost_before: u64,
    /// Source and destination, and what was asked for (`protocol << 16 | port`), if its headers could be read.
    pub ends: Option<([Address; 2], u32)>,
    /// Puts copies of one side and one moment into the order that the frames had.
    pub order: u32,
    /// How long the frame was, bytes.
    pub len: usize,
    /// Its beginning.
    pub bytes: Vec<u8>,
}

impl Copied {
    /// The side it came in on.
    #[must_use]
    pub const fn side(&self) -> Side {
        if self.from_outside { Side::Outside } else { Side::Inside }
    }
}

/// Counts of the frames of one side.
#[derive(Debug, Default)]
struct Counters {
    matched: Counter,
    limited: Counter,
    lost: Counter,
}

/// What happened to frames of one side that match the filter: copied are those that are neither limited nor lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that match.
    pub matched: u64,
    /// Of them, those beyond the rate that was asked for.
    pub limited: u64,
    /// Of them, those for which no chunk was free.
    pub lost: u64,
}

/// The queue from one worker to the control thread, for one capture.
#[derive(Debug)]
pub struct Lane {
    sieve: Arc<Sieve>,
    free: ArrayQueue<Box<Copied>>,
    full: ArrayQueue<Box<Copied>>,
    inside: Counters,
    outside: Counters,
}

impl Lane {
    /// With `chunks` (at least 1) chunks of the filter's snap length, allocated here.
    #[must_use]
    pub fn new(sieve: Arc<Sieve>, chunks: usize) -> Self {
        let chunks = chunks.max(1);
        let free = ArrayQueue::new(chunks);
        for _ in 0..chunks {
            let bytes = Vec::with_capacity(sieve.filter.snap_len);
            // There are as many places as chunks.
            let _ = free.push(Box::new(Copied { bytes, ..Copied::default() }));
        }
        let (inside, outside) = (Counters::default(), Counters::default());
        Self { sieve, free, full: ArrayQueue::new(chunks), inside, outside }
    }

    const fn of(&self, side: Side) -> &Counters {
        match side {
            Side::Inside => &self.inside,
            Side::Outside => &self.outside,
        }
    }

    /// Copies a frame if it matches. Only for the worker whose lane this is.
    pub fn offer(&self, sight: &Sight<'_>, bytes: &[u8]) {
        if !self.sieve.admits(sight) {
            return;
        }
        let counters = self.of(sight.side);
        counters.matched.add(1);
        if !self.sieve.is_within_rate(sight.at) {
            return counters.limited.add(1);
        }
        let Some(mut chunk) = self.free.pop() else { return counters.lost.add(1) };
        let kept = bytes.get(..self.sieve.filter.snap_len).unwrap_or(bytes);
        chunk.at = sight.at;
        chunk.wire = sight.wire;
        chunk.from_outside = sight.side == Side::Outside;
        chunk.dropped = match sight.fate {
            Fate::Forwarded => None,
            Fate::Dropped(reason) => Some(reason),
        };
        chunk.epoch = sight.epoch;
        chunk.rule = sight.rule;
        chunk.ends = sight
            .ip
            .map(|ip| ([ip.source, ip.destination], ServiceKey::of(ip.protocol, &ip.transport).value()));
        chunk.order = sight.order;
        chunk.lost_before = counters.lost.get();
        chunk.len = bytes.len();
        chunk.bytes.clear();
        // Within its capacity: nothing is allocated.
        chunk.bytes.extend_from_slice(kept);
        if self.full.push(chunk).is_err() {
            counters.lost.add(1);
        }
    }

    /// The oldest copy; to be given back with [`Lane::give_back`].
    #[must_use]
    pub fn next(&self) -> Option<Box<Copied>> {
        self.full.pop()
    }

    /// Makes the chunk of a copy free again.
    pub fn give_back(&self, copy: Box<Copied>) {
        // There are as many places as chunks.
        let _ = self.free.push(copy);
    }

    /// What happened to the frames of a side so far.
    #[must_use]
    pub fn counts(&self, side: Side) -> Counts {
        let Counters { matched, limited, lost } = self.of(side);
        Counts { matched: matched.get(), limited: limited.get(), lost: lost.get() }
    }
}

/// Where a worker finds out whether a capture runs.
#[derive(Debug, Default)]
pub struct Tap {
    active: AtomicBool,
    lane: ArcSwapOption<Lane>,
}

impl Tap {
    /// The lane of the capture that runs; the worker holds it for one batch.
    #[inline]
    #[must_use]
    pub fn current(&self) -> Option<Arc<Lane>> {
        if self.active.load(Ordering::Relaxed) { self.lane.load_full() } else { None }
    }

    /// Begins a capture. Whoever calls keeps the lane until nobody else has it, so that no worker frees it.
    pub fn open(&self, lane: Arc<Lane>) {
        self.lane.store(Some(lane));
        self.active.store(true, Ordering::Relaxed);
    }

    /// Ends it. A worker may still be in a batch that began before: it has done with the lane when nobody but the
    /// caller holds it.
    pub fn close(&self) {
        self.active.store(false, Ordering::Relaxed);
        self.lane.store(None);
    }
}

#[cfg(test)]
mod tests;
