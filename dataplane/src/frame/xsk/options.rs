//! Socket options and one device query that rustix has no call for.

use core::ffi::{c_char, c_int, c_ulong};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

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

/// How many queues of a device are in use: receive and transmit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Channels {
    pub(crate) receive: u32,
    pub(crate) transmit: u32,
    /// The driver names them one by one (`rx`, `tx`), not in pairs (`combined`).
    pub(crate) separate: bool,
}

/// `struct ethtool_channels` of `include/uapi/linux/ethtool.h`.
#[repr(C)]
#[derive(Default)]
struct EthtoolChannels {
    command: u32,
    max_rx: u32,
    max_tx: u32,
    max_other: u32,
    max_combined: u32,
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

/// `struct ifreq` of `include/uapi/linux/if.h`, as `SIOCETHTOOL` uses it.
#[repr(C)]
struct InterfaceRequest {
    name: [c_char; 16],
    data: *mut EthtoolChannels,
    rest: [u64; 2],
}

const ETHTOOL_GCHANNELS: u32 = 0x3c;
const SIOCETHTOOL: c_ulong = 0x8946;

/// Asks the driver of `interface`, in this thread's network namespace, how many queues it uses.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`] from a driver that cannot say; a name longer than 15 bytes is invalid input.
pub(crate) fn channels(interface: &str) -> io::Result<Channels> {
    let mut channels = EthtoolChannels { command: ETHTOOL_GCHANNELS, ..EthtoolChannels::default() };
    let mut request = InterfaceRequest { name: [0; 16], data: &raw mut channels, rest: [0; 2] };
    if interface.len() >= request.name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.name.iter_mut().zip(interface.bytes()) {
        *to = c_char::from_ne_bytes([from]);
    }
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: the request has the layout of `struct ifreq` (40 bytes on 64-bit Linux) and its name ends in a zero
    // byte; `data` points to a `struct ethtool_channels` that outlives the call, which is what the kernel reads
    // and writes for ETHTOOL_GCHANNELS (`ethtool_get_channels` in `net/ethtool/ioctl.c`).
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let EthtoolChannels { rx, tx, combined, .. } = channels;
    Ok(Channels {
        receive: rx.saturating_add(combined),
        transmit: tx.saturating_add(combined),
        separate: combined == 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_the_kernels() {
        assert_eq!(size_of::<EthtoolChannels>(), 36);
        assert_eq!(size_of::<InterfaceRequest>(), 40);
    }

    #[test]
    fn names_that_are_no_device_are_errors() {
        assert_eq!(channels("sixteen-bytes-xx").unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(channels("no-such-device").is_err());
    }
}
