//! How often each rule decided, over all tables of this process, by name.
//!
//! A snapshot's counters end with it. They are folded into totals when no worker can read it any more, so the sum of
//! all totals and of the live snapshots is the number of decisions made since the start: hits + defaults =
//! decisions, exactly, across any number of publishes.
//!
//! Workers only count. When a rule decided last is when its count was last seen to have grown.

mod seen;
mod since;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use dataplane::policy::Snapshot;
use dataplane::verdict::{Epoch, RuleId};
use jiff::Timestamp;

use crate::policy::RuleInfo;
use seen::Seen;
pub use since::Lineage;

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

/// What is known of one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// Decisions since the start.
    pub hits: u64,
    /// When the last of them was seen.
    pub last: Option<Timestamp>,
}

impl Uses {
    fn add(&mut self, other: Self) {
        self.hits = self.hits.wrapping_add(other.hits);
        self.last = self.last.max(other.last);
    }
}

/// A table that workers may still read.
#[derive(Debug)]
struct Live {
    snapshot: Arc<Snapshot>,
    rules: Rules,
    seen: Seen,
}

/// A table that nobody reads any more.
#[derive(Debug)]
struct Retired {
    epoch: Epoch,
    rules: Rules,
    /// When its policy was published.
    at: Timestamp,
}

/// The counts of all tables.
#[derive(Debug, Default)]
pub struct Hits {
    totals: BTreeMap<Arc<str>, Uses>,
    /// Oldest first; the last is in force. With the time its policy was published.
    live: Vec<(Live, Timestamp)>,
    /// Oldest first. Tables with equal rules share them.
    retired: VecDeque<Retired>,
    /// The rules in `retired`, shared ones counted as often as they are there.
    retired_rules: usize,
}

impl Hits {
    /// A table was published, of a policy that was published at `at`.
    pub fn published(&mut self, snapshot: Arc<Snapshot>, rules: Rules, at: Timestamp) {
        // A publish that changes only workloads keeps the rules.
        let rules = match self.live.last() {
            Some((last, _)) if last.rules == rules => Arc::clone(&last.rules),
            _ => rules,
        };
        let seen = Seen::new(rules.len());
        self.live.push((Live { snapshot, rules, seen }, at));
    }

    /// Looks at some of the counters, to see which have grown by `now`. Takes bounded time: all of up to
    /// `seen::LOOKS` rules each time, more in turns.
    pub fn look(&mut self, now: Timestamp) {
        for (live, _) in &mut self.live {
            live.seen.look(&live.snapshot.hits, now);
        }
    }

    /// Folds the counters of a table that no worker reads any more, and drops it.
    pub fn retired(&mut self, gone: &Snapshot, now: Timestamp) {
        let Some(at) = self.live.iter().position(|(live, _)| live.snapshot.epoch == gone.epoch) else {
            return;
        };
        let (mut live, published) = self.live.remove(at);
        live.seen.look_at_all(&live.snapshot.hits, now);
        add(&mut self.totals, &live);
        self.remember(Retired { epoch: live.snapshot.epoch, rules: live.rules, at: published });
        if self.totals.len() > NAMES_MAX {
            self.forget();
        }
    }

    fn remember(&mut self, gone: Retired) {
        self.retired_rules += gone.rules.len();
        self.retired.push_back(gone);
        while self.retired.len() > RETIRED_MAX || self.retired_rules > RETIRED_RULES_MAX {
            let Some(oldest) = self.retired.pop_front() else { break };
            self.retired_rules -= oldest.rules.len();
        }
    }

    /// Counts what is no longer in force together, so that renaming rules for years takes no memory.
    fn forget(&mut self) {
        let mut kept = BTreeMap::new();
        if let Some((last, _)) = self.live.last() {
            for rule in last.rules.iter() {
                if let Some((name, count)) = self.totals.remove_entry(&rule.name) {
                    kept.insert(name, count);
                }
            }
        }
        let rest = kept.entry(REMOVED.into()).or_default();
        self.totals.values().for_each(|uses| rest.add(*uses));
        self.totals = kept;
    }

    /// The count of every rule and default that ever decided or is in force, by name.
    #[must_use]
    pub fn by_name(&self) -> BTreeMap<Arc<str>, u64> {
        self.uses().into_iter().map(|(name, uses)| (name, uses.hits)).collect()
    }

    /// The same, with when each decided last.
    #[must_use]
    pub fn uses(&self) -> BTreeMap<Arc<str>, Uses> {
        let mut sums = self.totals.clone();
        for (live, _) in &self.live {
            add(&mut sums, live);
        }
        sums
    }

    /// Which rules there were when, as far back as is known.
    #[must_use]
    pub fn lineage(&self) -> Lineage {
        let retired = self.retired.iter().map(|gone| (gone.at, &gone.rules));
        Lineage::new(retired.chain(self.live.iter().map(|(live, at)| (*at, &live.rules))))
    }

    /// The counts of the first `most` rules in force and of all defaults in force, by name, and the sum of every other
    /// count. All together are [`Hits::by_name`].
    #[must_use]
    pub fn first(&self, most: usize) -> (Vec<(Arc<str>, u64)>, u64) {
        let rules = self.live.last().map(|(last, _)| Arc::clone(&last.rules)).unwrap_or_default();
        let (defaults, others): (Vec<_>, Vec<_>) = rules.iter().partition(|rule| &*rule.tier == "default");
        let named = others.into_iter().take(most).chain(defaults).map(|rule| &rule.name);
        let mut counts: Vec<(Arc<str>, u64)> =
            named.map(|name| (Arc::clone(name), self.totals.get(name).map_or(0, |uses| uses.hits))).collect();
        let places: HashMap<Arc<str>, usize> =
            (0..).zip(&counts).map(|(at, (name, _))| (Arc::clone(name), at)).collect();
        let mut all = self.totals.values().fold(0, |sum: u64, uses| sum.wrapping_add(uses.hits));
        for (live, _) in &self.live {
            for (id, rule) in (0u32..).zip(live.rules.iter()) {
                let count = live.snapshot.hits.of(RuleId(id));
                all = all.wrapping_add(count);
                if let Some(at) = places.get(&rule.name).filter(|_| count > 0) {
                    counts[*at].1 = counts[*at].1.wrapping_add(count);
                }
            }
        }
        let told = counts.iter().fold(0, |sum: u64, (_, count)| sum.wrapping_add(*count));
        (counts, all.wrapping_sub(told))
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

    /// The tier of a rule, likewise.
    #[must_use]
    pub fn tier(&self, epoch: Epoch, rule: RuleId) -> Option<Arc<str>> {
        self.info(epoch, rule).map(|info| Arc::clone(&info.tier))
    }

    /// The rule itself.
    #[must_use]
    pub fn info(&self, epoch: Epoch, rule: RuleId) -> Option<&RuleInfo> {
        let live = self.live.iter().rev().find(|(live, _)| live.snapshot.epoch == epoch);
        let rules = live.map(|(live, _)| &live.rules).or_else(|| {
            let at = self.retired.binary_search_by_key(&epoch, |known| known.epoch).ok()?;
            self.retired.get(at).map(|known| &known.rules)
        })?;
        rules.get(rule.0 as usize)
    }
}

fn add(sums: &mut BTreeMap<Arc<str>, Uses>, live: &Live) {
    for (id, rule) in (0u32..).zip(live.rules.iter()) {
        let uses = Uses { hits: live.snapshot.hits.of(RuleId(id)), last: live.seen.last(id) };
        match sums.get_mut(&rule.name) {
            Some(sum) => sum.add(uses),
            None => drop(sums.insert(Arc::clone(&rule.name), uses)),
        }
    }
}
