//! What a proxy's workers and the control thread share: what is wanted of the workers, which back ends are healthy,
//! and what wakes a worker.

use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};

/// What is wanted of the workers; only ever more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Wanted {
    /// Accept and relay.
    Serve = 0,
    /// Accept nothing more; relay what there is.
    Drain = 1,
    /// Reset what there is, and end.
    Stop = 2,
}

/// Which back ends may get new connections. Written by whoever checks them, read by the workers once per connection.
/// All are healthy until told otherwise. Clones share their state.
#[derive(Clone, Debug)]
pub struct BackendHealth(Arc<AtomicU64>);

impl BackendHealth {
    pub(super) fn all() -> Self {
        Self(Arc::new(AtomicU64::new(u64::MAX)))
    }

    /// Notes whether the back end with this number is healthy. Connections that it has are left alone. A number from
    /// [`super::ProxyConfig::BACKENDS_MAX`] on changes nothing.
    pub fn set(&self, number: usize, healthy: bool) {
        let Some(bit) = u32::try_from(number).ok().and_then(|number| 1_u64.checked_shl(number)) else {
            return;
        };
        if healthy {
            self.0.fetch_or(bit, Ordering::Relaxed);
        } else {
            self.0.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    /// Whether the back end with this number is healthy.
    #[must_use]
    pub fn is_healthy(&self, number: usize) -> bool {
        let bit = u32::try_from(number).ok().and_then(|number| 1_u64.checked_shl(number));
        bit.is_some_and(|bit| self.bits() & bit != 0)
    }

    pub(super) fn bits(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct Shared {
    wanted: AtomicU8,
    wake: OwnedFd,
}

/// One worker's handle; the control thread holds a clone.
#[derive(Clone, Debug)]
pub(super) struct Control(Arc<Shared>);

impl Control {
    /// # Errors
    /// What `eventfd(2)` says.
    pub(super) fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(Shared { wanted: AtomicU8::new(Wanted::Serve as u8), wake })))
    }

    /// Makes the worker go through its loop at once.
    pub(super) fn wake(&self) {
        // The only failure is a counter at its limit, and then the worker is being woken already.
        let _ = rustix::io::write(&self.0.wake, &1_u64.to_ne_bytes());
    }

    /// Asks for `wanted`, unless more was asked before, and wakes the worker.
    pub(super) fn want(&self, wanted: Wanted) {
        self.0.wanted.fetch_max(wanted as u8, Ordering::Release);
        self.wake();
    }

    pub(super) fn wanted(&self) -> Wanted {
        match self.0.wanted.load(Ordering::Acquire) {
            0 => Wanted::Serve,
            1 => Wanted::Drain,
            _ => Wanted::Stop,
        }
    }

    /// Readable while a wake-up is pending.
    pub(super) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.0.wake.as_fd()
    }

    pub(super) fn clear_wake(&self) {
        // EAGAIN: nobody woke us.
        let _ = rustix::io::read(&self.0.wake, &mut [0_u8; 8]);
    }
}
