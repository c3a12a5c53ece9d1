//! One worker: the loop.

use std::os::fd::{AsRawFd, OwnedFd};

use super::ProxyParts;
use super::config::ProxyConfig;
use super::control::{BackendHealth, Control, Wanted};
use super::error::{ProxyProblem, RingError};
use super::uring::{Completions, Op, Ring, RingPlan, Token};

/// What a worker thread owns.
pub(super) struct Engine {
    ring: Ring,
    control: Control,
    parts: ProxyParts,
    completions: Box<Completions>,
    // After the ring, which names them.
    _listeners: Vec<OwnedFd>,
}

/// The wake-up's place among the ring's files; the listeners come after it.
const WAKE_FILE: u32 = 0;
const WAKE: Token = Token { op: Op::Wake, index: 0 };

impl Engine {
    pub(super) fn new(
        config: &ProxyConfig,
        listeners: Vec<OwnedFd>,
        control: Control,
        _health: BackendHealth,
        parts: ProxyParts,
    ) -> Result<Self, ProxyProblem> {
        let limits = config.limits;
        let files: Vec<_> = [control.wake_fd().as_raw_fd()]
            .into_iter()
            .chain(listeners.iter().map(AsRawFd::as_raw_fd))
            .collect();
        let seats =
            u32::try_from(listeners.len()).unwrap_or(u32::MAX).saturating_mul(limits.accepts_per_turn);
        let buffers = u16::try_from(limits.buffers)
            .map_err(|_| ProxyProblem::Setting("buffers", limits.buffers, "16 to 32768"))?;
        let plan = RingPlan { connections: limits.connections_max, buffers, seats };
        let ring = Ring::new(&plan, &files).map_err(ProxyProblem::Ring)?;
        Ok(Self { ring, control, parts, completions: Box::default(), _listeners: listeners })
    }

    /// The loop. Returns when told to stop.
    pub(super) fn run(&mut self) {
        self.ring.watch(WAKE_FILE, WAKE);
        while self.control.wanted() < Wanted::Stop {
            let _ = self.parts.reader.read();
            if self.ring.wait(1, None).is_err() {
                return;
            }
            self.ring.reap(&mut self.completions);
            for completion in self.completions.drain(..) {
                if completion.token.op == Op::Wake {
                    self.control.clear_wake();
                    self.ring.watch(WAKE_FILE, WAKE);
                }
            }
        }
    }
}

impl From<RingError> for ProxyProblem {
    fn from(error: RingError) -> Self {
        Self::Ring(error)
    }
}
