//! Opening a wire, asking how it is, and stopping it.

use std::io;
use std::sync::Arc;

use super::control::Control;
use super::error::WireProblem;
use super::pair::{End, QueuePair};
use super::running::{Running, Stopped};
use super::status::{PortStatus, SocketCounts, WireStatus};
use super::{Fail, PortState, WireConfig, WireError, Worker};
use crate::frame::Umem;
use crate::frame::port::{self, Port, PortError};
use crate::pipeline::Stage;
use crate::verdict::Side;

/// A running wire: two ports with the program on them, and its workers.
///
/// Dropping it without [`Wire::stop`] stops the workers too, but leaves pins in place: the program then stays on
/// the ports and the rule of [`Fail`] applies, as after a crash.
pub struct Wire<S> {
    config: WireConfig,
    // Before the ports, so that a wire that is merely dropped stops its workers first.
    workers: Vec<Running<S>>,
    inside: Port,
    outside: Port,
}

/// Wakes the workers of one wire. Does nothing once they have stopped.
#[derive(Clone, Debug)]
pub struct Waker(Arc<[Control]>);

impl Waker {
    /// Makes every worker go through its loop at once: after a publish, so that an idle one notices it too.
    pub fn wake(&self) {
        self.0.iter().for_each(Control::wake);
    }
}

impl<S: Stage + 'static> Wire<S> {
    /// Opens both ports and starts a worker per queue pair, with the stage that `stage` makes for each queue.
    ///
    /// The program is attached first, with the rule of [`Fail`] in force, and gets its sockets one by one: at no
    /// moment does a frame pass unjudged on a wire that fails closed.
    ///
    /// # Errors
    /// [`WireError`]; both ports are then left as they were.
    pub fn open(config: &WireConfig, mut stage: impl FnMut(u32) -> S) -> Result<Self, WireError> {
        port::raise_memory_limit();
        let (inside, outside, workers) = config.survey()?;
        let of_port = |error: PortError| config.refuse(WireProblem::Port(error));
        let pins = [config.pin(Side::Inside), config.pin(Side::Outside)];
        let open = config.fail == Fail::Open;
        let (inside, outside) = port::attach_both(inside, outside, open, &pins).map_err(of_port)?;
        let mut wire = Self { config: config.clone(), workers: Vec::new(), inside, outside };
        for queue in 0..workers {
            match wire.start(queue, stage(queue)) {
                Ok(running) => wire.workers.push(running),
                Err(problem) => {
                    let Self { workers, inside, outside, .. } = wire;
                    drop(workers);
                    inside.abandon();
                    outside.abandon();
                    return Err(config.refuse(problem));
                }
            }
        }
        Ok(wire)
    }

    fn start(&mut self, queue: u32, stage: S) -> Result<Running<S>, WireProblem> {
        let config = &self.config;
        let mut umem =
            Umem::anonymous(config.frames_per_queue, config.chunk_size).map_err(WireProblem::Memory)?;
        let sizes = config.sizes();
        let (receiver, transmitter) =
            self.inside.open_queue(&mut umem, Side::Inside, queue, &sizes).map_err(WireProblem::Port)?;
        let inside = End { receiver, transmitter, longest: self.inside.longest_frame() };
        let (receiver, transmitter) =
            self.outside.open_queue(&mut umem, Side::Outside, queue, &sizes).map_err(WireProblem::Port)?;
        let outside = End { receiver, transmitter, longest: self.outside.longest_frame() };
        let socket = |end: &End| {
            let socket = end.receiver.socket().map(Arc::downgrade);
            socket.ok_or_else(|| WireProblem::Thread(io::ErrorKind::NotConnected.into()))
        };
        let sockets = (socket(&inside)?, socket(&outside)?);
        let pair = QueuePair { umem, inside, outside, reserve: sizes.reserve };
        let control = Control::new().map_err(WireProblem::Thread)?;
        let worker = Worker::new(config.id, pair, stage, control, config.busy_poll.is_some());
        Running::start(worker, config, queue, sockets)
    }

    /// What wakes this wire's workers, for whoever publishes policies.
    #[must_use]
    pub fn waker(&self) -> Waker {
        Waker(self.workers.iter().map(Running::control).collect())
    }

    /// The configuration it was opened with.
    #[must_use]
    pub fn config(&self) -> &WireConfig {
        &self.config
    }

    /// How the wire is now.
    ///
    /// # Errors
    /// If the kernel cannot be asked for its counts.
    pub fn status(&self) -> io::Result<WireStatus> {
        let workers = self.workers.iter().zip(0..).map(|(worker, queue)| worker.status(queue)).collect();
        Ok(WireStatus {
            id: self.config.id,
            name: self.config.name.clone(),
            inside: self.port_status(Side::Inside)?,
            outside: self.port_status(Side::Outside)?,
            workers,
        })
    }

    fn port_status(&self, side: Side) -> io::Result<PortStatus> {
        let port = match side {
            Side::Inside => &self.inside,
            Side::Outside => &self.outside,
        };
        // Of the workers that live; the dead have no sockets to ask.
        let mut zero_copy = None;
        let mut state = PortState::Up;
        let mut counts = SocketCounts::default();
        for worker in &self.workers {
            if let Some(socket) = worker.socket(side) {
                zero_copy = Some(zero_copy.unwrap_or(true) && socket.zero_copy());
                counts.add(&socket.statistics()?);
            }
            counts.device_drops += worker.device_drops(side);
            state = state.worse(worker.port_state(side));
        }
        Ok(PortStatus {
            interface: port.interface().to_owned(),
            mode: port.mode(zero_copy.unwrap_or(false)),
            state,
            queues: u32::try_from(self.workers.len()).unwrap_or(u32::MAX),
            mtu: port.mtu(),
            sockets: counts,
            fallback: port.fallback()?,
        })
    }

    /// Stops the workers, lets each send what it has already judged, closes the sockets, and takes the program
    /// and its pins off the ports. Returns what the workers left; one that panicked leaves nothing.
    ///
    /// # Errors
    /// [`WireError`] when a pin cannot be removed: the program is then still on that port, with its fallback.
    pub fn stop(self) -> Result<Vec<Stopped<S>>, WireError> {
        let Self { config, workers, inside, outside } = self;
        workers.iter().for_each(Running::tell_to_stop);
        let stopped = workers.into_iter().filter_map(Running::join).collect();
        let (inside, outside) = (inside.detach(), outside.detach());
        inside.and(outside).map_err(|error| config.refuse(WireProblem::Port(error)))?;
        Ok(stopped)
    }
}
