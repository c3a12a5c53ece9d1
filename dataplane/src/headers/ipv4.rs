//! The IPv4 header (RFC 791).

use super::ethernet::Link;
use super::{
    Address, Fragment, Headers, Ip, Network, Transport, offset16, protocol, sum, tcp, transport, udp,
};
use crate::verdict::DropReason;

/// Reads the header after `link` and what it carries.
///
/// The header checksum is verified: every sender computes it, offloads included, except for some captures taken
/// before a Windows sender's card. Source addresses that no packet on a wire may have (multicast, limited broadcast,
/// loopback: RFC 1122 3.2.1.3) and the loopback destination are refused; 0.0.0.0 as source is what DHCP and IGMP use.
#[inline(always)]
pub(super) fn parse(frame: &[u8], link: &Link) -> Result<Headers, DropReason> {
    let at = link.end;
    let packet = frame.get(at..).ok_or(DropReason::Truncated)?;
    let header: &[u8; 20] = packet.first_chunk().ok_or(DropReason::Truncated)?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] >> 4 != 4 || header_len < header.len() || total_len < header_len {
        return Err(DropReason::IpHeader);
    }
    let packet = packet.get(..total_len).ok_or(DropReason::Truncated)?;
    let (whole_header, data) = packet.split_at_checked(header_len).ok_or(DropReason::Truncated)?;
    if header_len > header.len() {
        check_long_header(whole_header)?;
    } else if sum::of_ipv4_header(header) != 0xffff {
        return Err(DropReason::IpChecksum);
    }
    let [_, _, _, _, id0, id1, f0, f1, hop_limit, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = *header;
    check_addresses([s0, s1, s2, s3], d0)?;
    let ip = Ip {
        source: Address::v4([s0, s1, s2, s3]),
        destination: Address::v4([d0, d1, d2, d3]),
        protocol,
        hop_limit,
        network_offset: offset16(at),
        transport_offset: offset16(at + header_len),
        end: offset16(at + total_len),
        fragment: None,
        transport: Transport::Other,
    };
    let fields = u16::from_be_bytes([f0, f1]);
    if fields & 0x3fff != 0 {
        let id = u32::from(u16::from_be_bytes([id0, id1]));
        let fragment = Some(fragment(id, fields, header_len, data.len(), protocol)?);
        let transport = transport::parse_v4(protocol, data, fragment)?;
        return Ok(link.carries(Network::Ip(Ip { fragment, transport, ..ip })));
    }
    // The two that matter return on their own: joined with the others, each would copy all their fields.
    match protocol {
        protocol::TCP => {
            let transport = Transport::Tcp(tcp::parse(data, DropReason::Truncated)?);
            Ok(link.carries(Network::Ip(Ip { transport, ..ip })))
        }
        protocol::UDP => {
            let transport = Transport::Udp(udp::parse(data, false)?);
            Ok(link.carries(Network::Ip(Ip { transport, ..ip })))
        }
        _ => {
            let transport = transport::parse_v4(protocol, data, None)?;
            Ok(link.carries(Network::Ip(Ip { transport, ..ip })))
        }
    }
}

/// Checks the checksum of a header with options, and the options.
#[inline(never)]
fn check_long_header(header: &[u8]) -> Result<(), DropReason> {
    if sum::fold(sum::add(0, header)) != 0xffff {
        return Err(DropReason::IpChecksum);
    }
    options(&header[20..])
}

#[inline(always)]
fn check_addresses(source: [u8; 4], destination: u8) -> Result<(), DropReason> {
    const LOOPBACK: u8 = 127;
    let group = source[0] >> 4 == 0xe || source == [255; 4];
    if group || source[0] == LOOPBACK || destination == LOOPBACK {
        return Err(DropReason::IpHeader);
    }
    Ok(())
}

/// Checks the options: loose and strict source routing are refused, since they give the packet another destination
/// than the one policy would judge. All others pass; an option list that does not add up is an invalid header.
fn options(mut options: &[u8]) -> Result<(), DropReason> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const LOOSE_SOURCE_ROUTE: u8 = 131;
    const STRICT_SOURCE_ROUTE: u8 = 137;
    while let [kind, rest @ ..] = options {
        options = match (*kind, rest.first()) {
            (END, _) => return Ok(()),
            (NO_OPERATION, _) => rest,
            (LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE, _) => return Err(DropReason::IpOption),
            (_, Some(len)) if *len >= 2 => options.get(usize::from(*len)..).ok_or(DropReason::IpHeader)?,
            _ => return Err(DropReason::IpHeader),
        };
    }
    Ok(())
}

/// Reads the fragment fields; `fields` is the word that holds the flags and the offset.
#[inline(never)]
fn fragment(
    id: u32,
    fields: u16,
    header_len: usize,
    len: usize,
    protocol: u8,
) -> Result<Fragment, DropReason> {
    let fragment =
        Fragment { id, offset: (fields & 0x1fff) << 3, len: offset16(len), more: fields & 0x2000 != 0 };
    fragment.check(header_len)?;
    // A second fragment at byte 8 overwrites the TCP flags (RFC 1858 4, RFC 3128).
    if protocol == protocol::TCP && fragment.offset == 8 {
        return Err(DropReason::FragmentTiny);
    }
    Ok(fragment)
}
