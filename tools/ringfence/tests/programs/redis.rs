//! Redis behind the proxy, redis-benchmark before it.

use std::net::SocketAddr;
use std::process::Command;

use crate::common::Folder;
use crate::daemon::Daemon;
use crate::program::{Service, command, free, run};

pub(crate) const POLICY: &str = "ringfence: 1
workloads:
  - {name: client, labels: {role: client}, addresses: [127.0.0.1]}
  - {name: cache, labels: {role: cache}, addresses: [127.0.83.20]}
rules:
  - {name: to-cache, from: {role: client}, to: {role: cache}, service: tcp}
";

/// A Redis that keeps nothing.
pub(crate) fn redis(folder: &Folder, at: SocketAddr) -> Service {
    let mut server = command("redis-server", "redis-server", None);
    let (ip, port) = (at.ip().to_string(), at.port().to_string());
    server.args([
        "--bind",
        &ip,
        "--port",
        &port,
        "--save",
        "",
        "--appendonly",
        "no",
        "--maxclients",
        "15000",
    ]);
    server.args(["--protected-mode", "no", "--tcp-backlog", "4096", "--dir"]).arg(folder.path());
    Service::start(&mut server, folder, at)
}

fn benchmark(at: SocketAddr) -> Command {
    let mut benchmark = command("redis-benchmark", "redis-tools", None);
    benchmark.args(["-h", &at.ip().to_string(), "-p", &at.port().to_string(), "--csv"]);
    benchmark
}

#[test]
#[ignore = "needs redis-server and redis-tools"]
fn redis_benchmark_gets_every_answer() {
    let folder = Folder::new("redis");
    let server = free("127.0.83.30");
    let _redis = redis(&folder, server);
    let at = free("127.0.83.20");
    let daemon = Daemon::start("redis", &[(at, server)], "", POLICY);
    for (name, arguments) in [
        ("one at a time", &["-n", "500", "-c", "1", "-t", "get,set"][..]),
        ("many clients", &["-n", "10000", "-c", "100", "-t", "ping,set,lpush,mset"]),
        ("pipelined", &["-n", "20000", "-c", "20", "-P", "64", "-t", "get,set"]),
        ("large values", &["-n", "200", "-c", "8", "-d", "500000", "-t", "set,get"]),
        ("a connection for each request", &["-n", "1000", "-c", "20", "-k", "0", "-t", "ping"]),
    ] {
        let said = run(benchmark(at).args(arguments));
        // A line for each test, after the heading.
        assert!(said.lines().count() >= 2 && !said.contains("rror"), "{name}: {said}");
    }
    crate::program::wait("all connections end", || daemon.proxy()["open"] == 0);
}
