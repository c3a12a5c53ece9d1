//! A new process takes the place of the old one under load.

use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::end;
use crate::daemon::{Daemon, POLICY};
use crate::traffic::{Said, Server, connect, say};
use crate::{CONFIG, SOON};

/// What clients met while something happened.
#[derive(Debug, Default)]
struct Load {
    served: AtomicU64,
    failed: AtomicU64,
}

/// Clients that connect again and again while `body` runs.
fn under_load<T>(daemon: &Daemon, load: &Load, body: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let served = say(daemon.at(), "127.0.77.10", b"ping") == Said::Back(b"ping".to_vec());
                    (if served { &load.served } else { &load.failed }).fetch_add(1, Ordering::Relaxed);
                    // Not so many that the loopback network runs out of ports.
                    thread::sleep(Duration::from_millis(1));
                }
            });
        }
        let done = body();
        stop.store(true, Ordering::Relaxed);
        done
    })
}

/// They end with the test.
struct Processes(Vec<Child>);

impl Drop for Processes {
    fn drop(&mut self) {
        for process in &mut self.0 {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

#[test]
fn no_client_is_refused_while_a_new_process_takes_over() {
    let server = Server::start();
    let mut daemon = Daemon::start("takeover", CONFIG, &server);
    let mut kept = connect(daemon.at(), "127.0.77.10").unwrap();
    let mut revoked = connect(daemon.at(), "127.0.77.13").unwrap();
    for open in [&mut kept, &mut revoked] {
        assert_eq!(open.talk(b"before"), Said::Back(b"before".to_vec()));
    }
    let load = Load::default();
    let mut processes = Processes(vec![daemon.child.take().unwrap()]);
    for round in 0..3 {
        let before = load.served.load(Ordering::Relaxed);
        let new = under_load(&daemon, &load, || {
            thread::sleep(Duration::from_millis(200));
            let new = daemon.successor();
            thread::sleep(Duration::from_millis(200));
            new
        });
        let served = load.served.load(Ordering::Relaxed) - before;
        assert!(served > 20, "round {round}: {served} connections are no load");
        assert_eq!(
            load.failed.load(Ordering::Relaxed),
            0,
            "round {round}: clients were refused, {served} served"
        );
        let status = daemon.json(&["status"]);
        assert_eq!(status["pid"], new.id(), "round {round}");
        assert_eq!(status["policy"]["epoch"], 1);
        processes.0.push(new);
    }
    daemon.child = processes.0.pop();
    // The first process still has its two connections, under the policy that the last one publishes.
    for open in [&mut kept, &mut revoked] {
        assert_eq!(open.talk(b"after"), Said::Back(b"after".to_vec()));
    }
    daemon.publish(&POLICY.replace("from: {role: crm}", "from: {role: none}"));
    let deadline = Instant::now() + SOON;
    while revoked.talk(b"still") != Said::Reset {
        assert!(Instant::now() < deadline, "a connection of the first process outlives its rule");
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(kept.talk(b"still"), Said::Back(b"still".to_vec()));
    assert_eq!(kept.finish(), Said::Closed);
    for process in &mut processes.0 {
        assert_eq!(end(process), Some(0), "an old process has nothing left");
    }
}

#[test]
fn a_successor_that_fails_changes_nothing() {
    let server = Server::start();
    let daemon = Daemon::start("fails", CONFIG, &server);
    let load = Load::default();
    let output = under_load(&daemon, &load, || {
        // It takes the listeners, has the old one let go, and then has no policy to start with.
        daemon.spoil_policy();
        let output = daemon.command().args(["--take-over", "--policy-from-config"]).output().unwrap();
        thread::sleep(Duration::from_millis(300));
        output
    });
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(load.failed.load(Ordering::Relaxed), 0);
    // The old one has everything back: its socket, its state.
    daemon.wait(|status| {
        Some(status["pid"].as_u64().unwrap()) == daemon.child.as_ref().map(|child| child.id().into())
    });
    daemon.publish(&POLICY.replace("web-to-db", "renamed"));
    assert_eq!(say(daemon.at(), "127.0.77.10", b"ping"), Said::Back(b"ping".to_vec()));
}
