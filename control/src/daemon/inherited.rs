//! Listening sockets that this process did not open: from the service manager, or from a daemon whose place it takes.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::net::{SocketType, getsockname, sockopt};

/// Listening TCP sockets, by their addresses.
#[derive(Debug, Default)]
pub(super) struct Inherited(Vec<Socket>);

#[derive(Debug)]
struct Socket {
    listener: OwnedFd,
    address: SocketAddr,
    /// The service manager holds it too.
    outside: bool,
}

impl Inherited {
    /// The sockets that the service manager passed to this process (`sd_listen_fds(3)`), if any.
    pub(super) fn from_service_manager() -> Self {
        let mut inherited = Self::default();
        inherited.add(super::activation::sockets(), true);
        inherited
    }

    /// Adds those of `sockets` that listen on TCP; others are closed.
    pub(super) fn add(&mut self, sockets: Vec<OwnedFd>, outside: bool) {
        for listener in sockets {
            match listening_address(&listener) {
                Some(address) => self.0.push(Socket { listener, address, outside }),
                None => tracing::warn!("a socket that was handed over does not listen on TCP, and is closed"),
            }
        }
    }

    /// The socket that listens on `address`, and whether the service manager holds it too.
    pub(super) fn take(&mut self, address: SocketAddr) -> Option<(OwnedFd, bool)> {
        let at = self.0.iter().position(|socket| socket.address == address)?;
        let socket = self.0.swap_remove(at);
        Some((socket.listener, socket.outside))
    }

    /// Closes those that nobody took, and says so.
    pub(super) fn close(self) {
        for socket in self.0 {
            tracing::warn!(address = %socket.address, "no proxy listens there any more; the socket is closed");
        }
    }
}

fn listening_address(socket: &OwnedFd) -> Option<SocketAddr> {
    let stream = sockopt::socket_type(socket).ok()? == SocketType::STREAM;
    let listens = sockopt::socket_acceptconn(socket).ok()?;
    let address = SocketAddr::try_from(getsockname(socket).ok()?).ok()?;
    (stream && listens).then_some(address)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    #[test]
    fn sockets_are_found_by_address_once() {
        let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
        let v6 = TcpListener::bind("[::1]:0").unwrap();
        let (at4, at6) = (v4.local_addr().unwrap(), v6.local_addr().unwrap());
        let connected = TcpStream::connect(at4).unwrap();
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at_datagrams = datagrams.local_addr().unwrap();
        let mut inherited = Inherited::default();
        inherited.add(vec![v4.into(), connected.into(), datagrams.into()], false);
        inherited.add(vec![v6.into()], true);
        assert_eq!(inherited.0.len(), 2, "what does not listen is no listener");
        assert!(inherited.take(at_datagrams).is_none());
        assert!(!inherited.take(at4).unwrap().1);
        assert!(inherited.take(at4).is_none(), "it was taken");
        assert!(inherited.take(at6).unwrap().1);
    }
}
