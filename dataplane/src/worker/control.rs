//! What a worker and the control thread share: a stop flag, a wake-up, and a few words of state.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use rustix::event::{EventfdFlags, eventfd};

use crate::counters::Counter;
use crate::verdict::Side;

/// Whether a port can send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortState {
    /// It can.
    Up,
    /// The device is down; frames wait in its ring, and those beyond are dropped.
    Down,
    /// The device was removed: the wire must be opened anew.
    Gone,
}

impl PortState {
    const ALL: [Self; 3] = [Self::Up, Self::Down, Self::Gone];

    /// The worse of two: a port is as good as its worst queue.
    #[must_use]
    pub(super) fn worse(self, other: Self) -> Self {
        if other as u8 > self as u8 { other } else { self }
    }

    /// `up`, `down` or `gone`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Gone => "gone",
        }
    }
}

#[derive(Debug, Default)]
struct SideState {
    state: AtomicU8,
    device_drops: Counter,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    wake: OwnedFd,
    inside: SideState,
    outside: SideState,
    rejected: AtomicU64,
}

/// One worker's handle; control holds a clone.
#[derive(Clone, Debug)]
pub(super) struct Control(Arc<Shared>);

impl Control {
    /// # Errors
    /// What `eventfd(2)` says.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(Shared {
            stop: AtomicBool::new(false),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            inside: SideState::default(),
            outside: SideState::default(),
            rejected: AtomicU64::new(0),
        })))
    }

    /// Makes the worker go through its loop at once.
    pub(super) fn wake(&self) {
        // The only failure is a counter at its limit, and then the worker is being woken already.
        let _ = rustix::io::write(&self.0.wake, &1_u64.to_ne_bytes());
    }

    /// Tells the worker to stop, and wakes it.
    pub(super) fn stop(&self) {
        self.0.stop.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn stopping(&self) -> bool {
        self.0.stop.load(Ordering::Acquire)
    }

    /// Readable while a wake-up is pending.
    pub(super) fn poll_fd(&self) -> BorrowedFd<'_> {
        self.0.wake.as_fd()
    }

    pub(super) fn clear_wake(&self) {
        // EAGAIN: nobody woke us.
        let _ = rustix::io::read(&self.0.wake, &mut [0_u8; 8]);
    }

    fn side(&self, side: Side) -> &SideState {
        match side {
            Side::Inside => &self.0.inside,
            Side::Outside => &self.0.outside,
        }
    }

    pub(super) fn state(&self, side: Side) -> PortState {
        let index = usize::from(self.side(side).state.load(Ordering::Relaxed));
        PortState::ALL.get(index).copied().unwrap_or(PortState::Gone)
    }

    pub(super) fn set_state(&self, side: Side, state: PortState) {
        self.side(side).state.store(state as u8, Ordering::Relaxed);
    }

    pub(super) fn count_device_drop(&self, side: Side) {
        self.side(side).device_drops.add(1);
    }

    pub(super) fn device_drops(&self, side: Side) -> u64 {
        self.side(side).device_drops.get()
    }

    pub(super) fn set_rejected(&self, count: u64) {
        self.0.rejected.store(count, Ordering::Relaxed);
    }

    pub(super) fn rejected(&self) -> u64 {
        self.0.rejected.load(Ordering::Relaxed)
    }
}
