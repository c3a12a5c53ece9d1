//! What a load is told, and what it tells.

use std::net::SocketAddrV4;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Write as much as they can; servers throw it away.
    Bulk {
        /// Connections.
        connections: u32,
    },
    /// A request of so many bytes, the answer of as many, the next request.
    Requests {
        /// Connections, each with one request under way.
        connections: u32,
        /// Bytes of a request, and of an answer.
        bytes: u32,
    },
    /// Requests at a fixed rate, each timed from when it should have been sent.
    Paced {
        /// Connections, in turn.
        connections: u32,
        /// Bytes of a request, and of an answer.
        bytes: u32,
        /// Requests a second.
        rate: u32,
    },
    /// Connect, one request of a byte, its answer, close; again.
    Connects {
        /// Connections at a time.
        slots: u32,
    },
    /// Connect and be refused; again.
    Denied {
        /// Connections at a time.
        slots: u32,
    },
    /// Connect, one request of a byte, its answer, and stay.
    Idle {
        /// Connections.
        connections: u32,
    },
}

impl Work {
    pub(super) const fn connections(self) -> u32 {
        match self {
            Self::Bulk { connections }
            | Self::Requests { connections, .. }
            | Self::Paced { connections, .. }
            | Self::Idle { connections } => connections,
            Self::Connects { slots } | Self::Denied { slots } => slots,
        }
    }

    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::Requests { bytes, .. } | Self::Paced { bytes, .. } => bytes as usize,
            _ => 1,
        }
    }

    pub(super) const fn is_bulk(self) -> bool {
        matches!(self, Self::Bulk { .. })
    }

    /// Whether a connection that fails is counted and made again, not the end.
    pub(super) const fn reconnects(self) -> bool {
        matches!(self, Self::Connects { .. } | Self::Denied { .. })
    }

    /// Whether connections must all be there before anything is measured.
    pub(super) const fn establishes(self) -> bool {
        !self.reconnects()
    }
}

/// Where the back ends run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Serving {
    /// In the clients' own thread.
    Here,
    /// On the candidate's CPU: one hop between two CPUs, without anything between.
    Beside,
}

/// One piece of load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// What clients do.
    pub work: Work,
    /// Where they connect to.
    pub target: SocketAddrV4,
    /// The first two bytes of their addresses.
    pub network: [u8; 2],
    /// Where back ends listen.
    pub servers: Vec<SocketAddrV4>,
    /// Where back ends run.
    pub serving: Serving,
    /// The network namespace of clients and of back ends in their thread, if it is not the caller's.
    pub host: Option<PathBuf>,
    /// Milliseconds before measuring.
    pub warm_up: u64,
    /// Milliseconds measured.
    pub measured: u64,
    /// Ends the measured time early, after so many.
    pub limit: Option<u64>,
}

/// What the load saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// How long it was measured.
    pub seconds: f64,
    /// Requests answered, connections done, or refusals.
    pub completed: u64,
    /// Connections that failed, or were not refused as they should have been.
    pub failed: u64,
    /// Connections that back ends accepted, since the start.
    pub accepted: u64,
    /// Bytes that back ends received.
    pub received: u64,
    /// Requests at a fixed rate that had no answer a second after the end.
    pub unanswered: u64,
    /// Nanoseconds from when a request should have been sent to its answer: the 50th, 90th, 99th and 99.9th
    /// percentile and the largest.
    pub latency: Option<[u64; 5]>,
    /// Share of the measured time that each CPU was busy.
    pub busy: [f64; 2],
    /// Share of it that the hypervisor took, the worse of both CPUs.
    pub steal: f64,
}
