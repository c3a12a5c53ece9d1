//! The first bytes of a proxied connection.

use dataplane::proxy::preamble::{READ_MAX, Read, Version, WRITE_MAX, read, write};

/// Reads the bytes as they come; what is read is written and read again.
pub(crate) fn preamble(input: &[u8]) {
    let most = input.len().min(READ_MAX);
    let mut ended = None;
    for len in 0..=most {
        let now = read(&input[..len]);
        match (&ended, now) {
            (Some(before), now) => assert_eq!(before, &now, "with {len} bytes"),
            (None, Ok(Read::More(least))) => assert!(len < least && least <= READ_MAX, "{least} after {len}"),
            (None, now) => ended = Some(now),
        }
    }
    if let Some(Ok(Read::Done(_, preamble))) = ended {
        for version in [Version::V1, Version::V2] {
            let mut buffer = [0; WRITE_MAX];
            let len = write(version, preamble.claim.as_ref(), &mut buffer).expect("it fits");
            let Ok(Read::Done(all, again)) = read(&buffer[..len]) else { panic!("{:?}", &buffer[..len]) };
            assert_eq!((all, again.claim), (len, preamble.claim));
        }
    }
    assert!(most < READ_MAX || ended.is_some(), "no end after {READ_MAX} bytes");
}

/// Of both versions.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let v2 = b"\r\n\r\n\0\r\nQUIT\n";
    let checked = b"!\x11\0\x16\x7f\0\0\x01\x7f\0\0\x01\xb3\xbci{\x03\0\x04D\x1a\xffg\x05\0\0";
    let long = [&b"!\x11\x01\0\x7f\0\0\x01\x7f\0\0\x01\x9b\xc6iz"[..], &[4, 0, 241], &[0; 241]].concat();
    vec![
        b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 443\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::1 ::ffff:192.0.2.2 40000 443\r\nGET".to_vec(),
        b"PROXY UNKNOWN anything\r\n".to_vec(),
        [v2, &checked[..]].concat(),
        [v2, &long[..]].concat(),
        [v2, &b"\x20\0\0\0"[..]].concat(),
    ]
}
