//! Two minimal relays, as calibrators: one thread, epoll, no policy, no limits; one splices through pipes, the other
//! copies through a buffer. What a proxy costs beyond them is what it does beyond them.

use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, accept_with, bind, connect,
    listen, recv, send, shutdown, socket_with, sockopt,
};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;

use super::load::poll::{Interest, Poll, Ready, Slab};
use crate::measure::MeasureError;

/// Bytes moved at a time, and the size of a pipe.
const MOVED: usize = 1 << 18;
/// Moves of one direction before others get their turn.
const MOVES: usize = 8;
const LISTENER: u64 = u64::MAX;

/// How bytes get from one socket to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Way {
    /// `splice(2)` through a pipe.
    Splice,
    /// `recv(2)` and `send(2)`.
    Copy,
}

/// Relays what connects to `listen_at` to `servers` in turn, for ever.
///
/// # Errors
/// If the kernel refuses a socket.
pub fn run(way: Way, listen_at: SocketAddrV4, servers: &[SocketAddrV4]) -> Result<(), MeasureError> {
    super::load::raise_open_files()?;
    let listener = open()?;
    sockopt::set_socket_reuseaddr(&listener, true)?;
    bind(&listener, &listen_at)?;
    listen(&listener, 4096)?;
    let mut poll = Poll::new()?;
    poll.add(&listener, LISTENER, Interest::Read)?;
    let buffer = vec![0; MOVED];
    let mut relay =
        Relay { way, pairs: Slab::new(), again: VecDeque::new(), tools: Tools { pipes: Vec::new(), buffer } };
    let mut turn = 0;
    loop {
        poll.wait(if relay.again.is_empty() { 1000 } else { 0 })?;
        let mut ready = std::mem::take(&mut poll.ready);
        for event in ready.drain(..) {
            if event.token == LISTENER {
                while let Some(client) = accept(&listener)? {
                    relay.pair(&poll, client, &servers[turn % servers.len()])?;
                    turn += 1;
                }
            } else {
                relay.event(event);
            }
        }
        poll.ready = ready;
        for _ in 0..relay.again.len() {
            let Some(at) = relay.again.pop_front() else { break };
            relay.progress(at);
        }
    }
}

fn open() -> rustix::io::Result<OwnedFd> {
    socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)
}

fn accept(listener: &OwnedFd) -> rustix::io::Result<Option<OwnedFd>> {
    match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
        Ok(socket) => Ok(Some(socket)),
        Err(Errno::AGAIN | Errno::CONNABORTED) => Ok(None),
        Err(error) => Err(error),
    }
}

struct Relay {
    way: Way,
    pairs: Slab<Pair>,
    again: VecDeque<usize>,
    tools: Tools,
}

/// What directions borrow.
struct Tools {
    pipes: Vec<Pipe>,
    buffer: Vec<u8>,
}

struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

struct Pair {
    sockets: [OwnedFd; 2],
    readable: [bool; 2],
    writable: [bool; 2],
    /// What was read from each socket and not yet written to the other.
    held: [Held; 2],
    ended: [bool; 2],
    told: [bool; 2],
}

enum Held {
    Nothing,
    Pipe(Pipe, usize),
    Bytes(Vec<u8>),
}

impl Relay {
    fn pair(&mut self, poll: &Poll, client: OwnedFd, server: &SocketAddrV4) -> Result<(), MeasureError> {
        let upstream = open()?;
        for socket in [&client, &upstream] {
            sockopt::set_tcp_nodelay(socket, true)?;
        }
        match connect(&upstream, server) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            // The client is closed with it.
            Err(_) => return Ok(()),
        }
        let token = 2 * self.pairs.next() as u64;
        poll.add(&client, token, Interest::Edge)?;
        poll.add(&upstream, token + 1, Interest::Edge)?;
        self.pairs.insert(Pair {
            sockets: [client, upstream],
            readable: [false; 2],
            writable: [false; 2],
            held: [Held::Nothing, Held::Nothing],
            ended: [false; 2],
            told: [false; 2],
        });
        Ok(())
    }

    fn event(&mut self, ready: Ready) {
        let (at, side) = ((ready.token / 2) as usize, (ready.token % 2) as usize);
        let Some(pair) = self.pairs.get_mut(at) else { return };
        pair.readable[side] |= ready.read;
        pair.writable[side] |= ready.write || ready.hung_up;
        self.progress(at);
    }

    fn progress(&mut self, at: usize) {
        let Some(pair) = self.pairs.get_mut(at) else { return };
        let mut more = false;
        for from in 0..2 {
            match pair.relay(from, self.way, &mut self.tools) {
                Ok(again) => more |= again,
                Err(_) => {
                    self.pairs.remove(at);
                    return;
                }
            }
        }
        if pair.told == [true; 2] {
            self.pairs.remove(at);
        } else if more {
            self.again.push_back(at);
        }
    }
}

impl Pair {
    /// Moves what can be moved from one side to the other; whether there may be more at once.
    fn relay(&mut self, from: usize, way: Way, tools: &mut Tools) -> rustix::io::Result<bool> {
        for _ in 0..MOVES {
            if !self.write(from, tools)? {
                return Ok(false);
            }
            if self.ended[from] {
                if !self.told[from] {
                    self.told[from] = true;
                    shutdown(&self.sockets[1 - from], Shutdown::Write)?;
                }
                return Ok(false);
            }
            if !self.readable[from] || !self.writable[1 - from] {
                return Ok(false);
            }
            match self.read(from, way, tools) {
                Ok(0) => self.ended[from] = true,
                Ok(_) => {}
                Err(Errno::AGAIN) => self.readable[from] = false,
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn read(&mut self, from: usize, way: Way, tools: &mut Tools) -> rustix::io::Result<usize> {
        let source = &self.sockets[from];
        match way {
            Way::Splice => {
                let pipe = match tools.pipes.pop() {
                    Some(pipe) => pipe,
                    None => make_pipe()?,
                };
                let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
                match splice(source, None, &pipe.write, None, MOVED, flags) {
                    Ok(length) if length > 0 => {
                        self.held[from] = Held::Pipe(pipe, length);
                        Ok(length)
                    }
                    other => {
                        tools.pipes.push(pipe);
                        other
                    }
                }
            }
            Way::Copy => {
                let (_, length) = recv(source, &mut tools.buffer[..], RecvFlags::empty())?;
                let sent = send(&self.sockets[1 - from], &tools.buffer[..length], SendFlags::NOSIGNAL);
                let sent = match sent {
                    Err(Errno::AGAIN) => 0,
                    other => other?,
                };
                if sent < length {
                    self.held[from] = Held::Bytes(tools.buffer[sent..length].to_vec());
                }
                Ok(length)
            }
        }
    }

    /// Whether nothing is held any more.
    fn write(&mut self, from: usize, tools: &mut Tools) -> rustix::io::Result<bool> {
        let to = &self.sockets[1 - from];
        let writable = &mut self.writable[1 - from];
        let mut held = std::mem::replace(&mut self.held[from], Held::Nothing);
        let left = match &mut held {
            Held::Nothing => return Ok(true),
            _ if !*writable => None,
            Held::Pipe(pipe, length) => {
                let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
                sent(splice(&pipe.read, None, to, None, *length, flags), writable)?.map(|sent| {
                    *length -= sent;
                    *length
                })
            }
            Held::Bytes(bytes) => sent(send(to, bytes, SendFlags::NOSIGNAL), writable)?.map(|sent| {
                bytes.drain(..sent);
                bytes.len()
            }),
        };
        if left != Some(0) {
            self.held[from] = held;
            return Ok(false);
        }
        if let Held::Pipe(pipe, _) = held {
            tools.pipes.push(pipe);
        }
        Ok(true)
    }
}

fn make_pipe() -> rustix::io::Result<Pipe> {
    let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
    // Without privileges a pipe stays as large as it comes.
    let _ = fcntl_setpipe_size(&write, MOVED);
    Ok(Pipe { read, write })
}

fn sent(result: rustix::io::Result<usize>, writable: &mut bool) -> rustix::io::Result<Option<usize>> {
    match result {
        Ok(sent) => Ok(Some(sent)),
        Err(Errno::AGAIN) => {
            *writable = false;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
