//! Candidates on our own rings: ringfence itself, and the stage that forwards everything.

use std::collections::BTreeMap;
use std::sync::Arc;

use control::policy::{CompileOptions, compile};
use dataplane::clock::Now;
use dataplane::counters::WorkerCounters;
use dataplane::flow::fragments::{FragmentHeads, FragmentLimits, FragmentTable};
use dataplane::flow::{FlowTable, HashKey, SweepCursor};
use dataplane::pipeline::{Pipeline, PipelineParts, SourceCheck, Stage};
use dataplane::policy::Publisher;
use dataplane::records::Records;
use dataplane::verdict::{DropReason, WireId};
use dataplane::worker::{BusyPoll, Wire, WireConfig};

use super::trial::Shape;
use super::{Bed, BedError, CPU_CANDIDATE, LINKS, intent};
use crate::noop::NoOp;

/// Flows the table holds, unless the load has more than half of them: the daemon's default.
const FLOWS: usize = 1 << 18;

/// A wire at work between the two links of the candidate.
#[expect(missing_debug_implementations, reason = "a wire has nothing to show")]
pub struct Worker<S> {
    wire: Wire<S>,
    _publisher: Option<Publisher>,
}

/// Ringfence with a policy of so many rules in force.
///
/// # Errors
/// If the policy does not compile or the wire does not open.
pub fn ringfence(bed: &Bed, shape: &Shape, busy: bool) -> Result<Worker<Pipeline>, BedError> {
    let compiled = compile(&intent::policy(shape.rules), &CompileOptions::default())?;
    let publisher = Publisher::new(1);
    publisher.publish(compiled.table);
    let flows = Arc::new(FlowTable::new(FLOWS.max(shape.flows as usize * 2))?);
    let heads = Arc::new(FragmentHeads::new(1024, HashKey([1, 2])));
    let wire = open(bed, busy, || {
        Pipeline::new(PipelineParts {
            worker: 0,
            reader: publisher.reader(0),
            flows: Arc::clone(&flows),
            sweep: SweepCursor::new(0, 1),
            fragments: FragmentTable::new(FragmentLimits::default(), Arc::clone(&heads)),
            counters: Arc::new(WorkerCounters::default()),
            records: Arc::new(Records::new()),
            source_check: SourceCheck::Strict,
            pickup_until: Now::from_nanos(0),
        })
    })?;
    Ok(Worker { wire, _publisher: Some(publisher) })
}

/// The same rings, with a stage that forwards everything.
///
/// # Errors
/// If the wire does not open.
pub fn no_op(bed: &Bed, busy: bool) -> Result<Worker<NoOp>, BedError> {
    Ok(Worker { wire: open(bed, busy, NoOp::default)?, _publisher: None })
}

fn open<S: Stage + 'static>(
    bed: &Bed,
    busy: bool,
    stage: impl Fn() -> S + Sync,
) -> Result<Wire<S>, BedError> {
    let mut config = WireConfig::new(WireId(0), "lab", LINKS[1], LINKS[2]);
    config.queues = Some(1);
    config.cores = vec![u32::try_from(CPU_CANDIDATE)?];
    config.busy_poll = busy.then_some(BusyPoll { micros: 20, budget: 64 });
    Ok(bed.candidate.run(|| Wire::open(&config, |_| stage()))??)
}

impl<S: Stage + 'static> Worker<S> {
    /// Stops it and says what it dropped, and what the kernel dropped at its sockets, by name.
    ///
    /// # Errors
    /// If the wire cannot be asked or stopped.
    pub fn stop(self, bed: &Bed) -> Result<BTreeMap<String, u64>, BedError> {
        bed.candidate.run(|| self.stop_here())?
    }

    fn stop_here(self) -> Result<BTreeMap<String, u64>, BedError> {
        let status = self.wire.status()?;
        let mut drops = BTreeMap::new();
        for port in [&status.inside, &status.outside] {
            let counts = port.sockets;
            for (name, count) in [
                ("receive_dropped", counts.receive_dropped),
                ("receive_ring_full", counts.receive_ring_full),
                ("fill_ring_empty", counts.fill_ring_empty),
                ("invalid_descriptors", counts.invalid_descriptors),
                ("device_drops", counts.device_drops),
            ] {
                drops.insert(format!("{}.{name}", port.interface), count);
            }
        }
        for stopped in self.wire.stop()? {
            let counters = stopped.stage.counters();
            let of =
                |reason: &DropReason| (format!("dropped.{}", reason.name()), counters.dropped(*reason).get());
            drops.extend(DropReason::ALL.iter().map(of));
        }
        drops.retain(|_, count| *count > 0);
        Ok(drops)
    }
}
