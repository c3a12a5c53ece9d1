//! Clients with a source address of their own, and an echo server that counts who connects.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

use crate::SOON;

/// What came of saying something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// This came back.
    Back(Vec<u8>),
    /// The connection was reset, or could not be made.
    Reset,
    /// It ended in order, and nothing came.
    Closed,
}

/// A client.
pub(crate) struct Client(TcpStream);

/// Connects from an address.
pub(crate) fn connect(to: SocketAddr, from: &str) -> std::io::Result<Client> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddr::new(from.parse::<Ipv4Addr>().unwrap().into(), 0))?;
    rustix::net::connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(SOON))?;
    stream.set_nodelay(true)?;
    Ok(Client(stream))
}

impl Client {
    /// Sends `message` and reads as long as nothing more than it has come back.
    pub(crate) fn talk(&mut self, message: &[u8]) -> Said {
        let mut back = Vec::new();
        if self.0.write_all(message).is_err() {
            return Said::Reset;
        }
        let mut bytes = [0; 4096];
        // A server may be told who speaks before it is told what.
        while !back.ends_with(&message[message.len() - 2.min(message.len())..]) {
            match self.0.read(&mut bytes) {
                Ok(0) => return if back.is_empty() { Said::Closed } else { Said::Back(back) },
                Ok(len) => back.extend_from_slice(&bytes[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("neither an answer nor an end"),
                Err(_) => return Said::Reset,
            }
        }
        Said::Back(back)
    }

    /// Ends the connection in order, and waits for the other end to do so.
    pub(crate) fn finish(mut self) -> Said {
        let _ = self.0.shutdown(Shutdown::Write);
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(0) => Said::Closed,
            Ok(_) => Said::Back(rest),
            Err(_) => Said::Reset,
        }
    }
}

/// Connects, says one thing, and ends the connection.
pub(crate) fn say(to: SocketAddr, from: &str, message: &[u8]) -> Said {
    let Ok(mut client) = connect(to, from) else { return Said::Reset };
    let said = client.talk(message);
    if matches!(said, Said::Back(_)) {
        assert_eq!(client.finish(), Said::Closed);
    }
    said
}

/// Sends back what it gets, until dropped; then it listens no more, and its connections are reset.
pub(crate) struct Server {
    address: SocketAddr,
    connections: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_at("127.0.77.30:0".parse().unwrap())
    }

    pub(crate) fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (count, until) = (Arc::clone(&connections), Arc::clone(&stop));
        let thread = Some(thread::spawn(move || serve(&listener, &count, &until)));
        Self { address, connections, stop, thread }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that it has seen.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = self.thread.take().unwrap().join();
    }
}

fn serve(listener: &TcpListener, connections: &AtomicU64, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((stream, _)) => {
                connections.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || echo(stream));
            }
            Err(_) => thread::sleep(std::time::Duration::from_millis(1)),
        }
    }
}

fn echo(mut stream: TcpStream) {
    let _ = stream.set_nonblocking(false);
    let mut bytes = [0; 4096];
    while let Ok(len @ 1..) = stream.read(&mut bytes) {
        if stream.write_all(&bytes[..len]).is_err() {
            return;
        }
    }
}
