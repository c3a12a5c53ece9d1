//! What is asked of sockets beside their bytes.

use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicU64, Ordering};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::conn::End;
use crate::address::Address;
use crate::proxy::config::ProxyLimits;
use crate::proxy::error::ProxyProblem;
use crate::proxy::uring;

/// Whether a client waits to be accepted.
pub(super) fn is_awaited(listener: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(listener, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    // A socket that listens no more hangs up.
    poll(&mut polled, Some(&now)).is_ok() && polled[0].revents() == PollFlags::IN
}

/// Files beside those of connections: the process's own, listeners, rings.
const OTHER_FILES: u64 = 64;

/// What the proxy workers of this process need.
static NEEDED: AtomicU64 = AtomicU64::new(0);

/// The files that one worker may open, set aside until it is dropped.
pub(super) struct Files(u64);

impl Files {
    /// Sets them aside, and raises this process's limit to what all its workers need.
    pub(super) fn reserve(limits: &ProxyLimits) -> Result<Self, ProxyProblem> {
        let own = 2 * u64::from(limits.connections_max) + 2 * u64::from(limits.pipes);
        let reserved = Self(own);
        let needed = NEEDED.fetch_add(own, Ordering::Relaxed) + own + OTHER_FILES;
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
        if !enough(current) {
            let hard = if enough(maximum) { maximum } else { Some(needed) };
            setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum: hard })
                .map_err(|_| ProxyProblem::Files { needed, limit: maximum.unwrap_or(0) })?;
        }
        Ok(reserved)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        NEEDED.fetch_sub(self.0, Ordering::Relaxed);
    }
}

pub(super) fn end_of(address: SocketAddr) -> End {
    (Address::from(address.ip()), address.port())
}

pub(super) fn address_of((address, port): End) -> SocketAddr {
    SocketAddr::new(address.to_ip(), port)
}

/// The address that a socket has here.
pub(super) fn local(socket: impl AsFd) -> Option<SocketAddr> {
    SocketAddr::try_from(rustix::net::getsockname(socket).ok()?).ok()
}

/// Where the firewall's `REDIRECT` took a connection from.
pub(super) fn original(socket: BorrowedFd<'_>, v4: bool) -> Option<SocketAddr> {
    if v4 {
        sockopt::ip_original_dst(socket).ok().map(SocketAddr::V4)
    } else {
        sockopt::ipv6_original_dst(socket).ok().map(SocketAddr::V6)
    }
}

/// A socket to connect to `to`, from the address `from` if one is given.
///
/// # Errors
/// What the kernel says.
pub(super) fn open(to: SocketAddr, from: Option<Address>) -> io::Result<OwnedFd> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_keepalive(&socket, true)?;
    if let Some(from) = from {
        let ip: IpAddr = from.to_ip();
        if ip.is_ipv4() != to.is_ipv4() {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        uring::allow_foreign_addresses(socket.as_fd(), ip.is_ipv6())?;
        uring::allow_any_port(socket.as_fd())?;
        bind(&socket, &SocketAddr::new(ip, 0))?;
    }
    Ok(socket)
}

/// Makes closing a socket a reset.
pub(super) fn reset_on_close(socket: BorrowedFd<'_>) {
    // Fails only for what is no socket.
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

/// Makes calls on a socket never wait.
pub(super) fn never_block(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(fcntl_setfl(socket, fcntl_getfl(socket)? | OFlags::NONBLOCK)?)
}
