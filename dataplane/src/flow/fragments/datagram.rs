//! One fragmented datagram: which of its bytes have been claimed.

use arrayvec::ArrayVec;

use crate::headers::Fragment;
use crate::verdict::DropReason;

/// The most fragments of one datagram that are followed: 64 KiB in fragments of an MTU of 576 take 119.
pub(super) const PARTS_MAX: usize = 128;

/// The bytes of one fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    start: u32,
    end: u32,
    more: bool,
}

impl Part {
    pub(super) fn of(fragment: &Fragment) -> Self {
        let start = u32::from(fragment.offset);
        Self { start, end: start + u32::from(fragment.len), more: fragment.more }
    }

    /// A first fragment of `len` bytes.
    pub(super) fn head(len: u16) -> Self {
        Self { start: 0, end: u32::from(len), more: true }
    }
}

/// Where a fragment's bytes lie among those already seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// Among none of them.
    Fits,
    /// Exactly those of an earlier fragment.
    Duplicate,
    /// The datagram is no longer credible, or has too many parts.
    Refused(DropReason),
}

/// A slot of the table.
#[derive(Debug)]
pub(super) struct Datagram {
    pub(super) words: [u64; 5],
    pub(super) in_use: bool,
    /// When it is forgotten: milliseconds, modulo 2^32.
    pub(super) deadline: u32,
    /// What happens to later fragments, once that is known.
    pub(super) verdict: Option<Result<(), DropReason>>,
    /// How many frames are held for it.
    pub(super) held: usize,
    parts: ArrayVec<Part, PARTS_MAX>,
}

impl Datagram {
    pub(super) const fn vacant() -> Self {
        Self {
            words: [0; 5],
            in_use: false,
            deadline: 0,
            verdict: None,
            held: 0,
            parts: ArrayVec::new_const(),
        }
    }

    pub(super) fn begin(&mut self, words: [u64; 5], deadline: u32) {
        self.words = words;
        self.in_use = true;
        self.deadline = deadline;
        self.verdict = None;
        self.held = 0;
        self.parts.clear();
    }

    pub(super) fn forget(&mut self) {
        self.in_use = false;
        self.parts.clear();
    }

    /// Claims the bytes of `part`.
    pub(super) fn place(&mut self, part: Part) -> Placed {
        if self.parts.contains(&part) {
            return Placed::Duplicate;
        }
        let clashes = |other: &Part| {
            let overlaps = part.start < other.end && other.start < part.end;
            // Only one fragment may be the last, and nothing may lie beyond it.
            let beyond = (!other.more && part.end > other.end) || (!part.more && other.end > part.end);
            overlaps || beyond || (!other.more && !part.more)
        };
        if part.start == part.end || self.parts.iter().any(clashes) {
            return Placed::Refused(DropReason::FragmentOverlap);
        }
        match self.parts.try_push(part) {
            Ok(()) => Placed::Fits,
            Err(_) => Placed::Refused(DropReason::FragmentTableFull),
        }
    }

    /// Whether all bytes have been seen. They do not overlap, so their sum decides.
    pub(super) fn is_complete(&self) -> bool {
        let last = self.parts.iter().find(|part| !part.more);
        last.is_some_and(|last| last.end == self.parts.iter().map(|part| part.end - part.start).sum::<u32>())
    }
}
