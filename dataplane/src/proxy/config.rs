//! What a proxy is made of.

use core::net::SocketAddr;

use super::error::{ProxyError, ProxyProblem};
use super::preamble::Version;
use crate::address::Address;
use crate::verdict::WireId;

/// Where a proxy gets its connections, and with that where they lead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListenMode {
    /// Clients connect to the proxy's own address; it connects to one of its back ends. Needs no privilege.
    #[default]
    Explicit,
    /// Clients connect to the server; the `TPROXY` target of the host's firewall brings their connections here with
    /// the destination unchanged. Needs `CAP_NET_ADMIN` for `IP_TRANSPARENT`.
    Tproxy,
    /// The same with the `REDIRECT` target: the firewall rewrites the destination, and its connection tracking tells
    /// what it was (`SO_ORIGINAL_DST`).
    Redirect,
}

/// One server behind an explicit listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Where it listens.
    pub address: SocketAddr,
}

/// How an explicit listener chooses among the healthy back ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The one with the fewest connections of this worker; among equals one after the other.
    LeastConnections,
}

/// What a client whose connection policy denies sees. A rule that *rejects* always resets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDeny {
    /// A reset: at once, and nothing of the connection stays behind here.
    #[default]
    Reset,
    /// An orderly close; the kernel resets all the same if the client has sent something. The proxy's end then waits
    /// in `TIME_WAIT`, so a flood of refused clients costs memory.
    Close,
}

/// Addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Any address of the range.
    pub address: Address,
    /// How many of its bits they share: at most 32 for IPv4 and 128 for IPv6.
    pub bits: u8,
}

impl Prefix {
    /// Whether `address` is in the range. An IPv4 address is in no IPv6 range.
    #[must_use]
    pub const fn contains(self, address: Address) -> bool {
        if self.address.is_v4() != address.is_v4() {
            return false;
        }
        let width = if address.is_v4() { 32 } else { 128 };
        if self.bits > width {
            return false;
        }
        let differing = self.address.bits() ^ address.bits();
        self.bits == 0 || differing >> (width - self.bits) == 0
    }
}

/// How long things may take, milliseconds; 0 is no limit except where it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyTimeouts {
    /// For one back end to accept. 0 leaves it to the kernel (some two minutes).
    pub connect_ms: u32,
    /// Without a byte in either direction.
    pub idle_ms: u32,
    /// For a trusted peer to send its PROXY header.
    pub header_ms: u32,
    /// For an end to take any of the bytes that wait for it.
    pub stalled_ms: u32,
}

impl Default for ProxyTimeouts {
    fn default() -> Self {
        Self { connect_ms: 5_000, idle_ms: 3_600_000, header_ms: 3_000, stalled_ms: 60_000 }
    }
}

/// What one worker holds at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyLimits {
    /// Connections at once, 1 to [`ProxyLimits::CONNECTIONS_MAX`]; each takes two files. Further clients wait in the
    /// listener's queue.
    pub connections_max: u32,
    /// Connections at once from one IPv4 address or IPv6 /64; 0 is no limit. Further ones are refused.
    pub per_source_max: u32,
    /// Accepts per listener and turn of the loop, 1 to 256: a flood of connections waits while those that exist are
    /// served.
    pub accepts_per_turn: u32,
    /// Buffers of [`ProxyLimits::BUFFER_BYTES`] for bytes on their way, 16 to 32,768. Backed with memory when first
    /// used, most recently used first. When all wait for slow readers, the slowest is reset.
    pub buffers: u32,
    /// Pipes for directions that move much, 0 to 1024; without one such a direction goes on through buffers.
    pub pipes: u32,
}

impl ProxyLimits {
    /// The most connections one worker can hold.
    pub const CONNECTIONS_MAX: u32 = 1 << 20;
    /// The size of a buffer, bytes.
    pub const BUFFER_BYTES: u32 = 16_384;
}

impl Default for ProxyLimits {
    fn default() -> Self {
        Self { connections_max: 8192, per_source_max: 0, accepts_per_turn: 64, buffers: 4096, pipes: 128 }
    }
}

/// One proxy: its listeners, where they lead, and its limits.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// Its number, among those of wires: no wire or other proxy may have it, because flow keys and records hold it.
    pub wire: WireId,
    /// Its name: in messages and thread names.
    pub name: String,
    /// Where it listens; at least one address.
    pub listen: Vec<SocketAddr>,
    /// Where its connections come from and lead.
    pub mode: ListenMode,
    /// The destination that policy is asked about, of an explicit listener. `None`: the address and port a client
    /// connected to, if that address is a workload's in the policy in force (never for a wildcard address, which is
    /// nobody's); else the address and port of the back end that was chosen.
    pub policy_destination: Option<SocketAddr>,
    /// The servers of an explicit listener, 1 to [`ProxyConfig::BACKENDS_MAX`]; none in the other modes.
    pub backends: Vec<Backend>,
    /// How one of them is chosen.
    pub balance: Balance,
    /// Connect to the server from the client's own address (`IP_TRANSPARENT`; needs `CAP_NET_ADMIN`, and routes that
    /// bring the answers back here).
    pub keep_source: bool,
    /// Peers that must begin with a PROXY header, which then says who the client is. From anyone else a header is
    /// data like any other.
    pub trusted: Vec<Prefix>,
    /// Tell the server who the client is.
    pub preamble: Option<Version>,
    /// What a denied client sees.
    pub on_deny: OnDeny,
    /// Have the kernel refuse further clients that policy denies, before there is a connection, where it can: on explicit
    /// listeners that reset. Needs `CAP_BPF` and `CAP_NET_ADMIN`; without them clients are accepted first.
    pub early: bool,
    /// How many worker threads there are, 1 to 64; they share the listeners.
    pub workers: u32,
    /// The CPUs they are pinned to, repeated if there are fewer; empty: those that the process may use, in order.
    pub cores: Vec<u32>,
    /// How long things may take.
    pub timeouts: ProxyTimeouts,
    /// What each worker holds at most.
    pub limits: ProxyLimits,
}

impl ProxyConfig {
    /// The most back ends: one bit each of [`super::BackendHealth`].
    pub const BACKENDS_MAX: usize = 64;

    /// An explicit proxy with one worker and every other choice left open.
    #[must_use]
    pub fn new(wire: WireId, name: &str, listen: SocketAddr, backends: &[SocketAddr]) -> Self {
        Self {
            wire,
            name: name.to_owned(),
            listen: vec![listen],
            mode: ListenMode::Explicit,
            policy_destination: None,
            backends: backends.iter().map(|&address| Backend { address }).collect(),
            balance: Balance::RoundRobin,
            keep_source: false,
            trusted: Vec::new(),
            preamble: None,
            on_deny: OnDeny::Reset,
            early: true,
            workers: 1,
            cores: Vec::new(),
            timeouts: ProxyTimeouts::default(),
            limits: ProxyLimits::default(),
        }
    }

    /// Whether a peer with this address says for whom it connects.
    pub(super) fn trusts(&self, peer: Address) -> bool {
        self.trusted.iter().any(|range| range.contains(peer))
    }

    pub(super) fn refuse(&self, problem: ProxyProblem) -> ProxyError {
        ProxyError { proxy: self.name.clone(), problem }
    }

    /// Checks every number against its limits and the fields against each other, touching nothing.
    ///
    /// # Errors
    /// [`ProxyError`] naming the first field that is wrong.
    pub fn check(&self) -> Result<(), ProxyError> {
        self.find_fault().map_err(|problem| self.refuse(problem))
    }

    fn find_fault(&self) -> Result<(), ProxyProblem> {
        let ProxyLimits { connections_max, accepts_per_turn, buffers, pipes, .. } = self.limits;
        let numbers = [
            ("connections_max", connections_max, 1..=ProxyLimits::CONNECTIONS_MAX, "1 to 1048576"),
            ("accepts_per_turn", accepts_per_turn, 1..=256, "1 to 256"),
            ("buffers", buffers, 16..=32_768, "16 to 32768"),
            ("pipes", pipes, 0..=1024, "0 to 1024"),
            ("workers", self.workers, 1..=64, "1 to 64"),
        ];
        for (name, value, legal, says) in numbers {
            if !legal.contains(&value) {
                return Err(ProxyProblem::Setting(name, value, says));
            }
        }
        if self.listen.is_empty() {
            return Err(ProxyProblem::Fields("it has no address to listen on"));
        }
        let explicit = self.mode == ListenMode::Explicit;
        match (explicit, self.backends.len()) {
            (true, 0) => Err(ProxyProblem::Fields("an explicit listener needs at least one back end")),
            (true, 1..=Self::BACKENDS_MAX) | (false, 0) => Ok(()),
            (true, _) => Err(ProxyProblem::Fields("it has more than 64 back ends")),
            (false, _) => Err(ProxyProblem::Fields(
                "a transparent listener connects to where its clients wanted to, so it has no back ends",
            )),
        }?;
        if !explicit && self.policy_destination.is_some() {
            return Err(ProxyProblem::Fields(
                "a transparent listener knows the destination, so none can be told",
            ));
        }
        let fits = |prefix: &Prefix| prefix.bits <= if prefix.address.is_v4() { 32 } else { 128 };
        if !self.trusted.iter().all(fits) {
            return Err(ProxyProblem::Fields("a trusted range has more bits than its addresses"));
        }
        Ok(())
    }
}
