//! The flow records: collected with the drops, saved now and then, and at the stop.

use std::sync::{Arc, MutexGuard};

use dataplane::verdict::{Epoch, RuleId};
use jiff::Timestamp;

use super::{Engine, lock};
use crate::observe::flows::{RecordLog, Wording};
use crate::observe::follow::Follow;
use crate::observe::hits::Hits;

/// Rule names of the epoch that an event was told under.
struct RuleNames<'a>(MutexGuard<'a, Hits>);

impl Wording for RuleNames<'_> {
    fn rule(&self, epoch: Epoch, rule: RuleId) -> Arc<str> {
        self.0.shared_name(epoch, rule).unwrap_or_else(|| format!("(a rule of epoch {})", epoch.0).into())
    }
}

impl Engine {
    /// Takes what the workers told of flows. To be called before snapshots are retired.
    pub(super) fn collect_flows(&self) {
        let mut records = lock(&self.records);
        records.learn(&self.publisher);
        records.collect(&self.workers, &RuleNames(lock(&self.hits)));
    }

    /// Runs `read` on the flow records, brought up to date.
    pub fn with_records<T>(&self, read: impl FnOnce(&RecordLog) -> T) -> T {
        self.collect_flows();
        read(lock(&self.records).log())
    }

    /// Follows flow events from now on; `None` if `max` do already.
    pub fn follow_flows(&self, max: usize) -> Option<Follow> {
        // What was told before is not for the new one.
        self.collect_flows();
        lock(&self.records).followers().add(max)
    }

    /// Writes the flow records to disk if they changed; takes as long as the disk takes.
    pub fn save_records(&self) {
        self.collect_flows();
        let file = lock(&self.records_file);
        let bytes = lock(&self.records).log_mut().to_save(Timestamp::now());
        if let Some(bytes) = bytes
            && let Err(error) = file.save(&bytes)
        {
            tracing::error!("the flow records were not saved: {error}");
        }
    }
}
