//! Bytes from one socket to the other, through buffers.
//!
//! What was read is sent at once, and the next read is queued with it: one system call moves a message on and waits for
//! the next. A read needs no buffer until there are bytes, so an idle connection holds none. If the receiver takes
//! less than it is given, nothing more is read for it until it does: at most two buffers wait per direction.

use std::os::fd::AsFd;

use rustix::net::{Shutdown, shutdown};

use super::bulk;
use super::conn::{Chunk, Quiet, Side, Stage};
use super::finish::End;
use super::{Core, Scene};
use crate::flow::tcp::Phase;
use crate::proxy::config::ProxyLimits;
use crate::proxy::counters::Fate;
use crate::proxy::uring::{Completion, Send};

impl Core {
    /// A read is over.
    pub(super) fn received(&mut self, scene: &Scene<'_>, index: u32, side: Side, completion: Completion) {
        let Completion { result, buffer, more_to_read, .. } = completion;
        let conn = &mut self.conns[index as usize];
        match (result, buffer) {
            (1.., Some(buffer)) => {
                let read = u16::try_from(result).unwrap_or(0);
                let way = conn.way(side);
                let chunk = Chunk { buffer, from: 0, to: read };
                if way.first.is_none() {
                    way.first = Some(chunk)
                } else {
                    way.second = Some(chunk)
                }
                way.expected = more_to_read;
                bulk::notice(way, u32::from(read) == ProxyLimits::BUFFER_BYTES);
                // Before the bytes go anywhere: what an older policy has allowed is asked again.
                if self.may_pass(scene, index) {
                    self.moved(scene, index, side, u64::from(read));
                    self.pump(scene, index, side);
                }
            }
            (0, buffer) => {
                if let Some(buffer) = buffer {
                    self.ring.release(buffer);
                }
                conn.way(side).ended = true;
                self.pump(scene, index, side);
            }
            (result, buffer) => {
                if let Some(buffer) = buffer {
                    self.ring.release(buffer);
                }
                self.not_received(scene, index, side, -result);
            }
        }
    }

    fn not_received(&mut self, scene: &Scene<'_>, index: u32, side: Side, errno: i32) {
        match errno {
            libc::ENOBUFS => {
                let way = self.conns[index as usize].way(side);
                if !way.starved {
                    way.starved = true;
                    self.starved.push(index << 1 | side as u32);
                }
            }
            // Its sockets do not block any more, so the read did not wait.
            libc::EAGAIN => self.poll_sender(index, side),
            libc::ECANCELED | libc::EINTR => self.pump(scene, index, side),
            _ => self.sender_failed(scene, index, side),
        }
    }

    /// The end that this way reads has reset the connection, or the network has.
    pub(super) fn sender_failed(&mut self, scene: &Scene<'_>, index: u32, side: Side) {
        let fate = match side {
            Side::Request => Fate::ClientReset,
            Side::Response => Fate::ServerReset,
        };
        self.reset_both(scene, index, fate);
    }

    /// Waits until there is something to read.
    pub(super) fn poll_sender(&mut self, index: u32, side: Side) {
        let token = self.begin(index, side.readable());
        if let Some(sender) = self.conns[index as usize].sender(side) {
            self.ring.poll_read(sender, token);
        }
    }

    /// Waits until the receiver takes something, and notes since when it does not.
    pub(super) fn poll_receiver(&mut self, scene: &Scene<'_>, index: u32, side: Side) {
        let now = scene.millis();
        let token = self.begin(index, side.writable());
        let conn = &mut self.conns[index as usize];
        if let Some(receiver) = conn.receiver(side) {
            self.ring.poll_write(receiver, token);
        }
        let way = conn.way(side);
        if way.blocked.is_none() {
            way.blocked = Some(now);
            if self.config.timeouts.stalled_ms > 0 {
                self.wheel.set_sooner(index, now, self.config.timeouts.stalled_ms);
            }
        }
    }

    /// A send is over: all, some, or nothing of the chunk was taken.
    pub(super) fn sent(&mut self, scene: &Scene<'_>, index: u32, side: Side, result: i32) {
        let now = scene.millis();
        let conn = &mut self.conns[index as usize];
        let way = conn.way(side);
        way.quiet = Quiet::None;
        let taken = match result {
            0.. => u16::try_from(result).unwrap_or(0),
            _ if matches!(-result, libc::EAGAIN | libc::ENOBUFS) => 0,
            _ if matches!(-result, libc::EINTR | libc::ECANCELED) => return self.pump(scene, index, side),
            _ => {
                let other = if side == Side::Request { Side::Response } else { Side::Request };
                return self.sender_failed(scene, index, other);
            }
        };
        if taken > 0 {
            (way.blocked, conn.active) = (None, now);
        }
        let way = conn.way(side);
        if let Some(chunk) = &mut way.first {
            chunk.from += taken;
            if chunk.from < chunk.to {
                return self.poll_receiver(scene, index, side);
            }
        }
        if let Some(chunk) = way.first.take() {
            self.ring.release(chunk.buffer);
        }
        way.first = way.second.take();
        self.pump(scene, index, side);
    }

    /// Does what can be done in one direction: sends what is there, reads what may come, passes on the end.
    pub(super) fn pump(&mut self, scene: &Scene<'_>, index: u32, side: Side) {
        let conn = &mut self.conns[index as usize];
        if conn.stage != Stage::Relaying || conn.is_busy(side.writable()) {
            return;
        }
        let way = &conn.ways[side as usize];
        if way.first.is_some() && !conn.is_busy(side.send()) {
            self.send(index, side);
        }
        let conn = &self.conns[index as usize];
        let way = &conn.ways[side as usize];
        let reading = conn.is_busy(side.receive()) || conn.is_busy(side.readable());
        match (way.ended, way.is_empty()) {
            (true, true) if !way.shut => self.pass_on_end(scene, index, side),
            (true, _) => {}
            (false, true) if way.bulk && !reading => self.begin_bulk(scene, index, side),
            // One chunk is being sent: another may come, if this side has shown that it takes them.
            (false, _) if !reading && !way.starved && way.second.is_none() && way.held == 0 && !way.bulk => {
                if way.dozes {
                    self.poll_sender(index, side)
                } else {
                    self.receive(index, side)
                }
            }
            (false, _) => {}
        }
    }

    fn send(&mut self, index: u32, side: Side) {
        let token = self.begin(index, side.send());
        let conn = &self.conns[index as usize];
        let way = &conn.ways[side as usize];
        // If all is taken, nothing is to be done but to release the buffer: no need to wake up for that.
        let quiet = !(way.ended || way.bulk || way.starved || way.second.is_some());
        if let (Some(receiver), Some(chunk)) = (conn.receiver(side), &way.first) {
            let span = (&chunk.buffer, u32::from(chunk.from), u32::from(chunk.to));
            self.ring.send(receiver, span, Send { more: way.second.is_some(), quiet }, token);
        }
        if quiet {
            self.conns[index as usize].way(side).quiet = Quiet::Queued;
            self.quiet.push(index << 1 | side as u32);
        }
    }

    /// What was queued is submitted now.
    pub(super) fn quiet_submitted(&mut self) {
        for one in self.quiet.drain(..) {
            self.conns[(one >> 1) as usize].ways[(one & 1) as usize].quiet = Quiet::Submitted;
            self.submitted.push(one);
        }
    }

    /// Every completion has been taken: quiet sends that were submitted and have none have sent all.
    pub(super) fn conclude_quiet(&mut self, scene: &Scene<'_>) {
        while let Some(one) = self.submitted.pop() {
            let (index, side) = (one >> 1, Side::BOTH[(one & 1) as usize]);
            let conn = &mut self.conns[index as usize];
            let way = conn.way(side);
            if way.quiet != Quiet::Submitted {
                continue;
            }
            let sent = way.first.as_ref().map_or(0, |chunk| i32::from(chunk.to - chunk.from));
            conn.ends(side.send());
            if conn.stage == Stage::Relaying {
                self.sent(scene, index, side, sent);
            } else {
                self.settle(index);
            }
        }
    }

    pub(super) fn receive(&mut self, index: u32, side: Side) {
        let token = self.begin(index, side.receive());
        let conn = &self.conns[index as usize];
        if let Some(sender) = conn.sender(side) {
            self.ring.receive(sender, conn.ways[side as usize].expected, token);
        }
    }

    /// The sender has closed its side, and the receiver has all it sent: it learns that too. With both sides closed
    /// the connection is over.
    fn pass_on_end(&mut self, scene: &Scene<'_>, index: u32, side: Side) {
        let conn = &mut self.conns[index as usize];
        conn.way(side).shut = true;
        if conn.ways.iter().all(|way| way.shut) {
            return self.end(scene, index, End::Over(Fate::Finished));
        }
        if let Some(receiver) = conn.receiver(side)
            && shutdown(receiver.as_fd(), Shutdown::Write).is_err()
        {
            // It is not connected any more: a reset, which the other direction will see.
            return;
        }
        self.tell_flow(scene, index, Phase::FinWait);
    }

    /// Counts bytes that were read.
    pub(super) fn moved(&mut self, scene: &Scene<'_>, index: u32, side: Side, bytes: u64) {
        let conn = &mut self.conns[index as usize];
        conn.active = scene.millis();
        let way = conn.way(side);
        way.bytes += bytes;
        way.reads += 1;
        match side {
            Side::Request => self.proxy.from_clients.add(bytes),
            Side::Response => self.proxy.from_servers.add(bytes),
        }
    }

    /// A receiver takes bytes again.
    pub(super) fn writable(&mut self, scene: &Scene<'_>, index: u32, side: Side, result: i32) {
        if result < 0 && result != -libc::ECANCELED {
            return self.sender_failed(scene, index, side);
        }
        if self.conns[index as usize].ways[side as usize].held > 0 {
            self.drain_pipe(scene, index, side);
        } else {
            self.pump(scene, index, side);
        }
    }

    /// A sender has bytes, or has closed, or was reset: the read says which.
    pub(super) fn readable(&mut self, scene: &Scene<'_>, index: u32, side: Side, result: i32) {
        if result < 0 && result != -libc::ECANCELED {
            return self.sender_failed(scene, index, side);
        }
        let way = self.conns[index as usize].way(side);
        (way.expected, way.dozes) = (true, false);
        if !(way.bulk && way.is_empty()) {
            self.pump(scene, index, side);
        } else if self.may_pass(scene, index) {
            self.fill_pipe(scene, index, side);
        }
    }

    /// Lets directions read again that found no buffer. If all buffers wait for slow readers, the slowest is reset.
    pub(super) fn feed_starved(&mut self, scene: &Scene<'_>) {
        let fed = self.ring.lend();
        if self.starved.is_empty() {
            return;
        }
        if !fed {
            return self.evict(scene);
        }
        for _ in 0..STARVED_FED {
            let Some(one) = self.starved.pop() else { return };
            let side = if one & 1 == 0 { Side::Request } else { Side::Response };
            let way = self.conns[(one >> 1) as usize].way(side);
            if way.starved {
                way.starved = false;
                self.pump(scene, one >> 1, side);
            }
        }
    }
}

/// Starved directions that read again per turn: about as many as there can be buffers for.
const STARVED_FED: usize = 128;
