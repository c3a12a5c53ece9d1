//! The proxies of the configuration: counted before the first policy, started after it, drained at the end.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dataplane::counters::WorkerCounters;
use dataplane::flow::FlowTable;
use dataplane::policy::Publisher;
use dataplane::proxy::{
    self, Backend, BackendHealth, Proxy, ProxyConfig, ProxyCounters, ProxyError, ProxyParts, ProxyStatus,
    ProxyWaker,
};
use dataplane::records::Records;
use dataplane::verdict::WireId;
use rustix::net::{Shutdown, shutdown};

use super::inherited::Inherited;
use super::wires::cores;
use crate::config::{self, Config};
use crate::observe::worker::Worker;

/// A proxy that is to be started.
#[derive(Debug)]
struct Plan {
    config: ProxyConfig,
    health: Option<config::Health>,
    drain: Duration,
    /// The number of its first worker.
    first: usize,
    workers: Vec<Worker>,
}

/// A server that is to be checked.
#[derive(Debug)]
pub(super) struct Checked {
    /// The proxy's name.
    pub(super) proxy: String,
    /// Its number among the proxy's servers.
    pub(super) number: usize,
    pub(super) server: Backend,
    pub(super) how: config::Health,
    pub(super) health: BackendHealth,
}

/// A proxy that runs.
struct Running {
    proxy: Proxy,
    drain: Duration,
    /// The service manager holds its listeners too: they outlive this process.
    kept_outside: bool,
}

/// All proxies, planned, running, or stopped again.
#[derive(Clone)]
pub struct Proxies(Arc<Inner>);

struct Inner {
    plans: Vec<Plan>,
    running: Mutex<Vec<Running>>,
    /// Apart from the proxies, so that a publish never waits for somebody who asks how they are.
    wakers: Mutex<Vec<ProxyWaker>>,
}

impl Proxies {
    /// Numbers the proxies after the wires, and their workers from `first` on.
    pub(crate) fn plan(config: &Config, first: usize) -> Self {
        let mut next = first;
        let ids = (0..).map(WireId).skip(config.wires.len());
        let plan = |(wire, proxy): (WireId, &config::Proxy)| {
            let first = next;
            next += proxy.workers as usize;
            let workers = (0..proxy.workers).map(|queue| Worker {
                wire,
                queue,
                counters: Arc::new(WorkerCounters::default()),
                records: Arc::new(Records::new()),
            });
            let all = if proxy.cores.is_empty() { &config.cores } else { &proxy.cores };
            let skip = if proxy.cores.is_empty() { first } else { 0 };
            Plan {
                config: dataplane_config(proxy, wire, cores(all, skip)),
                health: proxy.health,
                drain: proxy.drain,
                first,
                workers: workers.collect(),
            }
        };
        let plans = ids.zip(&config.proxies).map(plan).collect();
        Self(Arc::new(Inner { plans, running: Mutex::default(), wakers: Mutex::default() }))
    }

    /// The workers that there will be, by number.
    pub(crate) fn workers(&self) -> Vec<Worker> {
        self.0.plans.iter().flat_map(|plan| plan.workers.iter().cloned()).collect()
    }

    /// Their names, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.plans.iter().map(|plan| plan.config.name.clone()).collect()
    }

    /// Makes the workers look at the policy.
    pub(crate) fn wake(&self) {
        self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(ProxyWaker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Running>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts all, on listeners of `inherited` where it has them; if one cannot be started, those before it are
    /// stopped again.
    pub(super) fn start(
        &self,
        publisher: &Publisher,
        flows: Option<&Arc<FlowTable>>,
        inherited: &mut Inherited,
    ) -> Result<(), ProxyError> {
        let Some(flows) = flows else { return Ok(()) };
        for plan in &self.0.plans {
            match plan.start(publisher, flows, inherited) {
                Ok(running) => {
                    tracing::info!(proxy = %plan.config.name, listen = ?plan.config.listen, "proxy started");
                    let workers = running.proxy.status().workers;
                    if let Some(why) = workers.into_iter().find_map(|worker| worker.refuses_early.err()) {
                        let proxy = &plan.config.name;
                        tracing::info!(%proxy, %why, "denied clients are accepted before they are refused");
                    }
                    let waker = running.proxy.waker();
                    self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner).push(waker);
                    self.lock().push(running);
                }
                Err(error) => {
                    self.stop();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// The servers that are to be checked.
    pub(super) fn checked(&self) -> Vec<Checked> {
        let mut all = Vec::new();
        for (running, plan) in self.lock().iter().zip(&self.0.plans) {
            let Some(how) = plan.health else { continue };
            for (number, server) in plan.config.backends.iter().enumerate() {
                all.push(Checked {
                    proxy: plan.config.name.clone(),
                    number,
                    server: *server,
                    how,
                    health: running.proxy.health(),
                });
            }
        }
        all
    }
    /// The listening sockets, for a successor.
    pub(super) fn listeners(&self) -> std::io::Result<Vec<OwnedFd>> {
        let running = self.lock();
        let all = running.iter().flat_map(|running| running.proxy.listeners());
        all.map(|listener| listener.try_clone_to_owned()).collect()
    }

    /// Accepts no more. Without a successor, and if nobody else holds the listeners, clients are refused from now on
    /// instead of waiting in vain.
    pub(super) fn drain(&self, successor: bool) {
        for running in &*self.lock() {
            running.proxy.drain();
            if successor || running.kept_outside {
                continue;
            }
            for listener in running.proxy.listeners() {
                // It fails for a socket that listens no more, which is what is wanted.
                let _ = shutdown(listener, Shutdown::Read);
            }
        }
    }

    /// Stops the proxies whose connections are over, or whose time is: `passed` is what has passed since draining
    /// began, if that is limited. Returns whether none runs any more.
    pub(super) fn stop_drained(&self, passed: Option<Duration>) -> bool {
        let is_over = |running: &mut Running| {
            let counts = running.proxy.status().workers.into_iter().map(|worker| worker.counters);
            let open: u64 = counts.map(|counters| counters.live.get() + counters.pending.get()).sum();
            open == 0 || passed.is_some_and(|passed| passed >= running.drain)
        };
        let mut running = self.lock();
        let over: Vec<Running> = running.extract_if(.., is_over).collect();
        let none = running.is_empty();
        drop(running);
        for one in over {
            one.proxy.stop(Duration::ZERO);
        }
        none
    }

    /// Stops all at once.
    pub(super) fn stop(&self) {
        let all = std::mem::take(&mut *self.lock());
        for running in all {
            running.proxy.stop(Duration::ZERO);
        }
    }

    /// Says so when more workers are dead than `known`; returns how many are.
    pub(super) fn watch(&self, known: usize) -> usize {
        let mut dead = 0;
        for status in self.status() {
            let missing = status.workers.iter().filter(|worker| !worker.alive).count();
            dead += missing;
            if missing > 0 && dead > known {
                tracing::error!(proxy = %status.name, missing, "a worker died, and its connections with it. Restart \
                    the daemon, and report what is above this line");
            }
        }
        dead
    }

    /// The proxies that run, as they are now.
    pub(crate) fn status(&self) -> Vec<ProxyStatus> {
        self.lock().iter().map(|running| running.proxy.status()).collect()
    }
}

impl Plan {
    fn start(
        &self,
        publisher: &Publisher,
        flows: &Arc<FlowTable>,
        inherited: &mut Inherited,
    ) -> Result<Running, ProxyError> {
        let (mut listeners, mut kept_outside) = (Vec::new(), false);
        for address in &self.config.listen {
            match inherited.take(*address) {
                Some((listener, outside)) => {
                    kept_outside |= outside;
                    listeners.push(listener);
                }
                None => {
                    let alone = ProxyConfig { listen: vec![*address], ..self.config.clone() };
                    listeners.extend(proxy::open_listeners(&alone)?);
                }
            }
        }
        let parts = (self.first..).zip(&self.workers).map(|(number, worker)| ProxyParts {
            worker: number,
            reader: publisher.reader(number),
            flows: Arc::clone(flows),
            counters: Arc::clone(&worker.counters),
            records: Arc::clone(&worker.records),
            proxy: Arc::new(ProxyCounters::new(self.config.backends.len())),
        });
        let proxy = Proxy::start(self.config.clone(), listeners, parts.collect())?;
        Ok(Running { proxy, drain: self.drain, kept_outside })
    }
}

/// A proxy of the configuration in the dataplane's words.
fn dataplane_config(proxy: &config::Proxy, wire: WireId, cores: Vec<u32>) -> ProxyConfig {
    ProxyConfig {
        wire,
        name: proxy.name.clone(),
        listen: proxy.listen.clone(),
        mode: proxy.mode,
        policy_destination: proxy.destination,
        backends: proxy.connect.iter().map(|address| Backend { address: *address }).collect(),
        balance: proxy.balance,
        keep_source: proxy.keep_source,
        trusted: proxy.trusted.clone(),
        preamble: proxy.preamble,
        on_deny: proxy.on_deny,
        early: proxy.early,
        workers: proxy.workers,
        cores,
        timeouts: proxy.timeouts,
        limits: proxy.limits,
    }
}
