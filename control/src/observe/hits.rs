//! How often each rule decided, over all tables of this process, by name.
//!
//! A snapshot's counters end with it. They are folded into totals when no worker can read it any more, so the sum of
//! all totals and of the live snapshots is the number of decisions made since the start: hits + defaults =
//! decisions, exactly, across any number of publishes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use dataplane::policy::Snapshot;
use dataplane::verdict::{Epoch, RuleId};

use crate::policy::RuleInfo;

/// Names whose counts are kept apart after their rules are gone. Beyond that, they are counted together as
/// [`REMOVED`].
const NAMES_MAX: usize = 200_000;
/// Rules of retired tables whose names are still known, all tables together: for flows that had no packet since, and
/// for records that workers wrote under them. About 100 bytes each.
const RETIRED_RULES_MAX: usize = 1_000_000;
/// Retired tables whose names are still known, if they have few rules.
const RETIRED_MAX: usize = 10_000;
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
    /// Oldest first. Tables with equal rules share them.
    retired: VecDeque<(Epoch, Rules)>,
    /// The rules in `retired`, shared ones counted as often as they are there.
    retired_rules: usize,
}

impl Hits {
    /// A table was published.
    pub fn published(&mut self, snapshot: Arc<Snapshot>, rules: Rules) {
        // A publish that changes only workloads keeps the rules.
        let rules = match self.live.last() {
            Some((_, last)) if *last == rules => Arc::clone(last),
            _ => rules,
        };
        self.live.push((snapshot, rules));
    }

    /// Folds the counters of a table that no worker reads any more, and drops it.
    pub fn retired(&mut self, gone: &Snapshot) {
        let Some(at) = self.live.iter().position(|(snapshot, _)| snapshot.epoch == gone.epoch) else {
            return;
        };
        let (snapshot, rules) = self.live.remove(at);
        add(&mut self.totals, &snapshot, &rules);
        self.remember(snapshot.epoch, rules);
        if self.totals.len() > NAMES_MAX {
            self.forget();
        }
    }

    fn remember(&mut self, epoch: Epoch, rules: Rules) {
        self.retired_rules += rules.len();
        self.retired.push_back((epoch, rules));
        while self.retired.len() > RETIRED_MAX || self.retired_rules > RETIRED_RULES_MAX {
            let Some((_, oldest)) = self.retired.pop_front() else { break };
            self.retired_rules -= oldest.len();
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
        self.info(epoch, rule).map(|info| &*info.name)
    }

    /// The same, shared with the table's own list.
    #[must_use]
    pub fn shared_name(&self, epoch: Epoch, rule: RuleId) -> Option<Arc<str>> {
        self.info(epoch, rule).map(|info| Arc::clone(&info.name))
    }

    fn info(&self, epoch: Epoch, rule: RuleId) -> Option<&RuleInfo> {
        let live = self.live.iter().rev().find(|(snapshot, _)| snapshot.epoch == epoch);
        let rules = live.map(|(_, rules)| rules).or_else(|| {
            let at = self.retired.binary_search_by_key(&epoch, |(known, _)| *known).ok()?;
            self.retired.get(at).map(|(_, rules)| rules)
        })?;
        rules.get(rule.0 as usize)
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
