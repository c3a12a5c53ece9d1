//! Messages to the collector, over UDP (RFC 7011 10.3) or TCP (10.4), with a bound on how long that may take.

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// How long a connection, or a write, may take.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How long after a failure the next connection is tried.
const RETRY: Duration = Duration::from_secs(2);

/// Which protocol carries messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// UDP: a lost datagram is lost.
    #[default]
    Udp,
    /// TCP.
    Tcp,
}

impl Protocol {
    /// `udp` or `tcp`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// The way to a collector.
#[derive(Debug)]
pub(super) enum Transport {
    /// A socket that is there from the beginning.
    Udp(UdpSocket),
    /// A connection that comes and goes.
    Tcp {
        /// Where to.
        collector: SocketAddr,
        /// The connection, while there is one.
        stream: Option<TcpStream>,
        /// Not before then.
        retry: Option<Instant>,
    },
}

/// What became of a message that was sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It is on its way.
    Well,
    /// It is on its way, but an earlier one was refused: nobody listened.
    Refused,
}

impl Transport {
    /// Towards `collector`; a TCP connection is made when there is something to send.
    ///
    /// # Errors
    /// If there is no socket for UDP, or no route.
    pub(super) fn new(protocol: Protocol, collector: SocketAddr) -> io::Result<Self> {
        match protocol {
            Protocol::Udp => {
                let any: IpAddr = match collector {
                    SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                    SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
                };
                let socket = UdpSocket::bind((any, 0))?;
                socket.connect(collector)?;
                socket.set_write_timeout(Some(TIMEOUT))?;
                Ok(Self::Udp(socket))
            }
            Protocol::Tcp => Ok(Self::Tcp { collector, stream: None, retry: None }),
        }
    }

    /// Makes sure that there is a connection. True if it is a new one, so that everything begins anew.
    pub(super) fn ready(&mut self) -> io::Result<bool> {
        let Self::Tcp { collector, stream, retry } = self else { return Ok(false) };
        if stream.is_some() {
            return Ok(false);
        }
        if retry.is_some_and(|at| Instant::now() < at) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let new = TcpStream::connect_timeout(collector, TIMEOUT)
            .and_then(|new| new.set_write_timeout(Some(TIMEOUT)).map(|()| new));
        *retry = Some(Instant::now() + RETRY);
        *stream = Some(new?);
        Ok(true)
    }

    /// Sends one message. A TCP connection that fails is given up: part of the message may be gone.
    pub(super) fn send(&mut self, message: &[u8]) -> io::Result<Sent> {
        match self {
            Self::Udp(socket) => match socket.send(message) {
                Ok(_) => Ok(Sent::Well),
                // That is the answer to an earlier datagram; this one was not sent yet.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    socket.send(message).map(|_| Sent::Refused)
                }
                Err(error) => Err(error),
            },
            Self::Tcp { stream, .. } => {
                let connection = stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
                let written = connection.write_all(message);
                if written.is_err() {
                    *stream = None;
                }
                written.map(|()| Sent::Well)
            }
        }
    }
}
