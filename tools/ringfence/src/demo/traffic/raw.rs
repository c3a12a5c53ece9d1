//! Datagrams with a source address that is not the sender's.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lab::{LabError, Namespace};
use rustix::net::{AddressFamily, Protocol, SendFlags, SocketFlags, SocketType};

const UDP: u8 = 17;
/// The protocol number of a raw socket whose user brings the IP header (raw(7)).
const BRINGS_HEADER: u32 = 255;

/// Sends `count` UDP datagrams from `host` that claim to come from `source`.
pub(crate) fn spoof(
    host: &Namespace,
    source: IpAddr,
    to: SocketAddr,
    count: u32,
) -> Result<io::Result<()>, LabError> {
    host.run(|| {
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let protocol = BRINGS_HEADER.try_into().ok().map(Protocol::from_raw);
        let socket = rustix::net::socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        let packet = datagram(source, to, b"let me in")?;
        for _ in 0..count {
            rustix::net::sendto(&socket, &packet, SendFlags::empty(), &SocketAddr::new(to.ip(), 0))?;
        }
        Ok(())
    })
}

fn datagram(source: IpAddr, to: SocketAddr, payload: &[u8]) -> io::Result<Vec<u8>> {
    match (source, to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(target)) => Ok(v4(source, target, to.port(), payload)),
        (IpAddr::V6(source), IpAddr::V6(target)) => Ok(v6(source, target, to.port(), payload)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "source and target of two families")),
    }
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + payload.len()).unwrap_or(u16::MAX);
    let mut bytes = Vec::new();
    for word in [40_000, port, len, 0] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes.extend_from_slice(payload);
    bytes
}

/// The kernel fills in total length, identification and header checksum; a UDP checksum of 0 is "none" (RFC 768).
fn v4(source: Ipv4Addr, target: Ipv4Addr, port: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, UDP, 0, 0];
    packet.extend_from_slice(&source.octets());
    packet.extend_from_slice(&target.octets());
    packet.extend_from_slice(&udp(port, payload));
    packet
}

/// Over IPv6 the UDP checksum is required (RFC 8200 8.1), and nobody fills it in.
fn v6(source: Ipv6Addr, target: Ipv6Addr, port: u16, payload: &[u8]) -> Vec<u8> {
    let mut udp = udp(port, payload);
    let len = u16::try_from(udp.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut pseudo = Vec::new();
    pseudo.extend_from_slice(&source.octets());
    pseudo.extend_from_slice(&target.octets());
    pseudo.extend_from_slice(&[0, 0, len[0], len[1], 0, 0, 0, UDP]);
    pseudo.extend_from_slice(&udp);
    let sum = checksum(&pseudo).to_be_bytes();
    udp[6..8].copy_from_slice(&sum);
    let mut packet = vec![0x60, 0, 0, 0, len[0], len[1], UDP, 64];
    packet.extend_from_slice(&source.octets());
    packet.extend_from_slice(&target.octets());
    packet.extend_from_slice(&udp);
    packet
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u64 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}
