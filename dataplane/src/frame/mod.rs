//! Frames and where they live.
//!
//! A [`Frame`] is a move-only handle to one UMEM chunk, made only by [`Umem`]. It is in exactly one of five
//! places: fill ring, kernel (received), worker, transmit ring (until completed), free. [`Umem::census`] counts
//! them; tests assert it after every run.

pub mod port;
mod umem;
pub(crate) mod xsk;

use arrayvec::ArrayVec;

pub use umem::{Census, HEADROOM, Umem};

/// The most frames handled together: one read of policy and clock per batch.
pub const BATCH_MAX: usize = 64;

/// A handle to one frame. Not `Clone`: whoever holds it owns the bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// Index of the chunk.
    pub(crate) chunk: u32,
    /// Where the bytes begin inside the chunk.
    pub(crate) offset: u16,
    /// How many bytes.
    pub(crate) len: u16,
}

impl Frame {
    /// Length, bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "an empty frame does not exist")]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }
}

/// Up to [`BATCH_MAX`] frames of one port.
pub type Batch = ArrayVec<Frame, BATCH_MAX>;
