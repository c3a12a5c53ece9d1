//! A policy of 10,000 workloads and 10,000 rules, published through the socket while traffic crosses a wire: the
//! traffic loses nothing, and `explain` answers from the new policy.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing step must fail the test")]

use std::fmt::Write as _;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lab::{End, Namespace, remove_leftovers, skip_unprivileged, veth};

const PREFIX: &str = "rf-large";
const SIZE: usize = 10_000;

/// The two hosts of the wire and a rule between them, then as many workloads and rules again as asked for.
fn policy(size: usize) -> String {
    let mut text = String::from("ringfence: 1\nworkloads:\n");
    text.push_str("  - {name: one, labels: {role: probe}, addresses: [10.66.0.1], wire: w}\n");
    text.push_str("  - {name: two, labels: {role: sink}, addresses: [10.66.0.2]}\n");
    for n in 0..size {
        let (high, low) = (n / 250, n % 250 + 1);
        let role = ["web", "app", "db"][n % 3];
        let labels = format!("role: {role}, app: app-{}, env: prod, uid: u-{n}", n / 3);
        writeln!(text, "  - {{name: w-{n}, labels: {{{labels}}}, addresses: [10.70.{high}.{low}]}}").unwrap();
    }
    text.push_str("rules:\n  - {name: probe, from: {role: probe}, to: {role: sink}, service: udp/9000}\n");
    for n in 0..size {
        let (app, port) = (n / 3, 1000 + n % 3);
        let (from, to) = [("web", "app"), ("app", "db"), ("web", "web")][n % 3];
        let ends = format!("from: {{role: {from}, app: app-{app}}}, to: {{role: {to}, app: app-{app}}}");
        writeln!(text, "  - {{name: r-{n}, {ends}, service: tcp/{port}}}").unwrap();
    }
    text
}

/// Two hosts and the daemon's namespace between them: inside veth to `one`, outside veth to `two`.
struct Lab {
    one: Namespace,
    two: Namespace,
    wire: Namespace,
}

impl Lab {
    fn build() -> Self {
        remove_leftovers(PREFIX).unwrap();
        let make = |name: &str| Namespace::create(&format!("{PREFIX}-{name}")).unwrap();
        let (one, two, wire) = (make("one"), make("two"), make("wire"));
        veth(&End::new(&one, "eth0"), &End::new(&wire, "in0")).unwrap();
        veth(&End::new(&two, "eth0"), &End::new(&wire, "out0")).unwrap();
        one.address("eth0", "10.66.0.1/24").unwrap();
        two.address("eth0", "10.66.0.2/24").unwrap();
        Self { one, two, wire }
    }
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ringfence(folder: &Path, arguments: &[&str]) -> Output {
    let socket = folder.join("socket");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
    command.args(arguments).env("RINGFENCE_SOCKET", socket).stdin(Stdio::null()).output().unwrap()
}

fn start(lab: &Lab, folder: &Path) -> Daemon {
    let at = folder.display();
    let config = format!(
        "wires: [{{name: w, inside: {{interface: in0}}, outside: {{interface: out0}}}}]
policy: [small.yaml]
state_dir: {at}/state
socket: {{path: {at}/socket}}
publish_timeout_ms: 60000
"
    );
    std::fs::write(folder.join("ringfence.yaml"), config).unwrap();
    std::fs::write(folder.join("small.yaml"), policy(0)).unwrap();
    std::fs::write(folder.join("large.yaml"), policy(SIZE)).unwrap();
    let mut command = lab.wire.command(env!("CARGO_BIN_EXE_ringfence").as_ref());
    command.args(["run", "--config"]).arg(folder.join("ringfence.yaml")).stdin(Stdio::null());
    let daemon = Daemon(command.spawn().unwrap());
    let deadline = Instant::now() + Duration::from_secs(60);
    while !ringfence(folder, &["status", "--json"]).status.success() {
        assert!(Instant::now() < deadline, "the daemon does not answer");
        thread::sleep(Duration::from_millis(100));
    }
    daemon
}

/// Sends numbered datagrams from `one` to `two`, one every two milliseconds, while `during` runs; how many were
/// sent and how many arrived.
fn stream(lab: &Lab, during: impl FnOnce()) -> (u64, u64) {
    let receiver = lab.two.run(|| UdpSocket::bind("10.66.0.2:9000")).unwrap().unwrap();
    let sender = lab.one.run(|| UdpSocket::bind("10.66.0.1:9001")).unwrap().unwrap();
    receiver.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let (stop, arrived) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut sent = 0_u64;
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut bytes = [0; 64];
            loop {
                match receiver.recv(&mut bytes) {
                    Ok(_) => arrived.fetch_add(1, Ordering::Relaxed),
                    Err(_) if stop.load(Ordering::Acquire) => break,
                    Err(_) => continue,
                };
            }
        });
        let sending = scope.spawn(|| {
            let mut sent = 0_u64;
            while !stop.load(Ordering::Acquire) {
                sender.send_to(&sent.to_be_bytes(), "10.66.0.2:9000").unwrap();
                sent += 1;
                thread::sleep(Duration::from_millis(2));
            }
            sent
        });
        during();
        stop.store(true, Ordering::Release);
        sent = sending.join().unwrap();
    });
    (sent, arrived.load(Ordering::Relaxed))
}

fn explained(folder: &Path, from: &str, to: &str, service: &str) -> (String, String) {
    let output = ringfence(folder, &["explain", from, to, service, "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let word = |key: &str| answer[key].as_str().unwrap().to_owned();
    (word("verdict"), word("rule"))
}

#[test]
fn ten_thousand_workloads_and_rules_are_published_under_traffic() {
    if skip_unprivileged() {
        return;
    }
    let folder = std::env::temp_dir().join(format!("{PREFIX}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let lab = Lab::build();
    let daemon = start(&lab, &folder);
    let (sent, arrived) = stream(&lab, || {
        // The first datagram waits for ARP; let it pass before anything is counted on.
        thread::sleep(Duration::from_millis(300));
        for file in ["large.yaml", "small.yaml", "large.yaml"] {
            let path = folder.join(file);
            let output = ringfence(&folder, &["policy", "publish", path.to_str().unwrap()]);
            assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
        }
        for (from, to, service, expected) in [
            ("w-0", "w-1", "tcp/1000", ("allow", "r-0")),
            ("w-9996", "w-9997", "tcp/1000", ("allow", "r-9996")),
            ("w-0", "w-4", "tcp/1000", ("deny", "default/deny")),
            ("10.70.39.247", "10.70.39.248", "tcp/1000", ("allow", "r-9996")),
            ("one", "two", "udp/9000", ("allow", "probe")),
        ] {
            let (verdict, rule) = explained(&folder, from, to, service);
            assert_eq!((verdict.as_str(), rule.as_str()), expected, "{from} {to} {service}");
        }
    });
    assert!(sent > 100, "only {sent} datagrams were sent");
    assert_eq!(arrived, sent, "the allowed flow lost packets");
    drop(daemon);
    std::fs::remove_dir_all(&folder).unwrap();
}
