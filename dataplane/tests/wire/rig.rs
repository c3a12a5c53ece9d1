//! A wire between two network stacks, and a stage that forwards everything.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use dataplane::clock::Now;
use dataplane::counters::WorkerCounters;
use dataplane::frame::{BATCH_MAX, Batch, Umem};
use dataplane::pipeline::{Arrival, Outbox, Stage};
use dataplane::verdict::Side;
use dataplane::worker::{Wire, WireConfig, WireError};
use lab::{End, LabError, Namespace, veth};

/// The datagram upon which a stage panics.
pub(crate) const DIE: &[u8] = b"die";
/// The server's address.
pub(crate) const SERVER: &str = "10.7.0.2:7";

/// Two hosts and the machine with the wire between them.
pub(crate) struct Rig {
    pub(crate) client: Namespace,
    pub(crate) middle: Namespace,
    pub(crate) server: Namespace,
}

impl Rig {
    /// `name` tells the tests of this process apart; each cable has so many queues.
    pub(crate) fn new(name: &str, queues: u16) -> Result<Self, LabError> {
        let create = |end: &str| Namespace::create(&format!("rf-frame-{}-{name}-{end}", std::process::id()));
        let rig = Self { client: create("c")?, middle: create("m")?, server: create("s")? };
        let cable = |host, far, port| {
            veth(&End::new(host, far).queues(queues), &End::new(&rig.middle, port).queues(queues))
        };
        cable(&rig.client, "eth0", "in0")?;
        cable(&rig.server, "eth0", "out0")?;
        rig.client.address("eth0", "10.7.0.1/24")?;
        rig.server.address("eth0", "10.7.0.2/24")?;
        Ok(rig)
    }

    /// Opens a wire with a forwarding stage per queue.
    pub(crate) fn open(&self, config: &WireConfig, seen: &Arc<Seen>) -> Result<Wire<Forward>, WireError> {
        self.open_with(config, seen, || ())
    }

    /// The same, after `prepare` has changed the thread that opens it.
    pub(crate) fn open_with(
        &self,
        config: &WireConfig,
        seen: &Arc<Seen>,
        prepare: impl FnOnce() + Send,
    ) -> Result<Wire<Forward>, WireError> {
        let stage = |queue| Forward { queue, counters: WorkerCounters::default(), seen: Arc::clone(seen) };
        let open = || {
            prepare();
            Wire::open(config, stage)
        };
        self.middle.run(open).unwrap()
    }

    /// An echo server, until it is dropped.
    pub(crate) fn echo(&self) -> Echo {
        let socket = self.server.run(|| UdpSocket::bind(SERVER)).unwrap().unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut bytes = [0; 2048];
            while !told.load(Ordering::Relaxed) {
                if let Ok((len, from)) = socket.recv_from(&mut bytes) {
                    let _ = socket.send_to(&bytes[..len], from);
                }
            }
        });
        Echo { stop, thread: Some(thread) }
    }

    /// A socket of the client, connected to the server, that waits at most `patience` for an answer.
    pub(crate) fn socket(&self, patience: Duration) -> UdpSocket {
        let open = || -> io::Result<UdpSocket> {
            let socket = UdpSocket::bind("10.7.0.1:0")?;
            socket.connect(SERVER)?;
            socket.set_read_timeout(Some(patience))?;
            Ok(socket)
        };
        self.client.run(open).unwrap().unwrap()
    }

    /// Whether a datagram and its echo get through, within many tries: a busy machine may lose or delay some.
    pub(crate) fn answers(&self) -> bool {
        let socket = self.socket(Duration::from_millis(200));
        (0..100).any(|_| says_hello(&socket))
    }

    /// Whether nothing gets through, as far as three tries tell.
    pub(crate) fn is_silent(&self) -> bool {
        let socket = self.socket(Duration::from_millis(100));
        !(0..3).any(|_| says_hello(&socket))
    }
}

fn says_hello(socket: &UdpSocket) -> bool {
    let mut bytes = [0; 16];
    socket.send(b"hello").is_ok() && socket.recv(&mut bytes).is_ok_and(|len| &bytes[..len] == b"hello")
}

pub(crate) struct Echo {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The queue, plus one, on which each flow's frames were last seen; a flow's number is its datagrams' second byte.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) requests: [AtomicU32; 32],
    pub(crate) replies: [AtomicU32; 32],
}

/// First byte of a numbered datagram.
pub(crate) const NUMBERED: u8 = 0xf1;

/// Forwards every frame. A UDP checksum over IPv4 is set to 0, "not computed" (RFC 768): the sending stack left it
/// to a device that does not exist.
pub(crate) struct Forward {
    queue: u32,
    pub(crate) counters: WorkerCounters,
    seen: Arc<Seen>,
}

impl Stage for Forward {
    fn process(&mut self, umem: &mut Umem, arrival: Arrival, batch: &mut Batch, out: &mut Outbox) {
        for frame in batch.drain(..) {
            let count = self.counters.side(arrival.side);
            count.received.add(1);
            let bytes = umem.bytes_mut(&frame);
            if bytes.len() > 42 && bytes[12..14] == [8, 0] && bytes[23] == 17 {
                bytes[40..42].fill(0);
                let payload = &bytes[42..];
                assert!(!payload.starts_with(DIE), "told to die");
                let flows = match arrival.side {
                    Side::Inside => &self.seen.requests,
                    Side::Outside => &self.seen.replies,
                };
                if let [NUMBERED, flow, ..] = payload {
                    flows[usize::from(*flow)].store(self.queue + 1, Ordering::Relaxed);
                }
            }
            out.from(arrival.side).push(frame);
        }
    }

    fn tick(&mut self, _umem: &mut Umem, _now: Now, _out: &mut Outbox) {}

    fn forward_max(&self) -> usize {
        BATCH_MAX
    }

    fn counters(&self) -> &WorkerCounters {
        &self.counters
    }
}
