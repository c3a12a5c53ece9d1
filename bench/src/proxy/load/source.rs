//! Where clients come from: addresses of one network in turn, and ports that are not used twice in a run, so that no
//! connection waits for an old one's `TIME_WAIT`.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};

/// Client addresses in one network.
const HOSTS: u32 = 200;
const FIRST_PORT: u32 = 1024;
const PORTS: u32 = 60_000;

/// Opens client sockets.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    network: [u8; 2],
    target: SocketAddrV4,
    next: u32,
}

impl Source {
    /// Clients of `network`/16 that connect to `target`.
    pub(crate) fn new(network: [u8; 2], target: SocketAddrV4) -> Self {
        // Runs of one candidate after another start elsewhere, so that the remains of one do not meet the next.
        let start = std::process::id().wrapping_mul(7919);
        Self { network, target, next: start }
    }

    /// A socket on its way to the target.
    pub(crate) fn open(&mut self) -> io::Result<OwnedFd> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        self.bind(&socket)?;
        match connect(&socket, &self.target) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
            Err(error) => Err(error.into()),
        }
    }

    fn bind(&mut self, socket: &OwnedFd) -> io::Result<()> {
        let mut tries = 0;
        loop {
            let address = self.address();
            match bind(socket, &address) {
                Ok(()) => return Ok(()),
                Err(Errno::ADDRINUSE) if tries < 1000 => tries += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn address(&mut self) -> SocketAddrV4 {
        self.next = self.next.wrapping_add(1);
        let host = self.next % HOSTS;
        let port = FIRST_PORT + (self.next / HOSTS) % PORTS;
        let [a, b] = self.network;
        let ip = Ipv4Addr::new(a, b, 1, u8::try_from(host + 1).unwrap_or(1));
        SocketAddrV4::new(ip, u16::try_from(port).unwrap_or(1024))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::{Ipv4Addr, SocketAddrV4};

    use super::Source;

    #[test]
    fn no_address_and_port_come_twice_in_a_million() {
        let mut source = Source::new([127, 1], SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1));
        let mut seen = HashSet::new();
        assert!((0..1_000_000).all(|_| seen.insert(source.address())));
        assert!(seen.iter().all(|address| address.ip().octets()[..2] == [127, 1] && address.port() >= 1024));
    }
}
