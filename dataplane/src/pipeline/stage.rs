//! What a worker runs between its rings.

use crate::clock::Now;
use crate::counters::WorkerCounters;
use crate::frame::{Batch, Frame, Umem};
use crate::verdict::{Side, WireId};

/// Where and when a batch came in.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The wire.
    pub wire: WireId,
    /// The side of it.
    pub side: Side,
    /// When the batch was taken.
    pub now: Now,
}

/// The packet stage of a worker: [`super::Pipeline`], or for comparison one that forwards everything.
pub trait Stage: Send {
    /// Judges one batch. Afterwards `batch` is empty and each of its frames is in `forward` (to leave by the other
    /// side), released to `umem` and counted under its reason, or held inside the stage. Frames held earlier may
    /// come out too, all to the same other side.
    fn process(&mut self, umem: &mut Umem, arrival: Arrival, batch: &mut Batch, forward: &mut Vec<Frame>);

    /// Bounded upkeep, called once per turn of the loop and at least every [`Self::TICK_MILLIS`] while idle: notices
    /// a newly published policy, expires flows, releases held frames whose time is up.
    fn tick(&mut self, umem: &mut Umem, now: Now);

    /// The most frames that one call of `process` may add to `forward`.
    fn forward_max(&self) -> usize;

    /// The counters of this worker; the stage counts what it received and dropped, the worker what the transmit
    /// ring took or refused.
    fn counters(&self) -> &WorkerCounters;

    /// The longest the worker may sleep without calling [`Self::tick`], milliseconds.
    const TICK_MILLIS: u32 = 100;
}
