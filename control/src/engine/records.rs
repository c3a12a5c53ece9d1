//! The flow records: collected with the drops, saved now and then, and at the stop.

use std::net::IpAddr;
use std::sync::{Arc, MutexGuard};

use dataplane::records::FlowEvent;
use dataplane::verdict::{Epoch, RuleId};
use jiff::Timestamp;

use super::{Engine, InForce, lock};
use crate::observe::export::told::Scene;
use crate::observe::export::{ExporterView, Exporters, Words};
use crate::observe::flows::{Clock, RecordLog, Wording};
use crate::observe::follow::Follow;
use crate::observe::hits::Hits;
use crate::observe::names::UNKNOWN;

/// Rule names of the epoch that an event was told under and labels of now, for the records and the exporters.
struct FlowWords<'a> {
    hits: MutexGuard<'a, Hits>,
    exporters: MutexGuard<'a, Exporters>,
    in_force: Option<Arc<InForce>>,
}

impl Wording for FlowWords<'_> {
    fn rule(&self, epoch: Epoch, rule: RuleId) -> Arc<str> {
        self.hits.shared_name(epoch, rule).unwrap_or_else(|| format!("(a rule of epoch {})", epoch.0).into())
    }

    fn tier(&self, epoch: Epoch, rule: RuleId) -> Option<Arc<str>> {
        self.hits.tier(epoch, rule)
    }

    fn labels(&self, address: IpAddr) -> Arc<str> {
        let words = self.in_force.as_ref().map(|now| {
            let (table, policy) = (&now.snapshot.table, &now.policy);
            now.names.in_labels(address.into(), table, policy)
        });
        words.unwrap_or_else(|| UNKNOWN.to_owned()).into()
    }

    fn hear(&self, event: &FlowEvent, clock: Clock) {
        if self.exporters.is_empty() {
            return;
        }
        let tier =
            self.hits.info(event.epoch, event.rule).map_or_else(Arc::default, |info| Arc::clone(&info.tier));
        let words = Words {
            times: [clock.wall(event.at), clock.time(event.first_seen), clock.time(event.last_seen)],
            rule: [self.rule(event.epoch, event.rule), tier],
            potential: event.potential.map(|rule| self.rule(event.epoch, rule)),
        };
        self.exporters.tell(event, words);
    }
}

impl Engine {
    /// Takes what the workers told of flows. To be called before snapshots are retired.
    pub(super) fn collect_flows(&self) {
        let mut records = lock(&self.records);
        records.learn(&self.publisher);
        let in_force = self.in_force();
        let words = FlowWords { hits: lock(&self.hits), exporters: lock(&self.exporters), in_force };
        records.collect(&self.workers, &words);
    }

    /// From now on, what is told of flows goes to `exporters` too.
    pub fn export_to(&self, mut exporters: Exporters) {
        if let Some(now) = self.in_force() {
            tell_exporters(&mut exporters, &now);
        }
        *lock(&self.exporters) = exporters;
    }

    /// How the exporters are.
    #[must_use]
    pub fn exporters(&self) -> Vec<ExporterView> {
        lock(&self.exporters).view()
    }

    /// Collects a last time, and lets the exporters send what they have; takes a few seconds at most.
    pub fn close_exporters(&self) {
        self.collect_flows();
        let exporters = lock(&self.exporters).take();
        // Without the lock: their threads end here.
        drop(exporters);
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

/// Lets exporters know what is in force.
pub(super) fn tell_exporters(exporters: &mut Exporters, now: &InForce) {
    let scene = Scene {
        names: Arc::clone(&now.names),
        snapshot: Arc::clone(&now.snapshot),
        policy: Arc::clone(&now.policy),
    };
    exporters.published(now.snapshot.epoch, &now.meta.policy_hash, scene);
}
