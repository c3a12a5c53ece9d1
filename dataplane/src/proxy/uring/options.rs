//! Socket options that rustix has no name for.

use core::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Lets a socket listen on, accept for and connect from addresses that are not this host's: `IP_TRANSPARENT` or
/// `IPV6_TRANSPARENT`.
///
/// # Errors
/// What `setsockopt(2)` says: `EPERM` without `CAP_NET_ADMIN` (or `CAP_NET_RAW`).
pub(in crate::proxy) fn allow_foreign_addresses(socket: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    let (level, option) = if v6 {
        (libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT)
    } else {
        (libc::IPPROTO_IP, libc::IP_TRANSPARENT)
    };
    set(socket, level, option)
}

/// Leaves the choice of the port of a bound address to `connect(2)`, which knows the other end:
/// `IP_BIND_ADDRESS_NO_PORT`, which works for IPv6 too.
///
/// # Errors
/// What `setsockopt(2)` says.
pub(in crate::proxy) fn allow_any_port(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT)
}

fn set(socket: BorrowedFd<'_>, level: c_int, option: c_int) -> io::Result<()> {
    let on: c_int = 1;
    #[expect(clippy::cast_possible_truncation, reason = "four bytes")]
    let length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes at `on`, which is as long and lives through the call.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
