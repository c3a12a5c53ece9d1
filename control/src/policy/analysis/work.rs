//! A limit of work that counts steps, not time: the same policy gets the same answer on every machine.

/// Steps that may still be taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work(u64);

/// The limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

impl Work {
    pub(super) const fn new(steps: u64) -> Self {
        Self(steps)
    }

    /// Takes `steps`.
    pub(super) fn take(&mut self, steps: usize) -> Result<(), Exhausted> {
        let left = self.0.checked_sub(steps as u64);
        self.0 = left.unwrap_or(0);
        left.map(|_| ()).ok_or(Exhausted)
    }
}
