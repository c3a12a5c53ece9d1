//! The wires of the configuration: counted before the first policy, opened after it.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dataplane::clock::Now;
use dataplane::counters::WorkerCounters;
use dataplane::flow::fragments::{FragmentHeads, FragmentLimits, FragmentTable};
use dataplane::flow::{FlowTable, HashKey, SweepCursor};
use dataplane::pipeline::{self, Pipeline, PipelineParts};
use dataplane::policy::Publisher;
use dataplane::records::Records;
use dataplane::verdict::{Side, WireId};
use dataplane::worker::{
    self, AttachMode, BusyPoll, PortConfig, PortStatus, Waker, Wire, WireConfig, WireError,
};

use crate::config::{self, Config, Fail, Mode, SourceCheck};
use crate::observe::capture::Port;
use crate::observe::worker::Worker;
use crate::socket::view::{PortView, WireView};

/// What busy polling asks of the kernel: the values of its own documentation for AF_XDP
/// (`Documentation/networking/af_xdp.rst`, preferred busy polling).
const BUSY_POLL: BusyPoll = BusyPoll { micros: 20, budget: 64 };

/// Why the wires could not be opened.
#[derive(Debug)]
pub enum WireFault {
    /// One of them.
    Wire(WireError),
    /// The flow table that they share.
    Flows(io::Error),
}

impl fmt::Display for WireFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wire(error) => error.fmt(f),
            Self::Flows(error) => {
                write!(
                    f,
                    "no memory for the flow table: {error}; lower `flows.capacity` or raise LimitMEMLOCK"
                )
            }
        }
    }
}

/// A wire that is to be opened.
#[derive(Debug)]
struct Plan {
    config: WireConfig,
    source_check: pipeline::SourceCheck,
    /// The number of its first worker.
    first: usize,
    workers: u32,
}

/// All wires, planned, open, or closed again.
#[derive(Clone)]
pub struct Wires(Arc<Inner>);

struct Inner {
    plans: Vec<Plan>,
    workers: Vec<Worker>,
    /// None without wires and proxies.
    flows: Option<Arc<FlowTable>>,
    open: Mutex<Vec<Wire<Pipeline>>>,
    /// Apart from the wires, so that a publish never waits for somebody who asks how they are.
    wakers: Mutex<Vec<Waker>>,
}

impl Wires {
    /// Looks at the ports, changing nothing, and makes what the workers share.
    pub(crate) fn plan(config: &Config) -> Result<Self, WireFault> {
        let (mut plans, mut workers) = (Vec::new(), Vec::new());
        for (id, wire) in (0u16..).zip(&config.wires) {
            let first = workers.len();
            let mut plan = plan(wire, WireId(id), config.pin.as_deref(), first);
            plan.config.cores = cores(&config.cores, first);
            plan.workers = plan.config.workers().map_err(WireFault::Wire)?;
            let update = u32::try_from(config.records.update.as_millis()).unwrap_or(u32::MAX);
            for queue in 0..plan.workers {
                let records = Records::with_room(Records::DROPS, config.records.queue);
                records.set_update_every(update);
                workers.push(Worker {
                    wire: WireId(id),
                    queue,
                    counters: Arc::new(WorkerCounters::default()),
                    records: Arc::new(records),
                });
            }
            plans.push(plan);
        }
        let flows = if plans.is_empty() && config.proxies.is_empty() {
            None
        } else {
            Some(Arc::new(FlowTable::new(config.flows as usize).map_err(WireFault::Flows)?))
        };
        Ok(Self(Arc::new(Inner { plans, workers, flows, open: Mutex::default(), wakers: Mutex::default() })))
    }

    /// The workers that there will be, by number.
    pub(crate) fn workers(&self) -> Vec<Worker> {
        self.0.workers.clone()
    }

    /// Makes the workers look at the policy.
    pub(crate) fn wake(&self) {
        self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(Waker::wake);
    }

    /// The ports of each wire, inside first.
    pub(crate) fn ports(&self) -> Vec<[Port; 2]> {
        let port = |wire: &WireConfig, side: Side| {
            let port = if side == Side::Inside { &wire.inside } else { &wire.outside };
            let description = format!("wire {}, {}", wire.name, side.name());
            Port { interface: port.interface.clone(), description }
        };
        let plans = self.0.plans.iter().map(|plan| &plan.config);
        plans.map(|wire| [port(wire, Side::Inside), port(wire, Side::Outside)]).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Wire<Pipeline>>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens all; if one cannot be opened, those before it are closed again.
    pub(super) fn open(&self, publisher: &Publisher, pickup: Duration) -> Result<(), WireFault> {
        let Some(flows) = &self.0.flows else { return Ok(()) };
        let limits = FragmentLimits::default();
        let secret = HashKey::random().map_err(WireFault::Flows)?;
        let heads = Arc::new(FragmentHeads::new(limits.datagrams * self.0.workers.len(), secret));
        let pickup_until = Now::read().plus_millis(u64::try_from(pickup.as_millis()).unwrap_or(u64::MAX));
        for plan in &self.0.plans {
            let stage = |queue: u32| {
                let number = plan.first + queue as usize;
                let worker = &self.0.workers[number];
                Pipeline::new(PipelineParts {
                    worker: number,
                    reader: publisher.reader(number),
                    flows: Arc::clone(flows),
                    sweep: SweepCursor::new(number, self.0.workers.len()),
                    fragments: FragmentTable::new(limits, Arc::clone(&heads)),
                    counters: Arc::clone(&worker.counters),
                    records: Arc::clone(&worker.records),
                    source_check: plan.source_check,
                    pickup_until,
                })
            };
            match Wire::open(&plan.config, stage) {
                Ok(wire) => {
                    announce(&wire);
                    self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner).push(wire.waker());
                    self.lock().push(wire);
                }
                Err(error) => {
                    self.close();
                    return Err(WireFault::Wire(error));
                }
            }
        }
        Ok(())
    }

    /// Stops every worker and takes the programs off the ports.
    pub(super) fn close(&self) {
        let open = std::mem::take(&mut *self.lock());
        for wire in open {
            if let Err(error) = wire.stop() {
                tracing::error!("{error}");
            }
        }
    }

    /// Says so when more workers are dead than `known`; returns how many are.
    pub(super) fn watch(&self, known: usize) -> usize {
        let mut dead = 0;
        for wire in self.view() {
            let missing = wire.workers - wire.workers_alive;
            dead += missing;
            if missing > 0 && dead > known {
                tracing::error!(wire = %wire.name, missing, "a worker died; its queue is left to `fail`. Restart the \
                    daemon, and report what is above this line");
            }
        }
        dead
    }

    /// The flow table, if there is a wire or a proxy.
    pub(crate) fn flows(&self) -> Option<Arc<FlowTable>> {
        self.0.flows.clone()
    }

    /// The wires that are open, as they are now.
    pub(crate) fn view(&self) -> Vec<WireView> {
        let status = |wire: &Wire<Pipeline>| match wire.status() {
            Ok(status) => Some(WireView {
                name: status.name,
                inside: port_view(status.inside),
                outside: port_view(status.outside),
                workers_alive: status.workers.iter().filter(|worker| worker.alive).count(),
                workers: status.workers.len(),
            }),
            Err(error) => {
                tracing::warn!(wire = %wire.config().name, %error, "the kernel does not tell how the wire is");
                None
            }
        };
        self.lock().iter().filter_map(status).collect()
    }
}

/// A wire of the configuration in the dataplane's words.
fn plan(wire: &config::Wire, id: WireId, pin: Option<&Path>, first: usize) -> Plan {
    let port = |port: &config::Port| PortConfig {
        interface: port.interface.clone(),
        mode: match port.mode {
            Mode::Auto => AttachMode::Auto,
            Mode::ZeroCopy => AttachMode::ZeroCopy,
            Mode::NativeCopy => AttachMode::NativeCopy,
            Mode::Generic => AttachMode::Generic,
        },
    };
    let config = WireConfig {
        id,
        name: wire.name.clone(),
        inside: port(&wire.inside),
        outside: port(&wire.outside),
        fail: match wire.fail {
            Fail::Closed => worker::Fail::Closed,
            Fail::Open => worker::Fail::Open,
        },
        pin: pin.map(Path::to_owned),
        queues: wire.queues.map(u32::from),
        frames_per_queue: wire.frames_per_queue,
        chunk_size: wire.chunk_bytes,
        busy_poll: wire.busy_poll.then_some(BUSY_POLL),
        cores: Vec::new(),
    };
    let source_check = match wire.source_check {
        SourceCheck::Strict => pipeline::SourceCheck::Strict,
        SourceCheck::Known => pipeline::SourceCheck::Known,
    };
    Plan { config, source_check, first, workers: 0 }
}

/// The list of cores as a wire or proxy sees it whose first worker has the number `first`.
pub(super) fn cores(all: &[u16], first: usize) -> Vec<u32> {
    let skip = if all.is_empty() { 0 } else { first % all.len() };
    all.iter().cycle().skip(skip).take(all.len()).map(|core| u32::from(*core)).collect()
}

fn announce(wire: &Wire<Pipeline>) {
    if let Ok(status) = wire.status() {
        tracing::info!(
            wire = %status.name,
            inside = %status.inside.interface,
            inside_mode = status.inside.mode.name(),
            outside = %status.outside.interface,
            outside_mode = status.outside.mode.name(),
            workers = status.workers.len(),
            "wire open"
        );
    }
}

fn port_view(port: PortStatus) -> PortView {
    let lost = &port.sockets;
    PortView {
        interface: port.interface,
        mode: port.mode.name(),
        state: port.state.name(),
        queues: port.queues,
        mtu: port.mtu,
        lost_before_worker: lost.receive_dropped + lost.receive_ring_full,
        lost_by_device: lost.device_drops,
        fallback_dropped: port.fallback.dropped,
        fallback_passed: port.fallback.forwarded,
    }
}

#[cfg(test)]
mod tests {
    use super::cores;

    #[test]
    fn cores_go_round_over_all_wires() {
        for (all, first, expected) in [
            (&[][..], 3, &[][..]),
            (&[1, 2, 3], 0, &[1, 2, 3]),
            (&[1, 2, 3], 2, &[3, 1, 2]),
            (&[1, 2, 3], 4, &[2, 3, 1]),
            (&[7], 9, &[7]),
        ] {
            assert_eq!(cores(all, first), expected, "{all:?} from {first}");
        }
    }
}
