//! CRC32c (RFC 9260 appendix A: Castagnoli's polynomial, reflected).

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut at: u32 = 0;
    while at < 256 {
        // Bits shifted out on the right decide whether the reflected polynomial is subtracted.
        let (mut value, mut bit) = (at, 0);
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ 0x82f6_3b78 } else { value >> 1 };
            bit += 1;
        }
        table[at as usize] = value;
        at += 1;
    }
    table
}

/// Of `bytes`, the four from `place` on taken as zeros.
pub(super) fn with_zeros(bytes: &[u8], place: usize) -> u32 {
    let masked =
        bytes.iter().enumerate().map(|(at, byte)| if at.wrapping_sub(place) < 4 { 0 } else { *byte });
    !masked.fold(u32::MAX, |crc, byte| crc >> 8 ^ TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::with_zeros;

    #[test]
    fn the_published_vectors() {
        // RFC 3720 B.4.
        let rising: Vec<u8> = (0..32).collect();
        for (bytes, crc) in [
            (vec![0; 32], 0x8a91_36aa),
            (vec![0xff; 32], 0x62a8_ab43),
            (rising, 0x46dd_794e),
            (b"123456789".to_vec(), 0xe306_9283),
        ] {
            assert_eq!(with_zeros(&bytes, usize::MAX - 8), crc, "{bytes:?}");
        }
        assert_eq!(with_zeros(&[1, 2, 3, 4, 9], 0), with_zeros(&[0, 0, 0, 0, 9], 99));
    }
}
