//! The TCP header (RFC 9293).

use super::{Ports, Tcp, flags, offset16};
use crate::verdict::DropReason;

/// The largest window shift that counts; larger ones are read as this (RFC 7323 2.3).
const MAX_WINDOW_SCALE: u8 = 14;

/// Reads the header at the start of `segment`; `short` is why one that ends early is dropped.
///
/// Flags are refused as Linux's connection tracking does: SYN with FIN or RST, and a segment with none of SYN, RST
/// and ACK. That covers a FIN without ACK, which every receiver in a synchronized state drops (RFC 9293 3.10.7.4,
/// fifth check). Port 0 is reserved but no contradiction: the policy decides.
#[inline(always)]
pub(super) fn parse(segment: &[u8], short: DropReason) -> Result<Tcp, DropReason> {
    let header: &[u8; 20] = segment.first_chunk().ok_or(short)?;
    let [s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, offset, flags, w0, w1, ..] = *header;
    let header_len = usize::from(offset >> 4) * 4;
    if header_len < header.len() {
        return Err(DropReason::TransportHeader);
    }
    if segment.len() < header_len {
        return Err(short);
    }
    let syn = flags & flags::SYN != 0;
    let ends = flags & (flags::FIN | flags::RST) != 0;
    if (syn && ends) || flags & (flags::SYN | flags::RST | flags::ACK) == 0 {
        return Err(DropReason::TcpFlags);
    }
    Ok(Tcp {
        ports: Ports { source: u16::from_be_bytes([s0, s1]), destination: u16::from_be_bytes([d0, d1]) },
        sequence: u32::from_be_bytes([q0, q1, q2, q3]),
        acknowledgement: u32::from_be_bytes([a0, a1, a2, a3]),
        flags,
        window: u16::from_be_bytes([w0, w1]),
        window_scale: if syn { window_scale(&segment[header.len()..header_len])? } else { None },
        payload: offset16(segment.len() - header_len),
    })
}

/// Looks for the window scale option (RFC 7323 2.2). A list that does not add up is refused: the two ends might read
/// it differently from each other and from here.
#[inline(never)]
fn window_scale(mut options: &[u8]) -> Result<Option<u8>, DropReason> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const WINDOW_SCALE: u8 = 3;
    while let [kind, rest @ ..] = options {
        options = match (*kind, rest) {
            (END, _) => return Ok(None),
            (NO_OPERATION, _) => rest,
            (WINDOW_SCALE, [3, shift, ..]) => return Ok(Some((*shift).min(MAX_WINDOW_SCALE))),
            (_, [len, ..]) if *len >= 2 => {
                options.get(usize::from(*len)..).ok_or(DropReason::TransportHeader)?
            }
            _ => return Err(DropReason::TransportHeader),
        };
    }
    Ok(None)
}
