//! Preambles by table, as HAProxy writes them, and there and back.

use core::net::Ipv6Addr;

use proptest::prelude::*;

use super::*;

fn claim(source: &str, destination: &str) -> Option<Claim> {
    Some(Claim { source: source.parse().unwrap(), destination: destination.parse().unwrap() })
}

/// A header of version 2: command, family and transport, what follows.
fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap().to_be_bytes();
    [v2::SIGNATURE, &[command, family], &len, body].concat()
}

/// 192.0.2.1:4660 to 192.0.2.2:443.
const V4: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x34, 1, 187];

fn v4_with(tlvs: &[u8]) -> Vec<u8> {
    v2(0x21, 0x11, &[&V4, tlvs].concat())
}

/// Captured from HAProxy 2.6.12: `send-proxy`, `send-proxy-v2`, the latter with `crc32c,unique-id`.
const FROM_HAPROXY: &[(&[u8], &str, &str)] = &[
    (b"PROXY TCP4 127.0.0.1 127.0.0.1 51914 27001\r\n", "127.0.0.1:51914", "127.0.0.1:27001"),
    (b"PROXY TCP6 ::1 ::1 40922 27004\r\n", "[::1]:40922", "[::1]:27004"),
    (
        b"\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\x9b\xc6iz",
        "127.0.0.1:39878",
        "127.0.0.1:27002",
    ),
    (
        b"\r\n\r\n\0\r\nQUIT\n!\x11\0\x16\x7f\0\0\x01\x7f\0\0\x01\xb3\xbci{\x03\0\x04D\x1a\xffg\x05\0\0",
        "127.0.0.1:46012",
        "127.0.0.1:27003",
    ),
    (
        b"\r\n\r\n\0\r\nQUIT\n!!\0+\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\
          \x8api}\x03\0\x04\xffR\xc7\x91",
        "[::1]:35440",
        "[::1]:27005",
    ),
];

#[test]
fn what_haproxy_writes_is_read() {
    for (bytes, source, destination) in FROM_HAPROXY {
        let Ok(Read::Done(len, preamble)) = read(bytes) else { panic!("{:?}", read(bytes)) };
        assert_eq!((len, preamble.claim), (bytes.len(), claim(source, destination)));
    }
}

#[test]
fn accepted() {
    let v4 = claim("192.0.2.1:4660", "192.0.2.2:443");
    let v6 = [[0x20; 32].as_slice(), &[0, 1, 0, 2]].concat();
    let at = "[2020:2020:2020:2020:2020:2020:2020:2020]";
    let line = |text: &str| text.as_bytes().to_vec();
    let certificate = [&[0x20, 8, 0][..], &[7; 2048]].concat();
    let longest = [&[0x02, 0x0f, 0xe1][..], &[7; 4065]].concat();
    let mapped = [[0; 10].as_slice(), &[0xff, 0xff, 192, 0, 2, 1]].concat();
    let mapped = [&mapped[..], &mapped, &[0x12, 0x34, 0, 9]].concat();
    let table: &[(&str, Vec<u8>, Option<Claim>)] = &[
        ("IPv4", line("PROXY TCP4 192.0.2.1 192.0.2.2 4660 443\r\n"), v4),
        ("IPv6", line("PROXY TCP6 2001:db8::1 ::1 0 65535\r\n"), claim("[2001:db8::1]:0", "[::1]:65535")),
        ("mapped", line("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n"), claim("192.0.2.1:1", "[::1]:2")),
        ("unknown", line("PROXY UNKNOWN\r\n"), None),
        ("unknown, with more", line("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n"), None),
        ("the longest line", line(&format!("PROXY UNKNOWN {}\r\n", "x".repeat(V1_MAX - 16))), None),
        ("v2", v4_with(&[]), v4),
        ("v2, IPv6", v2(0x21, 0x21, &v6), claim(&format!("{at}:1"), &format!("{at}:2"))),
        ("v2, mapped", v2(0x21, 0x21, &mapped), claim("192.0.2.1:4660", "192.0.2.1:9")),
        ("v2, empty TLV", v4_with(&[4, 0, 0]), v4),
        ("v2, TLVs", v4_with(&[1, 0, 2, b'h', b'2', 0xea, 0, 1, 0]), v4),
        ("v2, a certificate", v4_with(&certificate), v4),
        ("v2, the longest", v4_with(&longest), v4),
        ("v2, a health check", v2(0x20, 0, &[]), None),
        ("v2, a health check with anything", v2(0x20, 0xff, &[3, 0, 9, 1]), None),
        ("v2, unspecified", v2(0x21, 0, &[]), None),
        ("v2, unspecified with TLVs", v2(0x21, 0, &[4, 0, 1, 9]), None),
        ("v2, datagrams", v2(0x21, 0x12, &V4), None),
        ("v2, a Unix socket", v2(0x21, 0x31, &[0; 216]), None),
    ];
    for (name, bytes, expected) in table {
        let expected = Preamble {
            version: if bytes.starts_with(b"PROXY") { Version::V1 } else { Version::V2 },
            claim: *expected,
        };
        assert_eq!(read(bytes), Ok(Read::Done(bytes.len(), expected)), "{name}");
        let followed = [bytes, &b"\n\r\nPROXY"[..]].concat();
        assert_eq!(read(&followed), read(bytes), "{name}: what follows is the connection's own");
        for len in 0..bytes.len() {
            let Ok(Read::More(least)) = read(&bytes[..len]) else {
                panic!("{name}: {len} bytes are not all")
            };
            assert!(len < least && least <= bytes.len(), "{name}: {least} after {len}");
        }
    }
}

#[test]
fn refused_with_a_reason() {
    use Malformed::*;
    let line = |text: &str| text.as_bytes().to_vec();
    let wrong = [3, 0, 4, 1, 2, 3, 4];
    let table: &[(&str, Vec<u8>, Malformed)] = &[
        ("HTTP", line("GET / HTTP/1.1\r\n"), NoSignature),
        ("TLS", vec![22, 3, 1], NoSignature),
        ("small letters", line("proxy"), NoSignature),
        ("nearly v2", line("\r\n\r\n\0\r\nQUIR"), NoSignature),
        ("two spaces", line("PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n"), Family),
        ("no family", line("PROXY \r\n"), Family),
        ("another family", line("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n"), Family),
        ("the other family", line("PROXY TCP4 ::1 ::1 1 2\r\n"), Address),
        ("a zone", line("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n"), Address),
        ("octal", line("PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n"), Address),
        ("no text", b"PROXY TCP4 \xff 192.0.2.2 1 2\r\n".to_vec(), Address),
        ("a field too many", line("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n"), Address),
        ("a space at the end", line("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n"), Address),
        ("a field too few", line("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n"), Port),
        ("a port too high", line("PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n"), Port),
        ("a port with a sign", line("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n"), Port),
        ("a port with zeros", line("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n"), Port),
        ("a long port", line("PROXY TCP4 192.0.2.1 192.0.2.2 4294967297 2\r\n"), Port),
        ("no carriage return", line("PROXY UNKNOWN\n"), LineEnd),
        ("no end", line(&format!("PROXY UNKNOWN {}\r\n", "x".repeat(V1_MAX - 15))), LineEnd),
        ("v2, version 3", v2(0x31, 0x11, &V4), Command),
        ("v2, command 2", v2(0x22, 0x11, &V4), Command),
        ("v2, early", line("\r\n\r\n\0\r\nQUIT\n\x31"), Command),
        ("v2, family 4", v2(0x21, 0x41, &[]), Transport),
        ("v2, transport 3", v2(0x21, 0x13, &V4), Transport),
        ("v2, short", v2(0x21, 0x11, &V4[..11]), TooShort),
        ("v2, short IPv6", v2(0x21, 0x21, &[0; 35]), TooShort),
        ("v2, short Unix path", v2(0x21, 0x31, &[0; 215]), TooShort),
        ("v2, long", v2(0x21, 0x11, &[0; V2_MAX - 15]), TooLong),
        ("v2, long and not here yet", line("\r\n\r\n\0\r\nQUIT\n\x21\x11\x10\x01"), TooLong),
        ("v2, a TLV cut off", v4_with(&[4, 0]), Tlv),
        ("v2, a TLV too long", v4_with(&[4, 0, 2, 9]), Tlv),
        ("v2, a checksum of three bytes", v4_with(&[3, 0, 3, 1, 2, 3]), Tlv),
        ("v2, a wrong checksum", v4_with(&wrong), Checksum),
        ("v2, two checksums", v4_with(&[wrong, wrong].concat()), Tlv),
    ];
    for (name, bytes, reason) in table {
        assert_eq!(read(bytes), Err(*reason), "{name}");
        assert_eq!(read(&[bytes, &b"more"[..]].concat()), Err(*reason), "{name}, with more");
    }
    for reason in Malformed::ALL {
        assert!(table.iter().any(|(_, _, told)| told == reason), "{reason} is not in the table");
    }
}

#[test]
fn any_changed_bit_breaks_the_checksum() {
    let (bytes, ..) = FROM_HAPROXY[4];
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        // A bit in the length can make it longer, one in the family or the TLV's type can make it no checksum.
        let told = read(&bytes);
        let excused = matches!(told, Ok(Read::More(_)) | Ok(Read::Done(_, Preamble { claim: None, .. })))
            || bit / 8 == bytes.len() - 7;
        assert!(told.is_err() || excused, "bit {bit}: {told:?}");
    }
}

fn ends() -> impl Strategy<Value = Claim> {
    let ip = || {
        prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(IpAddr::from),
            any::<[u16; 2]>().prop_map(|[a, b]| Ipv6Addr::new(a, 0, 0, 0, 0, 0, 0, b).into()),
        ]
    };
    let end = move || (ip(), any::<u16>());
    (end(), end()).prop_map(|(source, destination)| Claim::canonical(source, destination))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn what_is_written_is_read(claim in proptest::option::of(ends()), v1 in any::<bool>(), after in any::<[u8; 9]>()) {
        let version = if v1 { Version::V1 } else { Version::V2 };
        let mut buffer = [0; WRITE_MAX];
        let len = write(version, claim.as_ref(), &mut buffer).unwrap();
        let bytes = [&buffer[..len], &after].concat();
        prop_assert_eq!(read(&bytes), Ok(Read::Done(len, Preamble { version, claim })));
        for less in 0..len {
            prop_assert!(matches!(read(&bytes[..less]), Ok(Read::More(_))));
            prop_assert_eq!(write(version, claim.as_ref(), &mut buffer[..less]), None);
        }
    }

    /// Reading byte by byte comes to the same end as reading at once, and never asks for more than there can be.
    #[test]
    fn one_end_however_it_comes(seed in 0..FROM_HAPROXY.len(), changes in prop::collection::vec((0usize..60, any::<u8>()), 0..3)) {
        let mut bytes = FROM_HAPROXY[seed].0.to_vec();
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let mut ended = None;
        for len in 0..=bytes.len() {
            let now = read(&bytes[..len]);
            match (&ended, now) {
                (Some(before), now) => prop_assert_eq!(before, &now),
                (None, Ok(Read::More(least))) => prop_assert!(len < least && least <= READ_MAX),
                (None, now) => ended = Some(now),
            }
        }
    }
}
