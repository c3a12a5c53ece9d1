//! How a daemon with proxies ends and comes back: drained, killed, with sockets of the service manager.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::daemon::Daemon;
use crate::traffic::{Said, Server, connect, say};
use crate::{CONFIG, SOON};

#[test]
fn a_daemon_that_is_stopped_lets_connections_finish_and_takes_no_more() {
    let server = Server::start();
    let mut daemon = Daemon::start("drain", CONFIG, &server);
    let mut open = connect(daemon.at(), "127.0.77.10").unwrap();
    assert_eq!(open.talk(b"before"), Said::Back(b"before".to_vec()));
    daemon.signal(Signal::TERM);
    let deadline = Instant::now() + SOON;
    while say(daemon.at(), "127.0.77.10", b"new") != Said::Reset {
        assert!(Instant::now() < deadline, "it still takes connections");
    }
    for _ in 0..20 {
        assert_eq!(open.talk(b"still here"), Said::Back(b"still here".to_vec()));
        thread::sleep(Duration::from_millis(10));
    }
    // Policy goes on as well.
    assert!(daemon.text(&["status"]).contains("drains"));
    assert_eq!(open.finish(), Said::Closed);
    assert_eq!(daemon.end(), Some(0));
}

#[test]
fn draining_takes_its_time_and_no_more_and_a_second_signal_ends_it() {
    let server = Server::start();
    for (name, drain_ms, signals) in [("patience", 300, 1), ("impatience", 600_000, 2)] {
        let config = CONFIG.replace("connections: 1024", &format!("connections: 1024, drain_ms: {drain_ms}"));
        let mut daemon = Daemon::start(name, &config, &server);
        let mut open = connect(daemon.at(), "127.0.77.10").unwrap();
        assert_eq!(open.talk(b"before"), Said::Back(b"before".to_vec()));
        for _ in 0..signals {
            daemon.signal(Signal::TERM);
            thread::sleep(Duration::from_millis(150));
        }
        assert_eq!(daemon.end(), Some(0), "{name}");
        assert_eq!(open.talk(b"after"), Said::Reset, "{name}");
    }
}

#[test]
fn listeners_of_the_service_manager_outlive_the_daemon() {
    let server = Server::start();
    let mut daemon = Daemon::prepare("activation", CONFIG, &server);
    let listener = TcpListener::bind(daemon.at()).unwrap();
    daemon.run_with(listener.try_clone().unwrap().into());
    assert_eq!(say(daemon.at(), "127.0.77.10", b"one"), Said::Back(b"one".to_vec()));
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end(), Some(0));
    // Nobody is there, and nobody is refused.
    let mut waiting = connect(daemon.at(), "127.0.77.10").unwrap();
    daemon.run_with(listener.into());
    assert_eq!(waiting.talk(b"two"), Said::Back(b"two".to_vec()));
}
