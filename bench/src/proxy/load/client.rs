//! The clients: how each kind of work opens, uses and ends its connections.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create, sendfile};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send, sockopt};

use super::poll::{Interest, Poll, Ready, Slab};
use super::source::Source;
use super::{Counted, Work};

/// Connections on their way at a time.
const OPENING: u32 = 256;
/// Bytes that a bulk connection writes before others get their turn.
const CHUNK: usize = 1 << 17;

/// The clients of one thread.
#[derive(Debug)]
pub(crate) struct Clients {
    work: Work,
    source: Source,
    clients: Slab<Client>,
    buffer: Vec<u8>,
    /// The same bytes as a file: what is sent from it is not copied, so that the load costs little beside the proxy.
    file: OwnedFd,
    opened: u32,
    /// Places whose connection was refused at once; [`Clients::refill`] fills them again.
    pub vacant: u32,
    /// Connections that can be used: accepted by the far end and, where the work says so, answered once.
    pub established: u32,
    /// What is counted; taken over the measured time.
    pub counted: Counted,
    pace: Option<Pace>,
}

#[derive(Debug)]
struct Client {
    socket: OwnedFd,
    connected: bool,
    /// Bytes of the present answer that have come.
    got: usize,
    /// Bytes of requests that the kernel has not taken.
    unsent: usize,
    /// When requests should have been sent that are not answered yet.
    due: VecDeque<Instant>,
}

/// An open loop: requests leave when they are due, whatever became of those before.
#[derive(Debug)]
struct Pace {
    interval: Duration,
    next: Instant,
    turn: usize,
    /// Requests due in this time are measured.
    measured: (Instant, Instant),
}

impl Clients {
    pub(crate) fn new(work: Work, source: Source) -> io::Result<Self> {
        let buffer = vec![b'a'; CHUNK];
        let file = memfd_create("load", MemfdFlags::CLOEXEC)?;
        rustix::io::write(&file, &buffer)?;
        Ok(Self {
            work,
            source,
            clients: Slab::new(),
            buffer,
            file,
            opened: 0,
            vacant: 0,
            established: 0,
            counted: Counted::default(),
            pace: None,
        })
    }

    /// Opens connections until all are there, or as many are on their way as may be.
    pub(crate) fn open(&mut self, poll: &Poll) -> io::Result<()> {
        while self.opened < self.work.connections() && self.opened < self.established + OPENING {
            self.open_one(poll)?;
            self.opened += 1;
        }
        Ok(())
    }

    fn open_one(&mut self, poll: &Poll) -> io::Result<()> {
        let socket = self.source.open()?;
        // A refusal that is there already needs no waiting for.
        if matches!(self.work, Work::Denied { .. })
            && sockopt::socket_error(&socket)? == Err(Errno::CONNREFUSED)
        {
            self.counted.completed += 1;
            self.vacant += 1;
            return Ok(());
        }
        let interest = if self.work.is_bulk() { Interest::ReadWrite } else { Interest::Edge };
        poll.add(&socket, self.clients.next() as u64, interest)?;
        let due = VecDeque::new();
        self.clients.insert(Client { socket, connected: false, got: 0, unsent: 0, due });
        Ok(())
    }

    /// Opens a connection in each place that has none.
    pub(crate) fn refill(&mut self, poll: &Poll) -> io::Result<()> {
        for _ in 0..std::mem::take(&mut self.vacant) {
            self.open_one(poll)?;
        }
        Ok(())
    }

    /// Starts the open loop; requests due between `from` and `to` are measured.
    pub(crate) fn pace(&mut self, rate: u32, from: Instant, to: Instant) {
        let interval = Duration::from_secs(1) / rate.max(1);
        self.pace = Some(Pace { interval, next: Instant::now(), turn: 0, measured: (from, to) });
    }

    /// Sends what is due, until `end`.
    pub(crate) fn send_due(&mut self, end: Instant) -> io::Result<()> {
        let Some(pace) = &mut self.pace else { return Ok(()) };
        let now = Instant::now();
        while pace.next <= now && pace.next < end {
            let connections = self.work.connections() as usize;
            let Some(client) = self.clients.get_mut(pace.turn % connections) else { continue };
            client.due.push_back(pace.next);
            client.unsent += self.work.bytes();
            flush(client, &self.buffer)?;
            pace.turn += 1;
            pace.next += pace.interval;
        }
        Ok(())
    }

    /// Requests that were due in the measured time and have no answer.
    pub(crate) fn unanswered(&mut self) -> u64 {
        let Some(pace) = &self.pace else { return 0 };
        let (from, to) = pace.measured;
        let mut count = 0;
        for at in 0..self.opened as usize {
            let Some(client) = self.clients.get_mut(at) else { continue };
            count += client.due.iter().filter(|due| **due >= from && **due < to).count() as u64;
        }
        count
    }

    /// Takes one event of a client.
    pub(crate) fn event(&mut self, poll: &Poll, ready: Ready) -> io::Result<()> {
        #[expect(clippy::cast_possible_truncation, reason = "made of an index")]
        let at = ready.token as usize;
        match self.progress(ready, at) {
            Ok(Progress::Goes) => Ok(()),
            Ok(Progress::Established) => {
                self.established += 1;
                self.open(poll)
            }
            Ok(Progress::Ended) => self.again(poll, at),
            Err(error) if self.work == (Work::Denied { slots: self.work.connections() }) => {
                // However it was refused.
                let refused = matches!(error, Errno::CONNRESET | Errno::CONNREFUSED | Errno::PIPE);
                self.counted.completed += u64::from(refused);
                self.counted.failed += u64::from(!refused);
                self.again(poll, at)
            }
            Err(_) if self.work.reconnects() => {
                self.counted.failed += 1;
                self.again(poll, at)
            }
            Err(error) => Err(io::Error::other(format!("a connection was lost: {error}"))),
        }
    }

    /// Another connection in the place of one that has ended.
    fn again(&mut self, poll: &Poll, at: usize) -> io::Result<()> {
        self.clients.remove(at);
        self.open_one(poll)
    }

    fn progress(&mut self, ready: Ready, at: usize) -> rustix::io::Result<Progress> {
        let work = self.work;
        let Some(client) = self.clients.get_mut(at) else { return Ok(Progress::Goes) };
        let mut progress = Progress::Goes;
        if !client.connected && (ready.write || ready.hung_up) {
            sockopt::socket_error(&client.socket)??;
            client.connected = true;
            match work {
                Work::Denied { .. } => {}
                Work::Bulk { .. } | Work::Paced { .. } => progress = Progress::Established,
                Work::Requests { .. } | Work::Connects { .. } | Work::Idle { .. } => {
                    client.unsent = work.bytes()
                }
            }
        }
        if work.is_bulk() {
            if ready.write {
                ignore_full(sendfile(&client.socket, &self.file, Some(&mut 0), CHUNK))?;
            } else if ready.hung_up {
                return Err(Errno::CONNRESET);
            }
            return Ok(progress);
        }
        if client.unsent > 0 {
            flush_raw(client, &self.buffer)?;
        }
        if !ready.read {
            return Ok(progress);
        }
        let length = match recv(&client.socket, &mut self.buffer[..], RecvFlags::empty()) {
            Ok((_, length)) => length,
            Err(Errno::AGAIN) => return Ok(progress),
            Err(error) => return Err(error),
        };
        if length == 0 {
            // A refusal without a word, or a loss.
            return Err(Errno::CONNRESET);
        }
        if matches!(work, Work::Denied { .. }) {
            return Err(Errno::PROTO);
        }
        client.got += length;
        while client.got >= work.bytes() {
            client.got -= work.bytes();
            self.counted.completed += 1;
            match work {
                Work::Requests { .. } => {
                    if self.counted.completed <= u64::from(work.connections()) {
                        progress = Progress::Established;
                    }
                    client.unsent = work.bytes();
                    flush_raw(client, &self.buffer)?;
                }
                Work::Idle { .. } => progress = Progress::Established,
                Work::Connects { .. } => return Ok(Progress::Ended),
                Work::Paced { .. } => {
                    let pace = self.pace.as_ref().map(|pace| pace.measured);
                    if let (Some(due), Some((from, to))) = (client.due.pop_front(), pace)
                        && due >= from
                        && due < to
                    {
                        self.counted.latencies.push(due.elapsed());
                    }
                }
                Work::Bulk { .. } | Work::Denied { .. } => {}
            }
        }
        Ok(progress)
    }
}

enum Progress {
    Goes,
    Established,
    Ended,
}

fn flush(client: &mut Client, buffer: &[u8]) -> io::Result<()> {
    if client.connected { Ok(flush_raw(client, buffer)?) } else { Ok(()) }
}

fn flush_raw(client: &mut Client, buffer: &[u8]) -> rustix::io::Result<()> {
    while client.unsent > 0 {
        let length = client.unsent.min(buffer.len());
        match ignore_full(send(&client.socket, &buffer[..length], SendFlags::NOSIGNAL))? {
            0 => break,
            sent => client.unsent -= sent,
        }
    }
    Ok(())
}

fn ignore_full(sent: rustix::io::Result<usize>) -> rustix::io::Result<usize> {
    match sent {
        Err(Errno::AGAIN) => Ok(0),
        other => other,
    }
}
