//! Publishing: validate → compile → persist → publish → wake → wait.
//!
//! Up to and including `persist` a failure changes nothing. From `publish` on nothing can fail; a worker that does not
//! take the policy in time is reported, and it will take it with its next batch.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::verdict::Epoch;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Candidate, Engine, InForce, Refusal, check, lock};
use crate::policy::Diagnostics;
use crate::store::{Meta, Publication, Store, StoreError, StoredFile, source_hash};

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
    /// What the policy says that is probably not meant.
    #[schema(value_type = Object)]
    pub warnings: Diagnostics,
}

/// Why a publish was refused, or is not complete.
#[derive(Debug)]
pub enum PublishError {
    /// The policy is wrong; the old one stays in force.
    Refused(Refusal),
    /// It could not be made durable; the old one stays in force.
    Store(StoreError),
    /// It is in force, but some workers have not said so in time.
    NotTaken {
        /// Its epoch.
        epoch: u32,
        /// How long was waited.
        waited: Duration,
        /// The workers that have not taken it.
        workers: Vec<usize>,
    },
    /// All 2^31 epochs of this state directory are used up.
    Exhausted,
    /// The helper thread could not do its work: a bug, or a runtime that is stopping.
    Interrupted,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Store(error @ StoreError::NoRecord { .. }) => error.fmt(f),
            Self::Store(error) => {
                write!(f, "the policy was not published, because it could not be stored: {error}")
            }
            Self::NotTaken { epoch, waited, workers } => write!(
                f,
                "epoch {epoch} is published, but after {} ms {} {workers:?} {} not taken it",
                waited.as_millis(),
                if workers.len() == 1 { "worker" } else { "workers" },
                if workers.len() == 1 { "has" } else { "have" },
            ),
            Self::Exhausted => {
                f.write_str("every epoch of this state directory is used up; use a new state_dir")
            }
            Self::Interrupted => f.write_str("the policy was not published: its compilation was interrupted"),
        }
    }
}

impl std::error::Error for PublishError {}

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
    ) -> Result<Published, PublishError> {
        let engine = Arc::clone(self);
        let done = tokio::spawn(async move { engine.publish_in_turn(files, author).await });
        done.await.unwrap_or(Err(PublishError::Interrupted))
    }

    /// Publishes the policy of an earlier epoch again, under a new epoch.
    ///
    /// # Errors
    /// As [`Engine::publish`]; [`StoreError::NoRecord`] if there is no such epoch.
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
        self.publish(record.files, author).await
    }

    async fn publish_in_turn(
        self: Arc<Self>,
        files: Vec<StoredFile>,
        author: Author,
    ) -> Result<Published, PublishError> {
        let _turn = self.turn.lock().await;
        let engine = Arc::clone(&self);
        let prepared = tokio::task::spawn_blocking(move || engine.prepare(files, author)).await;
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
            warnings: candidate.warnings.clone(),
        };
        let start = Instant::now();
        let epoch = self.put_in_force(candidate, meta);
        self.taken(epoch, start).await?;
        published.taken_ms = millis(start.elapsed());
        self.tick();
        tracing::info!(epoch = epoch.0, hash = %published.policy_hash, rules = published.rules,
            workloads = published.workloads, compile_ms = published.compile_ms, "policy published");
        Ok(published)
    }

    /// Validates, compiles and persists; the only part that can fail.
    fn prepare(&self, files: Vec<StoredFile>, author: Author) -> Result<(Candidate, Meta), PublishError> {
        let candidate = check(files, &self.wires).map_err(PublishError::Refused)?;
        let meta = self.persist(&candidate, author)?;
        Ok((candidate, meta))
    }

    pub(super) fn persist(&self, candidate: &Candidate, mut author: Author) -> Result<Meta, PublishError> {
        author.message.truncate(author.message.floor_char_boundary(MESSAGE_MAX));
        let mut store = lock(&self.store);
        let source_hash = source_hash(&candidate.files);
        let config_hash = match author.publication {
            Publication::Config => Some(source_hash.clone()),
            _ => store.history().next_back().and_then(|last| last.config_hash.clone()),
        };
        let meta = Meta {
            epoch: next_epoch(&store)?,
            policy_hash: candidate.hash.clone(),
            source_hash,
            at: Timestamp::now(),
            publication: author.publication,
            uid: author.uid,
            message: author.message,
            rules: u32::try_from(candidate.rules.len()).unwrap_or(u32::MAX),
            workloads: u32::try_from(candidate.policy.workloads.len()).unwrap_or(u32::MAX),
            rolled_back_to: author.rolled_back_to,
            config_hash,
        };
        store.save(meta.clone(), &candidate.files).map_err(PublishError::Store)?;
        Ok(meta)
    }

    /// Publishes what is on disk already. The publisher counts as the store does: both advance only here.
    pub(super) fn put_in_force(&self, candidate: Candidate, meta: Meta) -> Epoch {
        let snapshot = self.publisher.publish(candidate.table);
        debug_assert_eq!(snapshot.epoch.0, meta.epoch);
        let epoch = snapshot.epoch;
        lock(&self.hits).published(Arc::clone(&snapshot), Arc::clone(&candidate.rules));
        let in_force = InForce {
            meta,
            snapshot,
            policy: candidate.policy,
            rules: candidate.rules,
            files: candidate.files,
            names: candidate.names,
            compile: candidate.compile,
        };
        *lock(&self.in_force) = Some(Arc::new(in_force));
        (self.wake)();
        epoch
    }

    /// Waits until every worker that reads reports `epoch`.
    async fn taken(&self, epoch: Epoch, start: Instant) -> Result<(), PublishError> {
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

/// Epochs that a flow's stamp has room for.
fn next_epoch(store: &Store) -> Result<u32, PublishError> {
    let next = store.newest_epoch().saturating_add(1);
    if next < 1 << 31 { Ok(next) } else { Err(PublishError::Exhausted) }
}
