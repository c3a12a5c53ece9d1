//! Publishing a table to the workers, and dropping it only when no worker can read it any more.
//!
//! The publisher keeps every snapshot until each worker reports a newer epoch, so the last reference is always the
//! publisher's and a table's destructor never runs on a worker. A worker that does not read (not started, parked,
//! ended) reports [`PARKED`] and holds nothing.

use core::sync::atomic::{AtomicU32, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwapOption, Cache};

use super::hits::RuleHits;
use super::table::PolicyTable;
use crate::verdict::Epoch;

/// The most drafts beside one enforced table: each costs every new flow a decision more.
pub const DRAFTS_MAX: usize = 8;

/// One published table, and the drafts evaluated beside it.
#[derive(Debug)]
pub struct Snapshot {
    /// Its number.
    pub epoch: Epoch,
    /// The table.
    pub table: Arc<PolicyTable>,
    /// How often each of its rules decided.
    pub hits: RuleHits,
    /// At most [`DRAFTS_MAX`], by ascending id.
    pub drafts: Box<[Draft]>,
}

/// A table whose decisions are recorded and never acted on.
#[derive(Debug)]
pub struct Draft {
    /// Its number, the same in every snapshot it is part of.
    pub id: u16,
    /// Its table.
    pub table: Arc<PolicyTable>,
    /// How often each of its rules would have decided, since this snapshot was published.
    pub hits: RuleHits,
}

/// A worker's slot while it holds no snapshot: it has executed everything.
const PARKED: u32 = u32::MAX;
/// A worker's slot between waking and its first report: it may hold any snapshot.
const WAKING: u32 = 0;

/// The epoch a worker executes, alone on its cache line.
#[derive(Debug)]
#[repr(align(64))]
struct Slot(AtomicU32);

/// The control side. One per process.
#[derive(Debug)]
pub struct Publisher {
    current: Arc<ArcSwapOption<Snapshot>>,
    slots: Arc<[Slot]>,
    /// Every snapshot that a worker may still hold, oldest first, the current one last.
    kept: Mutex<Vec<Arc<Snapshot>>>,
    /// The epoch before the first that this publisher gives.
    last: Epoch,
}

impl Publisher {
    /// For workers numbered from 0 to `workers - 1`, none of them reading yet, and nothing published.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self::continuing(workers, Epoch(0))
    }

    /// As [`Publisher::new`], but the first epoch is the one after `last`: a process that takes over from an earlier
    /// one goes on counting where that one stopped, and a record of either names one policy.
    #[must_use]
    pub fn continuing(workers: usize, last: Epoch) -> Self {
        let slots = (0..workers).map(|_| Slot(AtomicU32::new(PARKED))).collect();
        Self { current: Arc::new(ArcSwapOption::empty()), slots, kept: Mutex::new(Vec::new()), last }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Snapshot>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts `table` in force under the next epoch: workers read it with their next batch. 2^31 - 1 epochs can be
    /// published in the life of a process, one a second for 68 years.
    pub fn publish(&self, table: impl Into<Arc<PolicyTable>>) -> Arc<Snapshot> {
        self.publish_with(table, Vec::new())
    }

    /// As [`Publisher::publish`], with drafts, each with its id: the [`DRAFTS_MAX`] of the lowest ids. To change the
    /// drafts only, publish the table in force again: tables are shared, only counters are made.
    pub fn publish_with(
        &self,
        table: impl Into<Arc<PolicyTable>>,
        mut drafts: Vec<(u16, Arc<PolicyTable>)>,
    ) -> Arc<Snapshot> {
        let table = table.into();
        let mut kept = self.lock();
        let epoch = Epoch(kept.last().map_or(self.last, |last| last.epoch).0 + 1);
        let hits = |table: &PolicyTable| RuleHits::new(self.slots.len(), table.rules());
        drafts.sort_by_key(|(id, _)| *id);
        drafts.truncate(DRAFTS_MAX);
        let drafts = drafts.into_iter().map(|(id, table)| Draft { id, hits: hits(&table), table }).collect();
        let snapshot = Arc::new(Snapshot { epoch, hits: hits(&table), table, drafts });
        kept.push(Arc::clone(&snapshot));
        self.current.store(Some(Arc::clone(&snapshot)));
        snapshot
    }

    /// Every snapshot that a worker may still decide by, oldest first, the one in force last.
    #[must_use]
    pub fn kept(&self) -> Vec<Arc<Snapshot>> {
        self.lock().clone()
    }

    /// The snapshot in force.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Snapshot>> {
        self.lock().last().cloned()
    }

    /// The oldest epoch that a worker may still execute: what was published up to it is in force everywhere.
    /// The current epoch if no worker reads.
    #[must_use]
    pub fn executed(&self) -> Epoch {
        let current = self.lock().last().map_or(Epoch(0), |last| last.epoch);
        self.oldest().map_or(current, |oldest| oldest.min(current))
    }

    /// What each worker executes: `None` while it does not read, and epoch 0 until it has read for the first time.
    #[must_use]
    pub fn reported(&self) -> Vec<Option<Epoch>> {
        fence(Ordering::SeqCst);
        let reported = self.slots.iter().map(|slot| slot.0.load(Ordering::Acquire));
        reported.map(|epoch| (epoch != PARKED).then_some(Epoch(epoch))).collect()
    }

    /// The least epoch that a reading worker reports.
    fn oldest(&self) -> Option<Epoch> {
        // Pairs with the fence in `PolicyReader::wake`: either the waking worker is seen here, or it sees the
        // snapshot that was stored before this call.
        fence(Ordering::SeqCst);
        let reported = self.slots.iter().map(|slot| slot.0.load(Ordering::Acquire));
        reported.filter(|epoch| *epoch != PARKED).min().map(Epoch)
    }

    /// Takes out the snapshots that no worker can read any more, for the caller to fold their counters and drop them.
    /// The current one always stays.
    #[must_use = "the counters of a retired snapshot are final: fold them before it is dropped"]
    pub fn retire(&self) -> Vec<Arc<Snapshot>> {
        let mut kept = self.lock();
        let before = self.oldest().map_or(u32::MAX, |oldest| oldest.0);
        let stays = kept.len().saturating_sub(1);
        let gone = kept.iter().take(stays).take_while(|snapshot| snapshot.epoch.0 < before).count();
        kept.drain(..gone).collect()
    }

    /// The reader of one worker; it counts as reading from its first [`PolicyReader::read`] until it is parked or
    /// dropped. Make one reader per worker number: two would hide each other's epoch.
    ///
    /// # Panics
    /// If `worker` is not below the number given to [`Publisher::new`].
    #[must_use]
    pub fn reader(&self, worker: usize) -> PolicyReader {
        assert!(worker < self.slots.len(), "worker {worker} of {}", self.slots.len());
        PolicyReader {
            current: Arc::clone(&self.current),
            slots: Arc::clone(&self.slots),
            worker,
            cache: None,
            reported: PARKED,
        }
    }
}

type SnapshotCache = Cache<Arc<ArcSwapOption<Snapshot>>, Option<Arc<Snapshot>>>;

/// The worker side.
pub struct PolicyReader {
    current: Arc<ArcSwapOption<Snapshot>>,
    slots: Arc<[Slot]>,
    worker: usize,
    cache: Option<SnapshotCache>,
    /// What the slot holds: it is written only by this reader.
    reported: u32,
}

impl PolicyReader {
    /// The snapshot in force, or `None` before the first publish. Called once per batch: one load and a comparison
    /// when nothing changed. No lock, and no table is dropped here; only a thread's first call may allocate.
    #[inline]
    pub fn read(&mut self) -> Option<&Snapshot> {
        self.read_shared(|| {}).map(|snapshot| &**snapshot)
    }

    /// As [`PolicyReader::read`], for a worker that has told others what the policy says. `leave` is called when the
    /// snapshot is not the one of last time, before the worker reports so: when it returns, nobody may act on the
    /// older one any more, and a reference to it that the worker has kept must be gone.
    #[inline]
    pub fn read_shared(&mut self, leave: impl FnOnce()) -> Option<&Arc<Snapshot>> {
        if self.cache.is_none() {
            self.wake();
        }
        let snapshot = self.cache.as_mut()?.load().as_ref();
        let epoch = snapshot.map_or(WAKING, |snapshot| snapshot.epoch.0);
        if epoch != self.reported {
            leave();
            // The reference to the older snapshot was given up before this: whoever sees the epoch may drop that one.
            report(&self.slots, self.worker, epoch);
            self.reported = epoch;
        }
        snapshot
    }

    #[cold]
    fn wake(&mut self) {
        report(&self.slots, self.worker, WAKING);
        self.reported = WAKING;
        // Pairs with the fence in `Publisher::oldest`.
        fence(Ordering::SeqCst);
        self.cache = Some(Cache::new(Arc::clone(&self.current)));
    }

    /// Gives up the snapshot: the worker will not read for a while and holds nothing back. The next
    /// [`PolicyReader::read`] ends it.
    pub fn park(&mut self) {
        self.cache = None;
        report(&self.slots, self.worker, PARKED);
        self.reported = PARKED;
    }
}

fn report(slots: &[Slot], worker: usize, epoch: u32) {
    if let Some(slot) = slots.get(worker) {
        slot.0.store(epoch, Ordering::Release);
    }
}

impl Drop for PolicyReader {
    fn drop(&mut self) {
        self.park();
    }
}

#[cfg(test)]
#[path = "publish_tests.rs"]
mod tests;
