//! Which transport header follows, and what a fragment may do without.

use super::{Fragment, Transport, icmp, icmpv6, protocol, sctp, tcp, udp};
use crate::verdict::DropReason;

/// Reads the transport header at the start of `data`, the payload of an IPv4 packet.
#[inline(never)]
pub(super) fn parse_v4(
    protocol: u8,
    data: &[u8],
    fragment: Option<Fragment>,
) -> Result<Transport, DropReason> {
    if fragment.is_some_and(|fragment| fragment.offset > 0) {
        return Ok(Transport::Later);
    }
    match protocol {
        protocol::ICMP => icmp::parse(data, short(fragment)).map(Transport::Icmp),
        // No stack takes ICMPv6 from IPv4.
        protocol::ICMPV6 => Err(DropReason::TransportHeader),
        _ => parse_common(protocol, data, fragment),
    }
}

/// Reads the transport header at the start of `data`, what follows the extension headers of an IPv6 packet.
#[inline(never)]
pub(super) fn parse_v6(
    protocol: u8,
    data: &[u8],
    fragment: Option<Fragment>,
    context: &icmpv6::Context,
) -> Result<Transport, DropReason> {
    if fragment.is_some_and(|fragment| fragment.offset > 0) {
        return Ok(Transport::Later);
    }
    match protocol {
        protocol::ICMPV6 => icmpv6::parse(data, context, short(fragment)).map(Transport::Icmp),
        protocol::ICMP => Err(DropReason::TransportHeader),
        _ => parse_common(protocol, data, fragment),
    }
}

#[inline]
fn parse_common(protocol: u8, data: &[u8], fragment: Option<Fragment>) -> Result<Transport, DropReason> {
    match protocol {
        protocol::TCP => tcp::parse(data, short(fragment)).map(Transport::Tcp),
        protocol::UDP => udp::parse(data, fragment.is_some()).map(Transport::Udp),
        protocol::SCTP => sctp::parse(data, short(fragment)).map(Transport::Sctp),
        _ => Ok(Transport::Other),
    }
}

/// Why a packet that ends inside its transport header is dropped.
const fn short(fragment: Option<Fragment>) -> DropReason {
    if fragment.is_some() { DropReason::FragmentTiny } else { DropReason::Truncated }
}
