//! The daemon's state and what can be done with it: the policy in force, its publishing, its history.
//!
//! Everything runs on the control thread but two things that take long, which run one at a time on a helper thread of
//! the runtime: validating and compiling a policy, and writing it to disk. The workers see nothing of either.

mod also;
mod canary;
mod candidate;
mod capture;
mod confirm;
mod drafts;
mod error;
mod follow;
mod inventory;
mod overlay;
mod propose;
mod publish;
mod records;
mod simulate;
mod start;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dataplane::counters::{Counter, WorkerCounters};
use dataplane::flow::FlowTable;
use dataplane::policy::{Publisher, Snapshot};
use dataplane::records::DropRecord;
use dataplane::verdict::{Epoch, RuleId, WireId};
use jiff::Timestamp;

use crate::observe::drops::{self, DropKind, Drops, Wording};
use crate::observe::export::Exporters;
use crate::observe::flows::Collector;
use crate::observe::hits::{Hits, Rules};
use crate::observe::names::Names;
use crate::observe::worker::Worker;
use crate::policy::Named;
use crate::policy::analysis::Standing;
use crate::policy::diff::Side;
use crate::policy::explain::Matching;
use crate::policy::valid::ValidPolicy;
use crate::store::{Meta, Store, StoredFile, WholeFile};

pub use also::Also;
pub use canary::Tried;
pub use candidate::{Candidate, Refusal, check};
pub use capture::{Capture, CaptureError};
pub use confirm::Awaiting;
use confirm::Pending;
use drafts::Drafts;
pub use drafts::{Draft, DraftHits, STAGED};
pub use error::PublishError;
pub use inventory::{InventoryChange, InventoryChanged};
use overlay::Overlay;
pub use propose::{EndWanted, Proposal, ProposalTerms};
pub use publish::{Author, Published, Terms};
pub use simulate::{Cut, CutLimit, Recorded, Simulated, Simulation};
pub use start::StartError;
pub(crate) use start::{config_author, config_files};

/// The policy that decides now, with everything that explains it.
#[derive(Clone, Debug)]
pub struct InForce {
    /// What the history says of it.
    pub meta: Meta,
    /// The table and its counters.
    pub snapshot: Arc<Snapshot>,
    /// What the table was compiled from.
    pub policy: Arc<ValidPolicy>,
    /// The rules; index is the rule's id.
    pub rules: Rules,
    /// Of each rule, tiers in order, whether it can decide anything; with the workloads of when it was published.
    pub standings: Arc<[Standing]>,
    /// Its source, as it was published.
    files: Arc<[StoredFile]>,
    /// The inventory as it was changed since; the same for all that is in force under one record.
    inventory: Arc<Mutex<Overlay>>,
    /// The names of its addresses.
    pub names: Arc<Names>,
    /// How long compiling took.
    pub compile: Duration,
}

/// What the engine is given at its start.
pub struct Parts {
    /// The workers, by number; none of them reads yet.
    pub workers: Vec<Worker>,
    /// The wires' names, by [`WireId`].
    pub wires: Vec<String>,
    /// The proxies' names; their numbers come after those of the wires.
    pub proxies: Vec<String>,
    /// The state directory.
    pub store: Store,
    /// The flow table that the workers share; none without wires and proxies.
    pub flows: Option<Arc<FlowTable>>,
    /// How long a publish waits for the workers.
    pub timeout: Duration,
    /// Makes every worker look at the policy soon, even if no frame comes.
    pub wake: Wake,
}

/// Notices that are kept; older ones are in the log.
const NOTICES_MAX: usize = 100;

/// Wakes the workers.
pub type Wake = Box<dyn Fn() + Send + Sync>;

/// The daemon's state. Cheap to share: everything inside is behind a lock that is held for short.
pub struct Engine {
    publisher: Arc<Publisher>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) wires: Vec<String>,
    proxies: Vec<String>,
    flows: Option<Arc<FlowTable>>,
    timeout: Duration,
    wake: Wake,
    /// Held from validation until the workers took the policy: one publish at a time, in order of arrival.
    turn: tokio::sync::Mutex<()>,
    store: Mutex<Store>,
    in_force: Mutex<Option<Arc<InForce>>>,
    hits: Mutex<Hits>,
    drops: Mutex<Drops>,
    records: Mutex<Collector>,
    /// Held while it is written.
    records_file: Mutex<WholeFile>,
    /// Publishes that every worker took, and how long the last one took.
    publishes: Mutex<(u64, Duration)>,
    /// Told of flows as they are recorded.
    exporters: Mutex<Exporters>,
    capturing: capture::Running,
    drafts: Mutex<Drafts>,
    /// Kept from one change of the inventory to the next.
    compiler: Mutex<Option<inventory::Kept>>,
    /// The policy in force, as long as nobody confirmed it.
    pending: Mutex<Option<Pending>>,
    notices: Mutex<Vec<String>>,
    /// Of a process that has taken over.
    seen: Mutex<follow::Seen>,
    /// Which rules match what, under the policy of an epoch.
    matching: Mutex<Option<(Epoch, Matching)>>,
    /// Since when rules are counted.
    pub(crate) since: Timestamp,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while a lock was held is a bug elsewhere; the data are still whole between two statements of ours.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// How tables reach the workers.
    #[must_use]
    pub fn publisher(&self) -> &Arc<Publisher> {
        &self.publisher
    }

    /// The policy that decides now; `None` before the first publish, when everything is dropped.
    #[must_use]
    pub fn in_force(&self) -> Option<Arc<InForce>> {
        lock(&self.in_force).clone()
    }

    /// What was published, newest first.
    #[must_use]
    pub fn history(&self) -> Vec<Meta> {
        lock(&self.store).history().rev().cloned().collect()
    }

    /// What an operator should know about the start, oldest first.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        lock(&self.notices).clone()
    }

    fn notice(&self, text: String) {
        tracing::warn!("{text}");
        let mut notices = lock(&self.notices);
        if notices.len() >= NOTICES_MAX {
            notices.remove(0);
        }
        notices.push(text);
    }

    /// Regular work: collects what the workers tell of flows and drops, and drops the tables no worker reads any more.
    /// Call it about ten times a second.
    pub fn tick(&self) {
        self.collect_flows();
        self.retire();
        lock(&self.hits).look(Timestamp::now());
        self.collect();
    }

    fn retire(&self) {
        let mut drafts = lock(&self.drafts);
        Self::fold(&self.publisher, &mut lock(&self.hits), &mut drafts);
    }

    fn collect(&self) {
        let (mut drops, now) = (lock(&self.drops), Timestamp::now());
        let words = Words { hits: lock(&self.hits), in_force: self.in_force(), engine: self };
        for worker in &self.workers {
            drops.collect(&worker.records, &words, now);
        }
    }

    /// Runs `read` on the rule counts, brought up to date.
    pub(crate) fn with_hits<T>(&self, read: impl FnOnce(&Hits) -> T) -> T {
        self.retire();
        let mut hits = lock(&self.hits);
        hits.look(Timestamp::now());
        read(&hits)
    }

    /// Runs `read` on the drops, brought up to date.
    pub(crate) fn with_drops<T>(&self, read: impl FnOnce(&Drops) -> T) -> T {
        self.collect();
        read(&lock(&self.drops))
    }

    /// How many publishes every worker took, and how long the last one took from its text on.
    #[must_use]
    pub fn publishes(&self) -> (u64, Duration) {
        *lock(&self.publishes)
    }

    /// The flow table that the workers share; none without wires.
    #[must_use]
    pub fn flow_table(&self) -> Option<&FlowTable> {
        self.flows.as_deref()
    }

    /// The wires' names, by [`WireId`].
    #[must_use]
    pub fn wire_names(&self) -> &[String] {
        &self.wires
    }

    /// The names of all wires and proxies, by [`WireId`].
    #[must_use]
    pub fn all_names(&self) -> Vec<String> {
        [self.wires.as_slice(), &self.proxies].concat()
    }

    /// The name of a wire or proxy.
    pub(crate) fn wire_name(&self, wire: WireId) -> &str {
        let all = self.wires.iter().chain(&self.proxies);
        all.map(String::as_str).nth(usize::from(wire.0)).unwrap_or_default()
    }

    /// The name of a rule of a table that is in force or was not long ago.
    pub(crate) fn rule_name(&self, epoch: Epoch, rule: RuleId) -> Option<String> {
        lock(&self.hits).name(epoch, rule).map(str::to_owned)
    }

    /// Adds up one count over the workers.
    pub(crate) fn sum(&self, count: impl Fn(&WorkerCounters) -> &Counter) -> u64 {
        self.workers.iter().map(|worker| count(&worker.counters).get()).fold(0, u64::wrapping_add)
    }
}

impl InForce {
    /// Its source, with the inventory as it was changed.
    #[must_use]
    pub fn source(&self) -> Vec<StoredFile> {
        lock(&self.inventory).join(self.files.to_vec())
    }

    /// The table with the names of its rules.
    pub(crate) fn named(&self) -> Named<'_> {
        Named { table: &self.snapshot.table, rules: &self.rules }
    }

    /// As one side of a comparison.
    pub(crate) fn side(&self) -> Side<'_> {
        Side { policy: &self.policy, compiled: self.named(), staged: false }
    }
}

/// The words of drop records: rule names of the epoch they were written under, names of addresses of now.
struct Words<'a> {
    hits: MutexGuard<'a, Hits>,
    in_force: Option<Arc<InForce>>,
    engine: &'a Engine,
}

impl Wording for Words<'_> {
    fn kind(&self, record: &DropRecord) -> DropKind {
        let unnamed = |epoch: Epoch| format!("(a rule of epoch {})", epoch.0);
        let rule = record.rule.map(|rule| {
            self.hits.name(record.epoch, rule).map_or_else(|| unnamed(record.epoch), str::to_owned)
        });
        let wire = self.engine.wire_name(record.wire).to_owned();
        drops::kind(record, rule, wire, |address| match &self.in_force {
            Some(now) => now.names.who(address, &now.snapshot.table, &now.policy),
            None => crate::observe::names::Who::Unknown,
        })
    }
}
