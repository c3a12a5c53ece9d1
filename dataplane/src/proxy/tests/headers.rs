use super::*;
use crate::address::Address;
use crate::proxy::preamble::{self, Claim, Read as Heard, Version};

const RESET: Result<usize, io::ErrorKind> = Err(io::ErrorKind::ConnectionReset);

/// The stranger's address is trusted to speak for others.
fn trusting(server: &TcpListener) -> ProxyConfig {
    let mut config = config("127.0.0.1:0", &[server.local_addr().unwrap()]);
    config.trusted = vec![Prefix { address: Address::v4([127, 0, 0, 3]), bits: 32 }];
    config.timeouts.header_ms = 300;
    config
}

fn header(version: Version, source: &str) -> Vec<u8> {
    let claim = Claim { source: source.parse().unwrap(), destination: "192.0.2.1:80".parse().unwrap() };
    let mut bytes = [0; preamble::WRITE_MAX];
    let length = preamble::write(version, Some(&claim), &mut bytes).unwrap();
    bytes[..length].to_vec()
}

#[test]
fn a_trusted_peer_speaks_for_its_client() {
    let server = server();
    for version in [Version::V1, Version::V2] {
        for pieces in [1, 2, 40] {
            let mut config = trusting(&server);
            config.timeouts.header_ms = 20_000;
            let rig = Rig::with(config);
            let mut hop = from(STRANGER, rig.address).unwrap();
            let mut bytes = header(version, "127.0.0.2:7000");
            bytes.extend(b"the first bytes");
            for piece in bytes.chunks(bytes.len().div_ceil(pieces)) {
                hop.write_all(piece).unwrap();
                sleep(Duration::from_millis(2));
            }
            let (mut served, _) = server.accept().unwrap();
            let mut read = [0; 15];
            served.read_exact(&mut read).unwrap();
            assert_eq!(&read, b"the first bytes", "{version:?} {pieces}");
            passes(&mut served, &mut hop, b"an answer");
            let flow = rig.flows.views(crate::clock::Now::read()).next().unwrap();
            assert_eq!(flow.key.addresses(flow.initiator).0, Address::v4([127, 0, 0, 2]));
            rig.stop();
        }
    }
}

#[test]
fn a_claim_is_judged_and_a_bad_or_missing_header_is_refused() {
    let server = server();
    for (name, bytes, refusal) in [
        ("a client that may not", header(Version::V2, "127.0.0.9:7000"), Refusal::Policy),
        ("no header", b"GET / HTTP/1.0\r\n".to_vec(), Refusal::HeaderInvalid),
        ("nothing", Vec::new(), Refusal::HeaderTimeout),
        ("half a header", header(Version::V1, "127.0.0.2:7000")[..9].to_vec(), Refusal::HeaderTimeout),
    ] {
        let rig = Rig::with(trusting(&server));
        let mut hop = from(STRANGER, rig.address).unwrap();
        hop.write_all(&bytes).unwrap();
        assert_eq!(end_of(&mut hop), RESET, "{name}");
        assert_eq!(rig.refused(refusal), 1, "{name}: {:?}", rig.counts);
        rig.stop();
    }
    // From anyone else it is data.
    let rig = Rig::with(trusting(&server));
    let (mut client, mut served) = rig.pair(&server);
    passes(&mut client, &mut served, &header(Version::V1, "127.0.0.9:1"));
    drop(client);
    // A peer that hangs up instead.
    drop(from(STRANGER, rig.address).unwrap());
    eventually("it is noticed", || rig.refused(Refusal::ClientGone) == 1);
    rig.stop();
}

#[test]
fn the_server_is_told_who_the_client_is() {
    let server = server();
    for version in [Version::V1, Version::V2] {
        let mut config = trusting(&server);
        config.preamble = Some(version);
        let rig = Rig::with(config);
        for behind in [false, true] {
            let (mut client, expected) = if behind {
                let mut hop = from(STRANGER, rig.address).unwrap();
                hop.write_all(&header(Version::V2, "127.0.0.2:7000")).unwrap();
                (hop, "127.0.0.2:7000".parse().unwrap())
            } else {
                let client = rig.client();
                let own = client.local_addr().unwrap();
                (client, own)
            };
            client.write_all(b"hello").unwrap();
            let (mut served, _) = server.accept().unwrap();
            patient(&served);
            let (mut bytes, mut piece) = (Vec::new(), [0; 64]);
            let (length, heard) = loop {
                let read = served.read(&mut piece).unwrap();
                bytes.extend(&piece[..read]);
                if let Heard::Done(length, heard) = preamble::read(&bytes).unwrap() {
                    break (length, heard);
                }
            };
            let claim = heard.claim.unwrap();
            assert_eq!((claim.source, claim.destination), (expected, rig.address), "{version:?} {behind}");
            while bytes.len() < length + 5 {
                let read = served.read(&mut piece).unwrap();
                assert!(read > 0);
                bytes.extend(&piece[..read]);
            }
            assert_eq!(&bytes[length..], b"hello");
            passes(&mut served, &mut client, b"hello yourself");
        }
        rig.stop();
    }
}
