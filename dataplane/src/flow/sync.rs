//! The atomics of the flow table: the processor's, or the model checker's under `cfg(loom)`.

#[cfg(not(loom))]
pub(super) use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub(super) use loom::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering, fence};

/// How often a claim is tried before its holder counts as stuck. A holder needs some 50 ns; only one that lost its
/// processor in between takes longer. At about 40 cycles a pause this gives up after some 50 us.
#[cfg(not(loom))]
pub(super) const CLAIM_TRIES: u32 = 4096;
/// Under the model checker a try is a switch to the other thread.
#[cfg(loom)]
pub(super) const CLAIM_TRIES: u32 = 3;

/// Lets the holder of a claim go on.
pub(super) fn pause() {
    #[cfg(not(loom))]
    core::hint::spin_loop();
    #[cfg(loom)]
    loom::thread::yield_now();
}
