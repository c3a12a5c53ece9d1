//! Ten thousand connections at a time.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::SOON;
use crate::common::Folder;
use crate::daemon::Daemon;
use crate::program::{free, wait};
use crate::redis::{POLICY, redis};

const CONNECTIONS: u64 = 10_000;
/// What a process needs beside its connections.
const SPARE: u64 = 600;

/// Asks Redis whether it is there.
fn ping(mut stream: &TcpStream) {
    stream.write_all(b"PING\r\n").unwrap();
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
}

fn connect(at: std::net::SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

#[test]
fn ten_thousand_connections_live_together() {
    // Children inherit it.
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).unwrap();
    let most = most.unwrap_or(u64::MAX);
    assert!(most >= CONNECTIONS + SPARE, "raise the limit of open files to {}", CONNECTIONS + SPARE);
    // A connection takes two files of a proxy's process: where one may not have as many, two share the work.
    let daemons = (2 * CONNECTIONS).div_ceil(most - SPARE);
    let each = CONNECTIONS.div_ceil(daemons);

    let folder = Folder::new("many");
    let server = free("127.0.83.33");
    let _redis = redis(&folder, server);
    let limits = format!("    limits: {{connections: {}}}\n", each + 100);
    let proxies: Vec<_> = (0..daemons)
        .map(|number| {
            let at = free("127.0.83.20");
            (at, Daemon::start(&format!("many-{number}"), &[(at, server)], &limits, POLICY))
        })
        .collect();
    let mut streams = Vec::new();
    for (at, _) in &proxies {
        streams.extend((0..each).map(|_| connect(*at)));
    }
    streams.iter().for_each(ping);
    for (_, daemon) in &proxies {
        assert_eq!(daemon.proxy()["open"], each);
    }
    // Those who come late are served while all others live.
    let started = Instant::now();
    for (at, _) in &proxies {
        (0..50).for_each(|_| ping(&connect(*at)));
    }
    assert!(started.elapsed() < SOON);
    streams.iter().rev().for_each(ping);
    drop(streams);
    for (_, daemon) in &proxies {
        wait("all connections end", || daemon.proxy()["open"] == 0);
    }
}
