//! What only the ethtool interface tells about a device: its queues and receive offload.

use core::ffi::{c_char, c_ulong};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// How many queues of a device are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Channels {
    pub(crate) receive: u32,
    pub(crate) transmit: u32,
    /// The driver names them one by one (`rx`, `tx`), not in pairs (`combined`).
    pub(crate) separate: bool,
}

/// A request of `include/uapi/linux/ethtool.h`: made of `u32`s, the first of which is the command, and exactly as
/// long as the kernel takes it to be for that command.
trait Request {}

/// `struct ethtool_channels`.
#[repr(C)]
#[derive(Default)]
struct ChannelsRequest {
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

/// `struct ethtool_value`.
#[repr(C)]
struct ValueRequest {
    command: u32,
    data: u32,
}

impl Request for ChannelsRequest {}
impl Request for ValueRequest {}

/// `struct ifreq` of `include/uapi/linux/if.h`, as `SIOCETHTOOL` uses it.
#[repr(C)]
struct InterfaceRequest<T> {
    name: [c_char; 16],
    data: *mut T,
    rest: [u64; 2],
}

const ETHTOOL_GGRO: u32 = 0x2b;
const ETHTOOL_SGRO: u32 = 0x2c;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
const SIOCETHTOOL: c_ulong = 0x8946;

/// Asks the driver of `interface`, in this thread's network namespace, how many queues it uses.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`] from a driver that cannot say; a name longer than 15 bytes is invalid input.
pub(crate) fn channels(interface: &str) -> io::Result<Channels> {
    let mut answer = ChannelsRequest { command: ETHTOOL_GCHANNELS, ..ChannelsRequest::default() };
    ask(interface, &mut answer)?;
    let ChannelsRequest { rx, tx, combined, .. } = answer;
    Ok(Channels {
        receive: rx.saturating_add(combined),
        transmit: tx.saturating_add(combined),
        separate: combined == 0,
    })
}

/// Whether the stack merges received packets of `interface` (GRO) before anything else sees them.
///
/// # Errors
/// As [`channels`].
pub(crate) fn merges(interface: &str) -> io::Result<bool> {
    let mut answer = ValueRequest { command: ETHTOOL_GGRO, data: 0 };
    ask(interface, &mut answer)?;
    Ok(answer.data != 0)
}

/// Turns that on or off.
///
/// # Errors
/// As [`channels`]; and without CAP_NET_ADMIN.
pub(crate) fn set_merges(interface: &str, on: bool) -> io::Result<()> {
    ask(interface, &mut ValueRequest { command: ETHTOOL_SGRO, data: on.into() })
}

fn ask<T: Request>(interface: &str, request: &mut T) -> io::Result<()> {
    let mut question = InterfaceRequest { name: [0; 16], data: request, rest: [0; 2] };
    if interface.len() >= question.name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in question.name.iter_mut().zip(interface.bytes()) {
        *to = c_char::from_ne_bytes([from]);
    }
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: the question has the layout of `struct ifreq` (40 bytes on 64-bit Linux) and its name ends in a zero
    // byte; `data` points to a request that outlives the call, and that is as long as the kernel reads and writes
    // for its command (see `Request`; `dev_ethtool` in `net/ethtool/ioctl.c`).
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), SIOCETHTOOL as _, &raw mut question) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_the_kernels() {
        assert_eq!(size_of::<ChannelsRequest>(), 36);
        assert_eq!(size_of::<ValueRequest>(), 8);
        assert_eq!(size_of::<InterfaceRequest<ValueRequest>>(), 40);
    }

    #[test]
    fn names_that_are_no_device_are_errors() {
        assert_eq!(channels("sixteen-bytes-xx").unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(channels("no-such-device").is_err());
        assert!(merges("no-such-device").is_err());
    }
}
