//! A worker thread, seen from the control thread.

use std::io;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};

use super::control::Control;
use super::error::WireProblem;
use super::status::WorkerStatus;
use super::{PortState, WireConfig, Worker};
use crate::cores;
use crate::frame::Census;
use crate::frame::xsk::Socket;
use crate::pipeline::Stage;
use crate::verdict::Side;

/// What a worker left behind.
#[derive(Debug)]
pub struct Stopped<S> {
    /// The stage, with its counters.
    pub stage: S,
    /// Where the chunks were after the last frame was sent; adds up to `frames_per_queue`.
    pub census: Census,
    /// Addresses from rings that were refused; not 0 would be a defect here or in the kernel.
    pub rejected: u64,
}

/// A running worker. Dropping it stops the thread.
pub(super) struct Running<S> {
    core: u32,
    control: Control,
    // Weak: when the thread dies its sockets must close, so that the kernel's fallback takes their queues over.
    inside: Weak<Socket>,
    outside: Weak<Socket>,
    thread: Option<JoinHandle<Worker<S>>>,
}

impl<S: Stage + 'static> Running<S> {
    /// Starts the thread, pinned.
    ///
    /// # Errors
    /// [`WireProblem::Core`] or [`WireProblem::Thread`].
    pub(super) fn start(
        worker: Worker<S>,
        config: &WireConfig,
        queue: u32,
        (inside, outside): (Weak<Socket>, Weak<Socket>),
    ) -> Result<Self, WireProblem> {
        let core = cores::choose(&config.cores, config.id, queue);
        let control = worker.control.clone();
        let (tell, told) = sync_channel(1);
        let body = move || {
            let pinned = cores::pin(core);
            let stop = pinned.is_err();
            if tell.send(pinned).is_err() || stop { worker } else { worker.run() }
        };
        let thread = thread::Builder::new().name(format!("{}/{queue}", config.name));
        let thread = thread.spawn(body).map_err(WireProblem::Thread)?;
        let running = Self { core, control, inside, outside, thread: Some(thread) };
        match told.recv() {
            Ok(Ok(())) => Ok(running),
            Ok(Err(error)) => Err(WireProblem::Core(core, error)),
            Err(_) => Err(WireProblem::Thread(io::Error::other("the thread ended before it began"))),
        }
    }

    pub(super) fn status(&self, queue: u32) -> WorkerStatus {
        WorkerStatus {
            queue,
            core: self.core,
            alive: self.thread.as_ref().is_some_and(|thread| !thread.is_finished()),
            rejected: self.control.rejected(),
        }
    }

    /// The worker's socket, if the worker lives.
    pub(super) fn socket(&self, side: Side) -> Option<Arc<Socket>> {
        match side {
            Side::Inside => self.inside.upgrade(),
            Side::Outside => self.outside.upgrade(),
        }
    }

    /// Frames the kernel took for the port and its device then dropped.
    pub(super) fn device_drops(&self, side: Side) -> u64 {
        self.control.device_drops(side)
    }

    pub(super) fn port_state(&self, side: Side) -> PortState {
        if self.socket(side).is_some_and(|socket| socket.is_gone()) {
            self.control.set_state(side, PortState::Gone);
        }
        self.control.state(side)
    }

    pub(super) fn control(&self) -> Control {
        self.control.clone()
    }

    pub(super) fn tell_to_stop(&self) {
        self.control.stop();
    }

    /// Waits for the thread and closes its sockets. `None` if it panicked.
    pub(super) fn join(mut self) -> Option<Stopped<S>> {
        self.control.stop();
        let mut worker = self.thread.take()?.join().ok()?;
        let census = worker.pair.census();
        Some(Stopped { census, rejected: worker.pair.umem.rejected(), stage: worker.stage })
    }
}

impl<S> Drop for Running<S> {
    fn drop(&mut self) {
        self.control.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the worker was already printed by its own thread.
            let _ = thread.join();
        }
    }
}
