//! ICMP (RFC 792).

use super::{Icmp, IcmpBody, quoted};
use crate::verdict::DropReason;

/// Reads the message at the start of `message`; `short` is why one that ends early is dropped. The checksum is not
/// looked at: the receiver does that.
///
/// Redirects (type 5) are no errors of a flow to follow but a change of routes: the policy decides by type and code.
pub(super) fn parse(message: &[u8], short: DropReason) -> Result<Icmp, DropReason> {
    let [kind, code, _, _, i0, i1, _, _] = *message.first_chunk().ok_or(short)?;
    let id = u16::from_be_bytes([i0, i1]);
    let body = match kind {
        8 | 13 => IcmpBody::Request(id),
        0 | 14 => IcmpBody::Reply(id),
        3 | 4 | 11 | 12 => IcmpBody::Error(quoted::parse_v4(&message[8..])?),
        _ => IcmpBody::Other,
    };
    Ok(Icmp { kind, code, body })
}
