//! Who may do what, and how much.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use serde_json::json;

use super::{POLICY, Server, Settings, answer, as_user, folder, publish_body};
use crate::config::{self, Principals};
use crate::socket::{Listener, SocketError};

/// The user of the unprivileged client, as the server sees it.
fn nobody() -> u32 {
    if rustix::process::geteuid().is_root() { 65_534 } else { rustix::process::geteuid().as_raw() }
}

#[test]
fn rights_are_those_of_the_connecting_process() {
    let uid = nobody();
    let only = || Principals { users: [uid].into(), groups: [].into() };
    for (name, read, change, reads, publishes) in [
        ("nobody", Principals::default(), Principals::default(), 403, 403),
        ("reader", only(), Principals::default(), 200, 403),
        ("changer", Principals::default(), only(), 200, 200),
    ] {
        let server = Server::start(Settings { read, change, ..Settings::default() });
        let (got, told) = as_user(uid, || server.ask("GET", "/v1/status", ""));
        assert_eq!(got, reads, "{name} reads: {told}");
        let (got, told) = as_user(uid, || server.ask("POST", "/v1/policy", &publish_body(POLICY, "")));
        assert_eq!(got, publishes, "{name} publishes: {told}");
        if got == 403 {
            let message = told["error"]["message"].as_str().unwrap();
            assert!(
                message.contains(&format!("user {uid}")) && message.contains("access.change"),
                "{message}"
            );
        }
    }
}

#[test]
fn a_refused_client_cannot_make_the_server_read_its_body() {
    let server = Server::start(Settings::default());
    let mut stream = as_user(nobody(), || server.connect());
    // The body is announced and never sent: the refusal must not wait for it.
    stream.write_all(b"POST /v1/policy HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n").unwrap();
    assert_eq!(answer(&mut stream).0, 403);
}

#[test]
fn bodies_are_bounded() {
    let uid = nobody();
    let change = Principals { users: [uid].into(), groups: [].into() };
    let server = Server::start(Settings { body_bytes: 1000, change, ..Settings::default() });
    for (name, length, status) in
        [("at the limit", 1000, 400), ("over it", 1001, 413), ("far over it", 1 << 20, 413)]
    {
        let (got, told) = as_user(uid, || server.ask("POST", "/v1/policy", &"x".repeat(length)));
        assert_eq!(got, status, "{name}: {told}");
    }
    // The same without an announced length.
    let mut stream = as_user(uid, || server.connect());
    stream
        .write_all(
            b"POST /v1/policy HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .unwrap();
    for _ in 0..11 {
        let _ = stream.write_all(format!("64\r\n{}\r\n", "x".repeat(100)).as_bytes());
    }
    let _ = stream.write_all(b"0\r\n\r\n");
    let mut told = Vec::new();
    let _ = stream.read_to_end(&mut told);
    assert!(told.starts_with(b"HTTP/1.1 413"), "{}", String::from_utf8_lossy(&told));
}

#[test]
fn heads_are_bounded() {
    let server = Server::start(Settings::default());
    let path = format!("/v1/status?{}", "x".repeat(20 << 10));
    assert!(matches!(server.ask("GET", &path, "").0, 414 | 431), "refused before any handler");
}

#[test]
fn a_body_that_does_not_come_ends_in_a_timeout() {
    let change = Principals { users: [nobody()].into(), groups: [].into() };
    let server =
        Server::start(Settings { timeout: Duration::from_millis(50), change, ..Settings::default() });
    let mut stream = as_user(nobody(), || server.connect());
    stream.write_all(b"POST /v1/policy HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{").unwrap();
    let (status, told) = answer(&mut stream);
    assert_eq!((status, &told["error"]["code"]), (408, &json!("timeout")));
    // A head that does not come: the connection is closed.
    let mut stream = as_user(nobody(), || server.connect());
    stream.write_all(b"GET /v1/sta").unwrap();
    assert_ne!(answer(&mut stream).0, 200);
}

#[test]
fn connections_beyond_the_limit_wait() {
    let server = Server::start(Settings {
        connections: 1,
        read: Principals { users: [nobody()].into(), groups: [].into() },
        ..Settings::default()
    });
    let request = b"GET /v1/policy/history HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut buffer = [0; 4096];
    let mut first = as_user(nobody(), || server.connect());
    let mut second = as_user(nobody(), || server.connect());
    second.write_all(request).unwrap();
    for _ in 0..3 {
        first.write_all(request).unwrap();
        assert!(first.read(&mut buffer).unwrap() > 0);
    }
    second.set_nonblocking(true).unwrap();
    assert_eq!(second.read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock, "it was not accepted");
    second.set_nonblocking(false).unwrap();
    drop(first);
    assert!(second.read(&mut buffer).unwrap() > 0);
}

fn settings(path: std::path::PathBuf) -> config::Socket {
    config::Socket {
        path,
        mode: 0o640,
        group: None,
        body_bytes: 1,
        connections: 1,
        timeout: Duration::from_secs(1),
    }
}

#[tokio::test]
async fn only_a_stale_socket_is_replaced() {
    let folder = folder();
    let path = folder.join("s");
    let settings = settings(path.clone());

    fs::write(&path, "precious").unwrap();
    assert!(matches!(Listener::bind(&settings), Err(SocketError::NotASocket(_))));
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    fs::remove_file(&path).unwrap();

    drop(UnixListener::bind(&path).unwrap());
    let listener = Listener::bind(&settings).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(matches!(Listener::bind(&settings), Err(SocketError::InUse(_))), "somebody listens");
    drop(listener);
    assert!(!path.exists());

    let listener = Listener::bind(&settings).unwrap();
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    drop(listener);
    assert!(path.exists(), "another one's socket is left alone");
    drop(other);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "no temporary name is left");
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn those_who_follow_leave_room_for_others() {
    let uid = nobody();
    let read = Principals { users: [uid].into(), groups: [].into() };
    let server = Server::start(Settings { connections: 6, read, ..Settings::default() });
    let follow = || {
        let mut stream = as_user(uid, || server.connect());
        stream.write_all(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        // The head and the first line come at once, with nothing to tell.
        let (mut text, mut bytes) = (String::new(), [0; 1024]);
        while !text.contains("\"following\"") && !text.contains("\"error\"") {
            let read = stream.read(&mut bytes).unwrap();
            assert!(read > 0, "{text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
        (stream, text)
    };
    let followers: Vec<_> = (0..3).map(|_| follow()).collect();
    for (_, text) in &followers {
        assert!(text.starts_with("HTTP/1.1 200") && text.contains("application/x-ndjson"), "{text}");
    }
    let (_, refused) = follow();
    assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("at most 3 clients"), "{refused}");
    assert_eq!(as_user(uid, || server.ask("GET", "/v1/status", "")).0, 200, "others are served");
    drop(followers);
    // The server sees that they left.
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while !follow().1.starts_with("HTTP/1.1 200") {
        assert!(std::time::Instant::now() < until, "their room does not come back");
    }
}
