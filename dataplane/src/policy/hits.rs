//! How often each rule decided: exact, without a shared cache line.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::verdict::RuleId;

/// Counters that share one cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([AtomicU64; LINE]);

const LINE: usize = 8;

/// One counter per worker and rule. Each worker adds only to its own shard; anybody may sum. The sum over all rules
/// is the number of decisions made with the table.
#[derive(Debug)]
pub struct RuleHits {
    shards: Box<[Box<[Line]>]>,
}

impl RuleHits {
    pub(super) fn new(workers: usize, rules: u32) -> Self {
        let lines = (rules as usize).div_ceil(LINE);
        let shard = || (0..lines).map(|_| Line::default()).collect();
        Self { shards: (0..workers).map(|_| shard()).collect() }
    }

    fn counter(&self, worker: usize, rule: RuleId) -> Option<&AtomicU64> {
        let at = rule.0 as usize;
        self.shards.get(worker)?.get(at / LINE)?.0.get(at % LINE)
    }

    /// Adds one. Only the worker itself may call this with its number: a load and a store then lose nothing and
    /// cost less than an atomic addition. A worker or rule that does not exist is not counted.
    #[inline]
    pub fn count(&self, worker: usize, rule: RuleId) {
        if let Some(counter) = self.counter(worker, rule) {
            counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        } else {
            debug_assert!(false, "no counter for worker {worker}, rule {}", rule.0);
        }
    }

    /// How often `rule` decided, all workers together; exact once the workers are past this table.
    #[must_use]
    pub fn of(&self, rule: RuleId) -> u64 {
        let count = |worker| self.counter(worker, rule).map_or(0, |counter| counter.load(Ordering::Relaxed));
        (0..self.shards.len()).map(count).fold(0, u64::wrapping_add)
    }

    /// The sum over all rules: how many decisions were made.
    #[must_use]
    pub fn total(&self) -> u64 {
        let counters = self.shards.iter().flatten().flat_map(|line| &line.0);
        counters.map(|counter| counter.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }
}

#[cfg(test)]
mod tests {
    use super::RuleHits;
    use crate::verdict::RuleId;

    #[test]
    fn shards_sum_up() {
        let hits = RuleHits::new(3, 20);
        std::thread::scope(|scope| {
            for worker in 0..3 {
                let hits = &hits;
                scope.spawn(move || (0..1000).for_each(|n| hits.count(worker, RuleId(n % 20))));
            }
        });
        assert_eq!(hits.total(), 3000);
        assert_eq!((0..20).map(|rule| hits.of(RuleId(rule))).collect::<Vec<_>>(), vec![150; 20]);
        assert_eq!(hits.of(RuleId(99)), 0, "a rule that does not exist");
    }
}
