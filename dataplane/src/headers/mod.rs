//! Bytes to [`Headers`]: one pass, no allocation, no panic.
//!
//! Contract of every file here: `parse` takes bytes and an offset, checks every length before it reads, and
//! returns either a value whose accessors cannot fail or the [`DropReason`] that says what is wrong. Nothing here
//! knows policy or flows.

mod ethernet;
mod arp;
mod ipv4;
mod ipv6;
mod transport;
mod tcp;
mod udp;
mod sctp;
mod icmp;
mod icmpv6;
mod neighbour;
mod quoted;
pub mod sum;

use crate::address::{Address, Mac};
use crate::verdict::DropReason;

/// IP protocol numbers (IANA) that the packet path tells apart.
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;
}

/// What one frame says about itself.
#[derive(Clone, Copy, Debug)]
pub struct Headers {
    /// Destination MAC address.
    pub destination_mac: Mac,
    /// Source MAC address.
    pub source_mac: Mac,
    /// The outermost VLAN id (12 bits), if tagged.
    pub vlan: Option<u16>,
    /// What the frame carries.
    pub network: Network,
}

/// What follows the Ethernet header and tags.
#[derive(Clone, Copy, Debug)]
pub enum Network {
    /// An IPv4 or IPv6 packet.
    Ip(Ip),
    /// An ARP message for IPv4 over Ethernet (RFC 826), already checked for its fixed fields.
    Arp(Arp),
    /// Anything else: its EtherType, or the length field of an 802.3 frame (below 1536).
    Other(u16),
}

/// An ARP message.
#[derive(Clone, Copy, Debug)]
pub struct Arp {
    /// 1 request, 2 reply.
    pub operation: u16,
    /// Sender hardware address.
    pub sender_mac: Mac,
    /// Sender protocol address.
    pub sender: Address,
    /// Target protocol address.
    pub target: Address,
}

/// An IP packet.
#[derive(Clone, Copy, Debug)]
pub struct Ip {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// The transport protocol number: after all IPv6 extension headers. For a later IPv6 fragment it is what the
    /// fragment header names, which may still be an extension header: only the first fragment tells.
    pub protocol: u8,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Offset of the IP header from the start of the frame, bytes.
    pub network_offset: u16,
    /// Offset of the transport header (or of the fragment's data) from the start of the frame, bytes.
    pub transport_offset: u16,
    /// First byte after the IP packet, from the start of the frame (Ethernet padding begins here).
    pub end: u16,
    /// Whether, and which, part of a datagram this is.
    pub fragment: Option<Fragment>,
    /// The transport header; [`Transport::Later`] for all fragments but the first.
    pub transport: Transport,
}

/// The fragment fields of IPv4 (RFC 791) or of the IPv6 fragment header (RFC 8200 4.5).
/// An IPv6 atomic fragment (offset 0, no more; RFC 6946) is not a fragment: the parser reports `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Identification (16 bits in IPv4).
    pub id: u32,
    /// Offset of this part's data in the datagram, bytes.
    pub offset: u16,
    /// Length of this part's data, bytes; in IPv6 it begins right after the fragment header, so that of a first
    /// fragment includes any extension headers behind that.
    pub len: u16,
    /// More fragments follow.
    pub more: bool,
}

/// The transport header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP (RFC 9293).
    Tcp(Tcp),
    /// UDP; the length field is checked.
    Udp(Ports),
    /// SCTP (RFC 9260), the common header only.
    Sctp(Ports),
    /// ICMP or ICMPv6.
    Icmp(Icmp),
    /// Any other protocol: decided by protocol number alone.
    Other,
    /// A later fragment: no header here.
    Later,
}

/// Two ports, host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
}

/// The TCP fields that the flow table follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// The ports.
    pub ports: Ports,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number; meaningless without the ACK flag.
    pub acknowledgement: u32,
    /// The flags byte: see [`flags`].
    pub flags: u8,
    /// The window as sent, unscaled.
    pub window: u16,
    /// Window scale option (RFC 7323 2.2; capped at 14); only looked for when SYN is set.
    pub window_scale: Option<u8>,
    /// Bytes of payload.
    pub payload: u16,
}

/// Bits of [`Tcp::flags`].
pub mod flags {
    /// FIN.
    pub const FIN: u8 = 1;
    /// SYN.
    pub const SYN: u8 = 2;
    /// RST.
    pub const RST: u8 = 4;
    /// PSH.
    pub const PSH: u8 = 8;
    /// ACK.
    pub const ACK: u8 = 16;
}

/// An ICMP or ICMPv6 message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// What it means for flows.
    pub body: IcmpBody,
}

/// What an ICMP message means for flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpBody {
    /// Echo request (or timestamp request): opens a flow keyed by id.
    Request(u16),
    /// Echo reply (or timestamp reply): belongs to the request's flow.
    Reply(u16),
    /// An error (RFC 792 types 3, 4, 11, 12; ICMPv6 1-4) that quotes a packet: its addresses and ports.
    Error(Quoted),
    /// Neighbour discovery (ICMPv6 133-137), already checked as far as RFC 4861 demands of the bytes
    /// (code 0, lengths, options); hop limit 255 included.
    Neighbour(Neighbour),
    /// Multicast listener messages (ICMPv6 130-132, 143), sent with hop limit 1 from a link-local address or `::`.
    Multicast,
    /// Anything else: decided as a flow of its own by type and code.
    Other,
}

/// The packet inside an ICMP error, as far as it was quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Its source address.
    pub source: Address,
    /// Its destination address.
    pub destination: Address,
    /// Its transport protocol.
    pub protocol: u8,
    /// Its ports. For a quoted echo or timestamp message the id in both (`icmp_kind` tells request from reply);
    /// for another ICMP message 0 and `type << 8 | code`; for a protocol without ports 0 and 0.
    pub ports: Ports,
    /// The quoted ICMP type, when `protocol` is ICMP or ICMPv6; else 0.
    pub icmp_kind: u8,
}

/// A neighbour discovery message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The target address of solicitation, advertisement and redirect; the source for router messages.
    pub target: Address,
    /// The link-layer address option (source or target), if present.
    pub link_address: Option<Mac>,
}

/// Parses one frame.
///
/// # Errors
/// The reason the frame cannot be judged; the frame is untouched.
#[inline(always)]
pub fn parse(frame: &[u8]) -> Result<Headers, DropReason> {
    use ethernet::ether_type;
    // Offsets are 16 bits wide; a UMEM chunk is smaller anyway.
    if frame.len() > usize::from(u16::MAX) {
        return Err(DropReason::TooBig);
    }
    let link = ethernet::parse(frame)?;
    match link.ether_type {
        ether_type::IPV4 => ipv4::parse(frame, &link),
        ether_type::IPV6 => ipv6::parse(frame, &link),
        ether_type::ARP => Ok(link.carries(Network::Arp(arp::parse(frame, link.end)?))),
        other => Ok(link.carries(Network::Other(other))),
    }
}

/// The `N` bytes at `at`, if they are all there.
#[inline]
fn bytes<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..)?.first_chunk().copied()
}

/// An offset inside a frame that [`parse`] accepted.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "`parse` refuses frames longer than 65,535 bytes")]
const fn offset16(offset: usize) -> u16 {
    offset as u16
}

impl Fragment {
    /// Refuses what no sender makes: a part without data, one that is not the last and does not end at a multiple of
    /// eight bytes, and one that ends beyond the longest datagram, whose headers before the data take
    /// `headers_len` bytes ("ping of death"; RFC 791 3.2, RFC 8200 4.5).
    fn check(self, headers_len: usize) -> Result<(), DropReason> {
        let end = usize::from(self.offset) + usize::from(self.len);
        let uneven = self.more && !self.len.is_multiple_of(8);
        if self.len == 0 || uneven || headers_len + end > usize::from(u16::MAX) {
            return Err(DropReason::IpHeader);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
