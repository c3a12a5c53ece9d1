//! iperf3 through the proxy, in both directions.

use std::process::Command;

use serde_json::Value;

use crate::common::Folder;
use crate::daemon::Daemon;
use crate::program::{Service, command, finish, free, text};

const POLICY: &str = "ringfence: 1
workloads:
  - {name: client, labels: {role: client}, addresses: [127.0.84.10]}
  - {name: other, labels: {role: other}, addresses: [127.0.84.11]}
  - {name: sink, labels: {role: sink}, addresses: [127.0.84.20]}
rules:
  - {name: to-sink, from: {role: client}, to: {role: sink}, service: tcp}
";

#[test]
#[ignore = "needs iperf3"]
fn iperf3_forward_and_reverse() {
    let folder = Folder::new("iperf");
    let server = free("127.0.84.30");
    let at = free("127.0.84.20");
    let iperf = || command("iperf3", "iperf3", None);
    let mut listening = iperf();
    listening.args(["-s", "-B", "127.0.84.30", "-p", &server.port().to_string()]);
    let _server = Service::start(&mut listening, &folder, server);
    let daemon = Daemon::start("iperf", &[(at, server)], "", POLICY);
    let client = |from: &str, arguments: &[&str]| -> Command {
        let mut client = iperf();
        client.args(["-c", "127.0.84.20", "-p", &at.port().to_string(), "-B", from, "-J"]).args(arguments);
        client
    };
    for (name, arguments) in [
        ("forward", &["-n", "200M"][..]),
        ("reverse", &["-n", "200M", "-R"]),
        ("eight streams", &["-n", "200M", "-P", "8"]),
        ("eight streams, reverse", &["-n", "200M", "-P", "8", "-R"]),
    ] {
        let mut report = measure(&mut client("127.0.84.10", arguments));
        // Its server takes one client at a time, and needs a moment to let go of the last.
        for _ in 0..50 {
            if !report["error"].as_str().is_some_and(|error| error.contains("busy")) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
            report = measure(&mut client("127.0.84.10", arguments));
        }
        assert!(report["error"].is_null(), "{name}: {}", report["error"]);
        let received = report["end"]["sum_received"]["bytes"].as_f64().unwrap();
        // What is on its way when the other end says that it has sent all is not counted by iperf3.
        assert!(received >= 50e6, "{name}: {received} bytes");
    }
    // Its exit status says nothing of it.
    let denied = measure(&mut client("127.0.84.11", &["-n", "1M"]));
    assert!(denied["error"].is_string(), "who is denied measured something: {denied:#}");
    crate::program::wait("all connections end", || daemon.proxy()["open"] == 0);
    let proxy = daemon.proxy();
    let [from_clients, from_servers] =
        ["bytes_from_clients", "bytes_from_servers"].map(|name| proxy[name].as_u64().unwrap());
    assert!(from_clients > 200_000_000 && from_servers > 200_000_000, "{proxy:#}");
}

fn measure(client: &mut Command) -> Value {
    let output = finish(client);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output)))
}
