//! How often something may be done.

use crate::clock::Now;

/// A bucket that fills with time and is emptied by use.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    /// Nanoseconds of waiting that one token costs.
    cost: u64,
    /// The most nanoseconds that count.
    depth: u64,
    /// Until when time was spent: nanoseconds.
    spent: u64,
}

impl TokenBucket {
    /// `per_second` tokens a second (at least 1), and at most `burst` at once; full at the start.
    #[must_use]
    pub const fn new(per_second: u32, burst: u32) -> Self {
        let per_second = if per_second == 0 { 1 } else { per_second };
        let cost = 1_000_000_000 / per_second as u64;
        Self { cost, depth: cost * burst as u64, spent: 0 }
    }

    /// Takes a token at `now`, if there is one. A clock that goes back costs nothing and gives nothing.
    #[must_use]
    pub fn take(&mut self, now: Now) -> bool {
        let now = now.as_nanos();
        let spent = self.spent.max(now.saturating_sub(self.depth)).saturating_add(self.cost);
        let enough = spent <= now;
        if enough {
            self.spent = spent;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let mut bucket = TokenBucket::new(10, 3);
        let start = Now::from_nanos(1_000_000_000_000);
        // (milliseconds after the start, tokens asked for, tokens given)
        for (at, asked, given) in
            [(0, 5, 3), (99, 1, 0), (100, 2, 1), (250, 2, 1), (300, 2, 1), (90_000, 9, 3)]
        {
            let now = start.plus_millis(at);
            let got = (0..asked).filter(|_| bucket.take(now)).count();
            assert_eq!(got, given, "at {at} ms");
        }
        assert!(!bucket.take(start), "a clock that went back");
    }
}
