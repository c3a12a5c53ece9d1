//! A capture of the packet path over memory.

use std::sync::Arc;
use std::time::Duration;

use control::observe::capture::{Limits, Port, Session, Wording};
use control::observe::worker::Worker;
use control::policy::{CompileOptions, Compiled, SourceFile, compile, load_texts};
use dataplane::address::Address;
use dataplane::capture::{Fates, Filter};
use dataplane::verdict::{DropReason, Epoch, RuleId, Side};
use testkit::Packet;
use testkit::rig::{Fate, Rig, RigOptions, WIRE};

use super::{Scratch, read, ringfence, text, tshark, value};

const POLICY: &str = "
ringfence: 1
workloads:
  - {name: web, labels: {role: web}, addresses: [10.0.0.1, \"fd00::1\"]}
  - {name: db, labels: {role: db, app: [crm, shop]}, addresses: [10.0.0.2, \"fd00::2\"]}
rules:
  - {name: web-to-db, from: {role: web}, to: {role: db}, service: [tcp/5432, udp/9, icmp/echo-request]}
  - {name: no-telnet, from: {role: web}, to: {role: db}, service: [tcp/23], action: reject}
";

const IN: Side = Side::Inside;
const OUT: Side = Side::Outside;

struct Words(Compiled);

impl Wording for Words {
    fn rule(&self, _epoch: Epoch, rule: RuleId) -> String {
        self.0.rules[rule.0 as usize].name.to_string()
    }

    fn end(&self, address: Address) -> String {
        format!("{}{{}}", address.to_ip())
    }

    fn find(&self, _rule: &str) -> Option<(Epoch, RuleId)> {
        None
    }
}

fn compiled() -> Compiled {
    let file = SourceFile { name: "test.yaml".to_owned(), text: POLICY.to_owned() };
    let loaded = load_texts(&[file]).unwrap_or_else(|e| panic!("{}", e.render(false)));
    compile(&loaded.policy, &CompileOptions::default()).unwrap()
}

/// Traffic of most kinds, with who sends it.
fn traffic() -> Vec<(Side, Vec<u8>)> {
    let mut all = Vec::new();
    for (web, db) in [("10.0.0.1", "10.0.0.2"), ("[fd00::1]", "[fd00::2]")] {
        let (from, to) = (format!("{web}:999"), format!("{db}:5432"));
        let there = || Packet::tcp(from.as_str(), to.as_str());
        let back = || Packet::tcp(to.as_str(), from.as_str());
        all.push((IN, there().syn().seq(100).build()));
        all.push((OUT, back().syn().seq(500).ack(101).build()));
        all.push((IN, there().seq(101).ack(501).payload(b"select 1").build()));
        // Beyond the window.
        all.push((OUT, back().seq(501 + (1 << 20)).ack(109).payload(b"forged").build()));
        all.push((OUT, back().seq(501).ack(109).payload([7; 1000]).build()));
        // Denied, rejected, without a flow.
        all.push((OUT, Packet::tcp(format!("{db}:1").as_str(), format!("{web}:22").as_str()).syn().build()));
        all.push((IN, Packet::tcp(from.as_str(), format!("{db}:23").as_str()).syn().build()));
        all.push((IN, Packet::tcp(from.as_str(), format!("{db}:80").as_str()).seq(7).ack(7).build()));
        all.push((IN, Packet::udp(from.as_str(), format!("{db}:9").as_str()).payload([1; 40]).build()));
        all.push((IN, Packet::udp(from.as_str(), format!("{db}:10").as_str()).vlan(7).build()));
    }
    let big = Packet::udp("10.0.0.1:9", "10.0.0.2:9").payload(vec![1; 1900]).id(1).fragments(800);
    all.extend(big.into_iter().map(|fragment| (IN, fragment)));
    all.push((IN, Packet::arp_request("10.0.0.1", "10.0.0.2").build()));
    all.push((IN, Packet::echo_request("10.0.0.1", "10.0.0.2", 1).build()));
    all.push((OUT, Packet::echo_request("192.0.2.7", "10.0.0.2", 1).build()));
    all.push((OUT, Packet::udp("192.0.2.7:53", "10.0.0.1:999").build()[..30].to_vec()));
    all
}

/// The verdict of a fate, as comments and replays say it.
fn said(fate: &Fate) -> (&'static str, Option<&'static str>) {
    match fate {
        Fate::Forwarded(_) => ("forward", None),
        Fate::Dropped(reason, _) => ("drop", Some(reason.name())),
        Fate::Held => panic!("nothing is held here"),
    }
}

/// Sends `traffic` through a rig under a capture; what became of each packet, and the file.
fn captured(traffic: &[(Side, Vec<u8>)], filter: Filter) -> (Vec<Fate>, Vec<u8>, Rig) {
    let words = Words(compiled());
    let mut rig = Rig::new(compiled().table, &RigOptions::default());
    let worker = Worker {
        wire: WIRE,
        queue: 0,
        counters: Arc::clone(&rig.counters),
        records: Arc::clone(&rig.records),
    };
    let port = |name: &str| Port { interface: name.into(), description: format!("wire w, {name}") };
    let limits = Limits { packets: 10_000, bytes: 1 << 30, time: Duration::from_secs(60) };
    let mut out = Vec::new();
    let ports = vec![[port("in0"), port("out0")]];
    let mut session = Session::begin(filter, None, limits, &[worker], ports, &mut out);
    let mut fates = Vec::new();
    for (side, packet) in traffic {
        fates.push(rig.send(*side, packet));
        rig.pass_millis(1);
        assert!(session.go_on(&words, &mut out));
    }
    session.end(&words, &mut out);
    (fates, out, rig)
}

fn everything() -> Filter {
    Filter { fates: Fates::Any, snap_len: 4096, ..Filter::default() }
}

#[test]
fn the_file_holds_what_was_sent_and_says_what_became_of_it() {
    let traffic = traffic();
    let (fates, out, rig) = captured(&traffic, everything());
    assert!(rig.counters.made.get() > 0, "answers were made, and are in no capture");
    let scratch = Scratch::new();
    let path = scratch.write("all.pcapng", out);
    let (packets, counts) = read(&path);
    assert_eq!(packets.len(), traffic.len());
    for ((packet, (side, sent)), fate) in packets.iter().zip(&traffic).zip(&fates) {
        assert_eq!((&packet.bytes, packet.len), (sent, sent.len()), "{}", packet.comment);
        assert_eq!(packet.interface, u32::from(*side == OUT), "{}", packet.comment);
        let (verdict, reason) = said(fate);
        assert_eq!(value(&packet.comment, "verdict"), Some(verdict), "{}", packet.comment);
        assert_eq!(value(&packet.comment, "reason"), reason, "{}", packet.comment);
        assert_eq!(value(&packet.comment, "epoch"), Some("1"));
    }
    let count = |side| traffic.iter().filter(|(sent_on, _)| *sent_on == side).count() as u64;
    assert_eq!(counts, [IN, OUT].map(|side| [0, count(side), count(side)]));
    let rules: Vec<_> = packets.iter().filter_map(|packet| value(&packet.comment, "rule")).collect();
    for rule in ["web-to-db", "no-telnet", "default/deny"] {
        assert!(rules.contains(&rule), "{rule}: {rules:?}");
    }
}

#[test]
#[ignore = "needs tshark"]
fn tshark_reads_it_with_its_comments() {
    let traffic = traffic();
    let (_, out, _) = captured(&traffic, everything());
    let scratch = Scratch::new();
    let path = scratch.write("all.pcapng", out);
    let (packets, _) = read(&path);
    let shown = tshark(
        &path,
        &["frame.len", "frame.interface_name", "frame.packet_flags_direction", "frame.comment"],
    );
    assert_eq!(shown.len(), packets.len());
    for (line, packet) in shown.iter().zip(&packets) {
        let interface = ["in0", "out0"][packet.interface as usize];
        let [len, name, direction, comment] = line.as_slice() else { panic!("{line:?}") };
        assert_eq!((len, name.as_str(), comment), (&packet.len.to_string(), interface, &packet.comment));
        assert!(direction.ends_with('1'), "received: {direction}");
    }
    let drops = tshark_count(&path, "frame.comment contains \"reason=policy\"");
    assert!(drops > 0 && drops < packets.len(), "a display filter finds them: {drops}");
}

fn tshark_count(path: &std::path::Path, filter: &str) -> usize {
    let output =
        std::process::Command::new("tshark").arg("-r").arg(path).args(["-Y", filter]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().count()
}

#[test]
fn a_replay_of_the_file_says_the_same() {
    let (_, out, _) = captured(&traffic(), everything());
    let scratch = Scratch::new();
    let (path, policy) = (scratch.write("all.pcapng", out), scratch.write("policy.yaml", POLICY));
    let (packets, _) = read(&path);
    let output = ringfence(&["replay", "--policy", policy.to_str().unwrap(), path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), packets.len());
    for (line, packet) in lines.iter().zip(&packets) {
        let word = |key| value(&packet.comment, key);
        assert_eq!(line["verdict"].as_str(), word("verdict"), "{line} {}", packet.comment);
        if word("verdict") == Some("drop") {
            assert_eq!(line["reason"].as_str(), word("reason"), "{line} {}", packet.comment);
            assert_eq!(line["rule"].as_str(), word("rule"), "{line} {}", packet.comment);
        }
    }
}

#[test]
fn only_what_is_selected_is_copied_and_only_its_beginning() {
    let traffic = traffic();
    let denied = Filter {
        reasons: Filter::reason_bit(DropReason::Policy),
        port: Some(22),
        snap_len: 60,
        ..Filter::default()
    };
    let (_, out, _) = captured(&traffic, denied);
    let scratch = Scratch::new();
    let (packets, counts) = read(&scratch.write("some.pcapng", out));
    assert_eq!(packets.len(), 2, "one over each family");
    for packet in packets {
        assert!(packet.comment.contains("reason=policy rule=default/deny"), "{}", packet.comment);
        assert_eq!(packet.bytes.len(), 60.min(packet.len));
    }
    assert_eq!(counts, [[0, 0, 0], [0, 2, 2]]);
}
