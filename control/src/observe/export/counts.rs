//! What an exporter did: events sent, events lost and where, and what went wrong last.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use utoipa::ToSchema;

/// Counts of one exporter. `offered = sent + queue_full + failed + waiting`, whenever nothing is under way.
#[derive(Debug, Default)]
pub(super) struct Counts {
    offered: AtomicU64,
    sent: AtomicU64,
    queue_full: AtomicU64,
    failed: AtomicU64,
    bytes: AtomicU64,
    error: Mutex<Option<String>>,
}

/// How an exporter is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ExporterView {
    /// `ipfix` or `jsonl`.
    pub name: &'static str,
    /// Where it sends to: `udp 127.0.0.1:4739`, or a path.
    pub target: String,
    /// Flow events that it was given.
    pub offered: u64,
    /// Of those, how many were handed to the network, or written.
    pub sent: u64,
    /// Of those, how many are lost: `queue_full` and `failed` together.
    pub lost: u64,
    /// Lost because events came faster than they could be sent.
    pub queue_full: u64,
    /// Lost because sending or writing failed.
    pub failed: u64,
    /// Events that wait to be sent.
    pub waiting: u64,
    /// Bytes sent or written.
    pub bytes: u64,
    /// Why the last attempt failed; none while it works.
    pub error: Option<String>,
}

fn add(count: &AtomicU64, n: u64) {
    count.fetch_add(n, Ordering::Relaxed);
}

impl Counts {
    /// An event was put into the queue.
    pub(super) fn queued(&self) {
        add(&self.offered, 1);
    }

    /// An event found the queue full.
    pub(super) fn turned_away(&self) {
        add(&self.offered, 1);
        add(&self.queue_full, 1);
    }

    /// `events` were sent in `bytes`; whatever was wrong is over.
    pub(super) fn sent(&self, events: u64, bytes: usize) {
        add(&self.sent, events);
        add(&self.bytes, bytes as u64);
    }

    /// `events` could not be sent.
    pub(super) fn failed(&self, events: u64) {
        add(&self.failed, events);
    }

    /// Events lost so far, for whatever reason.
    pub(super) fn lost(&self) -> u64 {
        self.queue_full.load(Ordering::Relaxed) + self.failed.load(Ordering::Relaxed)
    }

    /// Notes what is wrong; true if it is news.
    pub(super) fn trouble(&self, error: Option<String>) -> bool {
        let mut known = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        let news = known.is_some() != error.is_some();
        *known = error;
        news
    }

    /// How it is now.
    pub(super) fn view(&self, name: &'static str, target: &str) -> ExporterView {
        // What is given first is read last, so that what waits is never less than nothing.
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (sent, queue_full, failed) = (get(&self.sent), get(&self.queue_full), get(&self.failed));
        let offered = get(&self.offered);
        let lost = queue_full + failed;
        ExporterView {
            name,
            target: target.to_owned(),
            offered,
            sent,
            lost,
            queue_full,
            failed,
            waiting: offered.saturating_sub(sent + lost),
            bytes: get(&self.bytes),
            error: self.error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
