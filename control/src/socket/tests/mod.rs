//! The socket with a real listener and real connections, without wires.

mod limits;
mod loopback;
mod requests;

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::oneshot;

use super::access::Access;
use super::{Listener, Loopback, Sessions, Shared, router};
use crate::config::{Config, Http, Principals};
use crate::daemon::{Proxies, Wires};
use crate::engine::{Engine, Parts};
use crate::policy::SourceFile;
use crate::store::Store;

/// A server on a socket of its own, in a thread of its own; it ends, and everything goes, when this is dropped.
struct Server {
    folder: PathBuf,
    /// Its loopback address, if it listens on one.
    address: Option<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Settings that tests change.
struct Settings {
    body_bytes: usize,
    connections: usize,
    timeout: Duration,
    read: Principals,
    change: Principals,
    http: Option<Http>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            body_bytes: 64 << 20,
            connections: 16,
            timeout: Duration::from_secs(60),
            read: Principals::default(),
            change: Principals::default(),
            http: None,
        }
    }
}

fn folder() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("ringfence-socket-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let folder = std::env::temp_dir().join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}

impl Server {
    fn start(settings: Settings) -> Self {
        let folder = folder();
        let text = "socket: {path: s, mode: \"0666\"}\nstate_dir: state\n".to_owned();
        let config = Config::parse(SourceFile { name: "c".into(), text }, &folder).unwrap();
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let mut socket = config.socket.clone();
                socket.connections = settings.connections;
                socket.timeout = settings.timeout;
                let listener = Listener::bind(&socket).unwrap();
                let loopback = settings.http.as_ref().map(|http| Loopback::bind(http).unwrap());
                let address = loopback.as_ref().map(Loopback::address);
                let router = router(shared(&config, settings, address));
                let http = loopback.map(|it| tokio::spawn(it.serve(router.clone(), socket.clone())));
                let server = tokio::spawn(listener.serve(router, socket));
                ready.send(address).unwrap();
                let _ = stopped.await;
                server.abort();
                http.inspect(|http| http.abort());
            });
        });
        let address = is_ready.recv().unwrap();
        Self { folder, address, stop: Some(stop), thread: Some(thread) }
    }

    fn connect(&self) -> UnixStream {
        UnixStream::connect(self.folder.join("s")).unwrap()
    }

    /// One request on a connection of its own.
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = self.connect();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        );
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
        answer(&mut stream)
    }

    fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask("GET", path, "");
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the server panicked");
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn shared(config: &Config, settings: Settings, address: Option<SocketAddr>) -> Arc<Shared> {
    let (store, _) = Store::open(&config.state_dir, config.history).unwrap();
    let sessions = Sessions::open(&Config { http: settings.http, ..config.clone() }, address).unwrap();
    let wires = Wires::plan(config).unwrap();
    let parts = Parts {
        workers: wires.workers(),
        proxies: Vec::new(),
        wires: Vec::new(),
        store,
        flows: wires.flows(),
        timeout: config.publish_timeout,
        wake: Box::new(|| ()),
    };
    Arc::new(Shared {
        engine: Engine::start(parts, &[], false).unwrap(),
        wires,
        proxies: Proxies::plan(config, 0),
        // Nobody has this user id, so that only root and whom a test names have rights.
        access: Access { read: settings.read, change: settings.change, own_uid: u32::MAX - 7 },
        sessions,
        body_bytes: settings.body_bytes,
        connections: settings.connections,
        timeout: settings.timeout,
        started: Instant::now(),
        bodies: Shared::bodies(),
        successors: tokio::sync::mpsc::channel(1).0,
        successor: Arc::new(tokio::sync::Semaphore::new(1)),
    })
}

/// Reads an answer to the end of the connection: its status and its JSON.
fn answer(stream: &mut impl Read) -> (u16, Value) {
    let mut bytes = Vec::new();
    // A reset after the answer is how a refused body ends.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

/// Runs `work` in a thread whose user is `uid`, or as the user of the tests if that is not root.
fn as_user<T: Send>(uid: u32, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            if rustix::process::geteuid().is_root() {
                let uid = rustix::process::Uid::from_raw(uid);
                rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            }
            work()
        });
        thread.join().unwrap()
    })
}

const POLICY: &str = "ringfence: 1
workloads:
  - {name: web, labels: {app: shop}, addresses: [10.0.0.1, \"fd00::1\"]}
  - {name: db, labels: {app: shop, role: db}, addresses: [10.0.0.2, \"fd00::2\"]}
  - {name: fresh, addresses: [10.0.0.3]}
rules:
  - {name: shop-to-db, from: {app: shop}, to: {role: db}, service: tcp/5432}
";

/// The body of a publish.
fn publish_body(text: &str, message: &str) -> String {
    serde_json::json!({"files": [{"name": "p.yaml", "text": text}], "message": message}).to_string()
}
