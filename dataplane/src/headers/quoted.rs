//! The packet inside an ICMP error: enough of it to name the flow that the error speaks of.
//!
//! A quote may be cut anywhere after what names the flow (RFC 792 asks for eight bytes of the transport header), and
//! routers change what they quote: lengths and checksums are not checked. A quote that names no flow, because it
//! ends too early or is of a later fragment, is dropped: nothing could be matched to it. Errors may not be about later
//! fragments (RFC 1122 3.2.2); for an IPv6 packet too big its first fragment brings the same error.

use super::{Address, Ports, Quoted, bytes, ipv6, protocol};
use crate::verdict::DropReason;

/// Reads a quoted IPv4 packet.
pub(super) fn parse_v4(quote: &[u8]) -> Result<Quoted, DropReason> {
    let header: [u8; 20] = *quote.first_chunk().ok_or(DropReason::Truncated)?;
    let [first, _, _, _, _, _, f0, f1, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = header;
    let header_len = usize::from(first & 0x0f) * 4;
    let is_later = u16::from_be_bytes([f0, f1]) & 0x1fff != 0;
    if first >> 4 != 4 || header_len < header.len() || is_later || protocol == protocol::ICMPV6 {
        return Err(DropReason::TransportHeader);
    }
    let data = quote.get(header_len..).ok_or(DropReason::Truncated)?;
    let (ports, icmp_kind) = ports(protocol, data).ok_or(DropReason::Truncated)?;
    Ok(Quoted {
        source: Address::v4([s0, s1, s2, s3]),
        destination: Address::v4([d0, d1, d2, d3]),
        protocol,
        ports,
        icmp_kind,
    })
}

/// Reads a quoted IPv6 packet.
pub(super) fn parse_v6(quote: &[u8]) -> Result<Quoted, DropReason> {
    let header: &[u8; ipv6::HEADER] = quote.first_chunk().ok_or(DropReason::Truncated)?;
    if header[0] >> 4 != 6 {
        return Err(DropReason::TransportHeader);
    }
    let (source, destination) = ipv6::addresses(header)?;
    let payload = &quote[ipv6::HEADER..];
    let chain = ipv6::chain(header[6], payload)?;
    let is_later = chain.fragment.is_some_and(|fragment| fragment.offset > 0);
    if is_later || chain.protocol == protocol::ICMP {
        return Err(DropReason::TransportHeader);
    }
    let data = payload.get(chain.len..).ok_or(DropReason::Truncated)?;
    let (ports, icmp_kind) = ports(chain.protocol, data).ok_or(DropReason::Truncated)?;
    Ok(Quoted { source, destination, protocol: chain.protocol, ports, icmp_kind })
}

/// What [`Quoted::ports`] and [`Quoted::icmp_kind`] hold for a transport header that begins with `data`.
fn ports(protocol: u8, data: &[u8]) -> Option<(Ports, u8)> {
    match protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP => {
            let [s0, s1, d0, d1] = *data.first_chunk()?;
            let ports =
                Ports { source: u16::from_be_bytes([s0, s1]), destination: u16::from_be_bytes([d0, d1]) };
            Some((ports, 0))
        }
        protocol::ICMP | protocol::ICMPV6 => {
            let [kind, code] = *data.first_chunk()?;
            let has_id = match protocol {
                protocol::ICMP => matches!(kind, 0 | 8 | 13 | 14),
                _ => matches!(kind, 128 | 129),
            };
            let ports = if has_id {
                let id = u16::from_be_bytes(bytes(data, 4)?);
                Ports { source: id, destination: id }
            } else {
                Ports { source: 0, destination: u16::from_be_bytes([kind, code]) }
            };
            Some((ports, kind))
        }
        _ => Some((Ports { source: 0, destination: 0 }, 0)),
    }
}
