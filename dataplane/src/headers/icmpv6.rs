//! ICMPv6 (RFC 4443).

use super::{Address, Icmp, IcmpBody, bytes, neighbour, quoted};
use crate::verdict::DropReason;

/// What the IPv6 header said, for the messages whose validity depends on it.
pub(super) struct Context {
    pub(super) source: Address,
    pub(super) destination: Address,
    pub(super) hop_limit: u8,
    pub(super) has_fragment_header: bool,
}

/// Reads the message at the start of `message`; `short` is why one that ends early is dropped. The checksum is not
/// looked at: the receiver does that.
pub(super) fn parse(message: &[u8], context: &Context, short: DropReason) -> Result<Icmp, DropReason> {
    let [kind, code, _, _] = *message.first_chunk().ok_or(short)?;
    let id = || bytes(message, 4).map(u16::from_be_bytes).ok_or(short);
    let body = match kind {
        128 => IcmpBody::Request(id()?),
        129 => IcmpBody::Reply(id()?),
        1..=4 => IcmpBody::Error(quoted::parse_v6(message.get(8..).ok_or(short)?)?),
        133..=137 => IcmpBody::Neighbour(neighbour::parse(kind, code, message, context)?),
        130..=132 | 143 => listener(context)?,
        _ => IcmpBody::Other,
    };
    Ok(Icmp { kind, code, body })
}

/// Multicast listener messages pass without a rule, so they must be what RFC 2710 3 and RFC 3810 5 say: hop limit 1,
/// from a link-local address or, before a host has one, from `::`.
fn listener(context: &Context) -> Result<IcmpBody, DropReason> {
    let local = context.source.is_link_local_v6() || context.source.is_unspecified_v6();
    if context.hop_limit != 1 || !local {
        return Err(DropReason::TransportHeader);
    }
    Ok(IcmpBody::Multicast)
}
