//! A queue pair: one queue of each port of a wire, and the chunks that move between them.

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::control::{Control, PortState};
use crate::frame::xsk::{Kick, Receiver, Transmitter};
use crate::frame::{Batch, Census, Frame, Umem};
use crate::verdict::{DropReason, Side};

/// How often frames of one batch that find the transmit ring full are tried again, each time after a kick and a
/// look at the completions, before they are dropped. A stuck port costs a batch this many kicks and no more.
pub(super) const FULL_TRIES: u32 = 4;
/// How long to sleep when a transmit ring could not be emptied: the device was busy, and nothing tells when it
/// no longer is. Nanoseconds.
const BUSY_NANOS: i64 = 1_000_000;
/// Kicks at a stop, to send what already was in the transmit rings.
const LAST_KICKS: u32 = 64;

/// One side of a queue pair.
pub(super) struct End {
    pub(super) receiver: Receiver,
    pub(super) transmitter: Transmitter,
    /// The longest frame the port sends, bytes.
    pub(super) longest: usize,
}

pub(super) struct QueuePair {
    pub(super) umem: Umem,
    pub(super) inside: End,
    pub(super) outside: End,
    /// Chunks that refilling leaves free, for frames that the stage makes itself.
    pub(super) reserve: usize,
}

impl QueuePair {
    fn end(&mut self, side: Side) -> &mut End {
        self.split(side).1
    }

    fn split(&mut self, side: Side) -> (&mut Umem, &mut End) {
        match side {
            Side::Inside => (&mut self.umem, &mut self.inside),
            Side::Outside => (&mut self.umem, &mut self.outside),
        }
    }

    /// Takes back the chunks of frames that the ports have sent.
    pub(super) fn reclaim(&mut self) {
        self.inside.transmitter.reclaim(&mut self.umem);
        self.outside.transmitter.reclaim(&mut self.umem);
    }

    /// Takes received frames of `side` until the batch is full.
    pub(super) fn receive(&mut self, side: Side, batch: &mut Batch) {
        let (umem, end) = self.split(side);
        end.receiver.receive(umem, batch);
    }

    /// Puts one frame into the transmit ring of `to`, making room as long as there are `tries`.
    ///
    /// # Errors
    /// Why it could not; the frame is then free again.
    pub(super) fn send(
        &mut self,
        to: Side,
        mut frame: Frame,
        tries: &mut u32,
        control: &Control,
    ) -> Result<(), DropReason> {
        if frame.len() > self.end(to).longest {
            self.umem.release(frame);
            return Err(DropReason::TooBig);
        }
        loop {
            let (umem, end) = self.split(to);
            match end.transmitter.push(umem, frame) {
                Ok(()) => return Ok(()),
                Err(refused) => frame = refused,
            }
            if *tries == 0 {
                self.umem.release(frame);
                let up = control.state(to) == PortState::Up;
                return Err(if up { DropReason::TransmitFull } else { DropReason::PortDown });
            }
            *tries -= 1;
            self.publish(to);
            self.kick(to, control);
            self.reclaim();
        }
    }

    /// Shows the frames in the transmit ring of `to` to the kernel.
    pub(super) fn publish(&mut self, to: Side) {
        self.end(to).transmitter.publish();
    }

    /// Makes the kernel send what waits in the transmit ring of `to`, as long as each kick moves something.
    pub(super) fn kick(&mut self, to: Side, control: &Control) {
        let transmitter = &mut self.end(to).transmitter;
        let mut waiting = transmitter.waiting();
        // `poll` sends too (`xsk_poll`): an empty ring says that the port is up again.
        if waiting == 0 && control.state(to) == PortState::Down {
            control.set_state(to, PortState::Up);
        }
        while waiting > 0 {
            let kick = transmitter.kick();
            let left = transmitter.waiting();
            match kick {
                Kick::Done => control.set_state(to, PortState::Up),
                Kick::Again => {}
                Kick::Dropped => control.count_device_drop(to),
                Kick::Down => control.set_state(to, PortState::Down),
                Kick::Gone => control.set_state(to, PortState::Gone),
            }
            let more = matches!(kick, Kick::Again | Kick::Dropped) && left < waiting;
            waiting = if more { left } else { 0 };
        }
    }

    /// Lends free chunks to both ports.
    pub(super) fn refill(&mut self) {
        for end in [&mut self.inside, &mut self.outside] {
            end.receiver.refill(&mut self.umem, self.reserve);
            end.receiver.wake();
        }
    }

    /// Lets the drivers of both ports run on this thread.
    pub(super) fn drive(&self) {
        self.inside.receiver.drive();
        self.outside.receiver.drive();
    }

    /// Sleeps until a frame comes, control wakes this worker, or `millis` are over; shortly only, while a port
    /// that is up has not taken all of its frames.
    pub(super) fn sleep(&mut self, control: &Control, millis: u32) {
        let mut unsent =
            |side| control.state(side) == PortState::Up && self.end(side).transmitter.waiting() > 0;
        let busy = unsent(Side::Inside) || unsent(Side::Outside);
        let nanos = if busy { BUSY_NANOS } else { i64::from(millis) * 1_000_000 };
        let timeout = Timespec { tv_sec: nanos / 1_000_000_000, tv_nsec: nanos % 1_000_000_000 };
        let wake = control.poll_fd();
        // Without a kernel there is nothing to wait for at a port; the wake descriptor takes its place.
        let inside = self.inside.receiver.poll_fd().unwrap_or(wake);
        let outside = self.outside.receiver.poll_fd().unwrap_or(wake);
        let mut fds = [inside, outside, wake].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        // An interrupted or failed poll only means looking at the rings sooner.
        let _ = poll(&mut fds, Some(&timeout));
        control.clear_wake();
    }

    /// Sends what is already in the transmit rings, within bounds, and takes the chunks back.
    pub(super) fn flush(&mut self, control: &Control) {
        for _ in 0..LAST_KICKS {
            self.kick(Side::Inside, control);
            self.kick(Side::Outside, control);
            self.reclaim();
            if self.umem.census().transmit == 0 {
                break;
            }
        }
    }

    /// Where the chunks are.
    pub(super) fn census(&mut self) -> Census {
        let waiting = self.inside.receiver.waiting() + self.outside.receiver.waiting();
        self.umem.census().with_fill(waiting)
    }
}
