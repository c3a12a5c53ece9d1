//! Directions that move much: through a pipe, so that the kernel hands on its own pages and copies nothing.
//!
//! `splice(2)` through a ring always goes to a kernel thread, so it is called here, when a poll through the ring says
//! that there are bytes. A direction takes a pipe when there is something to put into it and gives it back when it is
//! empty: none is held while nothing moves.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

use super::conn::{Side, Stage, Way};
use super::sockets;
use super::{Core, Scene};

/// What a pipe holds if the kernel lets it, bytes.
const PIPE_BYTES: usize = 256 << 10;
/// What one direction moves before others get their turn, bytes.
const VISIT_BYTES: usize = 1 << 20;
/// How many reads in a row must fill their buffer before a direction counts as bulk.
const BULK_READS: u8 = 4;
/// A visit that moves less than this was not bulk, bytes.
const SMALL_VISIT: usize = 16 << 10;
/// How many such visits in a row end it.
const SMALL_VISITS: u8 = 8;

/// The pipes of a worker.
pub(super) struct Pipes {
    /// Reading end, writing end.
    all: Box<[(OwnedFd, OwnedFd)]>,
    free: Vec<u16>,
}

impl Pipes {
    /// # Errors
    /// What `pipe2(2)` says.
    pub(super) fn new(count: u32) -> io::Result<Self> {
        let open = |_| -> io::Result<_> {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
            // Refused beyond the user's limit of pipe memory; a smaller pipe only takes more calls.
            let _ = fcntl_setpipe_size(&write, PIPE_BYTES);
            Ok((read, write))
        };
        let all: Box<[_]> = (0..count).map(open).collect::<io::Result<_>>()?;
        let free = (0..u16::try_from(all.len()).unwrap_or(u16::MAX)).rev().collect();
        Ok(Self { all, free })
    }

    fn take(&mut self) -> Option<u16> {
        self.free.pop()
    }

    /// Gives a pipe back that holds `held` bytes, which are thrown away.
    pub(super) fn give_back(&mut self, pipe: u16, held: u32) {
        let mut left = held as usize;
        let mut waste = [0_u8; 4096];
        while left > 0 {
            match rustix::io::read(&self.all[usize::from(pipe)].0, &mut waste) {
                Ok(read @ 1..) => left = left.saturating_sub(read),
                _ => break,
            }
        }
        self.free.push(pipe);
    }
}

/// Notes a read through a buffer, `full` or not.
pub(super) fn notice(way: &mut Way, full: bool) {
    way.streak = if full { way.streak.saturating_add(1) } else { 0 };
    way.bulk = way.streak >= BULK_READS;
}

impl Core {
    /// A direction that moves much has nothing on its way: from here on its sockets do not block, and it waits to be
    /// read.
    pub(super) fn begin_bulk(&mut self, scene: &Scene<'_>, index: u32, side: Side) {
        let conn = &mut self.conns[index as usize];
        if !conn.nonblocking {
            let ends = [conn.sender(side), conn.receiver(side)];
            let set = ends.into_iter().flatten().try_for_each(sockets::never_block);
            conn.nonblocking = set.is_ok();
        }
        if !conn.nonblocking || self.pipes.all.is_empty() {
            self.leave_bulk(index, side);
            return self.pump(scene, index, side);
        }
        conn.way(side).streak = 0;
        if conn.ways[side as usize].expected {
            self.fill_pipe(scene, index, side);
        } else {
            self.poll_sender(index, side);
        }
    }

    fn leave_bulk(&mut self, index: u32, side: Side) {
        let way = self.conns[index as usize].way(side);
        (way.bulk, way.streak) = (false, 0);
    }

    /// Moves what is there to read into a pipe and on, as much as one visit may.
    pub(super) fn fill_pipe(&mut self, scene: &Scene<'_>, index: u32, side: Side) {
        if self.conns[index as usize].ways[side as usize].pipe.is_none() {
            let Some(pipe) = self.pipes.take() else {
                self.proxy.pipes_exhausted.add(1);
                self.leave_bulk(index, side);
                return self.pump(scene, index, side);
            };
            self.conns[index as usize].way(side).pipe = Some(pipe);
        }
        let mut visit = 0;
        while visit < VISIT_BYTES {
            let moved = match self.splice_in(index, side) {
                Ok(moved) => moved,
                Err(Errno::AGAIN) => return self.pipe_is_dry(scene, index, side, visit),
                Err(Errno::INTR) => continue,
                Err(_) => return self.sender_failed(scene, index, side),
            };
            if moved == 0 {
                self.give_pipe_back(index, side);
                self.conns[index as usize].way(side).ended = true;
                return self.pump(scene, index, side);
            }
            visit += moved;
            self.proxy.spliced.add(moved as u64);
            self.moved(scene, index, side, moved as u64);
            if !self.splice_out(scene, index, side) {
                return;
            }
        }
        // There may be more: the poll says so at once, after the others had their turn.
        self.conns[index as usize].way(side).streak = 0;
        self.give_pipe_back(index, side);
        self.poll_sender(index, side);
    }

    /// Everything that was there has been moved on.
    fn pipe_is_dry(&mut self, scene: &Scene<'_>, index: u32, side: Side, visit: usize) {
        self.give_pipe_back(index, side);
        let way = self.conns[index as usize].way(side);
        way.expected = false;
        way.streak = if visit < SMALL_VISIT { way.streak + 1 } else { 0 };
        if way.streak >= SMALL_VISITS {
            self.leave_bulk(index, side);
            return self.pump(scene, index, side);
        }
        self.poll_sender(index, side);
    }

    /// Moves on what is left in the pipe, then reads again.
    pub(super) fn drain_pipe(&mut self, scene: &Scene<'_>, index: u32, side: Side) {
        if self.splice_out(scene, index, side) {
            self.fill_pipe(scene, index, side);
        }
    }

    fn splice_in(&mut self, index: u32, side: Side) -> Result<usize, Errno> {
        let conn = &mut self.conns[index as usize];
        let way = &conn.ways[side as usize];
        let (Some(pipe), Some(sender)) = (way.pipe, conn.sender(side)) else { return Err(Errno::BADF) };
        let (_, write) = &self.pipes.all[usize::from(pipe)];
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let moved = splice(sender, None, write.as_fd(), None, VISIT_BYTES, flags)?;
        conn.way(side).held += u32::try_from(moved).unwrap_or(u32::MAX);
        Ok(moved)
    }

    /// Empties the pipe into the receiver; whether it is empty. If not, the receiver is waited for, or the connection
    /// is over.
    fn splice_out(&mut self, scene: &Scene<'_>, index: u32, side: Side) -> bool {
        loop {
            let conn = &mut self.conns[index as usize];
            let way = &conn.ways[side as usize];
            let (Some(pipe), Some(receiver)) = (way.pipe, conn.receiver(side)) else { return false };
            if way.held == 0 {
                return true;
            }
            let (read, _) = &self.pipes.all[usize::from(pipe)];
            let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
            match splice(read.as_fd(), None, receiver, None, way.held as usize, flags) {
                Ok(moved @ 1..) => {
                    conn.active = scene.millis();
                    let way = conn.way(side);
                    way.held = way.held.saturating_sub(u32::try_from(moved).unwrap_or(u32::MAX));
                    way.blocked = None;
                }
                Err(Errno::AGAIN) => {
                    self.poll_receiver(scene, index, side);
                    return false;
                }
                Err(Errno::INTR) => {}
                Ok(0) | Err(_) => {
                    let other = if side == Side::Request { Side::Response } else { Side::Request };
                    self.sender_failed(scene, index, other);
                    return false;
                }
            }
        }
    }

    fn give_pipe_back(&mut self, index: u32, side: Side) {
        let conn = &mut self.conns[index as usize];
        debug_assert!(conn.stage == Stage::Relaying);
        let way = conn.way(side);
        if let Some(pipe) = way.pipe.take() {
            self.pipes.give_back(pipe, way.held);
            way.held = 0;
        }
    }
}
