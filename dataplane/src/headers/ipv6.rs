//! The IPv6 header and its extension headers (RFC 8200).

use super::ethernet::Link;
use super::{
    Address, Fragment, Headers, Ip, Network, Transport, bytes, icmpv6, offset16, protocol, tcp, transport,
};
use crate::verdict::DropReason;

/// Length of the fixed header, bytes.
pub(super) const HEADER: usize = 40;

/// The most extension headers of one packet. RFC 8200 names no limit; RFC 8504 5.3 lets a node have one, and real
/// packets stay below four.
const MAX_EXTENSIONS: usize = 8;

mod extension {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const AUTHENTICATION: u8 = 51;
    pub(super) const NONE: u8 = 59;
    pub(super) const DESTINATION: u8 = 60;
    pub(super) const MOBILITY: u8 = 135;
    pub(super) const HIP: u8 = 139;
    pub(super) const SHIM6: u8 = 140;
}

/// Reads the header after `link` and what it carries.
///
/// Jumbograms (RFC 2675: payload length 0 although something follows) are refused; no port here can carry one.
#[inline(never)]
pub(super) fn parse(frame: &[u8], link: &Link) -> Result<Headers, DropReason> {
    let at = link.end;
    let packet = frame.get(at..).ok_or(DropReason::Truncated)?;
    let header: &[u8; HEADER] = packet.first_chunk().ok_or(DropReason::Truncated)?;
    let (source, destination) = addresses(header)?;
    let (next, hop_limit) = (header[6], header[7]);
    let payload_len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if header[0] >> 4 != 6 || (payload_len == 0 && next != extension::NONE) {
        return Err(DropReason::IpHeader);
    }
    let payload = packet.get(HEADER..HEADER + payload_len).ok_or(DropReason::Truncated)?;
    let ip = Ip {
        source,
        destination,
        protocol: next,
        hop_limit,
        network_offset: offset16(at),
        transport_offset: offset16(at + HEADER),
        end: offset16(at + HEADER + payload_len),
        fragment: None,
        transport: Transport::Other,
    };
    if next == protocol::TCP {
        // On its own for the same reason as in IPv4.
        let transport = Transport::Tcp(tcp::parse(payload, DropReason::Truncated)?);
        return Ok(link.carries(Network::Ip(Ip { transport, ..ip })));
    }
    let Chain { protocol, len, fragment, unfragmentable, has_fragment_header } = chain(next, payload)?;
    if let Some(fragment) = fragment {
        fragment.check(unfragmentable)?;
    }
    let data = payload.get(len..).ok_or(DropReason::Truncated)?;
    let context = icmpv6::Context { source, destination, hop_limit, has_fragment_header };
    let transport = transport::parse_v6(protocol, data, fragment, &context)?;
    let transport_offset = offset16(at + HEADER + len);
    Ok(link.carries(Network::Ip(Ip { protocol, transport_offset, fragment, transport, ..ip })))
}

/// Reads both addresses and refuses those that no packet on a wire may have: mapped IPv4 (RFC 4291 2.5.5.2; see
/// [`Address`]), loopback, a multicast source, the unspecified destination.
#[inline]
pub(super) fn addresses(header: &[u8; HEADER]) -> Result<(Address, Address), DropReason> {
    let (Some(source), Some(destination)) = (bytes(header, 8), bytes(header, 24)) else {
        return Err(DropReason::Truncated);
    };
    let (source, destination) = (Address::v6(source), Address::v6(destination));
    let loopback = |address: Address| address.bits() == 1;
    let wrong_source = source.is_v4() || loopback(source) || source.is_multicast();
    let wrong_destination = destination.is_v4() || loopback(destination) || destination.is_unspecified_v6();
    if wrong_source || wrong_destination { Err(DropReason::IpHeader) } else { Ok((source, destination)) }
}

/// What the extension headers say.
pub(super) struct Chain {
    /// What follows them.
    pub(super) protocol: u8,
    /// Their length, bytes; for a later fragment, up to its data.
    pub(super) len: usize,
    /// Absent for atomic fragments (RFC 6946). Its length counts what is here: a quoted packet may be cut.
    pub(super) fragment: Option<Fragment>,
    /// Length of the headers before the fragment header, bytes.
    unfragmentable: usize,
    /// Present even when atomic: neighbour discovery may not have one (RFC 6980 5).
    has_fragment_header: bool,
}

impl Chain {
    const fn without(protocol: u8) -> Self {
        Self { protocol, len: 0, fragment: None, unfragmentable: 0, has_fragment_header: false }
    }
}

/// Whether the protocol number is an extension header that [`chain`] walks over.
pub(super) const fn is_extension(protocol: u8) -> bool {
    use extension::{AUTHENTICATION, DESTINATION, FRAGMENT, HIP, HOP_BY_HOP, MOBILITY, ROUTING, SHIM6};
    matches!(
        protocol,
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION | MOBILITY | HIP | SHIM6
    )
}

/// Walks the extension headers at the start of `payload`, the first of which is `next`.
///
/// Any order is taken, as RFC 8200 4.1 demands of receivers, but hop-by-hop options come first or not at all, and
/// there is at most one fragment header. ESP, "no next header" and everything that is no extension header end the
/// walk. So does a mobility, HIP or shim6 header with nothing after it: it is the message itself.
pub(super) fn chain(next: u8, payload: &[u8]) -> Result<Chain, DropReason> {
    let mut chain = Chain::without(next);
    for depth in 0.. {
        if !is_extension(chain.protocol) {
            return Ok(chain);
        }
        if depth == MAX_EXTENSIONS || (chain.protocol == extension::HOP_BY_HOP && depth > 0) {
            return Err(DropReason::ExtensionHeader);
        }
        // The whole chain must be in the first fragment (RFC 7112).
        let short = if chain.fragment.is_some() { DropReason::FragmentTiny } else { DropReason::Truncated };
        let header: [u8; 8] = bytes(payload, chain.len).ok_or(short)?;
        if chain.protocol == extension::FRAGMENT {
            if chain.has_fragment_header {
                return Err(DropReason::ExtensionHeader);
            }
            fragment(header, payload.len(), &mut chain);
            if chain.fragment.is_some_and(|fragment| fragment.offset > 0) {
                return Ok(chain);
            }
            continue;
        }
        let len = header_len(chain.protocol, header)?;
        if payload.len() - chain.len < len {
            return Err(short);
        }
        let is_message = matches!(chain.protocol, extension::MOBILITY | extension::HIP | extension::SHIM6);
        if is_message && header[0] == extension::NONE {
            return Ok(chain);
        }
        chain.protocol = header[0];
        chain.len += len;
    }
    Err(DropReason::ExtensionHeader)
}

/// The length in bytes of an extension header that begins with these bytes. Routing headers of type 0 are refused
/// (RFC 5095).
fn header_len(protocol: u8, header: [u8; 8]) -> Result<usize, DropReason> {
    let field = usize::from(header[1]);
    match protocol {
        // RFC 4302 2.2: in words of four bytes, minus two; 12 bytes are fixed.
        extension::AUTHENTICATION if field < 1 => Err(DropReason::ExtensionHeader),
        extension::AUTHENTICATION => Ok((field + 2) * 4),
        extension::ROUTING if header[2] == 0 => Err(DropReason::IpOption),
        _ => Ok((field + 1) * 8),
    }
}

/// Takes in a fragment header that ends inside the payload of this length.
fn fragment(header: [u8; 8], payload_len: usize, chain: &mut Chain) {
    let [next, _, f0, f1, i0, i1, i2, i3] = header;
    let fields = u16::from_be_bytes([f0, f1]);
    chain.unfragmentable = chain.len;
    chain.protocol = next;
    chain.len += header.len();
    chain.has_fragment_header = true;
    let (offset, more) = (fields & 0xfff8, fields & 1 != 0);
    if offset > 0 || more {
        let id = u32::from_be_bytes([i0, i1, i2, i3]);
        chain.fragment = Some(Fragment { id, offset, len: offset16(payload_len - chain.len), more });
    }
}
