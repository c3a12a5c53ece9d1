//! Checksums, written for clarity and independent of the dataplane's own, so that each can check the other.

use std::net::IpAddr;

/// The ones' complement sum of big-endian 16-bit words, folded to 16 bits; an odd last byte is padded with zero
/// (RFC 1071).
#[must_use]
pub fn folded_sum(bytes: &[u8]) -> u16 {
    let sum = bytes.chunks(2).fold(0_u64, |sum, pair| {
        sum + u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))
    });
    fold(sum)
}

/// The Internet checksum of `bytes`: the complement of [`folded_sum`].
#[must_use]
pub fn internet_checksum(bytes: &[u8]) -> u16 {
    !folded_sum(bytes)
}

/// The folded, not complemented sum of the pseudo-header (RFC 9293 3.1, RFC 8200 8.1).
///
/// # Panics
/// If the two addresses are of different families.
#[must_use]
pub fn pseudo_sum(source: IpAddr, destination: IpAddr, protocol: u8, len: usize) -> u16 {
    let mut bytes = Vec::with_capacity(40);
    match (source, destination) {
        (IpAddr::V4(a), IpAddr::V4(b)) => bytes.extend([a.octets(), b.octets()].concat()),
        (IpAddr::V6(a), IpAddr::V6(b)) => bytes.extend([a.octets(), b.octets()].concat()),
        _ => panic!("{source} and {destination} are of different families"),
    }
    bytes.extend(u32::try_from(len).expect("a packet's length").to_be_bytes());
    bytes.extend([0, 0, 0, protocol]);
    folded_sum(&bytes)
}

/// CRC32c as SCTP uses it (RFC 9260 appendix A), bit by bit.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

pub(crate) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).expect("folded")
}
