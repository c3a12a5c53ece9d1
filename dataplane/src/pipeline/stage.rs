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

/// Frames on their way out of a worker.
#[derive(Debug)]
pub struct Outbox {
    from_inside: Vec<Frame>,
    from_outside: Vec<Frame>,
}

impl Outbox {
    /// With room for `frames` per side, which is never exceeded if it is at least [`Stage::forward_max`] and both
    /// lists are emptied after every call.
    #[must_use]
    pub fn new(frames: usize) -> Self {
        Self { from_inside: Vec::with_capacity(frames), from_outside: Vec::with_capacity(frames) }
    }

    /// The frames that came in on `side` and leave by the other one, in order.
    pub fn from(&mut self, side: Side) -> &mut Vec<Frame> {
        match side {
            Side::Inside => &mut self.from_inside,
            Side::Outside => &mut self.from_outside,
        }
    }
}

/// The packet stage of a worker: [`super::Pipeline`], or for comparison one that forwards everything.
pub trait Stage: Send {
    /// Judges one batch. Afterwards `batch` is empty and each of its frames is in `out`, released to `umem` and
    /// counted under its reason, or held inside the stage. Frames held earlier may come out too.
    fn process(&mut self, umem: &mut Umem, arrival: Arrival, batch: &mut Batch, out: &mut Outbox);

    /// Bounded upkeep, called once per turn of the loop and at least every [`Self::TICK_MILLIS`] while idle: notices
    /// a newly published policy, expires flows, settles held frames.
    fn tick(&mut self, umem: &mut Umem, now: Now, out: &mut Outbox);

    /// The most frames that one call may add to one side of its outbox.
    fn forward_max(&self) -> usize;

    /// The counters of this worker; the stage counts what it received and dropped, the worker what the transmit
    /// ring took or refused.
    fn counters(&self) -> &WorkerCounters;

    /// The longest the worker may sleep without calling [`Self::tick`], milliseconds.
    const TICK_MILLIS: u32 = 100;
}
