//! A wire between two hosts, the daemon on it, and programs beside it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lab::{End, Namespace, remove_leftovers, veth};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const POLICY: &str = "ringfence: 1
workloads:
  - {name: web, labels: {app: shop, role: web}, addresses: [10.78.0.1, \"fd78::1\"]}
  - {name: db, labels: {app: [crm, shop], role: db}, addresses: [10.78.0.2, \"fd78::2\"]}
rules:
  - {name: shop-to-db, from: {app: shop}, to: {role: db}, service: tcp/5432}
  - {name: telemetry, from: {role: web}, to: {role: db}, service: udp/8125}
";

/// What waits until `done` gives something.
pub(crate) fn until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = done() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} does not come");
        thread::sleep(Duration::from_millis(50));
    }
}

/// A program beside the daemon; killed when dropped.
pub(crate) struct Program(pub(crate) Child);

impl Program {
    /// Asks it to end, and waits.
    pub(crate) fn stop(&mut self, signal: Signal) -> ExitStatus {
        kill_process(Pid::from_raw(self.0.id().try_into().unwrap()).unwrap(), signal).unwrap();
        until("its end", || self.0.try_wait().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// web ── wire ── db.
pub(crate) struct Bed {
    web: Namespace,
    db: Namespace,
    pub(crate) wire: Namespace,
    pub(crate) folder: PathBuf,
}

impl Bed {
    pub(crate) fn build(name: &str, export: &str) -> Self {
        let prefix = format!("rf-exp-{name}");
        remove_leftovers(&prefix).unwrap();
        let host = |host: &str| Namespace::create(&format!("{prefix}-{host}")).unwrap();
        let (web, db, wire) = (host("web"), host("db"), host("wire"));
        veth(&End::new(&web, "eth0"), &End::new(&wire, "inside")).unwrap();
        veth(&End::new(&db, "eth0"), &End::new(&wire, "outside")).unwrap();
        for (host, number) in [(&web, 1), (&db, 2)] {
            host.address("eth0", &format!("10.78.0.{number}/24")).unwrap();
            host.address("eth0", &format!("fd78::{number}/64")).unwrap();
        }
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(&prefix);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("policy.yaml"), POLICY).unwrap();
        let config = format!(
            "wires: [{{name: segment-a, inside: {{interface: inside}}, outside: {{interface: outside}}, \
             source_check: known}}]\npolicy: [policy.yaml]\nstate_dir: state\nsocket: {{path: s.sock}}\n\
             flows: {{capacity: 1024}}\n{export}"
        );
        fs::write(folder.join("ringfence.yaml"), config).unwrap();
        Self { web, db, wire, folder }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Starts the daemon and waits until it answers; `wrapper` is what starts it, if anything does.
    pub(crate) fn daemon(&self, wrapper: &[&str]) -> Program {
        let binary = env!("CARGO_BIN_EXE_ringfence");
        let first = wrapper.first().unwrap_or(&binary);
        let mut command = self.wire.command(first.as_ref());
        command.args(wrapper.iter().skip(1)).args(wrapper.first().map(|_| binary));
        command.arg("run").arg("--config").arg(self.file("ringfence.yaml")).env("NO_COLOR", "1");
        let log = File::create(self.file("daemon.log")).unwrap();
        let mut daemon = Program(command.stderr(log).stdin(Stdio::null()).spawn().unwrap());
        until("the daemon", || {
            let log = fs::read_to_string(self.file("daemon.log")).unwrap();
            assert!(daemon.0.try_wait().unwrap().is_none(), "the daemon ended: {log}");
            self.ask(&["status"]).status.success().then_some(())
        });
        daemon
    }

    /// A client command.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
        command.args(arguments).env("RINGFENCE_SOCKET", self.file("s.sock")).env("NO_COLOR", "1");
        command.output().unwrap()
    }

    pub(crate) fn status(&self) -> Value {
        serde_json::from_slice(&self.ask(&["status", "--json"]).stdout).unwrap()
    }

    /// An exporter as the daemon sees it.
    pub(crate) fn exporter(&self, name: &str) -> Value {
        let status = self.status();
        status["exporters"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone()
    }

    /// A program in the daemon's namespace, its words in a file.
    pub(crate) fn beside(&self, program: &str, arguments: &[&str]) -> (Program, PathBuf) {
        let words = self.file(&format!("{program}.log"));
        let mut command = self.wire.command(program.as_ref());
        let log = File::create(&words).unwrap();
        command.args(arguments).current_dir(&self.folder).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        (Program(command.spawn().unwrap()), words)
    }

    /// A request to the socket: the head of the answer and its body.
    pub(crate) fn get(&self, path: &str, headers: &str) -> (String, String) {
        exchange(UnixStream::connect(self.file("s.sock")).unwrap(), path, headers)
    }

    /// A request to a port of the daemon's namespace: the body of the answer.
    pub(crate) fn get_local(&self, port: u16, path: &str) -> Option<String> {
        let asked = self.wire.run(|| TcpStream::connect(("127.0.0.1", port)));
        asked.unwrap().ok().map(|stream| exchange(stream, path, "").1)
    }

    /// A free port of the daemon's namespace.
    pub(crate) fn port(&self) -> u16 {
        let any = self.wire.run(|| UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
        any.unwrap().port()
    }

    /// Whether the program on a UDP port of the daemon's namespace has read all that came (`rx_queue`, proc(5)).
    pub(crate) fn has_read(&self, port: u16) -> bool {
        let table = self.wire.run(|| fs::read_to_string("/proc/thread-self/net/udp").unwrap()).unwrap();
        let ends = format!(":{port:04X}");
        let mut sockets = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let socket = sockets.find(|fields| fields[1].ends_with(&ends)).expect("somebody listens");
        socket[4].ends_with(":00000000")
    }

    /// A whole connection from web to db that ends with a reset: `bytes` there and back.
    pub(crate) fn connection(&self, db: &str, bytes: usize) {
        let db: IpAddr = db.parse().unwrap();
        let listener = self.db.run(|| TcpListener::bind(SocketAddr::new(db, 5432)).unwrap()).unwrap();
        let echo = thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut data = vec![0; bytes];
            stream.read_exact(&mut data).unwrap();
            stream.write_all(&data).unwrap();
            // Until the peer goes.
            let _ = stream.read(&mut [0]);
        });
        let connect = || TcpStream::connect_timeout(&SocketAddr::new(db, 5432), PATIENCE).unwrap();
        let mut stream = self.web.run(connect).unwrap();
        let mut data = vec![7; bytes];
        stream.write_all(&data).unwrap();
        stream.read_exact(&mut data).unwrap();
        // Unread data and a close at once: the kernel sends a reset.
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        drop(stream);
        echo.join().unwrap();
    }

    /// `count` datagrams from web to db.
    pub(crate) fn datagrams(&self, db: &str, port: u16, count: usize) {
        let db: IpAddr = db.parse().unwrap();
        let any = if db.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = self.web.run(|| UdpSocket::bind(any).unwrap()).unwrap();
        for _ in 0..count {
            // What nobody listens for comes back as an error of the next one.
            let _ = socket.send_to(b"one:1|c", (db, port));
        }
    }

    /// An attempt that policy refuses.
    pub(crate) fn refused(&self, db: &str, port: u16) {
        let db: IpAddr = db.parse().unwrap();
        let attempt = self
            .web
            .run(|| TcpStream::connect_timeout(&SocketAddr::new(db, port), Duration::from_millis(300)));
        assert!(attempt.unwrap().is_err(), "nothing should come through");
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

fn exchange(mut stream: impl Read + Write, path: &str, headers: &str) -> (String, String) {
    write!(stream, "GET {path} HTTP/1.0\r\nhost: x\r\nconnection: close\r\n{headers}\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_owned(), body.to_owned())
}

/// The lines of a file as JSON.
pub(crate) fn json_lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// Runs a program to its end; what it says.
pub(crate) fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program}: {words}{}", String::from_utf8_lossy(&output.stderr));
    words
}
