//! A daemon on a real wire between two real stacks: `ringfence capture`, and what happens when its queues overflow.

use std::fs::File;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lab::{End, Namespace, skip_unprivileged, veth};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Scratch, read, text, tshark, value};

const POLICY: &str = "
ringfence: 1
workloads:
  - {name: client, labels: {role: web}, addresses: [10.8.0.1], wire: w}
  - {name: server, labels: {role: db}, addresses: [10.8.0.2]}
rules:
  - {name: echo, from: {role: web}, to: {role: db}, service: [udp/7, tcp/7]}
";

/// Two hosts, a wire between them, and the daemon that serves it.
struct Bed {
    client: Namespace,
    server: Namespace,
    middle: Namespace,
    scratch: Scratch,
    daemon: Option<Child>,
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

impl Bed {
    /// `name` tells the tests of this process apart; `settings` go into the configuration.
    fn new(name: &str, settings: &str) -> Self {
        let create =
            |end: &str| Namespace::create(&format!("rf-cap-{}-{name}-{end}", std::process::id())).unwrap();
        let (client, middle, server) = (create("c"), create("m"), create("s"));
        for (host, port, address) in [(&client, "in0", "10.8.0.1/24"), (&server, "out0", "10.8.0.2/24")] {
            veth(&End::new(host, "eth0"), &End::new(&middle, port)).unwrap();
            host.address("eth0", address).unwrap();
        }
        let scratch = Scratch::new();
        scratch.write("policy.yaml", POLICY);
        let config = format!(
            "wires: [{{name: w, inside: {{interface: in0}}, outside: {{interface: out0}}}}]\n\
             policy: [policy.yaml]\nstate_dir: state\nsocket: {{path: s.sock}}\n{settings}"
        );
        scratch.write("ringfence.yaml", config);
        let mut bed = Self { client, server, middle, scratch, daemon: None };
        bed.start();
        bed
    }

    fn start(&mut self) {
        let log = File::create(self.scratch.0.join("log")).unwrap();
        let mut command = self.middle.command(env!("CARGO_BIN_EXE_ringfence").as_ref());
        command.arg("run").arg("--config").arg(self.scratch.0.join("ringfence.yaml"));
        self.daemon = Some(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.ask(&["status", "--json"]).status.success() {
            let log = std::fs::read_to_string(self.scratch.0.join("log")).unwrap();
            assert!(Instant::now() < deadline, "the daemon does not answer: {log}");
            sleep(Duration::from_millis(50));
        }
    }

    fn stop(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        kill_process(Pid::from_raw(daemon.id().try_into().unwrap()).unwrap(), Signal::TERM).unwrap();
        assert!(daemon.wait().unwrap().success());
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
        command.args(arguments).env("RINGFENCE_SOCKET", self.scratch.0.join("s.sock")).env("NO_COLOR", "1");
        command
    }

    fn ask(&self, arguments: &[&str]) -> std::process::Output {
        self.command(arguments).output().unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.ask(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Datagrams from the client, one flow each, `count` of them to each of `ports`.
    fn send(&self, ports: &[u16], count: usize) {
        let send = || {
            for _ in 0..count {
                let socket = UdpSocket::bind("10.8.0.1:0").unwrap();
                for port in ports {
                    socket.send_to(b"hello", ("10.8.0.2", *port)).unwrap();
                }
            }
        };
        self.client.run(send).unwrap();
    }

    /// Whether an echo comes back within ten seconds, through the wire.
    fn echoes(&self) -> bool {
        let server = self.server.run(|| UdpSocket::bind("10.8.0.2:7")).unwrap().unwrap();
        let client = self.client.run(|| UdpSocket::bind("10.8.0.1:0")).unwrap().unwrap();
        for socket in [&server, &client] {
            socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        }
        let mut bytes = [0; 16];
        (0..100).any(|_| {
            client.send_to(b"ping", "10.8.0.2:7").unwrap();
            let asked = server.recv_from(&mut bytes);
            let answered = asked.and_then(|(len, from)| server.send_to(&bytes[..len], from));
            answered.is_ok() && client.recv_from(&mut bytes).is_ok()
        })
    }

    /// Begins a capture.
    fn capture(&self, arguments: &[&str]) -> Child {
        let all: Vec<&str> = ["capture"].into_iter().chain(arguments.iter().copied()).collect();
        self.command(&all).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Begins a capture into `path`, and waits until it runs: the head of the file is there.
    fn capture_into(&self, path: &Path, arguments: &[&str]) -> Child {
        let file = ["-w", path.to_str().unwrap()];
        let mut child = self.capture(&[arguments, &file].concat());
        let deadline = Instant::now() + Duration::from_secs(60);
        while std::fs::metadata(path).map_or(0, |file| file.len()) == 0 {
            assert!(child.try_wait().unwrap().is_none(), "it ended");
            assert!(Instant::now() < deadline, "it does not begin");
            sleep(Duration::from_millis(10));
        }
        child
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.0.join(name)
    }
}

#[test]
#[ignore = "needs tshark"]
fn a_capture_of_real_traffic_is_what_was_sent() {
    if skip_unprivileged() {
        return;
    }
    let bed = Bed::new("real", "");
    assert!(bed.echoes());
    let path = bed.path("drops.pcapng");
    let wanted = ["--dropped", "--reason", "policy", "--rule", "default/deny", "--workload", "server"];
    let options = ["--port", "99", "--count", "30", "--duration", "30s"];
    let child = bed.capture_into(&path, &[&wanted[..], &options].concat());
    let busy = bed.ask(&["capture", "--count", "1"]);
    assert_eq!(busy.status.code(), Some(1));
    assert!(text(&busy.stderr).contains("another capture runs"), "{}", text(&busy.stderr));
    bed.send(&[98, 99, 7], 40);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).starts_with("30 packets captured"), "{}", text(&output.stderr));
    let (packets, counts) = read(&path);
    assert_eq!((packets.len(), counts[0][0], counts[0][2]), (30, 0, 30));
    let words = "service=udp/99 from=client{role=web} to=server{role=db}";
    assert!(packets.iter().all(|packet| packet.comment.ends_with(words)), "{packets:?}");
    assert!(packets.iter().all(|packet| packet.bytes.ends_with(b"hello")));
    let shown = tshark(&path, &["frame.interface_name", "ip.dst", "udp.dstport", "frame.comment"]);
    assert_eq!(shown.len(), 30);
    for line in shown {
        assert_eq!(line[..3], ["in0", "10.8.0.2", "99"]);
        assert_eq!(value(&line[3], "rule"), Some("default/deny"));
    }
}

#[test]
fn a_capture_ends_whole_when_it_is_interrupted() {
    if skip_unprivileged() {
        return;
    }
    let bed = Bed::new("int", "");
    assert!(bed.echoes());
    let path = bed.path("all.pcapng");
    let child = bed.capture_into(&path, &["--any", "--protocol", "udp", "--json"]);
    assert!(bed.echoes());
    kill_process(Pid::from_raw(child.id().try_into().unwrap()).unwrap(), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (packets, counts) = read(&path);
    assert_eq!(said["packets"].as_u64(), Some(packets.len() as u64));
    assert_eq!(counts.iter().map(|one| one[2]).sum::<u64>(), packets.len() as u64);
    for interface in [0, 1] {
        let forwarded = |packet: &&super::Read| packet.interface == interface;
        let packet = packets.iter().find(forwarded).expect("there and back");
        assert_eq!(value(&packet.comment, "verdict"), Some("forward"));
        assert_eq!(value(&packet.comment, "rule"), Some("echo"));
    }
    let mut lines = bed.capture(&["--count", "1", "--port", "97"]);
    while lines.try_wait().unwrap().is_none() {
        bed.send(&[97], 1);
        sleep(Duration::from_millis(50));
    }
    let lines = text(&lines.wait_with_output().unwrap().stdout);
    assert!(lines.lines().count() == 1 && lines.contains("in0 47 B verdict=drop reason=policy"), "{lines}");
}

/// Sum of a count over all records.
fn sum(records: &Value, count: &str) -> u64 {
    records["records"].as_array().unwrap().iter().map(|one| one[count].as_u64().unwrap()).sum()
}

/// More than a queue of 64 events can hold, in no time: what is told and what is missed is what happened, also after
/// a restart.
#[test]
fn events_that_overflow_are_missed_exactly() {
    if skip_unprivileged() {
        return;
    }
    let mut bed = Bed::new("loss", "records: {queue: 64, update_s: 0}\n");
    let sent = 4000;
    bed.send(&[98], sent);
    let read = |bed: &Bed| {
        let totals = bed.json(&["status", "--json"])["totals"].clone();
        let number = |name: &str| totals[name].as_u64().unwrap();
        (number("flow_events"), number("flow_events_lost"), number("decisions"), number("dropped"))
    };
    // Nothing else asks for flows here; wait until the last of what was sent has passed.
    let mut before = read(&bed);
    loop {
        sleep(Duration::from_millis(300));
        let now = read(&bed);
        if now == before {
            break;
        }
        before = now;
    }
    let (events, lost, decisions, dropped) = before;
    assert!(events > 0 && events <= sent as u64 && lost > 0, "{events} events, {lost} lost");
    assert!(dropped >= events, "each denied packet is an event");
    let records = bed.json(&["records", "--limit", "1000", "--json"]);
    assert_eq!(records["completeness"]["missed"].as_u64(), Some(lost));
    assert_eq!(records["completeness"]["complete"], false);
    assert_eq!(sum(&records, "flows") + lost, events, "told and lost is what happened");
    let rules = bed.json(&["rules", "--json"]);
    let hits: u64 =
        rules["rules"].as_array().unwrap().iter().map(|rule| rule["hits"].as_u64().unwrap()).sum();
    assert_eq!(hits, decisions, "hits and defaults are the decisions");
    bed.stop();
    bed.start();
    let again = bed.json(&["records", "--limit", "1000", "--json"]);
    assert_eq!(
        (sum(&again, "flows"), &again["completeness"]["missed"]),
        (sum(&records, "flows"), &lost.into())
    );
    assert_eq!(again["completeness"]["gaps"], 1);
}

#[test]
fn a_live_flow_is_recorded_while_it_lives() {
    if skip_unprivileged() {
        return;
    }
    let bed = Bed::new("live", "records: {update_s: 1}\n");
    assert!(bed.echoes());
    let socket = bed.client.run(|| UdpSocket::bind("10.8.0.1:4444")).unwrap().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        socket.send_to(&[1; 1000], "10.8.0.2:7").unwrap();
        sleep(Duration::from_millis(100));
        let records = bed.json(&["records", "--rule", "echo", "--json"]);
        let record = &records["records"][0];
        let bytes = record["sent"]["bytes"].as_u64().unwrap_or(0);
        if bytes > 3 * 1042 {
            assert_eq!(record["outcomes"]["timed_out"], 0, "it lives: {record}");
            assert_eq!((&record["side"], &record["tier"]), (&"inside".into(), &"application".into()));
            assert_eq!(record["epochs"], serde_json::json!([1, 1]));
            assert!(record["policy_hash"].is_string());
            return;
        }
        assert!(Instant::now() < deadline, "it is not told: {records}");
    }
}
