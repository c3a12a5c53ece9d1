//! The rows of the comparison: what is asked of every candidate, and what figures come of it.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde::Serialize;

use super::load::{Outcome, Work};
use super::peer::Candidate;

/// Connections with requests under way.
const REQUESTING: u32 = 64;

/// The least share of its time that the CPU in the middle must be busy for a figure by it: the load alone keeps it busy
/// for two or three hundredths.
const LEAST_BUSY: f64 = 0.05;

/// One thing that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Row {
    /// Bytes through one connection.
    #[value(name = "bulk-1")]
    Bulk1,
    /// Bytes through 16 connections.
    #[value(name = "bulk-16")]
    Bulk16,
    /// Bytes through 256 connections.
    #[value(name = "bulk-256")]
    Bulk256,
    /// Requests of a byte, 64 under way.
    #[value(name = "requests-1b")]
    Requests1b,
    /// Requests of 1 KiB, 64 under way.
    #[value(name = "requests-1k")]
    Requests1k,
    /// Requests of 16 KiB, 64 under way.
    #[value(name = "requests-16k")]
    Requests16k,
    /// Latency of requests of a byte, 5,000 a second over 64 connections.
    #[value(name = "latency-1b")]
    Latency1b,
    /// Latency of requests of a byte, 20,000 a second over 1,024 connections.
    #[value(name = "latency-1b-busy")]
    Latency1bBusy,
    /// Latency of requests of 16 KiB, 2,000 a second over 64 connections.
    #[value(name = "latency-16k")]
    Latency16k,
    /// Connect, one request, close.
    #[value(name = "connects")]
    Connects,
    /// Connect and be refused.
    #[value(name = "denied")]
    Denied,
}

impl Row {
    /// Its name in tables and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bulk1 => "bulk-1",
            Self::Bulk16 => "bulk-16",
            Self::Bulk256 => "bulk-256",
            Self::Requests1b => "requests-1b",
            Self::Requests1k => "requests-1k",
            Self::Requests16k => "requests-16k",
            Self::Latency1b => "latency-1b",
            Self::Latency1bBusy => "latency-1b-busy",
            Self::Latency16k => "latency-16k",
            Self::Connects => "connects",
            Self::Denied => "denied",
        }
    }

    /// What the clients do.
    #[must_use]
    pub const fn work(self) -> Work {
        match self {
            Self::Bulk1 => Work::Bulk { connections: 1 },
            Self::Bulk16 => Work::Bulk { connections: 16 },
            Self::Bulk256 => Work::Bulk { connections: 256 },
            Self::Requests1b => Work::Requests { connections: REQUESTING, bytes: 1 },
            Self::Requests1k => Work::Requests { connections: REQUESTING, bytes: 1 << 10 },
            Self::Requests16k => Work::Requests { connections: REQUESTING, bytes: 1 << 14 },
            Self::Latency1b => Work::Paced { connections: REQUESTING, bytes: 1, rate: 5_000 },
            Self::Latency1bBusy => Work::Paced { connections: 1024, bytes: 1, rate: 20_000 },
            Self::Latency16k => Work::Paced { connections: REQUESTING, bytes: 1 << 14, rate: 2_000 },
            Self::Connects => Work::Connects { slots: 64 },
            Self::Denied => Work::Denied { slots: 64 },
        }
    }

    /// Whether `candidate` can be asked.
    #[must_use]
    pub const fn is_for(self, candidate: Candidate) -> bool {
        match candidate {
            // It differs from the other one in nothing else.
            Candidate::RingfenceAccepts => matches!(self, Self::Denied),
            _ => candidate.judges() || !matches!(self, Self::Denied),
        }
    }

    /// Whether its figures are times, of which less is better.
    #[must_use]
    pub const fn is_of_time(self) -> bool {
        matches!(self.work(), Work::Paced { .. })
    }

    /// The unit of its figures, for people.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self.work() {
            Work::Bulk { .. } => "Gbit/s",
            Work::Requests { .. } => "requests/s",
            Work::Paced { .. } => "us",
            Work::Connects { .. } => "connections/s",
            Work::Denied { .. } => "refusals/s",
            Work::Idle { .. } => "connections",
        }
    }

    /// The figures of one outcome, by name: `rate`, in the row's unit, and the same by what the CPU in the middle was busy
    /// (`per core`, unless that was next to nothing); of a latency row `p50` and `p99` instead.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of seconds")]
    pub fn figures(self, outcome: &Outcome) -> BTreeMap<&'static str, f64> {
        let per_second = |count: u64| count as f64 / outcome.seconds.max(1e-9);
        let rates = |rate: f64| {
            let [_, middle] = outcome.busy;
            let per_core = (middle >= LEAST_BUSY).then(|| ("per core", rate / middle));
            [("rate", rate)].into_iter().chain(per_core).collect()
        };
        match self.work() {
            Work::Bulk { .. } => rates(per_second(outcome.received) * 8.0 / 1e9),
            Work::Paced { .. } => outcome.latency.map_or_else(BTreeMap::new, |[p50, _, p99, ..]| {
                BTreeMap::from([("p50", p50 as f64 / 1e3), ("p99", p99 as f64 / 1e3)])
            }),
            _ => rates(per_second(outcome.completed)),
        }
    }
}
