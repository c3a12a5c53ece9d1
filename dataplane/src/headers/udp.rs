//! The UDP header (RFC 768).

use super::Ports;
use crate::verdict::DropReason;

/// Reads the header at the start of `datagram`.
///
/// The length must cover the header and, unless this is a first fragment, end inside the IP packet. It may end
/// before it: the rest is what RFC 9868 uses for options. Source port 0 means "no reply expected" (RFC 768) and
/// passes, like any other port.
#[inline(always)]
pub(super) fn parse(datagram: &[u8], is_fragment: bool) -> Result<Ports, DropReason> {
    let short = if is_fragment { DropReason::FragmentTiny } else { DropReason::Truncated };
    let [s0, s1, d0, d1, l0, l1, _, _]: [u8; 8] = *datagram.first_chunk().ok_or(short)?;
    let len = usize::from(u16::from_be_bytes([l0, l1]));
    if len < 8 || (len > datagram.len() && !is_fragment) {
        return Err(DropReason::TransportHeader);
    }
    Ok(Ports { source: u16::from_be_bytes([s0, s1]), destination: u16::from_be_bytes([d0, d1]) })
}
