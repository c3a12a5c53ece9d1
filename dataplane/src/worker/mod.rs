//! One pinned thread per queue pair: frames from one port through the stage to the other port, and back.
//!
//! The thread owns everything it touches: its chunks, its rings, its stage. It allocates nothing, takes no lock,
//! and makes no system call between receiving and transmitting but the kick that sends. With nothing to do it
//! sleeps in `poll(2)` until a frame, a publish or a stop wakes it.

mod config;
mod control;
mod error;
mod pair;
mod running;
mod status;
mod wire;

use crate::clock::Now;
use crate::frame::Batch;
use crate::pipeline::{Arrival, Outbox, Stage};
use crate::verdict::{Side, WireId};
pub use config::{Fail, WireConfig};
use control::Control;
pub use control::PortState;
pub use error::{WireError, WireProblem};
use pair::{FULL_TRIES, QueuePair};
pub use running::Stopped;
pub use status::{PortStatus, SocketCounts, WireStatus, WorkerStatus};
pub use wire::{Waker, Wire};

pub use crate::frame::port::{
    AttachMode, BusyPoll, Fallback, PortConfig, PortError, PortMode, PortProblem, SocketError,
};

/// What a worker thread owns.
struct Worker<S> {
    wire: WireId,
    pair: QueuePair,
    stage: S,
    batch: Batch,
    out: Outbox,
    control: Control,
    busy_poll: bool,
}

impl<S: Stage> Worker<S> {
    fn new(wire: WireId, pair: QueuePair, stage: S, control: Control, busy_poll: bool) -> Self {
        let out = Outbox::new(stage.forward_max());
        Self { wire, pair, stage, batch: Batch::new(), out, control, busy_poll }
    }

    /// The loop. Returns when told to stop, with all that it owned.
    fn run(mut self) -> Self {
        while !self.control.stopping() {
            if !self.turn(Now::read()) {
                self.idle();
            }
        }
        self.pair.flush(&self.control);
        self
    }

    /// One turn of the loop: whether frames came.
    fn turn(&mut self, now: Now) -> bool {
        // 1. Chunks of frames that were sent are free again.
        self.pair.reclaim();
        // 2. A batch from inside is judged; what may pass goes outside.
        let from_inside = self.pass(Side::Inside, now);
        // 3. A batch from outside is judged; what may pass goes inside.
        let from_outside = self.pass(Side::Outside, now);
        // 4. Upkeep of the stage; a newly published policy is noticed here even when nothing came.
        self.stage.tick(&mut self.pair.umem, now, &mut self.out);
        self.send();
        // 5. Free chunks go back to both fill rings.
        self.pair.refill();
        self.control.set_rejected(self.pair.umem.rejected());
        from_inside || from_outside
    }

    /// One batch of `side`, if there is one: whether there was.
    fn pass(&mut self, side: Side, now: Now) -> bool {
        self.pair.receive(side, &mut self.batch);
        if self.batch.is_empty() {
            return false;
        }
        let arrival = Arrival { wire: self.wire, side, now };
        self.stage.process(&mut self.pair.umem, arrival, &mut self.batch, &mut self.out);
        self.send();
        true
    }

    /// Every frame of the outbox goes into the transmit ring of the other side, or is dropped with a reason; then
    /// the kernel is made to send what is in the rings.
    fn send(&mut self) {
        let counters = self.stage.counters();
        for from in [Side::Inside, Side::Outside] {
            let to = from.peer();
            let mut tries = FULL_TRIES;
            let mut sent = 0;
            for frame in self.out.from(from).drain(..) {
                match self.pair.send(to, frame, &mut tries, &self.control) {
                    Ok(()) => sent += 1,
                    Err(reason) => counters.dropped(reason).add(1),
                }
            }
            counters.side(from).forwarded.add(sent);
            self.pair.publish(to);
            self.pair.kick(to, &self.control);
        }
    }

    /// Sleeps until there is something to do, or polls the drivers in place of sleeping.
    fn idle(&mut self) {
        if self.busy_poll {
            self.pair.drive();
        } else {
            self.pair.sleep(&self.control, S::TICK_MILLIS);
        }
    }
}

#[cfg(test)]
mod tests;
