//! What a wire is made of.

use std::path::PathBuf;

use super::error::{WireError, WireProblem};
use crate::frame::BATCH_MAX;
use crate::frame::port::{self, BusyPoll, PortConfig, PortError, QueueSizes, Survey};
use crate::verdict::{Side, WireId};

/// Chunks a worker keeps back from the fill rings, so that the stage can always make frames of its own.
const RESERVE: usize = BATCH_MAX;

/// What happens to frames when no worker is there to judge them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fail {
    /// They are dropped, and counted by the kernel program.
    #[default]
    Closed,
    /// The kernel sends them out of the other port, unjudged, and counts them. In native mode the driver of that
    /// port must take redirected frames: on a veth its other end has to run NAPI (`ethtool -K <end> gro on`), else
    /// they are lost there (`veth_xdp_xmit` in `drivers/net/veth.c`).
    Open,
}

/// One wire.
#[derive(Clone, Debug)]
pub struct WireConfig {
    /// Its index in this process.
    pub id: WireId,
    /// Its name: in messages, thread names and the names of pins.
    pub name: String,
    /// The port towards the workloads.
    pub inside: PortConfig,
    /// The port towards the network.
    pub outside: PortConfig,
    /// What happens without a worker.
    pub fail: Fail,
    /// A folder in a BPF file system. With it, the program stays on the ports when the process dies, and with it
    /// the rule of `fail`; the next process takes over without a gap. Without it, the kernel removes the program
    /// with the process: the wire then passes nothing, because nothing else joins its ports, but the host's own
    /// stack sees their frames.
    pub pin: Option<PathBuf>,
    /// How many queues of each port are served, one worker each; `None`: all, which both ports must have alike.
    pub queues: Option<u32>,
    /// Chunks of each worker; a power of two, 256 to 65,536. Each of the rings of each port holds a quarter of
    /// them: that many frames can wait at a port to be judged, and that many to be sent.
    pub frames_per_queue: u32,
    /// Size of a chunk, bytes: 2048 for an MTU up to 1770, or 4096 for one up to 3818.
    pub chunk_size: u32,
    /// Busy polling instead of sleeping.
    pub busy_poll: Option<BusyPoll>,
    /// The CPUs that workers are pinned to, in queue order, repeated if there are fewer; empty: those that the
    /// process may use, starting at a different one for each wire.
    pub cores: Vec<u32>,
}

impl WireConfig {
    /// A wire that fails closed, with 4096 chunks of 2048 bytes a queue and every other choice left open.
    #[must_use]
    pub fn new(id: WireId, name: &str, inside: &str, outside: &str) -> Self {
        let port = |interface: &str| PortConfig { interface: interface.to_owned(), mode: Default::default() };
        Self {
            id,
            name: name.to_owned(),
            inside: port(inside),
            outside: port(outside),
            fail: Fail::Closed,
            pin: None,
            queues: None,
            frames_per_queue: 4096,
            chunk_size: 2048,
            busy_poll: None,
            cores: Vec::new(),
        }
    }

    /// How many workers [`Wire::open`](super::Wire::open) would start: the queues asked for, or those of the port with fewer.
    ///
    /// # Errors
    /// [`WireError`], as far as it can be told without touching the ports.
    pub fn workers(&self) -> Result<u32, WireError> {
        self.survey().map(|(_, _, workers)| workers)
    }

    pub(super) fn refuse(&self, problem: WireProblem) -> WireError {
        WireError { wire: self.name.clone(), problem }
    }

    fn check(&self) -> Result<(), WireProblem> {
        let frames = self.frames_per_queue;
        if !frames.is_power_of_two() || !(256..=65_536).contains(&frames) {
            let legal = "a power of two from 256 to 65536";
            return Err(WireProblem::Setting("frames_per_queue", frames, legal));
        }
        if !matches!(self.chunk_size, 2048 | 4096) {
            return Err(WireProblem::Setting("chunk_size", self.chunk_size, "2048 or 4096"));
        }
        if self.queues == Some(0) {
            return Err(WireProblem::Setting("queues", 0, "at least 1"));
        }
        if self.inside.interface == self.outside.interface {
            return Err(WireProblem::SamePort(self.inside.interface.clone()));
        }
        Ok(())
    }

    /// Looks at both ports, changing nothing.
    pub(super) fn survey(&self) -> Result<(Survey, Survey, u32), WireError> {
        self.check().map_err(|problem| self.refuse(problem))?;
        let of_port = |error: PortError| self.refuse(WireProblem::Port(error));
        let inside = port::survey(&self.inside, self.chunk_size).map_err(of_port)?;
        let outside = port::survey(&self.outside, self.chunk_size).map_err(of_port)?;
        if inside.mtu() != outside.mtu() {
            return Err(self.refuse(WireProblem::Mtu {
                inside: (self.inside.interface.clone(), inside.mtu()),
                outside: (self.outside.interface.clone(), outside.mtu()),
            }));
        }
        let workers = self.queues.unwrap_or_else(|| inside.queues().min(outside.queues()));
        inside.check_queues(workers).map_err(of_port)?;
        outside.check_queues(workers).map_err(of_port)?;
        Ok((inside, outside, workers))
    }

    pub(super) fn sizes(&self) -> QueueSizes {
        QueueSizes { ring: self.frames_per_queue / 4, reserve: RESERVE, busy_poll: self.busy_poll }
    }

    pub(super) fn pin(&self, side: Side) -> Option<PathBuf> {
        self.pin.as_ref().map(|folder| folder.join(format!("{}-{}", self.name, side.name())))
    }
}
