//! Socket options that rustix has no call for.

use core::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `XDP_MAX_TX_SKB_BUDGET` of `include/uapi/linux/if_xdp.h` (Linux 6.17).
const XDP_MAX_TX_SKB_BUDGET: c_int = 9;

/// Lets one kick send up to `frames` in copy mode, instead of the 32 of `TX_BATCH_SIZE` in `net/xdp/xsk.c`. The TX
/// ring must exist and be at least that long.
pub(super) fn set_tx_budget(socket: BorrowedFd<'_>, frames: u32) -> io::Result<()> {
    set(socket, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, frames)
}

/// Prefers busy polling over interrupts on this socket's queue: `micros` per system call, `budget` frames per poll.
pub(super) fn set_busy_poll(socket: BorrowedFd<'_>, micros: u32, budget: u32) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_PREFER_BUSY_POLL, 1)?;
    set(socket, libc::SOL_SOCKET, libc::SO_BUSY_POLL, micros)?;
    set(socket, libc::SOL_SOCKET, libc::SO_BUSY_POLL_BUDGET, budget)
}

fn set(socket: BorrowedFd<'_>, level: c_int, option: c_int, value: u32) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<u32>()).map_err(io::Error::other)?;
    // SAFETY: the kernel reads exactly `len` bytes from `value`, which lives until the call returns; the
    // descriptor is open as long as it is borrowed.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
