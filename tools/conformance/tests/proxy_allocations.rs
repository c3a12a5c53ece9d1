//! A proxy worker allocates nothing after its start: connections of every kind, and publishes in between.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use control::policy::{CompileOptions, SourceFile, compile, load_texts};
use dataplane::counters::WorkerCounters;
use dataplane::flow::FlowTable;
use dataplane::policy::{PolicyTable, Publisher};
use dataplane::proxy::{self, Fate, Proxy, ProxyConfig, ProxyCounters, ProxyParts, Refusal};
use dataplane::records::Records;
use dataplane::verdict::WireId;
use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};

/// The system's allocator, counting what one thread does.
struct Counting;

/// The thread that is counted.
static WATCHED: AtomicI32 = AtomicI32::new(-1);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    // Constant and without a destructor, so reading it never allocates.
    static OWN: Cell<i32> = const { Cell::new(0) };
}

fn count() {
    if OWN.get() == 0 {
        OWN.set(rustix::thread::gettid().as_raw_nonzero().get());
    }
    if OWN.get() == WATCHED.load(Ordering::Relaxed) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to `System` unchanged, which keeps the contract of `GlobalAlloc`; counting touches only a
// thread-local number and atomics.
#[allow(unsafe_code, reason = "a global allocator is an unsafe trait")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`, which is that of `System.alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // Freeing counts too: a destructor of something large has no place on a worker either.
        count();
        // SAFETY: `pointer` came from `System` through `alloc` above, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WEB: &str = "127.0.0.2";
const OTHER: &str = "127.0.0.3";

fn table(rules: &str) -> PolicyTable {
    let text = format!(
        "ringfence: 1
workloads:
  - {{name: web, labels: {{role: web}}, addresses: [{WEB}]}}
  - {{name: other, labels: {{role: other}}, addresses: [{OTHER}]}}
  - {{name: db, labels: {{role: db}}, addresses: [127.0.0.1]}}
rules:
{rules}"
    );
    let file = SourceFile { name: "test.yaml".to_owned(), text };
    let loaded = load_texts(&[file]).expect("a valid policy");
    compile(&loaded.policy, &CompileOptions::default()).expect("it compiles").table
}

fn open_from(source: &str, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddr::new(source.parse().expect("an address"), 0))?;
    connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(stream)
}

/// One connection of each kind: small messages, much, half-closed, reset, denied.
fn traffic(to: SocketAddr) -> io::Result<()> {
    let mut client = open_from(WEB, to)?;
    let mut read = vec![0; 4 << 20];
    for size in [1, 100, 20_000] {
        client.write_all(&read[..size])?;
        client.read_exact(&mut read[..size])?;
    }
    let much = vec![7; 4 << 20];
    let mut writer = client.try_clone()?;
    let sender = thread::spawn(move || {
        let sent = writer.write_all(&much);
        writer.shutdown(Shutdown::Write).and(sent)
    });
    client.read_exact(&mut read)?;
    sender.join().expect("the sender")?;
    assert_eq!(client.read(&mut read)?, 0);
    let mut client = open_from(WEB, to)?;
    client.write_all(b"x")?;
    client.read_exact(&mut read[..1])?;
    sockopt::set_socket_linger(&client, Some(Duration::ZERO))?;
    drop(client);
    let refused = open_from(OTHER, to)?.read(&mut read).map_err(|error| error.kind());
    assert_eq!(refused, Err(io::ErrorKind::ConnectionReset));
    Ok(())
}

/// The thread with this name.
fn thread_named(name: &str) -> Option<i32> {
    fs::read_dir("/proc/self/task").ok()?.flatten().find_map(|task| {
        let comm = fs::read_to_string(task.path().join("comm")).ok()?;
        (comm.trim() == name).then(|| task.file_name().to_string_lossy().parse().ok())?
    })
}

fn echo() -> io::Result<SocketAddr> {
    let server = TcpListener::bind("127.0.0.1:0")?;
    let address = server.local_addr()?;
    thread::spawn(move || {
        for stream in server.incoming().flatten() {
            thread::spawn(move || {
                let _ = io::copy(&mut &stream, &mut &stream);
                let _ = stream.shutdown(Shutdown::Write);
            });
        }
    });
    Ok(address)
}

#[test]
fn a_proxy_worker_allocates_nothing() {
    let allowed = "  - {name: web-to-db, from: {role: web}, to: {role: db}, service: tcp, on_revoke: keep}\n";
    let other = "  - {name: web-to-all, from: {role: web}, to: any, service: tcp}\n";
    let nothing = "  - {name: none, from: {role: db}, to: {role: db}, service: tcp/1}\n";
    let mut config = ProxyConfig::new(
        WireId(0),
        "counted",
        "127.0.0.1:0".parse().expect("an address"),
        &[echo().expect("a server")],
    );
    config.limits.connections_max = 64;
    config.limits.per_source_max = 32;
    let publisher = Publisher::new(1);
    publisher.publish(table(allowed));
    let counts = Arc::new(ProxyCounters::new(1));
    let counters = Arc::new(WorkerCounters::default());
    let parts = ProxyParts {
        worker: 0,
        reader: publisher.reader(0),
        flows: Arc::new(FlowTable::new(1024).expect("memory")),
        counters: Arc::clone(&counters),
        records: Arc::new(Records::with_room(4, 4)),
        proxy: Arc::clone(&counts),
    };
    let listeners = proxy::open_listeners(&config).expect("a listener");
    let proxy = Proxy::start(config, listeners, vec![parts]).expect("a proxy");
    let to = proxy.status().listen[0];
    let held = open_from(WEB, to).expect("a connection");
    // The first read of a worker makes its policy cache; that belongs to its start.
    traffic(to).expect("traffic");
    WATCHED.store(thread_named("counted/0").expect("the worker"), Ordering::Relaxed);
    for round in 0..7 {
        let drafts = vec![(1, Arc::new(table(nothing)))];
        publisher.publish_with(table(if round % 2 == 0 { other } else { allowed }), drafts);
        proxy.waker().wake();
        traffic(to).expect("traffic");
    }
    // The connection that was held is cut.
    publisher.publish(table(nothing));
    proxy.waker().wake();
    let end = Instant::now() + Duration::from_secs(10);
    while counts.ended(Fate::Revoked).get() == 0 && Instant::now() < end {
        thread::sleep(Duration::from_millis(5));
    }
    WATCHED.store(-1, Ordering::Relaxed);
    drop(held);
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), 0, "allocations of the worker");
    let counted = |count: u64, what: &str| assert!(count > 0, "the traffic had no {what}");
    counted(counts.spliced.get(), "bulk");
    counted(counts.ended(Fate::ClientReset).get(), "reset");
    counted(counts.ended(Fate::Revoked).get(), "revocation");
    counted(counts.refused(Refusal::Policy).get(), "denial");
    counted(counters.flow_events_lost.get(), "flow event without room");
    // The allocator does count.
    WATCHED.store(rustix::thread::gettid().as_raw_nonzero().get(), Ordering::Relaxed);
    drop(vec![0; 9]);
    assert!(ALLOCATIONS.load(Ordering::Relaxed) > 0);
    WATCHED.store(-1, Ordering::Relaxed);
    proxy.stop(Duration::ZERO);
}
