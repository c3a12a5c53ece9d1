//! The listening sockets of a proxy: opened, or taken over.

use core::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use super::config::{ListenMode, ProxyConfig};
use super::error::{ProxyError, ProxyProblem};
use super::uring;

/// Clients that may wait to be accepted; the kernel takes the lesser of this and `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;

/// How long an address that is in use is tried again. The kernel ends the rings of a process that was killed some time
/// after the process itself, and their accepts hold its listeners until then.
const IN_USE: Duration = Duration::from_secs(2);

/// Opens the listeners of a proxy, one per address, in the order of [`ProxyConfig::listen`]. Connections wait in them
/// until a proxy is started with them.
///
/// # Errors
/// [`ProxyError`] naming the address.
pub fn open_listeners(config: &ProxyConfig) -> Result<Vec<OwnedFd>, ProxyError> {
    config.check()?;
    let open = |&address| open(config, address).map_err(|problem| config.refuse(problem));
    config.listen.iter().map(open).collect()
}

fn open(config: &ProxyConfig, address: SocketAddr) -> Result<OwnedFd, ProxyProblem> {
    let failed = |errno: Errno| ProxyProblem::Listen(address, errno.into());
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).map_err(failed)?;
    sockopt::set_socket_reuseaddr(&socket, true).map_err(failed)?;
    if address.is_ipv6() {
        // `[::]` beside `0.0.0.0` must not collide, and an IPv4 client has one address, not two.
        sockopt::set_ipv6_v6only(&socket, true).map_err(failed)?;
    }
    if config.mode == ListenMode::Tproxy {
        uring::allow_foreign_addresses(socket.as_fd(), address.is_ipv6())
            .map_err(ProxyProblem::Transparent)?;
    }
    // Accepted sockets inherit both: nothing waits for a full segment, and a dead peer is noticed in the end.
    sockopt::set_tcp_nodelay(&socket, true).map_err(failed)?;
    sockopt::set_socket_keepalive(&socket, true).map_err(failed)?;
    let patience = Instant::now() + IN_USE;
    // Each by itself: a socket that is bound cannot be bound again.
    once_free(patience, || bind(&socket, &address)).map_err(failed)?;
    once_free(patience, || listen(&socket, BACKLOG)).map_err(failed)?;
    Ok(socket)
}

/// Tries again while the address is in use.
fn once_free(patience: Instant, attempt: impl Fn() -> Result<(), Errno>) -> Result<(), Errno> {
    loop {
        match attempt() {
            Err(Errno::ADDRINUSE) if Instant::now() < patience => sleep(Duration::from_millis(20)),
            done => return done,
        }
    }
}
