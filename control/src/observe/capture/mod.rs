//! A capture: copies of frames from the workers, in a file that packet tools read, with what became of each frame.

pub mod pcapng;
mod request;
mod session;

use std::time::Duration;

pub use request::{Plan, Request, RequestError};
pub use session::{Port, Session, Wording};

/// Memory for copies, all workers together, bytes.
const MEMORY: usize = 64 << 20;
/// Copies that one worker may be ahead.
const CHUNKS: core::ops::RangeInclusive<usize> = 64..=4096;

/// When a capture ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// After so many packets.
    pub packets: u64,
    /// After so many bytes of packets.
    pub bytes: u64,
    /// After so long.
    pub time: Duration,
}

/// How many copies of `snap_len` bytes each of so many workers may be ahead.
fn chunks(snap_len: usize, workers: usize) -> usize {
    (MEMORY / workers.max(1) / (snap_len + 256)).clamp(*CHUNKS.start(), *CHUNKS.end())
}
