//! The worker's two ends of a port queue: where frames come from and where they go.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::net::xdp::{XdpDesc, XdpDescOptions};

use super::rings::{Consumer, Producer};
use super::socket::Socket;
use crate::frame::{Batch, Frame, Umem};
use crate::verdict::Side;

/// How a kick of a transmit ring ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kick {
    /// The kernel took what there was, or needs no kick.
    Done,
    /// Some of the ring is left; kick again.
    Again,
    /// The device dropped one frame, as a full virtual device does; the rest is left, kick again. The kernel
    /// completes such a frame like any other, so this answer is all that ever tells of it (`NET_XMIT_DROP` in
    /// `xsk_generic_xmit`).
    Dropped,
    /// The device is down; it may come back.
    Down,
    /// The device is gone for good (`xsk_unbind_dev`): the socket will never work again.
    Gone,
}

/// The receiving end: a fill ring and an RX ring.
#[derive(Debug)]
pub(crate) struct Receiver {
    side: Side,
    fill: Producer<u64>,
    rx: Consumer<XdpDesc>,
    socket: Option<Arc<Socket>>,
}

impl Receiver {
    pub(super) fn new(
        side: Side,
        fill: Producer<u64>,
        rx: Consumer<XdpDesc>,
        socket: Option<Arc<Socket>>,
    ) -> Self {
        Self { side, fill, rx, socket }
    }

    /// From now on speaks for a bound socket.
    pub(super) fn attach(&mut self, socket: Arc<Socket>) {
        self.socket = Some(socket);
    }

    /// Takes received frames until the batch is full or the ring is empty.
    pub(crate) fn receive(&mut self, umem: &mut Umem, batch: &mut Batch) {
        let mut taken = false;
        while !batch.is_full() {
            let Some(descriptor) = self.rx.pop() else { break };
            taken = true;
            if let Some(frame) = umem.received(self.side, descriptor.addr, descriptor.len) {
                batch.push(frame);
            }
        }
        // Storing an index that did not change would only take the cache line from the kernel's core.
        if taken {
            self.rx.publish();
        }
    }

    /// Lends free chunks to the kernel until the fill ring is full or only `reserve` chunks are left.
    pub(crate) fn refill(&mut self, umem: &mut Umem, reserve: usize) {
        let mut lent = false;
        while umem.free() > reserve && self.fill.has_room() {
            let Some(address) = umem.lend(self.side) else { break };
            lent |= self.fill.push(address);
        }
        if lent {
            self.fill.publish();
        }
    }

    /// Tells a zero-copy driver that sleeps for want of chunks that there are some. In copy mode the kernel looks
    /// at the fill ring with each frame and `recvmsg` would do nothing, so no system call is spent.
    pub(crate) fn wake(&self) {
        if let Some(socket) = &self.socket
            && (socket.zero_copy() || socket.busy_poll())
            && self.fill.needs_wakeup()
        {
            socket.drive_receive();
        }
    }

    /// Runs the driver's poll on this thread: for busy polling, where nothing else does.
    pub(crate) fn drive(&self) {
        if let Some(socket) = &self.socket {
            socket.drive_receive();
        }
    }

    /// Chunks in the fill ring that the kernel has not taken yet.
    pub(crate) fn waiting(&mut self) -> u32 {
        self.fill.waiting()
    }

    /// The descriptor to poll for input; `None` without a kernel.
    pub(crate) fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(|socket| socket.as_fd())
    }

    /// The socket, for its statistics.
    pub(crate) fn socket(&self) -> Option<&Arc<Socket>> {
        self.socket.as_ref()
    }
}

/// The transmitting end: a TX ring and a completion ring.
#[derive(Debug)]
pub(crate) struct Transmitter {
    side: Side,
    tx: Producer<XdpDesc>,
    completion: Consumer<u64>,
    socket: Option<Arc<Socket>>,
}

impl Transmitter {
    pub(super) fn new(
        side: Side,
        tx: Producer<XdpDesc>,
        completion: Consumer<u64>,
        socket: Option<Arc<Socket>>,
    ) -> Self {
        Self { side, tx, completion, socket }
    }

    /// Frees the chunks of sent frames.
    pub(crate) fn reclaim(&mut self, umem: &mut Umem) {
        let mut taken = false;
        for _ in 0..self.tx.size() {
            let Some(address) = self.completion.pop() else { break };
            taken = true;
            umem.completed(self.side, address);
        }
        if taken {
            self.completion.publish();
        }
    }

    /// Puts one frame into the ring, unseen until [`Transmitter::publish`].
    ///
    /// # Errors
    /// The frame itself, while the ring is full.
    pub(crate) fn push(&mut self, umem: &mut Umem, frame: Frame) -> Result<(), Frame> {
        if !self.tx.has_room() {
            return Err(frame);
        }
        let (addr, len) = umem.transmit(self.side, frame);
        self.tx.push(XdpDesc { addr, len, options: XdpDescOptions::empty() });
        Ok(())
    }

    /// Shows the pushed frames to the kernel.
    pub(crate) fn publish(&mut self) {
        self.tx.publish();
    }

    /// Frames in the ring that the kernel has not taken yet.
    pub(crate) fn waiting(&mut self) -> u32 {
        self.tx.waiting()
    }

    /// Makes the kernel send what is in the ring. In copy mode this call does all the sending, on this thread
    /// (`xsk_generic_xmit`); in zero-copy mode it wakes the driver, if the driver sleeps.
    pub(crate) fn kick(&mut self) -> Kick {
        match &self.socket {
            Some(socket) if self.tx.needs_wakeup() => socket.drive_transmit(),
            Some(_) => Kick::Done,
            // Without a kernel there is nobody to kick.
            None => Kick::Again,
        }
    }
}

/// The kernel's side of both ends, in ordinary memory: what tests put in place of a device.
#[cfg(test)]
pub(crate) struct Device {
    pub(crate) fill: Consumer<u64>,
    pub(crate) rx: Producer<XdpDesc>,
    pub(crate) tx: Consumer<XdpDesc>,
    pub(crate) completion: Producer<u64>,
}

/// Two ends with a [`Device`] instead of a socket; every ring has `size` entries.
#[cfg(test)]
pub(crate) fn without_kernel(side: Side, size: u32) -> (Receiver, Transmitter, Device) {
    use super::rings::pair;
    let (fill, device_fill) = pair(size).unwrap();
    let (device_rx, rx) = pair(size).unwrap();
    let (tx, device_tx) = pair(size).unwrap();
    let (device_completion, completion) = pair(size).unwrap();
    (
        Receiver::new(side, fill, rx, None),
        Transmitter::new(side, tx, completion, None),
        Device { fill: device_fill, rx: device_rx, tx: device_tx, completion: device_completion },
    )
}
