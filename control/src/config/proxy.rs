//! A proxy of the configuration: the same policy for TCP connections that are accepted on sockets.

use std::net::SocketAddr;
use std::time::Duration;

use dataplane::proxy::preamble::Version;
use dataplane::proxy::{Balance, ListenMode, OnDeny, Prefix, ProxyLimits, ProxyTimeouts};

/// A proxy; the fields fit each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Its name; no wire or other proxy has it.
    pub name: String,
    /// Where it listens: at least one address, and none that another proxy has.
    pub listen: Vec<SocketAddr>,
    /// Where its connections come from and lead.
    pub mode: ListenMode,
    /// The servers of an explicit proxy; none in the other modes.
    pub connect: Vec<SocketAddr>,
    /// How one of them is chosen.
    pub balance: Balance,
    /// The destination that policy is asked about, if it is told.
    pub destination: Option<SocketAddr>,
    /// How its servers are checked; `None`: they are not, and count as healthy.
    pub health: Option<Health>,
    /// Peers that begin with a PROXY header.
    pub trusted: Vec<Prefix>,
    /// The PROXY header that servers get.
    pub preamble: Option<Version>,
    /// Whether servers see the client's own address.
    pub keep_source: bool,
    /// What a denied client sees.
    pub on_deny: OnDeny,
    /// Whether the kernel refuses further clients whom policy denies, where it can.
    pub early: bool,
    /// Worker threads, 1 to 64.
    pub workers: u32,
    /// The cores of its workers; empty: as those of wires.
    pub cores: Vec<u16>,
    /// How long things may take.
    pub timeouts: ProxyTimeouts,
    /// What each worker holds at most.
    pub limits: ProxyLimits,
    /// How long connections may go on when the daemon stops.
    pub drain: Duration,
}

/// How servers are checked: by opening a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// From one check of a server to the next.
    pub interval: Duration,
    /// How long a server may take to accept.
    pub timeout: Duration,
    /// Successes in a row that make a server healthy.
    pub rise: u32,
    /// Failures in a row that make it unhealthy.
    pub fall: u32,
}
