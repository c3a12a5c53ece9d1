//! Frames for the tests of every crate: readable builders with right lengths and checksums.
//!
//! ```
//! use testkit::Packet;
//!
//! let syn = Packet::tcp("10.0.0.1:1000", "10.0.0.2:80").syn().seq(1).build();
//! let reply = Packet::tcp("10.0.0.2:80", "10.0.0.1:1000").syn().seq(9).ack(2).build();
//! let error = Packet::icmp_error("10.0.0.254", "10.0.0.1", 3, 4, &syn).build();
//! let tagged = Packet::udp("[2001:db8::1]:53", "[2001:db8::2]:4000").payload(b"answer").vlan(7).build();
//! let parts = Packet::udp("10.0.0.1:9", "10.0.0.2:9").payload(&[0; 3000]).id(77).fragments(1480);
//! # assert_eq!((syn.len(), reply.len(), tagged.len(), parts.len()), (54, 54, 72, 3));
//! # assert_eq!(error.len(), 14 + 20 + 8 + 40);
//! ```
//!
//! Everything is right by default (lengths, checksums, Ethernet addresses made from the IP addresses); what a test
//! wants wrong, it says. Builders panic on nonsense such as an address that does not parse: a test is the place for
//! that.

#![allow(clippy::panic, reason = "a test kit fails the test that asks for nonsense")]

pub mod rig;
mod checksum;
mod icmp;
mod ip;
mod link;
mod transport;

use std::net::{IpAddr, SocketAddr};

pub use checksum::{crc32c, folded_sum, internet_checksum, pseudo_sum};
pub use link::{Mac, mac_of};

/// An address with a port: from `"10.0.0.1:80"`, `"[2001:db8::1]:80"`, or a `SocketAddr`.
#[derive(Clone, Copy, Debug)]
pub struct End(SocketAddr);

impl From<&str> for End {
    fn from(text: &str) -> Self {
        Self(text.parse().unwrap_or_else(|e| panic!("{text:?} is no address with port: {e}")))
    }
}

impl From<SocketAddr> for End {
    fn from(socket: SocketAddr) -> Self {
        Self(socket)
    }
}

impl<A: Into<IpAddr>> From<(A, u16)> for End {
    fn from((address, port): (A, u16)) -> Self {
        Self(SocketAddr::new(address.into(), port))
    }
}

/// An address: from `"10.0.0.1"`, `"2001:db8::1"`, or an `IpAddr`.
#[derive(Clone, Copy, Debug)]
pub struct Host(IpAddr);

impl From<&str> for Host {
    fn from(text: &str) -> Self {
        Self(text.parse().unwrap_or_else(|e| panic!("{text:?} is no address: {e}")))
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        Self(address)
    }
}

/// What state the transport checksum is left in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChecksumMode {
    /// As RFC 1071 demands.
    Finished,
    /// Only the folded, not complemented pseudo-header sum: what Linux leaves with `CHECKSUM_PARTIAL`.
    Partial,
    /// One bit off.
    Wrong,
    /// Zero: in UDP over IPv4, "none".
    Zero,
}

/// One frame in the making. See the crate's documentation for how it reads.
#[derive(Clone, Debug)]
pub struct Packet {
    source_mac: Mac,
    destination_mac: Mac,
    tags: Vec<(u16, u16)>,
    content: Content,
    checksum: ChecksumMode,
    padded: bool,
}

/// What follows the Ethernet header and tags.
#[derive(Clone, Debug)]
enum Content {
    Ip(Box<ip::Ip>),
    /// An EtherType with its bytes.
    Other(u16, Vec<u8>),
}

impl Packet {
    fn ip_content(source: IpAddr, destination: IpAddr, transport: transport::Transport) -> Self {
        Self {
            source_mac: mac_of(source),
            destination_mac: mac_of(destination),
            tags: Vec::new(),
            content: Content::Ip(Box::new(ip::Ip::new(source, destination, transport))),
            checksum: ChecksumMode::Finished,
            padded: false,
        }
    }

    fn ip_mut(&mut self) -> &mut ip::Ip {
        match &mut self.content {
            Content::Ip(ip) => ip,
            Content::Other(..) => panic!("this frame is not IP"),
        }
    }

    /// The bytes carried by the innermost header: TCP, UDP and ICMP data, SCTP chunks, an EtherType's bytes.
    #[must_use]
    pub fn payload(mut self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref().to_vec();
        match &mut self.content {
            Content::Ip(ip) => ip.transport.payload = bytes,
            Content::Other(_, data) => *data = bytes,
        }
        self
    }

    /// Leaves only the pseudo-header sum in the checksum field of TCP or UDP, as a Linux stack with transmit
    /// checksum offload does.
    #[must_use]
    pub fn partial_checksum(mut self) -> Self {
        self.checksum = ChecksumMode::Partial;
        self
    }

    /// Flips one bit of the transport checksum.
    #[must_use]
    pub fn wrong_checksum(mut self) -> Self {
        self.checksum = ChecksumMode::Wrong;
        self
    }

    /// Sets the transport checksum to zero: for UDP over IPv4 "not computed" (RFC 768).
    #[must_use]
    pub fn zero_checksum(mut self) -> Self {
        self.checksum = ChecksumMode::Zero;
        self
    }

    /// The frame.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        match &self.content {
            Content::Ip(ip) => self.wrap(ip.ether_type(), &ip.build(self.checksum)),
            Content::Other(ether_type, bytes) => self.wrap(*ether_type, bytes),
        }
    }

    /// The packet cut into fragments that carry at most `size` bytes each, in order. IPv6 hop-by-hop and routing
    /// headers are repeated in each; all other extension headers are part of what is cut (RFC 8200 4.5).
    ///
    /// # Panics
    /// If `size` is not a positive multiple of 8, or the frame is not IP.
    #[must_use]
    pub fn fragments(&self, size: usize) -> Vec<Vec<u8>> {
        let Content::Ip(ip) = &self.content else { panic!("this frame is not IP") };
        ip.fragments(self.checksum, size).iter().map(|part| self.wrap(ip.ether_type(), part)).collect()
    }
}

#[cfg(test)]
mod tests;
