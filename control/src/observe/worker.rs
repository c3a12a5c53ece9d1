//! What the control thread sees of a worker.

use std::sync::Arc;

use dataplane::counters::WorkerCounters;
use dataplane::records::Records;
use dataplane::verdict::WireId;

/// One worker, by its number.
#[derive(Clone, Debug)]
pub struct Worker {
    /// The wire or proxy it serves.
    pub wire: WireId,
    /// The queue pair of that wire it serves, or its number in that proxy.
    pub queue: u32,
    /// What it counts.
    pub counters: Arc<WorkerCounters>,
    /// What it tells of flows, and of the frames it dropped.
    pub records: Arc<Records>,
}
