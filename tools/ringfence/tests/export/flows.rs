//! Flow events as IPFIX and as JSON lines: two exporters that tell the same, read by three programs.

use std::fs;

use lab::skip_unprivileged;
use rustix::process::Signal;

use super::bed::{Bed, json_lines, until};
use super::consumers::{captured, nfdump, tshark};

#[test]
#[ignore = "needs nfdump and tshark"]
fn collectors_read_what_happened_on_the_wire() {
    if skip_unprivileged() {
        return;
    }
    let bed = Bed::build("flows", "");
    let port = bed.port();
    let mut config = fs::read_to_string(bed.file("ringfence.yaml")).unwrap();
    config += &format!(
        "export:\n  ipfix: {{collector: \"127.0.0.1:{port}\", domain: 42}}\n  jsonl: {{path: flows.jsonl}}\n"
    );
    fs::write(bed.file("ringfence.yaml"), config).unwrap();
    let number = port.to_string();
    fs::create_dir(bed.file("nf")).unwrap();
    let nf = bed.file("nf");
    let (mut nfcapd, nfcapd_log) =
        bed.beside("nfcapd", &["-w", nf.to_str().unwrap(), "-p", &number, "-b", "127.0.0.1", "-t", "3600"]);
    let filter = format!("udp port {port}");
    let (mut sniffer, sniffer_log) = bed.beside("tshark", &["-i", "lo", "-f", &filter, "-w", "lo.pcapng"]);
    until("the capture", || fs::read_to_string(&sniffer_log).unwrap().contains("Capturing").then_some(()));
    let mut daemon = bed.daemon(&[]);

    bed.connection("10.78.0.2", 20_000);
    bed.connection("fd78::2", 10_000);
    bed.datagrams("10.78.0.2", 8125, 3);
    bed.datagrams("fd78::2", 8125, 2);
    bed.refused("10.78.0.2", 22);
    bed.refused("fd78::2", 22);
    // A flow that was reset is forgotten after ten seconds, and told then.
    let ended = |lines: &[serde_json::Value]| lines.iter().filter(|line| line["event"] == "ended").count();
    until("the end of both connections", || {
        (ended(&json_lines(&bed.file("flows.jsonl"))) >= 2).then_some(())
    });
    for name in ["ipfix", "jsonl"] {
        until("the last event", || (bed.exporter(name)["waiting"] == 0).then_some(()));
        let one = bed.exporter(name);
        assert_eq!((&one["lost"], &one["error"]), (&0.into(), &serde_json::Value::Null), "{one}");
    }
    let shown = String::from_utf8(bed.ask(&["status"]).stdout).unwrap();
    assert!(shown.contains("EXPORTER") && shown.contains(&format!("udp 127.0.0.1:{port}")), "{shown}");
    assert!(daemon.stop(Signal::TERM).success());
    // Whoever is stopped loses what it has not read: the kernel hands captured frames on in blocks.
    let lines = json_lines(&bed.file("flows.jsonl"));
    until("the collector", || bed.has_read(port).then_some(()));
    until("the capture of every event", || {
        (captured(&bed.file("lo.pcapng"), port) == lines.len()).then_some(())
    });
    nfcapd.stop(Signal::TERM);
    sniffer.stop(Signal::INT);

    let told = |event: &str, service: &str, source: &str| {
        let of = |line: &&serde_json::Value| {
            line["event"] == event && line["service"] == service && line["source"]["address"] == source
        };
        lines.iter().find(of).unwrap_or_else(|| panic!("no {event} {service} of {source}")).clone()
    };
    let end = told("ended", "tcp/5432", "10.78.0.1");
    assert_eq!((&end["outcome"], &end["rule"]), (&"reset".into(), &"shop-to-db".into()));
    assert_eq!(end["source"]["labels"], serde_json::json!({"app": ["shop"], "role": ["web"]}));
    assert_eq!(end["destination"]["name"], "db");
    assert!(end["bytes"][0].as_u64().unwrap() > 20_000 && end["bytes"][1].as_u64().unwrap() > 20_000);
    assert_eq!(end["wire"], "segment-a");
    assert_eq!(end["policy_hash"].as_str().unwrap().len(), 64);
    let denied = told("denied", "tcp/22", "fd78::1");
    assert_eq!((&denied["reason"], &denied["rule"]), (&"policy".into(), &"default/deny".into()));
    told("opened", "udp/8125", "fd78::1");

    nfdump(&nf, &nfcapd_log, &lines);
    tshark(&bed.file("lo.pcapng"), port, &lines);
}
