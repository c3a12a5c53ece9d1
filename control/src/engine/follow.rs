//! Under the policy of another process: after it has taken over, and until the last connection here has ended.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use dataplane::verdict::Epoch;

use super::overlay::Overlay;
use super::start::load_one;
use super::{Engine, InForce, lock};
use crate::store::{Store, StoreError};

/// How often in a row the other's state may be unreadable: it may be in the middle of a write.
const ATTEMPTS: u32 = 20;

/// After so long, nothing more is written under the same time stamp.
const SETTLED: Duration = Duration::from_secs(2);

/// What was seen last of the other's state.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// When something was written last, and how long the journal of the newest record was.
    written: Option<(SystemTime, u64)>,
    /// The newest record, and the bytes of its journal.
    newest: (u32, u64),
    /// How often it could not be read since.
    failed: u32,
}

impl Engine {
    /// Waits for its turn; nothing is published until it is given back.
    pub(crate) async fn hold(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Lets go of the state directory, for another process. Nothing may be published from then on.
    pub(crate) fn release_store(&self) {
        let mut store = lock(&self.store);
        store.release();
        lock(&self.seen).newest = store.newest();
    }

    /// Has the state directory again.
    pub(crate) fn retake_store(&self, store: Store) {
        *lock(&self.store) = store;
    }

    /// Puts what the other process published last in force here too, inventory included. To be called regularly.
    ///
    /// # Errors
    /// If its state could not be read for some time: what it says is not known any more.
    pub(crate) fn follow(&self) -> Result<(), String> {
        let mut seen = lock(&self.seen);
        match self.look(&mut seen) {
            Ok(()) => seen.failed = 0,
            Err(error) if seen.failed >= ATTEMPTS => return Err(error),
            Err(_) => seen.failed += 1,
        }
        Ok(())
    }

    fn look(&self, seen: &mut Seen) -> Result<(), String> {
        let mut store = lock(&self.store);
        let written = store.written();
        // Two writes may share a time stamp, so one from just now proves nothing.
        let settled = written.is_some_and(|(at, _)| at.elapsed().is_ok_and(|ago| ago > SETTLED));
        if settled && written == seen.written {
            return Ok(());
        }
        store.look_again().map_err(|error: StoreError| error.to_string())?;
        let newest = store.newest();
        if newest == seen.newest {
            seen.written = written;
            return Ok(());
        }
        let (meta, candidate) = load_one(&store, newest.0, &self.wires)?;
        seen.newest = newest;
        drop(store);
        // The epochs of this process are its own from here on: the other one counts without it.
        let snapshot = self.publisher.publish(candidate.table);
        let Epoch(epoch) = snapshot.epoch;
        tracing::info!(epoch, followed = meta.epoch, "following the policy of the daemon after this one");
        self.release(InForce {
            meta,
            snapshot,
            policy: candidate.policy,
            rules: candidate.rules,
            standings: candidate.standings,
            inventory: Arc::new(Mutex::new(Overlay::of(&candidate.files))),
            files: candidate.files,
            names: candidate.names,
            compile: candidate.compile,
        });
        Ok(())
    }
}
