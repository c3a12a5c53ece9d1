//! The ones' complement sum of the Internet checksums (RFC 1071).

/// Adds the 16-bit words of `bytes` to `sum`, in network order, without folding. An odd last byte counts as the upper
/// half of a word. `bytes` must be shorter than 2^32 so that the sum cannot overflow; frames are below 2^16.
#[must_use]
pub fn add(mut sum: u64, bytes: &[u8]) -> u64 {
    // Words of 32 bits: ones' complement addition does not mind where the carries are folded back (RFC 1071, 2).
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        sum += u64::from(u32::from_be_bytes(*word));
    }
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    sum + u64::from(u32::from_be_bytes(last))
}

/// The folded sum of an IPv4 header without options: 0xffff if its checksum is right.
#[inline(always)]
#[must_use]
pub(super) fn of_ipv4_header(header: &[u8; 20]) -> u16 {
    // Byte order only swaps the bytes of the sum (RFC 1071, 2(B)), and 0xffff reads the same swapped.
    let (words, _) = header.as_chunks::<4>();
    fold(words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum())
}

/// Folds the carries back until 16 bits are left: not complemented. `0` only if every added word was zero.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "after the last fold the value is below 2^16")]
pub const fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}
