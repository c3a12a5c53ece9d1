//! The memory of the flow table under the model checker: the same sets, on the heap.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::entry::{Entry, Header, Rare, WAYS};

#[derive(Debug)]
pub(super) struct Memory {
    headers: Box<[Header]>,
    entries: Box<[Entry]>,
    rare: Box<[Rare]>,
    file: File,
}

impl Memory {
    pub(super) fn create(sets: usize, _secret: [u64; 2]) -> io::Result<Self> {
        Ok(Self {
            headers: (0..sets).map(|_| Header::vacant()).collect(),
            entries: (0..sets * WAYS).map(|_| Entry::vacant()).collect(),
            rare: (0..sets * WAYS).map(|_| Rare::vacant()).collect(),
            file: File::open("/dev/null")?,
        })
    }

    pub(super) fn adopt(_file: OwnedFd) -> io::Result<(Self, [u64; 2])> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "the model has one process"))
    }

    pub(super) fn headers(&self) -> &[Header] {
        &self.headers
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn rare(&self) -> &[Rare] {
        &self.rare
    }

    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
