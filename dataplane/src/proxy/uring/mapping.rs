//! Anonymous memory that the kernel may be told the address of.

use core::ffi::c_void;
use core::ptr::{self, NonNull};
use std::io;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// A private, zeroed mapping; pages come when they are first touched. Unmapped when dropped.
pub(super) struct Mapping {
    start: NonNull<c_void>,
    bytes: usize,
}

// SAFETY: the mapping is memory of this process and of no thread in particular; whoever owns it may unmap it.
unsafe impl Send for Mapping {}

impl Mapping {
    /// # Errors
    /// What `mmap(2)` says.
    pub(super) fn new(bytes: usize) -> io::Result<Self> {
        // SAFETY: with a null hint the kernel chooses a range that overlaps nothing of ours.
        let start = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }?;
        let start = NonNull::new(start).ok_or_else(|| io::Error::other("mmap returned null"))?;
        Ok(Self { start, bytes })
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Where it begins: aligned to a page.
    pub(super) const fn start(&self) -> *mut u8 {
        self.start.as_ptr().cast()
    }

    /// Gives the memory up without unmapping it.
    pub(super) fn leak(self) {
        core::mem::forget(self);
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the range of `new`; the owner has seen to it that the kernel uses it no more.
        let _ = unsafe { munmap(self.start.as_ptr(), self.bytes) };
    }
}
