//! The memory of the flow table: one `memfd`, so that a successor process can take the flows over.
//!
//! The only file here with `unsafe`: it turns the mapping into slices of [`Header`], [`Entry`] and [`Rare`].
#![allow(unsafe_code, reason = "owns the mapping that the flow table is a view of")]

use core::ffi::c_void;
use core::ptr::{self, NonNull};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, ftruncate, memfd_create};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

use super::entry::{Entry, Header, Rare, WAYS};

/// The first page of the file: what a successor must know to read the rest.
const PAGE: usize = 4096;
/// A huge page, bytes: what one entry of the page table's second level maps on x86-64 and, with small pages of 4 KiB,
/// on aarch64. Another size would only make [`Memory::collapse`] fail.
const HUGE: usize = 2 << 20;
/// Bytes that each set has in the arrays of headers and of entries.
const HEADERS: usize = size_of::<Header>();
const ENTRIES: usize = WAYS * size_of::<Entry>();
/// Names the layout; changes with them.
const MAGIC: u64 = u64::from_le_bytes(*b"RFflow\x00\x05");
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// The mapping. Unmapped when dropped; the file lives on while anybody holds its descriptor.
#[derive(Debug)]
pub(super) struct Memory {
    start: NonNull<c_void>,
    reserved: usize,
    base: NonNull<c_void>,
    sets: usize,
    file: File,
}

// SAFETY: the mapping is reached only as slices of `Header`, `Entry` and `Rare`, which are made of atomics, so any number
// of threads may share it; it is unmapped by whichever thread drops the last owner, which munmap(2) allows.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// New memory, all sets vacant. `secret` is kept in the file's first page for a successor.
    ///
    /// # Errors
    /// What `memfd_create(2)`, `ftruncate(2)`, `fcntl(F_ADD_SEALS)` or `mmap(2)` say.
    pub(super) fn create(sets: usize, secret: [u64; 2]) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = File::from(memfd_create("ringfence-flows", flags)?);
        ftruncate(&file, bytes(sets)? as u64)?;
        fcntl_add_seals(&file, SEALS)?;
        // Mapped before it is written: a write would allocate the first pages, and small ones.
        let memory = Self::map(sets, file)?;
        for (at, word) in [MAGIC, sets as u64, secret[0], secret[1]].into_iter().enumerate() {
            memory.file.write_all_at(&word.to_le_bytes(), at as u64 * 8)?;
        }
        Ok(memory)
    }

    /// The memory of a predecessor, and its secret.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if the file is no flow table of this layout, or could still change its size.
    pub(super) fn adopt(file: OwnedFd) -> io::Result<(Self, [u64; 2])> {
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let file = File::from(file);
        if !fcntl_get_seals(&file)?.contains(SEALS) {
            return Err(invalid("the flow table's file is not sealed against resizing"));
        }
        let mut words = [0u64; 4];
        for (at, word) in words.iter_mut().enumerate() {
            let mut raw = [0; 8];
            file.read_exact_at(&mut raw, at as u64 * 8)?;
            *word = u64::from_le_bytes(raw);
        }
        let sets = usize::try_from(words[1]).map_err(|_| invalid("the flow table is too large"))?;
        if words[0] != MAGIC || !sets.is_power_of_two() || file.metadata()?.len() != bytes(sets)? as u64 {
            return Err(invalid("the file is no flow table of this version"));
        }
        Ok((Self::map(sets, file)?, [words[2], words[3]]))
    }

    fn map(sets: usize, file: File) -> io::Result<Self> {
        let len = bytes(sets)?;
        // A huge page of the file can only be mapped at a multiple of its size, so room for moving up is reserved.
        let reserved = len + HUGE;
        // SAFETY: with a null hint the kernel chooses a range that overlaps nothing of ours.
        let start =
            unsafe { mmap_anonymous(ptr::null_mut(), reserved, ProtFlags::empty(), MapFlags::PRIVATE) }?;
        let base = start.map_addr(|addr| addr.next_multiple_of(HUGE));
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        // SAFETY: `base` is less than `HUGE` after the start of the reservation, so the range is inside it; nobody
        // else knows of the reservation yet.
        let mapped = unsafe { mmap(base, len, ProtFlags::READ | ProtFlags::WRITE, flags, &file, 0) };
        let memory = NonNull::new(start)
            .zip(NonNull::new(base))
            .map(|(start, base)| Self { start, reserved, base, sets, file })
            .ok_or_else(|| io::Error::other("mmap returned null"))?;
        mapped?;
        memory.populate(len);
        Ok(memory)
    }

    /// Backs the mapping with pages now, huge ones where the kernel has them: a lookup reads up to four lines that
    /// are far apart, and with small pages each of them costs a walk of the page table. Whatever is refused costs
    /// speed only.
    fn populate(&self, len: usize) {
        let mut at = 0;
        while at + HUGE <= len && self.collapse(at) {
            at += HUGE;
        }
        let rest = self.base.as_ptr().wrapping_byte_add(at);
        // SAFETY: what is left of the mapping; the advice changes how it is backed, not what it holds.
        let _ = unsafe { madvise(rest, len - at, Advice::LinuxPopulateWrite) };
    }

    /// Backs one huge page's worth of the mapping with a huge page. `MADV_COLLAPSE` (Linux 6.1) does so whatever
    /// `/sys/kernel/mm/transparent_hugepage/shmem_enabled` says, which is `never` on most systems, but only where
    /// there is a page already.
    fn collapse(&self, at: usize) -> bool {
        let start = self.base.as_ptr().wrapping_byte_add(at);
        // SAFETY: a page of the mapping, since the caller keeps `at + HUGE` within it; the advice changes how it is
        // backed, not what it holds.
        let touched = unsafe { madvise(start, PAGE, Advice::LinuxPopulateWrite) };
        // SAFETY: from there to `at + HUGE`, within the mapping too; likewise.
        touched.is_ok() && unsafe { libc::madvise(start, HUGE, libc::MADV_COLLAPSE) } == 0
    }

    /// The header of each set.
    #[inline(always)]
    pub(super) fn headers(&self) -> &[Header] {
        // SAFETY: `Header`s begin at PAGE and there are `sets` of them.
        unsafe { self.slice(PAGE, self.sets) }
    }

    /// The flows: the first of each set, then the second of each, and so on.
    #[inline(always)]
    pub(super) fn entries(&self) -> &[Entry] {
        // SAFETY: `Entry`s begin behind the headers and there are `sets * WAYS` of them.
        unsafe { self.slice(PAGE + self.sets * HEADERS, self.sets * WAYS) }
    }

    /// What is rarely needed of each flow, in the same order.
    #[inline(always)]
    pub(super) fn rare(&self) -> &[Rare] {
        // SAFETY: `Rare`s begin behind the entries and there are `sets * WAYS` of them.
        unsafe { self.slice(PAGE + self.sets * (HEADERS + ENTRIES), self.sets * WAYS) }
    }

    /// `count` values of `T` from byte `at` of the mapping.
    ///
    /// # Safety
    /// `T` is one of `Header`, `Entry` and `Rare`, and `at` and `count` are those of its array.
    #[inline(always)]
    unsafe fn slice<T>(&self, at: usize, count: usize) -> &[T] {
        // SAFETY: all three arrays are inside the mapping, whose length is `bytes(sets)` at least.
        let first = unsafe { self.base.byte_add(at) }.cast::<T>();
        // SAFETY: as before, and the mapping lives as long as `self`. It cannot shrink under us: the file is sealed
        // (SEALS is checked on adoption too), so no access can fault. The kernel aligns it to a page, PAGE is a multiple
        // of 64, and so are the sizes of `Header` and `Entry`, so every value is aligned. They hold only atomics and
        // padding: any bytes are a valid one, and writers elsewhere, even in another process, write through the same
        // atomics.
        unsafe { core::slice::from_raw_parts(first.as_ptr(), count) }
    }

    /// The file, to hand to a successor.
    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: exactly the range of `map`; slices of it borrow `self` and are gone.
        let _ = unsafe { munmap(self.start.as_ptr(), self.reserved) };
    }
}

/// Length of the file: from a huge page on, a whole number of them.
fn bytes(sets: usize) -> io::Result<usize> {
    let too_large = || io::Error::new(io::ErrorKind::InvalidInput, "the flow table is too large");
    let len = sets
        .checked_mul(HEADERS + ENTRIES + WAYS * size_of::<Rare>())
        .and_then(|len| len.checked_add(PAGE))
        .ok_or_else(too_large)?;
    if len < HUGE { Ok(len) } else { len.checked_next_multiple_of(HUGE).ok_or_else(too_large) }
}
