//! A TCP connection on which numbered messages go there and back, one at a time: at any moment at most one packet
//! with payload is on its way, so "not one more got through" can be counted.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use lab::{LabError, Namespace};

const LOOK: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    pause: AtomicBool,
    /// The client waits between two messages because it was asked to pause.
    paused: AtomicBool,
    /// The highest number the client has sent, the server has received, and the client got back.
    sent: AtomicU64,
    received: AtomicU64,
    returned: AtomicU64,
}

/// Such a connection, with both its ends.
#[derive(Debug)]
pub(crate) struct Turns {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// How far the connection has come: the highest number sent, received and returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) returned: u64,
}

impl Turns {
    /// Connects from `client` to `to`, which is in `server`, and begins.
    pub(crate) fn start(
        client: &Namespace,
        server: &Namespace,
        to: SocketAddr,
        within: Duration,
    ) -> Result<io::Result<Self>, LabError> {
        Self::through(client, server, to, to, within)
    }

    /// The same, where the server listens on `listen` and something between them brings connections to `to` there.
    pub(crate) fn through(
        client: &Namespace,
        server: &Namespace,
        to: SocketAddr,
        listen: SocketAddr,
        within: Duration,
    ) -> Result<io::Result<Self>, LabError> {
        let listener = server.run(|| TcpListener::bind(listen))?;
        let connected = client.run(|| TcpStream::connect_timeout(&to, within))?;
        Ok(listener.and_then(|listener| Self::begin(connected?, accept(&listener, within)?)))
    }

    fn begin(client: TcpStream, server: TcpStream) -> io::Result<Self> {
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(LOOK))?;
        }
        let shared = Arc::new(Shared::default());
        let (one, other) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads =
            vec![thread::spawn(move || ask(client, &one)), thread::spawn(move || answer(server, &other))];
        Ok(Self { shared, threads })
    }

    /// Where it stands.
    pub(crate) fn progress(&self) -> Progress {
        let load = |number: &AtomicU64| number.load(Ordering::SeqCst);
        // Read in the order of travel backwards, so that no number can seem to be ahead of its sender.
        let returned = load(&self.shared.returned);
        let received = load(&self.shared.received);
        Progress { sent: load(&self.shared.sent), received, returned }
    }

    /// Lets the client stop after the message under way. Returns whether it did so in time.
    pub(crate) fn pause(&self, within: Duration) -> bool {
        self.shared.pause.store(true, Ordering::SeqCst);
        let deadline = Instant::now() + within;
        while !self.shared.paused.load(Ordering::SeqCst) {
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// Goes on.
    pub(crate) fn resume(&self) {
        self.shared.pause.store(false, Ordering::SeqCst);
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// What comes in between may take the client's connection and bring none here.
fn accept(listener: &TcpListener, within: Duration) -> io::Result<TcpStream> {
    listener.set_nonblocking(true)?;
    let deadline = Instant::now() + within;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error),
        }
    }
}

fn ask(mut stream: TcpStream, shared: &Shared) {
    for number in 1_u64.. {
        while shared.pause.load(Ordering::SeqCst) && !shared.stop.load(Ordering::SeqCst) {
            shared.paused.store(true, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(1));
        }
        shared.paused.store(false, Ordering::SeqCst);
        shared.sent.store(number, Ordering::SeqCst);
        if stream.write_all(&number.to_be_bytes()).is_err() {
            return;
        }
        match next(&mut stream, shared) {
            Some(back) => shared.returned.store(back, Ordering::SeqCst),
            None => return,
        }
    }
}

fn answer(mut stream: TcpStream, shared: &Shared) {
    while let Some(number) = next(&mut stream, shared) {
        shared.received.store(number, Ordering::SeqCst);
        if stream.write_all(&number.to_be_bytes()).is_err() {
            return;
        }
    }
}

/// The next number, or `None` when the connection or the demo is over.
fn next(stream: &mut TcpStream, shared: &Shared) -> Option<u64> {
    let mut bytes = [0; 8];
    let mut have = 0;
    while have < bytes.len() {
        if shared.stop.load(Ordering::SeqCst) {
            return None;
        }
        match stream.read(&mut bytes[have..]) {
            Ok(0) => return None,
            Ok(len) => have += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
    Some(u64::from_be_bytes(bytes))
}
