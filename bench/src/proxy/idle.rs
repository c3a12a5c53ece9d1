//! What an idle connection costs a candidate: it is started anew, a tenth of the connections come and go, and it is weighed
//! before and after all of them have come, each with one request. After the tenth, what a start leaves behind is gone, and
//! what is kept for connections that may come again is there.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use serde::Serialize;

use super::load::Work;
use super::peer::kibibytes;
use super::peer::{Candidate, Memory, Process, Tools};
use super::site;
use super::trial::{Loading, plan};
use crate::measure::MeasureError;

/// How long all is left alone before it is weighed.
const SETTLING: Duration = Duration::from_secs(1);

/// What so many idle connections cost.
#[derive(Clone, Debug, Serialize)]
pub struct Idle {
    /// Who.
    pub candidate: Candidate,
    /// Connections through all its instances.
    pub connections: u32,
    /// Instances: more than one if one may not open as many files as so many connections need.
    pub instances: u16,
    /// Its memory after a tenth of them came and went.
    pub before: Memory,
    /// Its memory with them.
    pub after: Memory,
    /// Bytes of its own memory for each connection beyond that tenth.
    pub own: f64,
    /// Bytes of the kernel's slabs for each connection; clients and back ends included, which are on the same
    /// machine: of four sockets two are the proxy's.
    pub slab: f64,
    /// Bytes that the system has less available for each connection, the load's own memory included.
    pub available: f64,
}

/// Starts `candidate` and weighs it.
///
/// # Errors
/// If it cannot be started, or loses connections.
pub fn weigh(
    tools: &Tools,
    folder: &Path,
    candidate: Candidate,
    connections: u32,
) -> Result<Idle, MeasureError> {
    let instances = u16::try_from(connections.div_ceil(tools.connections()))?;
    if instances > site::INSTANCES {
        return Err(
            format!("{connections} connections are too many with {} open files", tools.open_files).into()
        );
    }
    let start = |instance| candidate.start(tools, folder, instance);
    let processes = (0..instances).map(start).collect::<Result<Vec<_>, _>>()?;
    let processes: Vec<Process> = processes.into_iter().flatten().collect();
    for instance in 0..instances {
        let work = Work::Idle { connections: connections / u32::from(instances) / 10 };
        let mut load = Loading::start(&tools.own, &plan(candidate, instance, work, [0, 0]))?;
        load.ready().and_then(|()| load.finish())?;
    }
    sleep(SETTLING);
    let (before, [slab_before, available_before]) = (memory(&processes)?, system()?);
    let mut loads = Vec::new();
    for instance in 0..instances {
        let share = connections / u32::from(instances);
        let rest = if instance == 0 { connections % u32::from(instances) } else { 0 };
        let work = Work::Idle { connections: share + rest };
        let mut load = Loading::start(&tools.own, &plan(candidate, instance, work, [0, 0]))?;
        if let Err(error) = load.ready() {
            let said = load.finish().err().unwrap_or(error).to_string();
            return Err(processes
                .first()
                .map_or_else(|| said.as_str().into(), |process| process.failed(&said)));
        }
        loads.push(load);
    }
    sleep(SETTLING);
    let (after, [slab, available]) = (memory(&processes)?, system()?);
    let mut answered = 0;
    for load in loads {
        answered += load.finish()?.completed;
    }
    if answered != u64::from(connections) {
        return Err(format!("{}: {answered} of {connections} answered", candidate.name()).into());
    }
    let each = |before: u64, after: u64| -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "bytes of a machine's memory")]
        let [before, after] = [before as f64, after as f64];
        (after - before) / f64::from(connections)
    };
    Ok(Idle {
        candidate,
        connections,
        instances,
        before,
        after,
        own: each(before.proportional, after.proportional) / 0.9,
        slab: each(slab_before, slab),
        available: each(available, available_before),
    })
}

fn memory(processes: &[Process]) -> Result<Memory, MeasureError> {
    let mut sum = Memory::default();
    for process in processes {
        let Memory { resident, proportional } = process.memory()?;
        sum.resident += resident;
        sum.proportional += proportional;
    }
    Ok(sum)
}

/// Bytes in the kernel's slabs, and available.
fn system() -> Result<[u64; 2], MeasureError> {
    let text = fs::read_to_string("/proc/meminfo")?;
    Ok([kibibytes(&text, "Slab:")? * 1024, kibibytes(&text, "MemAvailable:")? * 1024])
}
