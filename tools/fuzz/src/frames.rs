//! Frames from the wire.

use control::policy::{CompileOptions, SourceFile, compile, load_texts};
use dataplane::headers::{Network, parse};
use dataplane::verdict::Side;
use testkit::Packet;
use testkit::rig::{Rig, RigOptions};

/// The longest frame of a conversation, bytes: fits a chunk of the rig.
const FRAME_MAX: usize = 1514;

const POLICY: &str = r#"
ringfence: 1
workloads:
  - {name: web, labels: {role: web}, addresses: [10.0.0.1, "fd00::1"]}
  - {name: db, labels: {role: db}, addresses: [10.0.0.2, "fd00::2"]}
networks:
  - {name: office, cidrs: [192.0.2.0/24], labels: {zone: office}}
rules:
  - {name: web-to-db, from: {role: web}, to: any, service: any}
  - {name: office, from: {zone: office}, to: any-workload, service: tcp/443, on_revoke: drain 30s}
  - {name: no, from: {role: db}, to: any, service: tcp, action: reject}
"#;

/// Parses one frame: offsets lie inside it and in order.
pub(crate) fn headers(frame: &[u8]) {
    if let Ok(parsed) = parse(frame)
        && let Network::Ip(ip) = parsed.network
    {
        assert!(ip.network_offset < ip.transport_offset && ip.transport_offset <= ip.end, "{ip:?}");
        assert!(usize::from(ip.end) <= frame.len(), "{ip:?}");
    }
}

/// Sends frames through the whole packet path. Each is a byte (its lowest bit the side, the others a step of time), its
/// length in two bytes, and itself. The rig asserts after each that no frame is lost or made.
pub(crate) fn pipeline(input: &[u8]) {
    let file = SourceFile { name: "fuzz.yaml".to_owned(), text: POLICY.to_owned() };
    let loaded = load_texts(&[file]).expect("the policy is right");
    let compiled = compile(&loaded.policy, &CompileOptions::default()).expect("the policy compiles");
    let options = RigOptions { flows: 64, chunks: 512, ..RigOptions::default() };
    let mut rig = Rig::new(compiled.table, &options);
    let mut rest = input;
    while let [how, high, low, after @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(FRAME_MAX).min(after.len());
        let (frame, after) = after.split_at(len);
        rest = after;
        if frame.is_empty() {
            continue;
        }
        let side = if how & 1 == 0 { Side::Inside } else { Side::Outside };
        rig.send_all(side, &[frame]);
        rig.pass_millis(u64::from(how >> 1) * 8);
        if how & 2 != 0 {
            rig.tick();
        }
    }
}

/// One of each kind that the parser reads into.
pub(crate) fn packets() -> Vec<Vec<u8>> {
    let tcp = Packet::tcp("10.0.0.1:1000", "10.0.0.2:80").syn().mss(1460).window_scale(7).payload([1; 40]);
    let tcp6 = Packet::tcp("[fd00::1]:1000", "[fd00::2]:80").ack(7).payload([1; 40]);
    let all =
        tcp6.clone().hop_by_hop(&[5, 2, 0, 0]).destination_options(&[]).routing(4, 0, 1).authentication();
    let mut packets = vec![
        tcp.build(),
        tcp.clone().ip_options(&[148, 4, 0, 0]).qinq(1, 2).build(),
        all.build(),
        Packet::udp("10.0.0.1:1000", "10.0.0.2:53").payload([1; 40]).build(),
        Packet::sctp("[fd00::1]:9", "[fd00::2]:9").chunk(1, &[0; 16]).build(),
        Packet::echo_request("10.0.0.1", "10.0.0.2", 1).build(),
        Packet::icmp_error("10.0.0.9", "10.0.0.1", 3, 4, &tcp.build()).build(),
        Packet::icmp_error("fd00::9", "fd00::1", 2, 0, &all.build()).build(),
        Packet::neighbour_solicit("fe80::1", "fe80::2").build(),
        Packet::router_advert("fe80::1").option(77, &[0; 14]).build(),
        Packet::arp_request("10.0.0.1", "10.0.0.2").padded().build(),
        Packet::ether_type(0x88cc, [0; 40]).build(),
    ];
    packets.extend(tcp.fragments(32));
    packets.extend(all.fragments(64));
    packets
}

/// The packets one after the other, from both sides.
pub(crate) fn conversations() -> Vec<Vec<u8>> {
    let framed = |how: u8, packet: &[u8]| {
        let len = u16::try_from(packet.len()).unwrap_or(u16::MAX).to_be_bytes();
        [[how].as_slice(), &len, packet].concat()
    };
    let all = packets();
    let both: Vec<u8> =
        all.iter().flat_map(|packet| [framed(0, packet), framed(1, packet)].concat()).collect();
    let slow: Vec<u8> = all.iter().flat_map(|packet| framed(0xfe, packet)).collect();
    let twice: Vec<u8> =
        all.iter().rev().flat_map(|packet| [framed(2, packet), framed(0, packet)].concat()).collect();
    vec![both, slow, twice]
}
