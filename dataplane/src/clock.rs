//! Time on the packet path: read once per batch, passed down as a value.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds on `CLOCK_MONOTONIC`. A value, never a clock: tests and replays make their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now(u64);

impl Now {
    /// Reads `CLOCK_MONOTONIC` (the vDSO answers: no system call on this kernel's TSC clock source).
    #[must_use]
    pub fn read() -> Self {
        let t = clock_gettime(ClockId::Monotonic);
        let seconds = u64::try_from(t.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(t.tv_nsec).unwrap_or(0);
        Self(seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos))
    }

    /// A made-up instant, `nanos` after the clock's zero.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's zero.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the clock's zero, modulo 2^32 (49 days): compare with wrapping arithmetic.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "wraps on purpose; see the docstring")]
    pub const fn as_millis32(self) -> u32 {
        (self.0 / 1_000_000) as u32
    }

    /// Whole microseconds since the clock's zero, modulo 2^32 (71 minutes): for short times between two instants.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "wraps on purpose; see the docstring")]
    pub const fn as_micros32(self) -> u32 {
        (self.0 / 1000) as u32
    }

    /// This instant moved forward by `millis`.
    #[must_use]
    pub const fn plus_millis(self, millis: u64) -> Self {
        Self(self.0 + millis * 1_000_000)
    }
}
