//! Publishing: validate → compile → persist → publish → wake → wait.
//!
//! Up to and including `persist` a failure changes nothing. From `publish` on nothing can fail; a worker that does not
//! take the policy in time is reported, and it will take it with its next batch.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dataplane::policy::DRAFTS_MAX;
use dataplane::verdict::Epoch;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::overlay::{self, Overlay};
use super::{Candidate, CutLimit, Engine, InForce, Pending, PublishError, STAGED, check, lock};
use crate::policy::Diagnostics;
use crate::policy::diff::Edits;
use crate::store::{Confirm, Meta, Publication, Store, StoredFile, source_hash};

/// Longest message of a publish, bytes.
const MESSAGE_MAX: usize = 4096;
/// How often the workers' epochs are looked at while a publish waits.
const LOOK: Duration = Duration::from_millis(1);

/// Who publishes, and why.
#[derive(Clone, Debug)]
pub struct Author {
    /// How it came to be.
    pub publication: Publication,
    /// User id.
    pub uid: u32,
    /// Why; cut after 4096 bytes.
    pub message: String,
    /// For a rollback, the epoch that is published again.
    pub rolled_back_to: Option<u32>,
}

impl Author {
    /// The message, cut to what is kept.
    pub(super) fn bounded_message(&self) -> String {
        self.message[..self.message.floor_char_boundary(MESSAGE_MAX)].to_owned()
    }
}

/// Under which terms a policy is published.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// Only if the policy in force is this one: nobody published meanwhile.
    pub if_epoch: Option<u32>,
    /// It reverts by itself unless it is confirmed in this time.
    pub confirm_within: Option<Duration>,
    /// How much of what speaks now it may stop.
    pub cut: Option<CutLimit>,
}

/// A publish that every worker has taken.
#[derive(Debug, Serialize, ToSchema)]
pub struct Published {
    /// The new epoch.
    pub epoch: u32,
    /// BLAKE3 of what the policy means.
    pub policy_hash: String,
    /// Rules in it, the built-in ones and the defaults included.
    pub rules: usize,
    /// Workloads in it.
    pub workloads: usize,
    /// How long reading and checking the text took, ms.
    pub validate_ms: f64,
    /// How long compiling took, ms.
    pub compile_ms: f64,
    /// How long it took from storing the table until the last worker reported its epoch, ms.
    pub taken_ms: f64,
    /// How many workers decide by it now: all of them.
    pub workers: usize,
    /// What was edited since the policy before it, in one line.
    pub summary: String,
    /// Set if it waits to be confirmed.
    pub confirm: Option<Confirm>,
    /// What the policy says that is probably not meant.
    #[schema(value_type = Object)]
    pub warnings: Diagnostics,
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

impl Engine {
    /// Puts a policy in force: when this returns `Ok`, it is on disk and every worker decides by it. Runs to its end
    /// even if the caller stops waiting.
    ///
    /// # Errors
    /// [`PublishError`]; but for [`PublishError::NotTaken`] the old policy stays in force and nothing on disk changed.
    pub async fn publish(
        self: &Arc<Self>,
        files: Vec<StoredFile>,
        author: Author,
        terms: Terms,
    ) -> Result<Published, PublishError> {
        let engine = Arc::clone(self);
        let done = tokio::spawn(async move {
            let turn = engine.turn.lock().await;
            Arc::clone(&engine).publish_in_turn(&turn, files, author, terms).await
        });
        done.await.unwrap_or(Err(PublishError::Interrupted))
    }

    /// Publishes the policy of an earlier epoch again, under a new epoch.
    ///
    /// # Errors
    /// As [`Engine::publish`]; [`StoreError::NoRecord`](crate::store::StoreError::NoRecord) if there is no such epoch.
    pub async fn rollback(self: &Arc<Self>, epoch: u32, uid: u32) -> Result<Published, PublishError> {
        let engine = Arc::clone(self);
        let loaded = tokio::task::spawn_blocking(move || lock(&engine.store).load(epoch)).await;
        let record = loaded.map_err(|_| PublishError::Interrupted)?.map_err(PublishError::Store)?;
        let author = Author {
            publication: Publication::Rollback,
            uid,
            message: record.meta.message,
            rolled_back_to: Some(epoch),
        };
        self.publish(record.files, author, Terms::default()).await
    }

    /// `_turn` shows that it is the caller's turn.
    pub(super) async fn publish_in_turn(
        self: Arc<Self>,
        _turn: &tokio::sync::MutexGuard<'_, ()>,
        files: Vec<StoredFile>,
        author: Author,
        terms: Terms,
    ) -> Result<Published, PublishError> {
        let engine = Arc::clone(&self);
        let prepared = tokio::task::spawn_blocking(move || engine.prepare(files, author, terms)).await;
        let (candidate, meta) = prepared.unwrap_or(Err(PublishError::Interrupted))?;
        let mut published = Published {
            epoch: meta.epoch,
            policy_hash: meta.policy_hash.clone(),
            rules: candidate.rules.len(),
            workloads: candidate.policy.workloads.len(),
            validate_ms: millis(candidate.validate),
            compile_ms: millis(candidate.compile),
            taken_ms: 0.0,
            workers: self.workers.len(),
            summary: meta.summary.clone(),
            confirm: meta.confirm,
            warnings: candidate.warnings.clone(),
        };
        let prepared = candidate.validate + candidate.compile;
        let start = Instant::now();
        let pending = Pending::new(&meta);
        let epoch = self.put_in_force(candidate, meta);
        *lock(&self.pending) = pending;
        self.taken(epoch, start).await?;
        let taken = start.elapsed();
        published.taken_ms = millis(taken);
        {
            let mut publishes = lock(&self.publishes);
            *publishes = (publishes.0 + 1, prepared + taken);
        }
        self.tick();
        tracing::info!(epoch = epoch.0, hash = %published.policy_hash, rules = published.rules,
            workloads = published.workloads, compile_ms = published.compile_ms, "policy published");
        Ok(published)
    }

    /// Validates, compiles and persists; the only part that can fail.
    fn prepare(
        &self,
        files: Vec<StoredFile>,
        author: Author,
        terms: Terms,
    ) -> Result<(Candidate, Meta), PublishError> {
        self.may_publish(&author, terms)?;
        let candidate = check(self.with_inventory(files), &self.wires).map_err(PublishError::Refused)?;
        if candidate.staged.is_some()
            && self.drafts().iter().filter(|one| one.meta.name != STAGED).count() >= DRAFTS_MAX
        {
            return Err(PublishError::TooManyDrafts);
        }
        if let (Some(limit), Some(now)) = (terms.cut, self.in_force()) {
            let simulation = self.simulate(&now, candidate.side());
            if simulation.exceeds(limit) {
                return Err(PublishError::Cuts(Box::new(simulation), limit));
            }
        }
        let meta = self.persist(&candidate, author, terms.confirm_within)?;
        Ok((candidate, meta))
    }

    /// The files of a policy with the inventory as it was changed, in place of what they may say of that themselves.
    pub(crate) fn with_inventory(&self, files: Vec<StoredFile>) -> Vec<StoredFile> {
        let now = self.in_force().map(|now| lock(&now.inventory).clone());
        now.unwrap_or_default().join(files)
    }

    /// The policy that decided under `epoch`, compiled anew: the record's files with the inventory of that moment.
    ///
    /// # Errors
    /// [`PublishError::Store`] if the history does not go back so far or the record is damaged,
    /// [`PublishError::Refused`] if this version refuses it.
    pub fn policy_of(&self, epoch: u32) -> Result<Candidate, PublishError> {
        let (record, journal) = {
            let store = lock(&self.store);
            let before = store.history().map(|meta| meta.epoch).filter(|record| *record <= epoch).max();
            let newest = self.in_force().map_or(0, |now| now.snapshot.epoch.0);
            // What is not there is asked for as it is, so that the error tells what there is.
            let record = before.filter(|_| epoch <= newest).unwrap_or(epoch);
            (
                store.load(record).map_err(PublishError::Store)?,
                store.journal(record).map_err(PublishError::Store)?,
            )
        };
        let mut overlay = Overlay::of(&record.files);
        journal.iter().filter(|entry| entry.epoch <= epoch).for_each(|entry| overlay.note(&entry.event));
        check(overlay.join(record.files), &self.wires).map_err(PublishError::Refused)
    }

    /// What can be said before the policy is looked at.
    fn may_publish(&self, author: &Author, terms: Terms) -> Result<(), PublishError> {
        let goes_back = matches!(author.publication, Publication::Rollback | Publication::Reverted);
        if let Some(waits) = self.awaiting().filter(|_| !goes_back) {
            return Err(PublishError::Unconfirmed(waits));
        }
        let now = self.in_force();
        let in_force = now.map_or(0, |now| now.meta.epoch);
        match terms.if_epoch {
            Some(named) if named != in_force => Err(PublishError::Overtaken { named, in_force }),
            _ if terms.confirm_within.is_some() && in_force == 0 => Err(PublishError::NothingToRevert),
            _ => Ok(()),
        }
    }

    pub(super) fn persist(
        &self,
        candidate: &Candidate,
        author: Author,
        confirm_within: Option<Duration>,
    ) -> Result<Meta, PublishError> {
        let now = self.in_force();
        let mut store = lock(&self.store);
        let source_hash = source_hash(&candidate.files);
        let of_config = match author.publication {
            Publication::Config => Some(config_hash(&candidate.files)),
            _ => store.history().next_back().and_then(|last| last.config_hash.clone()),
        };
        let at = Timestamp::now();
        let confirm = confirm_within.zip(now.as_ref()).map(|(within, now)| Confirm {
            by: at.saturating_add(within).unwrap_or(Timestamp::MAX),
            within_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX),
            revert_to: now.meta.epoch,
        });
        let meta = Meta {
            epoch: next_epoch(&store)?,
            policy_hash: candidate.hash.clone(),
            source_hash,
            at,
            publication: author.publication,
            uid: author.uid,
            message: author.bounded_message(),
            rules: u32::try_from(candidate.rules.len()).unwrap_or(u32::MAX),
            workloads: u32::try_from(candidate.policy.workloads.len()).unwrap_or(u32::MAX),
            rolled_back_to: author.rolled_back_to,
            config_hash: of_config,
            summary: summary(candidate, now.as_deref()),
            confirm,
        };
        store.save(meta.clone(), &candidate.files).map_err(PublishError::Store)?;
        Ok(meta)
    }

    /// Publishes what is on disk already. The publisher counts as the store does: both advance only together.
    pub(super) fn put_in_force(&self, mut candidate: Candidate, meta: Meta) -> Epoch {
        let tables = {
            let mut drafts = lock(&self.drafts);
            drafts.follow(&meta, &mut candidate);
            drafts.tables()
        };
        let snapshot = self.publisher.publish_with(candidate.table, tables);
        debug_assert!(snapshot.epoch.0 >= meta.epoch);
        let epoch = snapshot.epoch;
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
        epoch
    }

    /// Makes known what the publisher has published.
    pub(super) fn release(&self, in_force: InForce) {
        let snapshot = &in_force.snapshot;
        lock(&self.hits).published(Arc::clone(snapshot), Arc::clone(&in_force.rules), in_force.meta.at);
        lock(&self.drafts).published(Arc::clone(snapshot));
        super::records::tell_exporters(&mut lock(&self.exporters), &in_force);
        *lock(&self.in_force) = Some(Arc::new(in_force));
        (self.wake)();
    }

    /// Waits until every worker that reads reports `epoch`.
    pub(super) async fn taken(&self, epoch: Epoch, start: Instant) -> Result<(), PublishError> {
        loop {
            let reported = self.publisher.reported();
            let behind = |at: &(usize, Option<Epoch>)| at.1.is_some_and(|at| at < epoch);
            let workers: Vec<usize> =
                reported.into_iter().enumerate().filter(behind).map(|(n, _)| n).collect();
            if workers.is_empty() {
                return Ok(());
            }
            let waited = start.elapsed();
            if waited >= self.timeout {
                return Err(PublishError::NotTaken { epoch: epoch.0, waited, workers });
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// What was edited, and on whom it is tried.
fn summary(candidate: &Candidate, now: Option<&InForce>) -> String {
    let edits = now.map(|now| Edits::between(&now.policy, &candidate.policy).words()).unwrap_or_default();
    match &candidate.canary {
        Some(tried) => format!("canary {} ({} workloads): {edits}", tried.select, tried.workloads),
        None => edits,
    }
}

/// What the configuration's files were: without the inventory, which is not theirs.
fn config_hash(files: &[StoredFile]) -> String {
    let own: Vec<StoredFile> = files.iter().filter(|file| file.name != overlay::NAME).cloned().collect();
    source_hash(&own)
}

/// Epochs that a flow's stamp has room for.
pub(super) fn next_epoch(store: &Store) -> Result<u32, PublishError> {
    let next = store.newest_epoch().saturating_add(1);
    if next < 1 << 31 { Ok(next) } else { Err(PublishError::Exhausted) }
}
