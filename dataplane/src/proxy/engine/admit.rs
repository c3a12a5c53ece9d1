//! From a client's connection to what policy says of it: accept, learn who it is and where it wants to, ask.

use core::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use super::conn::{self, Chunk, Conn, Stage};
use super::finish::End;
use super::sockets;
use super::{ACCEPT_PAUSE, Core, Scene, WAKE_FILE};
use crate::address::Address;
use crate::policy::Snapshot;
use crate::proxy::config::{ListenMode, ProxyLimits};
use crate::proxy::control::Wanted;
use crate::proxy::counters::Refusal;
use crate::proxy::preamble::{self, Read};
use crate::proxy::uring::{Buffer, Completion, Op, Token};

impl Core {
    /// Starts accepts again that have completed, as far as there are places for connections: never more than those,
    /// so that each that is accepted finds one. A turn takes as many connections as accepts were under way.
    pub(super) fn accept_again(&mut self, now: u32, wanted: Wanted) {
        if wanted != Wanted::Serve {
            return self.stop_accepting();
        }
        if self.pause.is_some_and(|until| until.wrapping_sub(now) < 1 << 31) {
            return;
        }
        self.pause = None;
        self.start_accepts();
        let crowded = !self.seats.is_empty();
        self.proxy.accepts_paused.add(u64::from(crowded && !self.crowded));
        self.crowded = crowded;
    }

    fn start_accepts(&mut self) {
        let per_listener = self.config.limits.accepts_per_turn;
        while (self.accepting as usize) < self.free.len() {
            let Some(seat) = self.seats.pop() else { break };
            let file = WAKE_FILE + 1 + seat / per_listener;
            self.ring.accept(file, seat, Token { op: Op::Accept, index: seat });
            self.accepting += 1;
        }
    }

    /// Cancels the accepts that are under way.
    pub(super) fn stop_accepting(&mut self) {
        if self.stopped {
            return;
        }
        (self.stopped, self.left_over) = (true, true);
        self.stop_refusing();
        let listeners = u32::try_from(self.listening.len()).unwrap_or(u32::MAX);
        for seat in 0..listeners.saturating_mul(self.config.limits.accepts_per_turn) {
            self.ring.cancel(Token { op: Op::Accept, index: seat });
        }
    }

    /// Once all accepts are back that were cancelled: takes the clients that still wait, and cancels again. For a client
    /// the kernel wakes one accept, of whichever process; if that one is cancelled at this very moment, the client waits
    /// and nobody else is woken for it.
    pub(super) fn accept_left_over(&mut self, listeners: &[OwnedFd]) {
        if !self.stopped || !self.left_over || self.accepting > 0 {
            return;
        }
        self.left_over = false;
        if listeners.iter().any(|listener| sockets::is_awaited(listener.as_fd())) {
            self.start_accepts();
            self.stopped = false;
        }
    }

    /// An accept has completed.
    pub(super) fn accepted(&mut self, scene: &Scene<'_>, seat: u32, completion: Completion) {
        self.accepting -= 1;
        self.seats.push(seat);
        let (Some(client), Some(peer)) = (completion.socket, self.ring.peer(seat)) else {
            if is_shortage(completion.result) {
                self.pause = Some(scene.millis().wrapping_add(ACCEPT_PAUSE));
            }
            return;
        };
        self.proxy.accepted.add(1);
        self.proxy.pending.add(1);
        let Some(index) = self.free.pop() else {
            // There is one for every accept under way.
            return self.count_refusal(Refusal::Resources);
        };
        let listener = seat / self.config.limits.accepts_per_turn;
        let source = sockets::end_of(peer);
        let now = scene.millis();
        let conn = &mut self.conns[index as usize];
        *conn = Conn::free();
        (conn.source, conn.opened, conn.since, conn.active) = (source, now, now, now);
        conn.client = Some(client);
        conn.stage = Stage::Header;
        match self.wanted(index, listener) {
            Some(wanted) => self.conns[index as usize].wanted = sockets::end_of(wanted),
            None => return self.refuse(scene, index, Refusal::NoDestination),
        }
        if self.config.trusts(source.0) {
            self.await_header(index, now);
        } else {
            self.judge(scene, index);
        }
    }

    /// Where a client wanted to, or what it connected to.
    fn wanted(&self, index: u32, listener: u32) -> Option<SocketAddr> {
        let own = self.listening[listener as usize];
        let client = self.conns[index as usize].client.as_ref().map(AsFd::as_fd)?;
        let wanted = match self.config.mode {
            ListenMode::Explicit => return Some(own),
            ListenMode::Tproxy => sockets::local(client),
            ListenMode::Redirect => sockets::original(client, own.is_ipv4()),
        };
        // A client that connects to the listener itself would be connected to it again and again.
        wanted.filter(|wanted| {
            wanted.port() != own.port() || (wanted.ip() != own.ip() && !own.ip().is_unspecified())
        })
    }

    fn await_header(&mut self, index: u32, now: u32) {
        let token = self.begin(index, Op::Header);
        if let Some(client) = &self.conns[index as usize].client {
            self.ring.receive(client.as_fd(), true, token);
        }
        if self.config.timeouts.header_ms > 0 {
            self.wheel.set(index, now, self.config.timeouts.header_ms);
        }
    }

    /// Bytes of a trusted peer that should say for whom it connects.
    pub(super) fn header_received(&mut self, scene: &Scene<'_>, index: u32, completion: Completion) {
        let Completion { result, buffer, .. } = completion;
        let conn = &mut self.conns[index as usize];
        // A buffer that a part of a header is in already, or the one that the kernel chose.
        let (buffer, before) = match (conn.ways[0].first.take(), buffer) {
            (Some(Chunk { buffer, to, .. }), _) => (Some(buffer), to),
            (None, buffer) => (buffer, 0),
        };
        let read = u16::try_from(result).ok().filter(|read| *read > 0).zip(buffer);
        let Some((read, buffer)) = read else {
            let refusal = match -result {
                libc::ENOBUFS => Refusal::Resources,
                _ => Refusal::ClientGone,
            };
            return self.refuse(scene, index, refusal);
        };
        let to = before.saturating_add(read);
        let mut bytes = [0; preamble::READ_MAX];
        let seen = usize::from(to).min(bytes.len());
        self.ring.read(&buffer, &mut bytes[..seen]);
        let header = preamble::read(&bytes[..seen]);
        let conn = &mut self.conns[index as usize];
        match header {
            Ok(Read::More(_)) if u32::from(to) < ProxyLimits::BUFFER_BYTES && seen < bytes.len() => {
                self.read_on(index, buffer, to);
            }
            Ok(Read::Done(length, header)) => {
                if let Some(claim) = header.claim {
                    conn.source = sockets::end_of(claim.source);
                }
                let from = u16::try_from(length).unwrap_or(to);
                conn.way(super::Side::Request).first = Some(Chunk { buffer, from, to });
                self.judge(scene, index);
            }
            Ok(Read::More(_)) | Err(_) => {
                conn.ways[0].first = Some(Chunk { buffer, from: 0, to });
                self.refuse(scene, index, Refusal::HeaderInvalid);
            }
        }
    }

    /// Reads more of a header behind what there is of it.
    fn read_on(&mut self, index: u32, buffer: Buffer, to: u16) {
        let token = self.begin(index, Op::Header);
        let conn = &mut self.conns[index as usize];
        if let Some(client) = &conn.client {
            self.ring.receive_into(client.as_fd(), &buffer, u32::from(to), token);
        }
        conn.ways[0].first = Some(Chunk { buffer, from: 0, to });
    }

    /// Asks policy about a connection whose ends are known, and connects it on if it is allowed.
    pub(super) fn judge(&mut self, scene: &Scene<'_>, index: u32) {
        let conn = &mut self.conns[index as usize];
        if !conn.counted {
            if !self.sources.enter(conn.source.0) {
                return self.refuse(scene, index, Refusal::SourceLimit);
            }
            conn.counted = true;
        }
        let Some(snapshot) = scene.snapshot else {
            return self.refuse(scene, index, Refusal::NoPolicy);
        };
        let explicit = self.config.mode == ListenMode::Explicit;
        if explicit {
            let Some(chosen) = self.backends.choose(conn.tried) else {
                let refusal = match (conn.tried, conn.late) {
                    (0, _) => Refusal::NoBackend,
                    (_, true) => Refusal::ConnectTimeout,
                    (_, false) => Refusal::ConnectFailed,
                };
                return self.refuse(scene, index, refusal);
            };
            conn.backend = chosen;
            conn.tried |= 1 << chosen;
        }
        let (before, wanted, number) = (conn.destination, conn.wanted, conn.backend);
        let backend = self.backends.address(number).filter(|_| explicit);
        let destination = self.asked_of(snapshot, wanted, backend);
        let conn = &mut self.conns[index as usize];
        conn.destination = destination;
        // A further back end that is the same destination to policy needs no other answer.
        if conn.generation.is_some() && before == conn.destination {
            return self.connect(scene, index);
        }
        self.forget_flow(scene, index);
        match self.decide(scene, snapshot, index) {
            Ok(()) => self.connect(scene, index),
            Err(refusal) => {
                if matches!(refusal, Refusal::Policy | Refusal::Rejected) {
                    self.deny_early(scene, index);
                }
                self.refuse(scene, index, refusal);
            }
        }
    }

    /// The destination that policy is asked about.
    pub(super) fn asked_of(
        &self,
        snapshot: &Snapshot,
        wanted: conn::End,
        backend: Option<SocketAddr>,
    ) -> conn::End {
        let is_workload = |address: Address| snapshot.table.resolve(address).is_workload();
        match (backend, self.config.policy_destination) {
            (None, _) => wanted,
            (Some(_), Some(told)) => sockets::end_of(told),
            (Some(_), None) if is_workload(wanted.0) => wanted,
            (Some(backend), None) => sockets::end_of(backend),
        }
    }

    /// Ends a connection that is not relayed.
    pub(super) fn refuse(&mut self, scene: &Scene<'_>, index: u32, refusal: Refusal) {
        self.end(scene, index, End::Refused(refusal));
    }
}

/// Whether an accept failed because the kernel or this process is out of something.
const fn is_shortage(result: i32) -> bool {
    matches!(-result, libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS)
}

/// A socket that a connection needs no more.
pub(super) fn take(socket: &mut Option<OwnedFd>, reset: bool) -> Option<OwnedFd> {
    let socket = socket.take()?;
    if reset {
        sockets::reset_on_close(socket.as_fd());
    }
    Some(socket)
}
