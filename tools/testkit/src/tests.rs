use super::*;

/// Fixed bytes, worked out by hand from the RFCs, so that a mistake in the builders cannot hide behind itself.
#[test]
fn bytes_are_as_written_by_hand() {
    #[rustfmt::skip]
    let udp = vec![
        2, 4, 10, 0, 0, 2,  2, 4, 10, 0, 0, 1,  8, 0,
        0x45, 0, 0, 30,  0, 7, 0, 0,  64, 17, 0x66, 0xc6,  10, 0, 0, 1,  10, 0, 0, 2,
        0x03, 0xe8, 0, 53,  0, 10, 0x7f, 0x51,  0x68, 0x69,
    ];
    let built = Packet::udp("10.0.0.1:1000", "10.0.0.2:53").id(7).payload(b"hi").build();
    assert_eq!(built, udp);
}

#[test]
fn checksums_verify() {
    let tcp = Packet::tcp("[2001:db8::1]:1", "[2001:db8::2]:2").syn().mss(1440).payload(b"odd").build();
    let (a, b) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
    let sum = u64::from(pseudo_sum(a, b, 6, tcp.len() - 54)) + u64::from(folded_sum(&tcp[54..]));
    assert_eq!(checksum::fold(sum), 0xffff);
    // RFC 3720 B.4: CRC32c of 32 zero bytes.
    assert_eq!(crc32c(&[0; 32]).to_le_bytes(), [0xaa, 0x36, 0x91, 0x8a]);
    let partial = Packet::tcp("[2001:db8::1]:1", "[2001:db8::2]:2").partial_checksum().build();
    assert_eq!(partial[70..72], pseudo_sum(a, b, 6, 20).to_be_bytes());
}

#[test]
fn fragments_carry_the_whole_datagram() {
    let v4 = Packet::udp("10.0.0.1:9", "10.0.0.2:9").payload([7; 100]).id(5);
    let whole = v4.build();
    let parts = v4.fragments(48);
    let offsets: Vec<_> = parts.iter().map(|p| u16::from_be_bytes([p[20], p[21]])).collect();
    assert_eq!(offsets, [0x2000, 0x2006, 12]);
    let data: Vec<u8> = parts.iter().flat_map(|p| p[34..].to_vec()).collect();
    assert_eq!(data, whole[34..]);

    let v6 = Packet::udp("[fd00::1]:9", "[fd00::2]:9")
        .hop_by_hop(&[])
        .destination_options(&[])
        .payload([7; 100])
        .id(5);
    let parts = v6.fragments(48);
    let offsets: Vec<_> = parts.iter().map(|p| u16::from_be_bytes([p[64], p[65]])).collect();
    assert_eq!((parts[0][20], parts[0][54], parts[0][62], parts[0][70]), (0, 44, 60, 17));
    assert_eq!(offsets, [1, 49, 96]);
    assert_eq!(parts.iter().map(|p| p.len() - 70).sum::<usize>(), 8 + 108);
}
