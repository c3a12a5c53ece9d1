//! What really arrives at a host: a raw socket that its kernel shows every packet of a protocol before anything
//! else looks at it. Stricter than "the program saw nothing": it counts the lone SYN and the datagram for a closed
//! port, too.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use lab::{LabError, Namespace};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, ipproto, sockopt};

use crate::demo::question::Service;

/// Watches one host for packets from one address.
#[derive(Debug)]
pub(crate) struct Witness {
    socket: OwnedFd,
    source: IpAddr,
    service: Service,
    count: u64,
}

impl Witness {
    /// Begins to watch `host` for packets of `service` from `source`.
    pub(crate) fn watch(
        host: &Namespace,
        source: IpAddr,
        service: Service,
    ) -> Result<io::Result<Self>, LabError> {
        let family = if source.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let protocol = match (service, source) {
            (Service::Postgres | Service::Https, _) => ipproto::TCP,
            (Service::Telemetry, _) => ipproto::UDP,
            (Service::Ping, IpAddr::V4(_)) => ipproto::ICMP,
            (Service::Ping, IpAddr::V6(_)) => ipproto::ICMPV6,
        };
        host.run(|| {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = rustix::net::socket_with(family, SocketType::RAW, flags, Some(protocol))?;
            // Room for every packet of a stream between two looks.
            sockopt::set_socket_recv_buffer_size_force(&socket, 32 << 20)?;
            Ok(Self { socket, source, service, count: 0 })
        })
    }

    /// How many packets have come since the beginning.
    pub(crate) fn count(&mut self) -> u64 {
        let mut packet = [0; 64];
        while let Ok((len, _, from)) =
            rustix::net::recvfrom(&self.socket, &mut packet[..], RecvFlags::empty())
        {
            let from = from.and_then(|from| SocketAddr::try_from(from).ok());
            let ours = from.is_some_and(|from| from.ip() == self.source);
            self.count += u64::from(ours && self.is_meant(&packet[..len]));
        }
        self.count
    }

    /// Of ICMP, only echo requests: neighbour discovery must get through.
    fn is_meant(&self, packet: &[u8]) -> bool {
        match (self.service, self.source) {
            (Service::Ping, IpAddr::V4(_)) => {
                // With its IP header (raw(7)), whose low four bits tell its length in words.
                let header = packet.first().map_or(0, |first| usize::from(first & 15) * 4);
                packet.get(header) == Some(&8)
            }
            (Service::Ping, IpAddr::V6(_)) => packet.first() == Some(&128),
            _ => true,
        }
    }
}
