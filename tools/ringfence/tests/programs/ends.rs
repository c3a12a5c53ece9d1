//! The ends that connections come to, one way or another: half-close, reset, readers that do not read, servers that are
//! gone.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt;

use crate::SOON;
use crate::daemon::Daemon;
use crate::program::free;

const POLICY: &str = "ringfence: 1
workloads:
  - {name: client, labels: {role: client}, addresses: [127.0.0.1]}
  - {name: server, labels: {role: server}, addresses: [127.0.85.20]}
rules:
  - {name: to-server, from: {role: client}, to: {role: server}, service: tcp}
";

/// More than all buffers between two ends hold.
const MUCH: usize = 64 << 20;

/// What one end does, and what the other must see.
type Case = fn(TcpStream, TcpStream);

struct Path {
    at: SocketAddr,
    listener: TcpListener,
    daemon: Daemon,
}

impl Path {
    fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.85.30:0").unwrap();
        let at = free("127.0.85.20");
        let daemon = Daemon::start(name, &[(at, listener.local_addr().unwrap())], "", POLICY);
        Self { at, listener, daemon }
    }

    /// The two ends of a connection through the proxy.
    fn connect(&self) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(self.at).unwrap();
        let (server, _) = self.listener.accept().unwrap();
        for end in [&client, &server] {
            end.set_read_timeout(Some(SOON)).unwrap();
            end.set_write_timeout(Some(SOON)).unwrap();
        }
        (client, server)
    }
}

fn rest(mut stream: &TcpStream) -> Result<Vec<u8>, ErrorKind> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).map(|_| all).map_err(|error| error.kind())
}

fn reset(stream: TcpStream) {
    sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// `one` ends its direction, hears from `other` all the same, and only then is it over.
fn half_close(mut one: TcpStream, mut other: TcpStream) {
    one.write_all(b"a question").unwrap();
    one.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&other).unwrap(), b"a question");
    for part in [&b"an "[..], b"answer"] {
        other.write_all(part).unwrap();
        thread::sleep(Duration::from_millis(30));
    }
    drop(other);
    assert_eq!(rest(&one).unwrap(), b"an answer");
}

fn a_reset_is_passed_on(mut one: TcpStream, other: TcpStream) {
    one.write_all(b"x").unwrap();
    let mut byte = [0];
    (&other).read_exact(&mut byte).unwrap();
    reset(one);
    assert_eq!(rest(&other), Err(ErrorKind::ConnectionReset));
}

/// What was sent before the end arrives, however late it is read.
fn a_late_reader(mut one: TcpStream, other: TcpStream) {
    let sent: Vec<u8> = (0..251).cycle().take(200_000).collect();
    one.write_all(&sent).unwrap();
    drop(one);
    thread::sleep(Duration::from_millis(200));
    assert!(rest(&other).unwrap() == sent, "the bytes are not the same");
}

fn nothing_is_said(one: TcpStream, other: TcpStream) {
    drop(one);
    assert_eq!(rest(&other).unwrap(), b"");
}

#[test]
fn each_end_is_told_how_the_other_ended() {
    let path = Path::start("ends");
    let table: &[(&str, Case)] = &[
        ("half-close", half_close),
        ("reset", a_reset_is_passed_on),
        ("late reader", a_late_reader),
        ("nothing is said", nothing_is_said),
    ];
    for (name, case) in table {
        eprintln!("{name}, from the client");
        let (client, server) = path.connect();
        case(client, server);
        eprintln!("{name}, from the server");
        let (client, server) = path.connect();
        case(server, client);
    }
    crate::program::wait("all connections end", || path.daemon.proxy()["open"] == 0);
}

/// Writes until nothing has gone for half a second, and returns how much went.
fn fill(mut stream: &TcpStream, bytes: &[u8]) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut sent = 0;
    while sent < bytes.len() {
        match stream.write(&bytes[sent..bytes.len().min(sent + 65_536)]) {
            Ok(length) => sent += length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(error) => panic!("after {sent} bytes: {error}"),
        }
    }
    stream.set_write_timeout(Some(SOON)).unwrap();
    sent
}

#[test]
fn a_slow_reader_holds_the_writer_and_nobody_else() {
    let path = Path::start("slow");
    let bytes: Vec<u8> = (0..251).cycle().take(MUCH).collect();
    let resident = path.daemon.resident();
    for from_client in [true, false] {
        let (client, server) = path.connect();
        let (writer, reader) = if from_client { (client, server) } else { (server, client) };
        let sent = fill(&writer, &bytes);
        assert!(sent < MUCH, "{sent} bytes went without a reader");
        let grown = path.daemon.resident().saturating_sub(resident);
        assert!(grown < 16 << 20, "the daemon grew by {grown} bytes");

        // Others are served as ever.
        let (other, other_server) = path.connect();
        half_close(other, other_server);

        let reading = thread::spawn(move || rest(&reader).unwrap());
        (&writer).write_all(&bytes[sent..]).unwrap();
        drop(writer);
        assert!(reading.join().unwrap() == bytes, "the bytes are not the same");
    }
}

#[test]
fn a_server_that_is_gone_or_refuses() {
    let path = Path::start("gone");
    let (client, server) = path.connect();
    let Path { at, listener, daemon } = path;
    drop(listener);
    // Refused: nobody listens any more.
    let refused = TcpStream::connect(at).unwrap();
    refused.set_read_timeout(Some(SOON)).unwrap();
    assert_eq!(rest(&refused), Err(ErrorKind::ConnectionReset));
    assert_eq!(daemon.proxy()["refused"].as_array().unwrap().iter().map(count).sum::<u64>(), 1);
    // The one that lives is not touched.
    half_close(client, server);
}

fn count(refused: &serde_json::Value) -> u64 {
    refused["count"].as_u64().unwrap()
}
