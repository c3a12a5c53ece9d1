//! Making a ring, and saying what a kernel lacks for it.

use std::io;

use io_uring::{IoUring, Probe, opcode};

use super::pool::Pool;
use crate::proxy::error::RingError;

/// How large a ring is.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) struct RingPlan {
    /// Connections at once: sizes the completion queue.
    pub(in crate::proxy) connections: u32,
    /// Buffers.
    pub(in crate::proxy) buffers: u16,
    /// Accepts under way at once, all listeners together.
    pub(in crate::proxy) seats: u32,
}

/// Submissions between two system calls at most; more are submitted in between.
pub(super) const SUBMISSIONS: u32 = 2048;
/// The largest completion queue that the kernel makes (`IORING_MAX_CQ_ENTRIES`, twice `IORING_MAX_ENTRIES`).
const COMPLETIONS_MAX: u32 = 65_536;

/// Operations used, and since when Linux has them.
const OPERATIONS: [(u8, &str, &str); 7] = [
    (opcode::Accept::CODE, "accept operation", "5.5"),
    (opcode::Connect::CODE, "connect operation", "5.5"),
    (opcode::Send::CODE, "send operation", "5.6"),
    (opcode::Recv::CODE, "receive operation", "5.6"),
    (opcode::PollAdd::CODE, "poll operation", "5.1"),
    (opcode::Close::CODE, "close operation", "5.6"),
    (opcode::AsyncCancel::CODE, "cancel operation", "5.5"),
];

/// Makes the kernel's side of a ring, for the calling thread alone.
///
/// One thread submits (`SINGLE_ISSUER`, Linux 6.0), and completions are worked out when it asks for them
/// (`DEFER_TASKRUN`, Linux 6.1), so that a wake-up never interrupts it. Without the array between submissions and
/// their queue (`NO_SQARRAY`, Linux 6.6) where that can be had.
pub(super) fn make(plan: &RingPlan) -> Result<IoUring, RingError> {
    // Three operations a connection may complete at once; more than fit wait inside the kernel.
    let completions = plan.connections.saturating_mul(3).next_power_of_two().clamp(4096, COMPLETIONS_MAX);
    let build = |without_array: bool| {
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
        builder.setup_clamp().setup_submit_all().setup_cqsize(completions);
        if without_array {
            builder.setup_no_sqarray();
        }
        builder.build(SUBMISSIONS)
    };
    let invalid = |error: &io::Error| error.raw_os_error() == Some(libc::EINVAL);
    let built = match build(true) {
        Err(error) if invalid(&error) => build(false),
        built => built,
    };
    built.map_err(|error| match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EPERM | libc::EACCES) => RingError::NoSupport(error),
        Some(libc::EINVAL) => RingError::Lacks("deferred task work (IORING_SETUP_DEFER_TASKRUN)", "6.1"),
        _ => RingError::Failed("io_uring_setup", error),
    })
}

/// Refuses a kernel that lacks an operation.
pub(super) fn probe(uring: &IoUring) -> Result<(), RingError> {
    let mut probe = Probe::new();
    uring
        .submitter()
        .register_probe(&mut probe)
        .map_err(|error| RingError::Failed("asking for its operations", error))?;
    match OPERATIONS.iter().find(|(code, ..)| !probe.is_supported(*code)) {
        Some(&(_, what, since)) => Err(RingError::Lacks(what, since)),
        None => Ok(()),
    }
}

/// The group of the buffers.
pub(super) const GROUP: u16 = 0;

/// Lets the kernel take buffers from the pool.
pub(super) fn register_pool(uring: &IoUring, pool: &Pool) -> Result<(), RingError> {
    let (place, entries) = pool.ring();
    // SAFETY: `place` is the start of a mapping of `entries` entries, owned by the pool, which outlives the kernel's
    // use of it: see `Ring::drop`.
    let registered = unsafe { uring.submitter().register_buf_ring_with_flags(place, entries, GROUP, 0) };
    registered.map_err(|error| match error.raw_os_error() {
        Some(libc::EINVAL) => {
            RingError::Lacks("ring of provided buffers (IORING_REGISTER_PBUF_RING)", "5.19")
        }
        _ => RingError::Failed("registering buffers", error),
    })
}
