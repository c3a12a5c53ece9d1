use super::*;

mod icmp;
mod ip;
mod link;
mod robustness;
mod transport;
mod twin;

/// The IP part of a frame that must parse.
fn ip(frame: &[u8]) -> Ip {
    match parse(frame) {
        Ok(Headers { network: Network::Ip(ip), .. }) => ip,
        other => panic!("no IP packet: {other:?}"),
    }
}

/// Parses each frame and compares the drop reason; `None` means that it must parse.
fn check(table: &[(&str, Vec<u8>, Option<DropReason>)]) {
    for (name, frame, expected) in table {
        assert_eq!(parse(frame).err(), *expected, "{name}");
    }
}

/// The frame with `bytes` written at `at`.
fn with(mut frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

/// The same in an untagged IPv4 frame, with the header checksum made right again.
fn with_v4(frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    let frame = with(with(frame, 14 + at, bytes), 24, &[0, 0]);
    let header_len = usize::from(frame[14] & 0x0f) * 4;
    let sum = testkit::internet_checksum(&frame[14..14 + header_len]);
    with(frame, 24, &sum.to_be_bytes())
}

/// The layout that the packet path counts on: 64 of these are one batch.
#[test]
fn headers_fill_two_cache_lines() {
    assert_eq!(size_of::<Headers>(), 128);
    assert_eq!(size_of::<Result<Headers, DropReason>>(), 128);
}
