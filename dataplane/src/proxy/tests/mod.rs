//! A proxy on loopback with real sockets: clients come from 127.0.0.2 (`FRIEND`) and 127.0.0.3 (`STRANGER`), servers
//! are at 127.0.0.1; IPv6 has only `::1`.

mod early;
mod headers;
mod life;
mod limits;
mod relay;
mod rules;
mod transparent;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use super::*;
use crate::policy::testing::{Sample, Who};
use crate::policy::{PolicyTable, Publisher};
use crate::verdict::OnRevoke;

const FRIEND: &str = "127.0.0.2";
const STRANGER: &str = "127.0.0.3";
/// All of TCP.
const TCP: (u32, u32) = (6 << 16, 6 << 16 | 0xffff);
/// Long enough for anything here on a busy machine.
const LONG: Duration = Duration::from_secs(20);

struct Rig {
    publisher: Publisher,
    counters: Arc<WorkerCounters>,
    counts: Arc<ProxyCounters>,
    flows: Arc<FlowTable>,
    records: Arc<Records>,
    proxy: Option<Proxy>,
    address: SocketAddr,
}

/// Workload 0 is the friend (and `::1`), 1 the stranger, 2 the server (and fd00::5).
fn sample() -> Sample {
    Sample::new().workload(&[FRIEND, "::1"]).workload(&[STRANGER]).workload(&["127.0.0.1", "fd00::5"])
}

/// The friend may reach the server; `on_revoke` is what becomes of that.
fn friendly(on_revoke: OnRevoke) -> PolicyTable {
    sample().allow(Who::Workload(0), Who::Workload(2), TCP).on_revoke(on_revoke).build()
}

fn config(listen: &str, backends: &[SocketAddr]) -> ProxyConfig {
    let mut config = ProxyConfig::new(WireId(3), "p", listen.parse().unwrap(), backends);
    config.limits.connections_max = 64;
    config.limits.buffers = 64;
    config
}

impl Rig {
    /// A proxy to one server, under a policy that lets the friend in.
    fn new(server: &TcpListener) -> Self {
        Self::with(config("127.0.0.1:0", &[server.local_addr().unwrap()]))
    }

    fn with(config: ProxyConfig) -> Self {
        let listeners = open_listeners(&config).unwrap();
        Self::on(config, listeners)
    }

    fn on(config: ProxyConfig, listeners: Vec<OwnedFd>) -> Self {
        let publisher = Publisher::new(1);
        publisher.publish(friendly(OnRevoke::Cut));
        let (flows, records) = (Arc::new(FlowTable::new(65_536).unwrap()), Arc::new(Records::new()));
        let (counters, counts) = (Arc::default(), Arc::new(ProxyCounters::new(config.backends.len())));
        let parts = ProxyParts {
            worker: 0,
            reader: publisher.reader(0),
            flows: Arc::clone(&flows),
            counters: Arc::clone(&counters),
            records: Arc::clone(&records),
            proxy: Arc::clone(&counts),
        };
        let proxy = Proxy::start(config, listeners, vec![parts]).unwrap();
        let address = proxy.status().listen[0];
        Self { publisher, counters, counts, flows, records, proxy: Some(proxy), address }
    }

    /// Publishes, and waits until the worker has noticed.
    fn publish(&self, table: PolicyTable) {
        let epoch = self.publisher.publish(table).epoch;
        self.proxy.as_ref().unwrap().waker().wake();
        eventually("the worker reports the epoch", || self.publisher.reported() == [Some(epoch)]);
    }

    fn client(&self) -> TcpStream {
        from(FRIEND, self.address).unwrap()
    }

    /// A connection through the proxy: the client's end and the server's.
    fn pair(&self, server: &TcpListener) -> (TcpStream, TcpStream) {
        let client = self.client();
        let (server, _) = server.accept().unwrap();
        patient(&server);
        (client, server)
    }

    fn refused(&self, refusal: Refusal) -> u64 {
        self.counts.refused(refusal).get()
    }

    fn ended(&self, fate: Fate) -> u64 {
        self.counts.ended(fate).get()
    }

    /// Stops the proxy; every connection has been accounted for, and every decision.
    fn stop(mut self) -> Self {
        self.proxy.take().unwrap().stop(Duration::ZERO);
        assert_eq!(self.counts.unaccounted(), 0, "{:?}", self.counts);
        assert_eq!([self.counts.live.get(), self.counts.pending.get()], [0, 0]);
        assert_eq!(self.counters.unaccounted(), 0);
        let hits: u64 = self.publisher.kept().iter().map(|snapshot| snapshot.hits.total()).sum();
        assert_eq!(hits, self.counters.decisions.get(), "hits of the policies that are kept");
        assert_eq!(self.flows.views(crate::clock::Now::read()).count(), 0, "nothing is left in the table");
        self
    }
}

fn server() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn patient(stream: &TcpStream) {
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_write_timeout(Some(LONG)).unwrap();
}

/// A connection from an address of this host.
fn from(source: &str, to: SocketAddr) -> io::Result<TcpStream> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddr::new(source.parse().unwrap(), 0))?;
    connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    patient(&stream);
    Ok(stream)
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < end, "not in time: {what}");
        sleep(Duration::from_millis(2));
    }
}

/// Sends `bytes` one way and reads them at the other end.
fn passes(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).unwrap();
    let mut read = vec![0; bytes.len()];
    to.read_exact(&mut read).unwrap();
    assert_eq!(read, bytes);
}

/// What a read of a stream that has nothing more to say returns.
fn end_of(stream: &mut TcpStream) -> Result<usize, io::ErrorKind> {
    stream.read(&mut [0; 64]).map_err(|error| error.kind())
}

/// What a client sees that says nothing; a reset may come before its connect has returned.
fn answer(source: &str, to: SocketAddr) -> Result<usize, io::ErrorKind> {
    from(source, to).map_err(|error| error.kind()).and_then(|mut stream| end_of(&mut stream))
}
