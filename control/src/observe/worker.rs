//! What the control thread sees of a worker.

use std::sync::Arc;

use dataplane::counters::WorkerCounters;
use dataplane::records::Records;
use dataplane::verdict::WireId;

/// One worker, by its number.
#[derive(Clone, Debug)]
pub struct Worker {
    /// The wire it serves.
    pub wire: WireId,
    /// The queue pair of that wire it serves.
    pub queue: u32,
    /// What it counts.
    pub counters: Arc<WorkerCounters>,
    /// What it tells of flows, and of the frames it dropped.
    pub records: Arc<Records>,
}
