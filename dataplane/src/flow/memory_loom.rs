//! The memory of the flow table under the model checker: the same sets, on the heap.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::entry::{Header, Slots};

#[derive(Debug)]
pub(super) struct Memory {
    headers: Box<[Header]>,
    slots: Box<[Slots]>,
    file: File,
}

impl Memory {
    pub(super) fn create(sets: usize, _secret: [u64; 2]) -> io::Result<Self> {
        Ok(Self {
            headers: (0..sets).map(|_| Header::vacant()).collect(),
            slots: (0..sets).map(|_| Slots::vacant()).collect(),
            file: File::open("/dev/null")?,
        })
    }

    pub(super) fn adopt(_file: OwnedFd) -> io::Result<(Self, [u64; 2])> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "the model has one process"))
    }

    pub(super) fn headers(&self) -> &[Header] {
        &self.headers
    }

    pub(super) fn slots(&self) -> &[Slots] {
        &self.slots
    }

    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

pub(super) fn prefetch<T>(_place: &T) {}
