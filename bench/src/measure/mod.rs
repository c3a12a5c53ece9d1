//! What both comparisons share: the two CPUs, canaries, medians with intervals, and where a record comes from.

pub mod canary;
pub mod provenance;
pub mod quiet;
pub mod statistics;

use std::io;

use rustix::thread::{CpuSet, sched_setaffinity};

/// Where everything runs that is not the candidate: generators, sinks, clients, servers.
pub const CPU_ENDS: usize = 0;
/// Where the candidate runs, all of it.
pub const CPU_CANDIDATE: usize = 1;

/// Why a comparison cannot go on.
pub type MeasureError = Box<dyn std::error::Error + Send + Sync>;

/// Pins the calling thread.
///
/// # Errors
/// If the machine has no such CPU.
pub fn pin(cpu: usize) -> io::Result<()> {
    Ok(sched_setaffinity(None, &cpu_set(cpu))?)
}

/// The set of one CPU.
#[must_use]
pub fn cpu_set(cpu: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(cpu);
    set
}
