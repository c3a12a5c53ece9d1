//! How the proxies are, as data.

use std::net::SocketAddr;

use dataplane::proxy::{Backend, Fate, ProxyCounters, ProxyStatus, Refusal};
use serde::Serialize;
use utoipa::ToSchema;

/// A proxy.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProxyView {
    /// Its name.
    pub name: String,
    /// Where it listens.
    #[schema(value_type = Vec<String>)]
    pub listen: Vec<SocketAddr>,
    /// Whether it accepts no more.
    pub draining: bool,
    /// The servers of an explicit proxy.
    pub servers: Vec<ServerView>,
    /// Workers of it that run.
    pub workers_alive: usize,
    /// Workers of it.
    pub workers: usize,
    /// Connections relayed at this moment.
    pub open: u64,
    /// Connections accepted that are neither relayed nor refused yet.
    pub pending: u64,
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Connections that the kernel refused, because policy had denied one like it: not among those accepted.
    pub refused_early: u64,
    /// Whether the kernel refuses whom policy denies: `yes`, `no`, or what is missing for it.
    #[schema(example = "yes")]
    pub refuses_early: String,
    /// Of all these: relayed.
    pub relayed: u64,
    /// Of all these: refused, by reason; reasons without a refusal are left out.
    pub refused: Vec<RefusalCount>,
    /// How relayed connections ended; ways in which none did are left out.
    pub ended: Vec<RefusalCount>,
    /// Bytes taken from clients.
    pub bytes_from_clients: u64,
    /// Bytes taken from servers.
    pub bytes_from_servers: u64,
    /// Bytes of both that went through pipes, without a copy.
    pub bytes_spliced: u64,
}

/// A server behind a proxy.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServerView {
    /// Where it listens.
    #[schema(value_type = String)]
    pub address: SocketAddr,
    /// Whether it gets new connections.
    pub healthy: bool,
    /// Connections to it at this moment.
    pub open: u64,
    /// Connections that it accepted.
    pub connected: u64,
    /// Connections that it refused, or that failed otherwise before they stood.
    pub failed: u64,
}

/// One reason or way, and how often.
#[derive(Debug, Serialize, ToSchema)]
pub struct RefusalCount {
    /// Its stable name.
    #[schema(example = "policy")]
    pub reason: &'static str,
    /// Connections.
    pub count: u64,
    /// What it means.
    pub meaning: &'static str,
}

impl From<ProxyStatus> for ProxyView {
    fn from(status: ProxyStatus) -> Self {
        let sum = |count: &dyn Fn(&ProxyCounters) -> u64| -> u64 {
            status.workers.iter().map(|worker| count(&worker.counters)).fold(0, u64::wrapping_add)
        };
        let refusal = |reason: &Refusal| RefusalCount {
            reason: reason.name(),
            count: sum(&|counts| counts.refused(*reason).get()),
            meaning: reason.meaning().trim(),
        };
        let fate = |fate: &Fate| RefusalCount {
            reason: fate.name(),
            count: sum(&|counts| counts.ended(*fate).get()),
            meaning: fate.meaning().trim(),
        };
        let server = |(number, (server, healthy)): (usize, &(Backend, bool))| {
            let sum = |count: fn(&dataplane::proxy::BackendCounters) -> u64| {
                sum(&|counts| counts.backend(number).map_or(0, count))
            };
            ServerView {
                address: server.address,
                healthy: *healthy,
                open: sum(|of| of.live.get()),
                connected: sum(|of| of.connected.get()),
                failed: sum(|of| of.failed.get()),
            }
        };
        Self {
            draining: status.draining,
            servers: status.backends.iter().enumerate().map(server).collect(),
            workers_alive: status.workers.iter().filter(|worker| worker.alive).count(),
            workers: status.workers.len(),
            open: sum(&|counts| counts.live.get()),
            pending: sum(&|counts| counts.pending.get()),
            accepted: sum(&|counts| counts.accepted.get()),
            refused_early: sum(&|counts| counts.early.get()),
            refuses_early: refuses_early(&status),
            relayed: sum(&|counts| counts.opened.get()),
            refused: Refusal::ALL.iter().map(refusal).filter(|one| one.count > 0).collect(),
            ended: Fate::ALL.iter().map(fate).filter(|one| one.count > 0).collect(),
            bytes_from_clients: sum(&|counts| counts.from_clients.get()),
            bytes_from_servers: sum(&|counts| counts.from_servers.get()),
            bytes_spliced: sum(&|counts| counts.spliced.get()),
            name: status.name,
            listen: status.listen,
        }
    }
}

fn refuses_early(status: &ProxyStatus) -> String {
    let mut workers = status.workers.iter().map(|worker| &worker.refuses_early);
    match workers.clone().find_map(|early| early.as_ref().err()) {
        Some(why) => why.clone(),
        None if workers.any(|early| *early == Ok(true)) => "yes".into(),
        None => "no".into(),
    }
}
