//! ARP for IPv4 over Ethernet (RFC 826).

use super::{Address, Arp, bytes};
use crate::verdict::DropReason;

/// Hardware type Ethernet, protocol type IPv4, address lengths 6 and 4.
const FIXED: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// Reads a request or reply for IPv4 over Ethernet; other operations (RARP, InARP) and other hardware or protocol
/// types are [`DropReason::ArpInvalid`]. So is a sender hardware address that is a group address: no station has one.
#[inline(never)]
pub(super) fn parse(frame: &[u8], at: usize) -> Result<Arp, DropReason> {
    let message: [u8; 28] = bytes(frame, at).ok_or(DropReason::Truncated)?;
    let [f0, f1, f2, f3, f4, f5, o0, o1, rest @ ..] = message;
    let [m0, m1, m2, m3, m4, m5, s0, s1, s2, s3, _, _, _, _, _, _, t0, t1, t2, t3] = rest;
    let operation = u16::from_be_bytes([o0, o1]);
    let group_address = m0 & 1 != 0;
    if [f0, f1, f2, f3, f4, f5] != FIXED || !matches!(operation, 1 | 2) || group_address {
        return Err(DropReason::ArpInvalid);
    }
    Ok(Arp {
        operation,
        sender_mac: [m0, m1, m2, m3, m4, m5],
        sender: Address::v4([s0, s1, s2, s3]),
        target: Address::v4([t0, t1, t2, t3]),
    })
}
