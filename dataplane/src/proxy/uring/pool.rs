//! Buffers for bytes on their way, and the ring from which the kernel takes them.
//!
//! Only a few buffers are in the kernel's ring at a time; the rest lie on a stack. The kernel takes from its ring in
//! order, so a ring of all buffers would walk through all their memory; this way the few that are used over and over
//! stay in the cache, and memory that was never needed is never touched.

use core::sync::atomic::{AtomicU16, Ordering};
use std::io;

use io_uring::types::BufRingEntry;

use super::mapping::Mapping;
use crate::proxy::ProxyLimits;

/// Entries of the kernel's ring; a power of two. At most half of all buffers are lent to it, so that there are some for
/// this side too.
const LENT: u16 = 256;
/// A buffer's size, bytes.
const BYTES: usize = ProxyLimits::BUFFER_BYTES as usize;

/// The right to one buffer. Give it back with [`Pool::release`].
#[derive(Debug, PartialEq, Eq)]
pub(in crate::proxy) struct Buffer(u16);

/// All buffers of a ring.
pub(super) struct Pool {
    memory: Mapping,
    /// `LENT` entries of `struct io_uring_buf`; the `resv` field of the first is the tail.
    ring: Mapping,
    tail: u16,
    /// Buffers in the kernel's ring.
    lent: u16,
    /// Buffers that nobody has; the most recently used last.
    free: Vec<u16>,
    total: u16,
}

impl Pool {
    /// # Errors
    /// What `mmap(2)` says.
    pub(super) fn new(buffers: u16) -> io::Result<Self> {
        let memory = Mapping::new(usize::from(buffers) * BYTES)?;
        let ring = Mapping::new(usize::from(LENT) * size_of::<BufRingEntry>())?;
        Ok(Self { memory, ring, tail: 0, lent: 0, free: (0..buffers).rev().collect(), total: buffers })
    }

    /// Where the kernel's ring is, and how many entries it has.
    pub(super) fn ring(&self) -> (u64, u16) {
        (self.ring.start() as u64, LENT)
    }

    /// Buffers that hold bytes, or are about to.
    pub(super) fn used(&self) -> usize {
        usize::from(self.total) - usize::from(self.lent) - self.free.len()
    }

    /// Where buffer `number` begins.
    fn place(&self, number: u16) -> *mut u8 {
        let offset = usize::from(number) * BYTES;
        debug_assert!(offset + BYTES <= self.memory.bytes());
        self.memory.start().wrapping_add(offset)
    }

    /// The bytes from `from` to `to` of a buffer, for an operation: address and length. Cut off at its end.
    pub(super) fn span(&self, buffer: &Buffer, from: u32, to: u32) -> (*mut u8, u32) {
        let to = to.min(ProxyLimits::BUFFER_BYTES);
        let from = from.min(to);
        (self.place(buffer.0).wrapping_add(from as usize), to - from)
    }

    /// Copies bytes of a buffer out, from its beginning on, as many as `into` holds.
    pub(super) fn read(&self, buffer: &Buffer, into: &mut [u8]) {
        let length = into.len().min(BYTES);
        // SAFETY: a buffer is `BYTES` long and inside the mapping, `into` is other memory. Whoever has the `Buffer`
        // has no operation on it under way: the kernel gave it up with a completion, or never had it.
        unsafe { core::ptr::copy_nonoverlapping(self.place(buffer.0), into.as_mut_ptr(), length) };
    }

    /// Copies bytes into a buffer, at its beginning.
    pub(super) fn write(&self, buffer: &Buffer, bytes: &[u8]) {
        let length = bytes.len().min(BYTES);
        // SAFETY: as in `read`.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), self.place(buffer.0), length) };
    }

    /// A buffer for the caller's own use.
    pub(super) fn take(&mut self) -> Option<Buffer> {
        self.free.pop().map(Buffer)
    }

    /// The buffer that the kernel has put bytes in, by the number its completion tells.
    pub(super) fn taken(&mut self, number: u16) -> Buffer {
        self.lent = self.lent.saturating_sub(1);
        Buffer(number)
    }

    /// A buffer whose bytes are no longer needed.
    pub(super) fn release(&mut self, buffer: Buffer) {
        // As many as there are buffers, so this never allocates.
        self.free.push(buffer.0);
    }

    /// Fills the kernel's ring up again; whether it has any buffer now.
    pub(super) fn lend(&mut self) -> bool {
        let before = self.tail;
        let most = LENT.min(self.total / 2);
        while self.lent < most {
            let Some(number) = self.free.pop() else { break };
            self.put(number);
            self.lent += 1;
        }
        if self.tail != before {
            let entries = self.ring.start().cast::<BufRingEntry>();
            // SAFETY: the mapping begins with the first entry, zeroed at first and aligned to a page.
            let tail = unsafe { BufRingEntry::tail(entries) };
            // SAFETY: that field is two bytes long, aligned to two, and written by nobody but us; the kernel reads it
            // with acquire semantics, so it sees the entries that were written before.
            let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
            tail.store(self.tail, Ordering::Release);
        }
        self.lent > 0
    }

    fn put(&mut self, number: u16) {
        let at = usize::from(self.tail % LENT);
        let place = self.place(number) as u64;
        let entries = self.ring.start().cast::<BufRingEntry>();
        // SAFETY: `at` is below `LENT`, which is as many entries as the mapping holds.
        let entry = unsafe { entries.add(at) };
        // SAFETY: aligned and zeroed or written by us before, and between the kernel's head and our tail there are at
        // most `lent < LENT` entries, so the kernel does not look at this one until the tail moves past it.
        let entry = unsafe { &mut *entry };
        entry.set_addr(place);
        entry.set_len(ProxyLimits::BUFFER_BYTES);
        entry.set_bid(number);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Gives all memory up without unmapping it.
    pub(super) fn leak(self) {
        self.memory.leak();
        self.ring.leak();
    }
}
