//! The memory that frames live in: one anonymous mapping cut into chunks, with one owner per chunk.
//!
//! The kernel speaks of chunks by address, user space by [`Frame`]. This file is the only place where one becomes
//! the other, and every address that comes back from a ring is checked against what was handed out: the kernel's
//! rings are shared memory, and a wrong address must cost a counter, not a second owner of the same bytes.
#![allow(unsafe_code, reason = "owns the mapping that frames are slices of")]

use core::fmt;
use core::ptr::{self, NonNull};
use std::io;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use super::Frame;
use crate::prefetch::prefetch;
use crate::verdict::Side;

/// Bytes in front of a received frame that the kernel keeps for itself: `XDP_PACKET_HEADROOM`
/// (`include/uapi/linux/bpf.h`). A chunk holds a frame of at most its size less this.
pub const HEADROOM: u32 = 256;

/// Who owns a chunk. One byte each, so that a ring that repeats or invents an address is caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Free,
    Worker,
    /// Lent to the receive socket of this side.
    Receive(Side),
    /// Handed to the transmit socket of this side.
    Transmit(Side),
}

/// Where all chunks are. The five places always add up to [`Census::total`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// In a fill ring, not yet taken by the kernel.
    pub fill: u32,
    /// With the kernel to be received into, or received and not yet taken by the worker.
    pub kernel: u32,
    /// Held by the worker: in a batch, or kept by a later stage.
    pub worker: u32,
    /// In a transmit ring, or sent and not yet reclaimed from the completion ring.
    pub transmit: u32,
    /// Free.
    pub free: u32,
}

impl Census {
    /// All chunks.
    #[must_use]
    pub const fn total(&self) -> u32 {
        self.fill + self.kernel + self.worker + self.transmit + self.free
    }

    /// Tells the two receive places apart: `waiting` entries of the fill rings the kernel has not taken yet.
    /// [`Umem::census`] counts every lent chunk as the kernel's, because only the rings know better.
    #[must_use]
    pub const fn with_fill(mut self, waiting: u32) -> Self {
        let moved = if waiting < self.kernel { waiting } else { self.kernel };
        self.fill += moved;
        self.kernel -= moved;
        self
    }
}

/// The chunks of one worker. Not shared: each worker has its own, so none of this needs a lock.
pub struct Umem {
    base: NonNull<u8>,
    chunks: u32,
    chunk_size: u32,
    owners: Box<[Owner]>,
    /// The free chunks, last freed first, because its bytes are the likeliest to be in the cache.
    free: Vec<u32>,
    rejected: u64,
}

// SAFETY: `base` points into a private mapping that only this value unmaps, and nothing in it depends on the
// thread that made it; the other fields are plain data. So the value may move to the worker's thread. It is not
// `Sync`: nothing needs it.
unsafe impl Send for Umem {}

impl Umem {
    /// Maps `chunks` chunks of `chunk_size` bytes (2048 or 4096), all free. No socket is involved: pipeline tests,
    /// replays and benches use the same memory as a worker.
    ///
    /// The kernel accepts these two sizes in aligned mode (`xdp_umem_reg` in `net/xdp/xdp_umem.c`: a power of two,
    /// 2048 at least, a page at most). Huge pages are asked for, not demanded.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for no chunks or another size; otherwise what `mmap(2)` says.
    pub fn anonymous(chunks: u32, chunk_size: u32) -> io::Result<Self> {
        if chunks == 0 || !matches!(chunk_size, 2048 | 4096) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "{chunks} chunks of {chunk_size} bytes: at least one chunk of 2048 or 4096 is needed"
                ),
            ));
        }
        let bytes = Self::bytes_for(chunks, chunk_size);
        // SAFETY: with a null hint and without MAP_FIXED the kernel picks an unused range, so no existing memory
        // is touched; the result is owned by this value alone.
        let base = unsafe {
            mmap_anonymous(ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        }?;
        // SAFETY: the range was just mapped and MADV_HUGEPAGE changes no contents. A kernel without transparent
        // huge pages answers EINVAL, which costs speed only.
        let _ = unsafe { madvise(base, bytes, Advice::LinuxHugepage) };
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self {
            base,
            chunks,
            chunk_size,
            owners: vec![Owner::Free; usize_of(chunks)].into(),
            free: (0..chunks).rev().collect(),
            rejected: 0,
        })
    }

    const fn bytes_for(chunks: u32, chunk_size: u32) -> usize {
        usize_of(chunks) * usize_of(chunk_size)
    }

    /// The bytes of a frame.
    ///
    /// # Panics
    /// If the frame belongs to another, larger `Umem`; no frame from the wire can cause that.
    #[must_use]
    pub fn bytes(&self, frame: &Frame) -> &[u8] {
        let start = self.start(frame);
        // SAFETY: `start` checked that the frame's range lies inside its chunk of the live mapping. The frame
        // exists, so the chunk is the worker's: the kernel does not write to it, and a `bytes_mut` of any frame
        // would need `&mut self`.
        unsafe { core::slice::from_raw_parts(start.as_ptr(), frame.len()) }
    }

    /// The bytes of a frame, to be changed in place.
    ///
    /// # Panics
    /// As [`Umem::bytes`].
    #[must_use]
    pub fn bytes_mut(&mut self, frame: &Frame) -> &mut [u8] {
        let start = self.start(frame);
        // SAFETY: as in `bytes`; and `&mut self` excludes every other slice of this mapping in user space.
        unsafe { core::slice::from_raw_parts_mut(start.as_ptr(), frame.len()) }
    }

    /// Starts fetching the first line of a frame, which holds its headers up to the ports.
    #[inline]
    pub fn prefetch(&self, frame: &Frame) {
        prefetch(self.start(frame).as_ptr());
    }

    fn start(&self, frame: &Frame) -> NonNull<u8> {
        let end = u32::from(frame.offset) + u32::from(frame.len);
        assert!(frame.chunk < self.chunks && end <= self.chunk_size, "a frame of another Umem");
        debug_assert_eq!(self.owners[usize_of(frame.chunk)], Owner::Worker);
        let at = usize_of(frame.chunk) * usize_of(self.chunk_size) + usize::from(frame.offset);
        // SAFETY: the chunk number and the end inside the chunk were just checked, so `at` is inside the mapping.
        unsafe { self.base.add(at) }
    }

    /// A frame of `len` bytes to write into; its contents are what its last user left. `None` when no chunk is
    /// free, or `len` is 0 or more than a chunk.
    pub fn allocate(&mut self, len: usize) -> Option<Frame> {
        let len = u16::try_from(len).ok().filter(|&len| len > 0 && u32::from(len) <= self.chunk_size)?;
        let chunk = self.free.pop()?;
        self.owners[usize_of(chunk)] = Owner::Worker;
        Some(Frame { chunk, offset: 0, len })
    }

    /// Takes a frame back; its chunk is free again.
    #[expect(clippy::needless_pass_by_value, reason = "giving the frame up is the point")]
    pub fn release(&mut self, frame: Frame) {
        if self.pass(frame.chunk, Owner::Worker, Owner::Free) {
            self.free.push(frame.chunk);
        }
    }

    /// Where all chunks are now; a walk over all of them, for tests, status and shutdown.
    #[must_use]
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for owner in &self.owners {
            match owner {
                Owner::Free => census.free += 1,
                Owner::Worker => census.worker += 1,
                Owner::Receive(_) => census.kernel += 1,
                Owner::Transmit(_) => census.transmit += 1,
            }
        }
        debug_assert_eq!(usize_of(census.free), self.free.len());
        census
    }

    /// How many chunks are free.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// How many addresses that came back from a ring were refused: outside the mapping, or not lent.
    #[must_use]
    pub const fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Chunk size, bytes.
    #[must_use]
    pub const fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// Start and length of the mapping, for `XDP_UMEM_REG`.
    pub(super) fn range(&self) -> (NonNull<u8>, usize) {
        (self.base, Self::bytes_for(self.chunks, self.chunk_size))
    }

    /// Lends a free chunk to the receive socket of `side`: the address for its fill ring.
    pub(super) fn lend(&mut self, side: Side) -> Option<u64> {
        let chunk = self.free.pop()?;
        self.owners[usize_of(chunk)] = Owner::Receive(side);
        Some(u64::from(chunk) * u64::from(self.chunk_size))
    }

    /// A receive descriptor of `side` becomes a frame. `None`, and counted, if its chunk was not lent there. One
    /// whose chunk was lent but whose length is impossible is refused too, and the chunk is free again.
    pub(super) fn received(&mut self, side: Side, address: u64, len: u32) -> Option<Frame> {
        let (chunk, offset) = self.locate(address)?;
        if !self.pass(chunk, Owner::Receive(side), Owner::Worker) {
            return None;
        }
        match u16::try_from(len) {
            Ok(len) if len > 0 && u32::from(offset) + u32::from(len) <= self.chunk_size => {
                Some(Frame { chunk, offset, len })
            }
            _ => {
                self.rejected += 1;
                self.release(Frame { chunk, offset: 0, len: 1 });
                None
            }
        }
    }

    /// Hands a frame to the transmit socket of `side`: address and length for its descriptor.
    #[expect(clippy::needless_pass_by_value, reason = "giving the frame up is the point")]
    pub(super) fn transmit(&mut self, side: Side, frame: Frame) -> (u64, u32) {
        self.pass(frame.chunk, Owner::Worker, Owner::Transmit(side));
        let address = u64::from(frame.chunk) * u64::from(self.chunk_size) + u64::from(frame.offset);
        (address, u32::from(frame.len))
    }

    /// The transmit socket of `side` is done with an address; its chunk is free. `false`, and counted, if that
    /// chunk was not handed to it.
    pub(super) fn completed(&mut self, side: Side, address: u64) -> bool {
        let Some((chunk, _)) = self.locate(address) else { return false };
        let done = self.pass(chunk, Owner::Transmit(side), Owner::Free);
        if done {
            self.free.push(chunk);
        }
        done
    }

    /// Chunk and offset of an address, or `None`, counted.
    fn locate(&mut self, address: u64) -> Option<(u32, u16)> {
        let size = u64::from(self.chunk_size);
        let chunk = u32::try_from(address / size).ok().filter(|&chunk| chunk < self.chunks);
        let offset = u16::try_from(address % size).ok();
        let found = chunk.zip(offset);
        self.rejected += u64::from(found.is_none());
        found
    }

    /// Moves a chunk from one owner to another. `false`, and counted, if it was not with the first.
    fn pass(&mut self, chunk: u32, from: Owner, to: Owner) -> bool {
        match self.owners.get_mut(usize_of(chunk)) {
            Some(owner) if *owner == from => {
                *owner = to;
                true
            }
            _ => {
                self.rejected += 1;
                false
            }
        }
    }
}

impl Drop for Umem {
    fn drop(&mut self) {
        let (base, bytes) = self.range();
        // SAFETY: the range is exactly what `anonymous` mapped, and no slice of it outlives `self`. A socket that
        // still has it registered keeps its own hold on the pages (`xdp_umem_pin_pages`), so unmapping cannot
        // make the kernel write into memory that somebody else gets.
        let _ = unsafe { munmap(base.as_ptr().cast(), bytes) };
    }
}

impl fmt::Debug for Umem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Umem")
            .field("chunks", &self.chunks)
            .field("chunk_size", &self.chunk_size)
            .field("free", &self.free.len())
            .field("rejected", &self.rejected)
            .finish_non_exhaustive()
    }
}

/// A `u32` always fits the address space of the 64-bit targets that have AF_XDP.
const fn usize_of(n: u32) -> usize {
    n as usize
}

#[cfg(test)]
#[path = "umem_tests.rs"]
mod tests;
