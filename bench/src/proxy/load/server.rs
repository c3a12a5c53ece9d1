//! The back ends: they answer each request of a known length with as many bytes, or throw away what comes.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, accept_with, bind, listen, recv, send,
    socket_with, sockopt,
};

use super::poll::{Interest, Poll, Ready, Slab};

/// Tokens of servers and their listeners have this bit.
pub(crate) const SERVER: u64 = 1 << 63;
const LISTENER: u64 = 1 << 62;
/// Bytes thrown away at a time.
const DISCARDED: usize = 1 << 20;

/// What the back ends do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Throw everything away, without copying it out of the kernel.
    Discard,
    /// Answer each so many bytes with as many.
    Echo(usize),
}

/// The back ends of one thread.
#[derive(Debug)]
pub(crate) struct Server {
    listeners: Vec<OwnedFd>,
    peers: Slab<Peer>,
    answer: Answer,
    buffer: Vec<u8>,
    counts: Arc<Counts>,
}

/// What back ends count; another thread may read it.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Bytes received.
    pub received: AtomicU64,
}

#[derive(Debug)]
struct Peer {
    socket: OwnedFd,
    /// Bytes of a request that is not complete.
    partial: usize,
    /// Bytes of answers not yet written.
    owed: usize,
    waits_to_write: bool,
}

impl Server {
    /// Listens on all `addresses`.
    pub(crate) fn listen(
        poll: &Poll,
        addresses: &[SocketAddrV4],
        answer: Answer,
        counts: Arc<Counts>,
    ) -> io::Result<Self> {
        let mut listeners = Vec::new();
        for (at, address) in addresses.iter().enumerate() {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
            sockopt::set_socket_reuseaddr(&socket, true)?;
            bind(&socket, address)?;
            listen(&socket, 4096)?;
            poll.add(&socket, SERVER | LISTENER | at as u64, Interest::Read)?;
            listeners.push(socket);
        }
        let length = match answer {
            Answer::Discard => DISCARDED,
            Answer::Echo(bytes) => bytes.max(1 << 16),
        };
        let buffer = vec![b'a'; length];
        Ok(Self { listeners, peers: Slab::new(), answer, buffer, counts })
    }

    /// Takes one event whose token has [`SERVER`].
    pub(crate) fn event(&mut self, poll: &Poll, ready: Ready) -> io::Result<()> {
        let at = (ready.token & !(SERVER | LISTENER)) as usize;
        if ready.token & LISTENER != 0 {
            return self.accept(poll, at);
        }
        let ended = match self.serve(poll, ready, at) {
            Ok(ended) => ended,
            // The client went away in the middle; that is its affair.
            Err(Errno::CONNRESET | Errno::PIPE | Errno::TIMEDOUT) => true,
            Err(error) => return Err(error.into()),
        };
        if ended {
            self.peers.remove(at);
        }
        Ok(())
    }

    fn accept(&mut self, poll: &Poll, listener: usize) -> io::Result<()> {
        // A bounded number a time, so that connections which live are served too.
        for _ in 0..64 {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = match accept_with(&self.listeners[listener], flags) {
                Ok(socket) => socket,
                Err(Errno::AGAIN | Errno::CONNABORTED) => break,
                Err(error) => return Err(error.into()),
            };
            sockopt::set_tcp_nodelay(&socket, true)?;
            poll.add(&socket, SERVER | self.peers.next() as u64, Interest::Read)?;
            self.peers.insert(Peer { socket, partial: 0, owed: 0, waits_to_write: false });
            self.counts.accepted.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    /// Whether the connection has ended.
    fn serve(&mut self, poll: &Poll, ready: Ready, at: usize) -> rustix::io::Result<bool> {
        let Some(peer) = self.peers.get_mut(at) else { return Ok(false) };
        if ready.read {
            let flags = match self.answer {
                Answer::Discard => RecvFlags::TRUNC,
                Answer::Echo(_) => RecvFlags::empty(),
            };
            match recv(&peer.socket, &mut self.buffer[..], flags) {
                Ok((_, 0)) => return Ok(true),
                Ok((_, length)) => {
                    self.counts.received.fetch_add(length as u64, Relaxed);
                    if let Answer::Echo(request) = self.answer {
                        let whole = peer.partial + length;
                        peer.partial = whole % request;
                        peer.owed += whole - peer.partial;
                    }
                }
                Err(Errno::AGAIN) => {}
                Err(error) => return Err(error),
            }
        }
        while peer.owed > 0 {
            let length = peer.owed.min(self.buffer.len());
            match send(&peer.socket, &self.buffer[..length], SendFlags::NOSIGNAL) {
                Ok(sent) => peer.owed -= sent,
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error),
            }
        }
        let waits = peer.owed > 0;
        if waits != peer.waits_to_write {
            peer.waits_to_write = waits;
            let interest = if waits { Interest::ReadWrite } else { Interest::Read };
            let token = SERVER | at as u64;
            poll.change(&peer.socket, token, interest)
                .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        }
        Ok(false)
    }
}
