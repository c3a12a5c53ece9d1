//! How often each rule decided, over all tables of this process, by name.
//!
//! A snapshot's counters end with it. They are folded into totals when no worker can read it any more, so the sum of
//! all totals and of the live snapshots is the number of decisions made since the start: hits + defaults =
//! decisions, exactly, across any number of publishes.

use std::collections::BTreeMap;
use std::sync::Arc;

use dataplane::policy::{Publisher, Snapshot};
use dataplane::verdict::{Epoch, RuleId};

use crate::policy::RuleInfo;

/// Names whose counts are kept apart after their rules are gone. Beyond that, they are counted together as
/// [`REMOVED`].
const NAMES_MAX: usize = 200_000;
/// Retired tables whose rule names are still known, for records that workers wrote under them.
const RETIRED_MAX: usize = 4;
/// The name under which rules are counted that are long gone.
pub const REMOVED: &str = "(removed rules)";

/// The rules of one published table; index is the rule's id.
pub type Rules = Arc<[RuleInfo]>;

/// The counts of all tables.
#[derive(Debug, Default)]
pub struct Hits {
    totals: BTreeMap<Arc<str>, u64>,
    /// Oldest first; the last is in force.
    live: Vec<(Arc<Snapshot>, Rules)>,
    retired: Vec<(Epoch, Rules)>,
}

impl Hits {
    /// A table was published.
    pub fn published(&mut self, snapshot: Arc<Snapshot>, rules: Rules) {
        self.live.push((snapshot, rules));
    }

    /// Folds the counters of the tables that no worker reads any more, and drops those tables.
    pub fn retire(&mut self, publisher: &Publisher) {
        for gone in publisher.retire() {
            let Some(at) = self.live.iter().position(|(snapshot, _)| snapshot.epoch == gone.epoch) else {
                continue;
            };
            let (snapshot, rules) = self.live.remove(at);
            add(&mut self.totals, &snapshot, &rules);
            if self.retired.len() == RETIRED_MAX {
                self.retired.remove(0);
            }
            self.retired.push((snapshot.epoch, rules));
        }
        if self.totals.len() > NAMES_MAX {
            self.forget();
        }
    }

    /// Counts what is no longer in force together, so that renaming rules for years takes no memory.
    fn forget(&mut self) {
        let mut kept = BTreeMap::new();
        if let Some((_, rules)) = self.live.last() {
            for rule in rules.iter() {
                if let Some((name, count)) = self.totals.remove_entry(&rule.name) {
                    kept.insert(name, count);
                }
            }
        }
        let rest = self.totals.values().fold(0, |sum: u64, n| sum.wrapping_add(*n));
        *kept.entry(REMOVED.into()).or_default() += rest;
        self.totals = kept;
    }

    /// The count of every rule and default that ever decided or is in force, by name.
    #[must_use]
    pub fn by_name(&self) -> BTreeMap<Arc<str>, u64> {
        let mut sums = self.totals.clone();
        for (snapshot, rules) in &self.live {
            add(&mut sums, snapshot, rules);
        }
        sums
    }

    /// The name of a rule of a table that is in force or was not long ago.
    #[must_use]
    pub fn name(&self, epoch: Epoch, rule: RuleId) -> Option<&str> {
        let live = self.live.iter().rev().map(|(snapshot, rules)| (snapshot.epoch, rules));
        let retired = self.retired.iter().rev().map(|(epoch, rules)| (*epoch, rules));
        let (_, rules) = live.chain(retired).find(|(known, _)| *known == epoch)?;
        rules.get(rule.0 as usize).map(|info| &*info.name)
    }
}

fn add(sums: &mut BTreeMap<Arc<str>, u64>, snapshot: &Snapshot, rules: &[RuleInfo]) {
    for (id, rule) in (0u32..).zip(rules) {
        let count = snapshot.hits.of(RuleId(id));
        match sums.get_mut(&rule.name) {
            Some(sum) => *sum = sum.wrapping_add(count),
            None => drop(sums.insert(Arc::clone(&rule.name), count)),
        }
    }
}
