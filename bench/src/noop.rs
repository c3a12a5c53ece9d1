//! The stage that forwards everything: what rings and frames cost when nothing is asked of them.

use std::sync::Arc;

use dataplane::clock::Now;
use dataplane::counters::WorkerCounters;
use dataplane::frame::{BATCH_MAX, Batch, Umem};
use dataplane::pipeline::{Arrival, Outbox, Stage};

/// Forwards every frame without looking at it.
#[derive(Debug, Default)]
pub struct NoOp {
    counters: Arc<WorkerCounters>,
}

impl Stage for NoOp {
    fn process(&mut self, _umem: &mut Umem, arrival: Arrival, batch: &mut Batch, out: &mut Outbox) {
        self.counters.side(arrival.side).received.add(batch.len() as u64);
        out.from(arrival.side).extend(batch.drain(..));
    }

    fn tick(&mut self, _umem: &mut Umem, _now: Now, _out: &mut Outbox) {}

    fn forward_max(&self) -> usize {
        BATCH_MAX
    }

    fn counters(&self) -> &WorkerCounters {
        &self.counters
    }
}
