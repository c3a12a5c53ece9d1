//! Nothing from the wire panics: cut, flipped and found packets.

use std::path::{Path, PathBuf};

use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::{Block, PcapBlockOwned, PcapError, create_reader};
use proptest::prelude::*;
use testkit::Packet;

use super::*;

/// One of each kind that the parser reads into.
fn samples() -> Vec<Vec<u8>> {
    let tcp = Packet::tcp("10.0.0.1:1000", "10.0.0.2:80").syn().mss(1460).window_scale(7).payload([1; 40]);
    let tcp6 = Packet::tcp("[fd00::1]:1000", "[fd00::2]:80").ack(7).payload([1; 40]);
    let all =
        tcp6.clone().hop_by_hop(&[5, 2, 0, 0]).destination_options(&[]).routing(4, 0, 1).authentication();
    let udp = Packet::udp("10.0.0.1:1000", "10.0.0.2:53").payload([1; 40]);
    let mut samples = vec![
        tcp.build(),
        tcp.clone().ip_options(&[148, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0]).qinq(1, 2).build(),
        all.build(),
        udp.build(),
        Packet::sctp("[fd00::1]:9", "[fd00::2]:9").chunk(1, &[0; 16]).build(),
        Packet::echo_request("10.0.0.1", "10.0.0.2", 1).build(),
        Packet::echo_reply("fd00::1", "fd00::2", 1).build(),
        Packet::icmp_error("10.0.0.9", "10.0.0.1", 3, 4, &tcp.build()).build(),
        Packet::icmp_error("fd00::9", "fd00::1", 2, 0, &all.build()).build(),
        Packet::neighbour_solicit("fe80::1", "fe80::2").build(),
        Packet::neighbour_advert("fe80::1", "fe80::2", "fe80::1").build(),
        Packet::router_advert("fe80::1").option(77, &[0; 14]).build(),
        Packet::redirect("fe80::1", "fd00::2", "fe80::9", "fd00::9").build(),
        Packet::listener_report("fe80::1", "ff02::fb").build(),
        Packet::arp_request("10.0.0.1", "10.0.0.2").padded().build(),
        Packet::ether_type(0x88cc, [0; 40]).build(),
    ];
    samples.extend(tcp.fragments(32));
    samples.extend(all.fragments(64));
    samples
}

/// Offsets of a parsed frame lie inside it and in order, whatever the frame said.
fn check_offsets(frame: &[u8]) {
    if let Ok(Headers { network: Network::Ip(ip), .. }) = parse(frame) {
        let end = usize::from(ip.end);
        assert!(ip.network_offset < ip.transport_offset && ip.transport_offset <= ip.end, "{ip:?}");
        assert!(end <= frame.len(), "{ip:?}");
    }
}

#[test]
fn every_sample_parses_and_no_prefix_panics() {
    for frame in samples() {
        parse(&frame).unwrap_or_else(|reason| panic!("{reason}: {frame:02x?}"));
        for len in 0..frame.len() {
            check_offsets(&frame[..len]);
        }
    }
}

#[test]
fn no_flipped_bit_panics() {
    for mut frame in samples() {
        for bit in 0..frame.len() * 8 {
            frame[bit / 8] ^= 1 << (bit % 8);
            check_offsets(&frame);
            frame[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

proptest! {
    #[test]
    fn no_changed_sample_panics(
        sample in prop::sample::select(samples()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut frame = sample;
        for (at, value) in changes {
            let at = at.index(frame.len());
            frame[at] = value;
        }
        check_offsets(&frame);
        check_offsets(&frame[..cut.index(frame.len())]);
    }

    #[test]
    fn no_noise_panics(frame in prop::collection::vec(any::<u8>(), 0..200), kind in 0..3_usize) {
        let mut frame = frame;
        if frame.len() > 14 {
            frame[12..14].copy_from_slice(&[[8, 0], [0x86, 0xdd], [8, 6]][kind]);
        }
        check_offsets(&frame);
    }
}

/// Every frame of the captures that stand beside the workspace on a machine that has them.
#[test]
fn no_captured_frame_panics() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpora/pcaps");
    let mut files = Vec::new();
    collect(&folder, &mut files);
    if files.is_empty() {
        eprintln!("no captures at ../shared/corpora/pcaps beside the workspace: nothing replayed");
        return;
    }
    let mut frames = 0_usize;
    let mut parsed = 0_usize;
    for file in &files {
        each_packet(file, |data| {
            frames += 1;
            check_offsets(data);
            parsed += usize::from(parse(data).is_ok());
        });
    }
    eprintln!("{} captures, {frames} packets, {parsed} parsed", files.len());
    assert!(parsed > frames / 2, "most captured packets are ordinary");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| ["pcap", "pcapng", "cap"].iter().any(|known| e == *known))
        {
            files.push(path);
        }
    }
    files.sort();
}

fn each_packet(path: &Path, mut packet: impl FnMut(&[u8])) {
    let file = std::fs::File::open(path).unwrap();
    let mut reader = create_reader(1 << 20, file).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    loop {
        match reader.next() {
            Ok((used, block)) => {
                match block {
                    PcapBlockOwned::Legacy(block) => packet(block.data),
                    PcapBlockOwned::NG(Block::EnhancedPacket(block)) => packet(block.packet_data()),
                    PcapBlockOwned::NG(Block::SimplePacket(block)) => packet(block.packet_data()),
                    _ => {}
                }
                reader.consume(used);
            }
            Err(PcapError::Incomplete(_)) => {
                if reader.refill().is_err() {
                    return;
                }
            }
            // Some captures are damaged on purpose.
            Err(_) => return,
        }
    }
}
