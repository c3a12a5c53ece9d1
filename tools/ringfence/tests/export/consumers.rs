//! Collectors of IPFIX that other people wrote, and whether they read what the JSON lines say.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::bed::said;

/// How often an Ethernet header is in the bytes of an event, and not in the octets of IPFIX.
const ETHERNET: u64 = 14;

/// Counts are told of flows that ended or were denied.
fn counts(line: &Value) -> [[u64; 2]; 2] {
    let told = ["ended", "denied"].iter().any(|event| line["event"] == *event);
    let of = |key: &str| [0, 1].map(|way| if told { line[key][way].as_u64().unwrap() } else { 0 });
    [of("packets"), of("bytes")]
}

/// nfcapd missed nothing, and nfdump shows each event.
pub(crate) fn nfdump(folder: &Path, log: &Path, lines: &[Value]) {
    let words = std::fs::read_to_string(log).unwrap();
    let summary = format!("Flows: {}, ", lines.len());
    assert!(words.contains(&summary) && words.contains("Sequence Errors: 0, Bad Packets: 0"), "{words}");
    let all = said("nfdump", &["-R", folder.to_str().unwrap(), "-o", "json"]);
    let all: Vec<Value> = serde_json::from_str(&all).unwrap();
    assert_eq!(all.len(), lines.len());
    for line in lines {
        let ends = ["source", "destination"].map(|end| line[end]["address"].as_str().unwrap().to_owned());
        let kind = if ends[0].contains(':') { '6' } else { '4' };
        let [packets, bytes] = counts(line);
        let octets = |way: usize| bytes[way] - ETHERNET * packets[way];
        let protocol = if line["service"].as_str().unwrap().starts_with("tcp/") { 6 } else { 17 };
        let first =
            |one: &Value| line["first_seen"].as_str().unwrap().starts_with(one["first"].as_str().unwrap());
        let same = |one: &&Value| {
            one[format!("src{kind}_addr")] == ends[0]
                && one[format!("dst{kind}_addr")] == ends[1]
                && one["src_port"] == line["source"]["port"]
                && one["dst_port"] == line["destination"]["port"]
                && one["proto"] == protocol
                && (&one["in_packets"], &one["out_packets"]) == (&packets[0].into(), &packets[1].into())
                && (&one["in_bytes"], &one["out_bytes"]) == (&octets(0).into(), &octets(1).into())
                && first(one)
        };
        assert_eq!(all.iter().filter(same).count(), 1, "{line:#}\n{all:#?}");
    }
}

/// A record as tshark shows it: the name of a field, and what stands there; own elements by their number.
type Record = BTreeMap<String, String>;

/// The flow records in what tshark prints.
fn records(text: &str) -> Vec<Record> {
    let mut found: Vec<Record> = Vec::new();
    let mut data = false;
    for line in text.lines().map(str::trim) {
        if let Some((_, id)) = line.split_once("[id=").filter(|_| line.starts_with("Set ")) {
            data = id
                .split(']')
                .next()
                .and_then(|id| id.parse().ok())
                .is_some_and(|id: u16| (256..=267).contains(&id));
        } else if data && line.starts_with("Flow ") && !line.contains(':') {
            found.push(Record::new());
        } else if let (true, Some(record)) = (data, found.last_mut())
            && let Some((name, value)) = line.split_once(": ")
        {
            let (name, value) = match value.split_once(" (Reverse") {
                _ if line.contains(": Value (hex bytes): ") => own(line),
                Some((value, _)) => (format!("Reverse {name}"), value.to_owned()),
                None => (name.to_owned(), value.to_owned()),
            };
            record.entry(name).or_insert(value);
        }
    }
    found
}

/// An element of ringfence's own: its number, and its bytes as text where they are.
fn own(line: &str) -> (String, String) {
    let (name, hex) = line.split_once(": Value (hex bytes): ").unwrap();
    let bytes: Vec<u8> = hex.split(' ').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    let number = name.rsplit(' ').next().unwrap().to_owned();
    (number, String::from_utf8(bytes).unwrap_or_else(|_| hex.to_owned()))
}

/// `app=crm,app=shop`, from labels in JSON.
fn labels(labels: &Value) -> String {
    let pairs = labels.as_object().unwrap().iter().flat_map(|(key, values)| {
        values.as_array().unwrap().iter().map(move |value| format!("{key}={}", value.as_str().unwrap()))
    });
    pairs.collect::<Vec<_>>().join(",")
}

/// tshark's own words of a capture of what went to the collector on `port`.
fn dissect(capture: &Path, port: u16) -> Command {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(capture).args(["-d", &format!("udp.port=={port},cflow"), "-V"]);
    command
}

/// How many flow records a capture has that may still be written to.
pub(crate) fn captured(capture: &Path, port: u16) -> usize {
    let shown = dissect(capture, port).output().unwrap();
    records(&String::from_utf8_lossy(&shown.stdout)).len()
}

/// What tshark read off the wire to the collector: each event, with every word of policy.
pub(crate) fn tshark(capture: &Path, port: u16, lines: &[Value]) {
    let shown = dissect(capture, port).output().unwrap();
    assert!(shown.status.success(), "{shown:?}");
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(!text.contains("Malformed") && !text.contains("No template found"), "{text}");
    assert!(text.contains("Observation Domain Id: 42"));
    for name in ["ringfenceRule", "ringfenceSourceLabels"] {
        assert!(text.contains(&format!("Information Element Name: {name}")), "{name} is not described");
    }
    let all = records(&text);
    assert_eq!(all.len(), lines.len(), "{text}");
    for line in lines {
        let text = |key: &str| line[key].as_str().unwrap_or("-").to_owned();
        let kind = match line["event"].as_str().unwrap() {
            "opened" => "Flow created (1)",
            "ended" => "Flow deleted (2)",
            _ => "Flow denied (3)",
        };
        let [packets, bytes] = counts(line);
        let mut expected = vec![
            ("SrcAddr", line["source"]["address"].as_str().unwrap().to_owned()),
            ("DstAddr", line["destination"]["address"].as_str().unwrap().to_owned()),
            ("Firewall Event", kind.to_owned()),
            ("Biflow Direction", "Initiator (1)".to_owned()),
            ("Packets", packets[0].to_string()),
            ("Reverse Packets", packets[1].to_string()),
            ("Layer2 Octet Delta Count", bytes[0].to_string()),
            ("Reverse Layer2 Octet Delta Count", bytes[1].to_string()),
            ("Octets", (bytes[0] - ETHERNET * packets[0]).to_string()),
            ("1", text("event")),
            ("2", text("verdict")),
            ("3", text("gate")),
            ("4", text("rule")),
            ("5", text("tier")),
            ("6", text("potential")),
            ("7", line["source"]["name"].as_str().unwrap().to_owned()),
            ("8", labels(&line["source"]["labels"])),
            ("9", line["destination"]["name"].as_str().unwrap().to_owned()),
            ("10", labels(&line["destination"]["labels"])),
            ("11", text("wire")),
        ];
        if line["event"] == "ended" {
            expected.push(("12", text("outcome")));
            expected.push(("Flow End Reason", "End of Flow detected (3)".to_owned()));
        }
        let ports = |record: &Record| {
            [("SrcPort", "source"), ("DstPort", "destination")].iter().all(|(field, end)| {
                record.get(*field).and_then(|port| port.split(' ').next())
                    == Some(&*line[end]["port"].to_string())
            })
        };
        let same = |record: &&Record| ports(record) && record.get("1") == Some(&text("event"));
        let [record] = all.iter().filter(same).collect::<Vec<_>>()[..] else { panic!("{line:#}\n{all:#?}") };
        for (field, value) in expected {
            assert_eq!(record.get(field), Some(&value), "{field} of {line:#}\n{record:#?}");
        }
    }
}
