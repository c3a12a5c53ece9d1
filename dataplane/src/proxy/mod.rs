//! The L4 path: the same policy, for TCP connections that are accepted on sockets, where no wire can be put.
//!
//! A [`Proxy`] accepts connections, asks policy about each before anything is sent to a server, and relays the bytes
//! of those that are allowed. Each worker is one pinned thread that owns one io_uring and all its connections; it
//! reads the policy, counts its decisions and tells of its flows like a packet worker. When a newer policy is
//! published, every open connection is decided again, and no byte that arrives after the worker has reported the new
//! epoch is relayed under the old one.

pub mod config;
mod control;
pub mod counters;
mod early;
mod engine;
mod error;
mod listen;
pub mod preamble;
mod running;
mod uring;
#[cfg(test)]
mod tests;

use core::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::ask;
use crate::counters::WorkerCounters;
use crate::flow::FlowTable;
use crate::headers::protocol;
use crate::policy::{PolicyReader, PolicyTable, ServiceKey};
use crate::records::Records;
use crate::verdict::{Decision, WireId};

pub use config::{Backend, Balance, ListenMode, OnDeny, Prefix, ProxyConfig, ProxyLimits, ProxyTimeouts};
pub use control::BackendHealth;
use control::{Control, Wanted};
pub use counters::{BackendCounters, Fate, ProxyCounters, Refusal};
pub use error::{ProxyError, ProxyProblem, RingError};
pub use listen::open_listeners;
use running::Running;

/// What `table` says of a connection from `client` to `port` of `destination`: what a worker asks at accept, and again
/// when the policy is new.
#[must_use]
pub fn decide(table: &PolicyTable, client: Address, destination: Address, port: u16) -> Decision {
    ask::decide(table, client, destination, service(port))
}

const fn service(port: u16) -> ServiceKey {
    ServiceKey::new(protocol::TCP, port)
}

/// What one worker is given.
pub struct ProxyParts {
    /// This worker's number: its index into per-worker tables. Shared with no other worker, of a wire or a proxy.
    pub worker: usize,
    /// Its view of the published policy.
    pub reader: PolicyReader,
    /// The flow table of the process: each connection has an entry, under [`ProxyConfig::wire`].
    pub flows: Arc<FlowTable>,
    /// Its counters of decisions and flows. One connection counts as one frame: received when policy is asked about
    /// it, forwarded or dropped by the answer.
    pub counters: Arc<WorkerCounters>,
    /// Its queues to the control thread.
    pub records: Arc<Records>,
    /// Its counters of connections; made for as many back ends as the proxy has.
    pub proxy: Arc<ProxyCounters>,
}

/// A running proxy.
///
/// Dropping it resets its connections; [`Proxy::stop`] lets them finish first.
pub struct Proxy {
    config: ProxyConfig,
    // Before the listeners, so that a proxy that is dropped stops its workers first.
    workers: Vec<Running>,
    listeners: Vec<OwnedFd>,
    health: BackendHealth,
}

/// Wakes the workers of one proxy. Does nothing once they have stopped.
#[derive(Clone, Debug)]
pub struct ProxyWaker(Arc<[Control]>);

impl ProxyWaker {
    /// Makes every worker go through its loop at once: after a publish, so that an idle one notices it too.
    pub fn wake(&self) {
        self.0.iter().for_each(Control::wake);
    }
}

/// A proxy now.
#[derive(Clone, Debug)]
pub struct ProxyStatus {
    /// Its number among wires and proxies.
    pub wire: WireId,
    /// Its name.
    pub name: String,
    /// Where it listens: the ports that the kernel chose in place of port 0.
    pub listen: Vec<SocketAddr>,
    /// Whether it accepts no more.
    pub draining: bool,
    /// Its back ends, and whether each is healthy; their counters are in those of the workers, by number.
    pub backends: Vec<(Backend, bool)>,
    /// One per worker.
    pub workers: Vec<ProxyWorkerStatus>,
}

/// A proxy worker now.
#[derive(Clone, Debug)]
pub struct ProxyWorkerStatus {
    /// The CPU it is pinned to.
    pub core: u32,
    /// Whether its thread runs.
    pub alive: bool,
    /// Whether the kernel refuses the clients for it that policy denies; if something is missing for that, what.
    pub refuses_early: Result<bool, String>,
    /// Its counters.
    pub counters: Arc<ProxyCounters>,
}

impl Proxy {
    /// Starts a proxy on `listeners`, which [`open_listeners`] has opened or an earlier process has handed over: one
    /// per address of the configuration, in that order. There must be parts for each worker.
    ///
    /// # Errors
    /// [`ProxyError`]; nothing runs then, and the listeners are closed.
    pub fn start(
        config: ProxyConfig,
        listeners: Vec<OwnedFd>,
        parts: Vec<ProxyParts>,
    ) -> Result<Self, ProxyError> {
        config.check()?;
        let counts = [
            ("sets of parts", parts.len(), config.workers as usize),
            ("listeners", listeners.len(), config.listen.len()),
        ];
        if let Some(&(what, are, must)) = counts.iter().find(|(_, are, must)| are != must) {
            return Err(config.refuse(ProxyProblem::Count(what, are, must)));
        }
        let mut proxy = Self { config, workers: Vec::new(), listeners, health: BackendHealth::all() };
        for (number, parts) in (0..).zip(parts) {
            match proxy.start_worker(number, parts) {
                Ok(worker) => proxy.workers.push(worker),
                Err(problem) => return Err(proxy.config.refuse(problem)),
            }
        }
        Ok(proxy)
    }

    fn start_worker(&self, number: u32, parts: ProxyParts) -> Result<Running, ProxyProblem> {
        let own = self.listeners.iter().map(OwnedFd::try_clone).collect::<Result<_, _>>();
        let own = own.map_err(|error| ProxyProblem::Resources("handle of a listener", error))?;
        Running::start(&self.config, number, own, self.health.clone(), parts)
    }

    /// What wakes this proxy's workers, for whoever publishes policies.
    #[must_use]
    pub fn waker(&self) -> ProxyWaker {
        ProxyWaker(self.workers.iter().map(|worker| worker.control().clone()).collect())
    }

    /// Which back ends get connections, for whoever checks them.
    #[must_use]
    pub fn health(&self) -> BackendHealth {
        self.health.clone()
    }

    /// The configuration it was started with.
    #[must_use]
    pub const fn config(&self) -> &ProxyConfig {
        &self.config
    }

    /// The listening sockets, to hand to a successor process: duplicates of them accept from the same queue, so no
    /// client is refused between the two.
    pub fn listeners(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.listeners.iter().map(OwnedFd::as_fd)
    }

    /// How the proxy is now.
    #[must_use]
    pub fn status(&self) -> ProxyStatus {
        let local = |fd: &OwnedFd| SocketAddr::try_from(rustix::net::getsockname(fd).ok()?).ok();
        let backends = self.config.backends.iter().enumerate();
        ProxyStatus {
            wire: self.config.wire,
            name: self.config.name.clone(),
            listen: self.listeners.iter().filter_map(local).collect(),
            draining: self.workers.iter().any(|worker| worker.control().wanted() > Wanted::Serve),
            backends: backends.map(|(at, backend)| (*backend, self.health.is_healthy(at))).collect(),
            workers: self.workers.iter().map(Running::status).collect(),
        }
    }

    /// Accepts no more; connections that stand live on. Clients that come later wait in the listeners' queues, for a
    /// successor or until the listeners are closed.
    pub fn drain(&self) {
        self.workers.iter().for_each(|worker| worker.control().want(Wanted::Drain));
    }

    /// Accepts no more, gives connections `patience` to finish, resets those that have not, and ends the workers.
    /// The listeners are closed only now, and only those handles that this process has.
    pub fn stop(self, patience: Duration) {
        self.drain();
        let end = Instant::now() + patience;
        let done = |worker: &Running| {
            let counters = worker.status().counters;
            worker.is_finished() || counters.live.get() + counters.pending.get() == 0
        };
        while !self.workers.iter().all(done) && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
        self.workers.iter().for_each(|worker| worker.control().want(Wanted::Stop));
    }
}
