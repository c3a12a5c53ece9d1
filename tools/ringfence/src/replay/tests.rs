use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use control::policy::{SourceFile, load_texts};
use testkit::Packet;

use super::capture::Ending;
use super::*;

const POLICY: &str = "
ringfence: 1
workloads:
  - name: web
    labels: {role: web}
    addresses: [10.0.0.1, \"fd00::1\"]
    macs: [\"02:00:00:00:99:01\"]
  - name: db
    labels: {role: db}
    addresses: [10.0.0.2, \"fd00::2\"]
rules:
  - name: web-to-db
    from: {role: web}
    to: {role: db}
    service: [tcp/5432, udp/9, icmp/echo-request]
  - {name: no-telnet, from: {role: web}, to: {role: db}, service: [tcp/23, udp/23], action: reject}
";

/// The address that the policy gives to `web`.
const WEB: [u8; 6] = [2, 0, 0, 0, 0x99, 1];

fn compiled(policy: &str) -> Compiled {
    let file = SourceFile { name: "test.yaml".to_owned(), text: policy.to_owned() };
    let loaded = load_texts(&[file]).unwrap_or_else(|e| panic!("{}", e.render(false)));
    compile(&loaded.policy, &CompileOptions::default()).unwrap()
}

/// How a capture file is written.
#[derive(Clone, Copy, Debug)]
enum Format {
    Micros,
    BigEndianNanos,
    Ng,
    BigEndianNg,
}

/// A capture of packets, each one millisecond after the last, in a file of its own.
fn write(format: Format, link: u32, packets: &[Vec<u8>]) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let big = matches!(format, Format::BigEndianNanos | Format::BigEndianNg);
    let word = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let half = |value: u16| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
    let mut file = Vec::new();
    let is_ng = matches!(format, Format::Ng | Format::BigEndianNg);
    if is_ng {
        file.extend([word(0x0a0d_0d0a), word(28), word(0x1a2b_3c4d)].concat());
        file.extend([half(1), half(0)].concat());
        file.extend([[0xff; 4], [0xff; 4], word(28)].concat());
        let link = half(u16::try_from(link).unwrap());
        file.extend([word(1), word(20), [link[0], link[1], 0, 0], word(0), word(20)].concat());
    } else {
        let magic = if big { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
        file.extend([word(magic), [half(2), half(4)].concat().try_into().unwrap()].concat());
        file.extend([word(0), word(0), word(65535), word(link)].concat());
    }
    for (i, packet) in (0..).zip(packets) {
        if is_ng {
            let padded = packet.len().next_multiple_of(4);
            let total = u32::try_from(32 + padded).unwrap();
            file.extend([word(6), word(total), word(0), word(0), word(i * 1000)].concat());
            file.extend([word(len(packet)), word(len(packet))].concat());
            file.extend(packet);
            file.resize(file.len() + padded - packet.len(), 0);
            file.extend(word(total));
        } else {
            let fraction = if big { i * 1_000_000 } else { i * 1000 };
            file.extend([word(7), word(fraction), word(len(packet)), word(len(packet))].concat());
            file.extend(packet);
        }
    }
    let name = format!("ringfence-replay-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    fs::write(&path, file).unwrap();
    path
}

/// `verdict reason rule` of each packet, and the summary.
fn run_file(path: &Path, policy: &str, midstream: bool) -> (Vec<String>, Summary) {
    let mut lines = Vec::new();
    let summary = replay(path, compiled(policy), Inside::Workloads, midstream, |line| {
        assert_eq!(line.packet, lines.len() as u64 + 1, "lines in order, none left out");
        lines.push(format!("{} {} {}", line.verdict, line.reason, line.rule.unwrap_or("-")));
        Ok(())
    });
    let summary = summary.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(summary.packets, lines.len() as u64);
    (lines, summary)
}

fn run_packets(packets: &[Packet]) -> Vec<String> {
    let frames: Vec<_> = packets.iter().map(Packet::build).collect();
    let path = write(Format::Micros, 1, &frames);
    let (lines, _) = run_file(&path, POLICY, false);
    fs::remove_file(path).unwrap();
    lines
}

fn to_db(port: u16) -> Packet {
    Packet::tcp("10.0.0.1:1000", ([10, 0, 0, 2], port)).source_mac(WEB)
}

fn from_db(port: u16) -> Packet {
    Packet::tcp(([10, 0, 0, 2], port), "10.0.0.1:1000")
}

#[test]
fn each_packet_ends_with_its_reason() {
    let udp = Packet::udp("10.0.0.1:9", "10.0.0.2:9").source_mac(WEB);
    let packets = [
        to_db(5432).syn().seq(1),
        from_db(5432).syn().seq(9).ack(2),
        to_db(5432).seq(2).ack(10).payload(b"select"),
        Packet::icmp_error("10.0.0.254", "10.0.0.1", 3, 4, &to_db(5432).seq(2).ack(10).build()),
        to_db(80).syn(),
        from_db(80).seq(1).ack(1),
        udp.clone(),
        udp.clone().source_mac([2, 0, 0, 0, 0x99, 2]),
        Packet::arp_request("10.0.0.1", "10.0.0.2").source_mac(WEB),
        Packet::arp_request("10.0.0.9", "10.0.0.2"),
        Packet::ether_type(0x88cc, [0; 50]),
        Packet::neighbour_solicit("fe80::9", "fd00::2"),
        udp.clone().vlan(1).vlan(2).vlan(3),
        udp.udp_len(3),
    ];
    assert_eq!(
        run_packets(&packets),
        [
            "forward new_flow web-to-db",
            "forward flow web-to-db",
            "forward flow web-to-db",
            "forward related web-to-db",
            "drop policy default/deny",
            "drop tcp_no_flow -",
            "forward new_flow web-to-db",
            "drop spoofed_source -",
            "drop arp_invalid -",
            "forward arp -",
            "drop ether_type -",
            "forward neighbour -",
            "drop vlan_depth -",
            "drop transport_header -",
        ]
    );
}

#[test]
fn what_is_rejected_is_printed_and_its_answers_are_counted() {
    let udp = Packet::udp("10.0.0.1:9", "10.0.0.2:23").source_mac(WEB);
    let packets = [to_db(23).syn().build(), udp.build(), to_db(80).syn().build()];
    let path = write(Format::Micros, 1, &packets);
    let (lines, summary) = run_file(&path, POLICY, false);
    let expected = ["drop rejected no-telnet", "drop rejected no-telnet", "drop policy default/deny"];
    assert_eq!(lines, expected);
    assert_eq!(summary.answers, 2);
    assert!(summary.to_string().contains("2 resets and ICMP errors were made"), "{summary}");
}

#[test]
fn every_format_and_link_reads_the_same() {
    let frames = vec![to_db(5432).syn().seq(1).build(), from_db(5432).syn().seq(9).ack(2).build()];
    let raw: Vec<_> = frames.iter().map(|frame| frame[14..].to_vec()).collect();
    let expected = ["forward new_flow web-to-db", "forward flow web-to-db"];
    for format in [Format::Micros, Format::BigEndianNanos, Format::Ng, Format::BigEndianNg] {
        for (link, packets) in [(1, &frames), (101, &raw), (228, &raw)] {
            let path = write(format, link, packets);
            assert_eq!(run_file(&path, POLICY, false).0, expected, "{format:?} {link}");
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn held_fragments_are_settled_and_lines_stay_in_order() {
    let datagram = Packet::udp("10.0.0.1:9", "10.0.0.2:9").source_mac(WEB).payload([0; 100]);
    let mut frames = datagram.clone().id(1).fragments(48);
    frames.rotate_left(1);
    frames.push(to_db(5432).syn().build());
    // Its first fragment never comes; then one whose first fragment is denied.
    frames.extend(datagram.id(2).fragments(48).into_iter().skip(1));
    let denied = Packet::udp("10.0.0.1:9", "10.0.0.2:10").source_mac(WEB).payload([0; 60]).id(3);
    frames.extend(denied.fragments(48).into_iter().rev());
    let path = write(Format::Micros, 1, &frames);
    let (lines, _) = run_file(&path, POLICY, false);
    fs::remove_file(path).unwrap();
    assert_eq!(
        lines,
        [
            "forward fragment -",
            "forward fragment -",
            "forward new_flow web-to-db",
            "forward new_flow web-to-db",
            "drop fragment_no_head -",
            "drop fragment_no_head -",
            "drop fragment_of_dropped -",
            "drop policy default/deny",
        ]
    );
}

#[test]
fn captures_that_are_no_good() {
    let whole = write(Format::Micros, 1, &[to_db(5432).syn().build(), to_db(5432).syn().build()]);
    let bytes = fs::read(&whole).unwrap();
    let cut = |len: usize| {
        let path = whole.with_extension(len.to_string());
        fs::write(&path, &bytes[..len]).unwrap();
        path
    };
    let (lines, summary) = run_file(&cut(bytes.len() - 1), POLICY, false);
    assert_eq!(lines.len(), 1);
    assert_eq!(summary.ending, Some(Ending::Damaged("its last block is cut off")));
    for (len, expected) in [(0, "the file is empty"), (20, "this is neither a pcap nor a pcapng file")] {
        let error = replay(&cut(len), compiled(POLICY), Inside::Workloads, false, |_| Ok(())).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    for path in [whole.clone(), cut(bytes.len() - 1), cut(0), cut(20)] {
        fs::remove_file(path).unwrap();
    }

    let other = write(Format::Micros, 105, &[vec![0; 40]]);
    let (lines, summary) = run_file(&other, POLICY, false);
    assert_eq!(lines, ["drop link_type -"]);
    assert!(summary.to_string().contains("not applicable: link type"), "{summary}");
    fs::remove_file(other).unwrap();
}

/// The acknowledgement of a joined segment fits the sequence numbers only if that was not lost.
#[test]
fn joined_segments_pass_as_the_network_carries_them() {
    let packets = [
        to_db(5432).syn().seq(1),
        from_db(5432).syn().seq(9).ack(2),
        to_db(5432).seq(2).ack(10).payload([1; 9000]),
        from_db(5432).seq(10).ack(9002),
        to_db(80).seq(2).ack(10).payload([1; 9000]),
    ];
    assert_eq!(
        run_packets(&packets),
        [
            "forward new_flow web-to-db",
            "forward flow web-to-db",
            "forward flow web-to-db",
            "forward flow web-to-db",
            "drop tcp_no_flow -",
        ]
    );
}

/// A frame larger than any chunk, and one of no bytes.
#[test]
fn frames_that_no_port_hands_over() {
    let path = write(Format::Ng, 1, &[vec![0; 5000], vec![]]);
    assert_eq!(run_file(&path, POLICY, false).0, ["drop too_big -", "drop truncated -"]);
    fs::remove_file(path).unwrap();
}

#[test]
fn connections_older_than_the_capture_are_picked_up_on_request() {
    let path =
        write(Format::Micros, 1, &[to_db(5432).seq(5).ack(7).build(), from_db(5432).seq(7).ack(5).build()]);
    assert_eq!(run_file(&path, POLICY, false).0, ["drop tcp_no_flow -", "drop tcp_no_flow -"]);
    assert_eq!(run_file(&path, POLICY, true).0, ["forward new_flow web-to-db", "forward flow web-to-db"]);
    fs::remove_file(path).unwrap();
}

/// Lets everything through that the path itself does not refuse, so that captures get deep into it.
const OPEN: &str = "
ringfence: 1
workloads:
  - {name: nobody, labels: {role: none}, addresses: [192.0.2.1]}
networks:
  - {name: everywhere, cidrs: [\"0.0.0.0/0\", \"::/0\"], labels: {zone: all}}
rules:
  - {name: open, from: {zone: all}, to: {zone: all}, service: any}
";

/// Every capture that stands beside the workspace on a machine that has them: no panic, each packet with an outcome,
/// and the same outcomes twice.
#[test]
fn every_capture_twice() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora/pcaps");
    let mut files = Vec::new();
    collect(&folder, &mut files);
    if files.is_empty() {
        eprintln!("no captures at ../shared/corpora/pcaps beside the workspace: nothing replayed");
        return;
    }
    let mut packets = 0;
    let mut forwarded = 0;
    for file in &files {
        let first = run_file(file, OPEN, false);
        assert_eq!(first, run_file(file, OPEN, false), "{}", file.display());
        packets += first.0.len();
        forwarded += first.0.iter().filter(|line| line.starts_with("forward")).count();
    }
    eprintln!("{} captures, {packets} packets, {forwarded} forwarded", files.len());
    assert!(forwarded > packets / 2, "an open policy lets most ordinary packets through");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
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
