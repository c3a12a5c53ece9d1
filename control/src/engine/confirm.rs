//! Commit-confirm: a policy that reverts by itself unless somebody confirms it in time.
//!
//! The deadline is part of the record, so it outlives the operator's session and the process: a start after it
//! reverts before a port is open. While the process runs, the deadline is kept by a clock that nobody can set; after a
//! restart the wall clock counts, but never for more time than was given.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Author, Engine, PublishError, Published, Terms, lock};
use crate::store::{Confirm, Entry, Event, Meta, Publication, Store};

/// A policy in force that nobody has confirmed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    epoch: u32,
    confirm: Confirm,
    deadline: Instant,
}

/// A policy in force that waits to be confirmed.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Awaiting {
    /// Its epoch.
    pub epoch: u32,
    /// The epoch whose policy comes back otherwise.
    pub revert_to: u32,
    /// When, RFC 3339 in UTC.
    #[schema(value_type = String, example = "2026-01-31T12:00:00Z")]
    pub by: Timestamp,
    /// How long that is from now, ms.
    pub left_ms: u64,
}

impl Pending {
    /// Of a policy that was published just now.
    pub(super) fn new(meta: &Meta) -> Option<Self> {
        let confirm = meta.confirm?;
        let deadline = Instant::now() + Duration::from_millis(confirm.within_ms);
        Some(Self { epoch: meta.epoch, confirm, deadline })
    }

    /// Of a policy that the last process published; `Err` if its time is over.
    pub(super) fn after_restart(meta: &Meta, store: &Store) -> Result<Option<Self>, Confirm> {
        let Some(confirm) = meta.confirm else { return Ok(None) };
        let confirmed = |entry: &Entry| entry.event == Event::Confirmed;
        if store.journal(meta.epoch).is_ok_and(|journal| journal.iter().any(confirmed)) {
            return Ok(None);
        }
        let left =
            Timestamp::now().until(confirm.by).ok().and_then(|span| span.total(jiff::Unit::Millisecond).ok());
        // A wall clock that was set back must not give more time than there was.
        let left = left.unwrap_or(0.0).clamp(0.0, confirm.within_ms as f64);
        if left <= 0.0 {
            return Err(confirm);
        }
        let deadline = Instant::now() + Duration::from_secs_f64(left / 1e3);
        Ok(Some(Self { epoch: meta.epoch, confirm, deadline }))
    }

    fn is_overdue(&self) -> bool {
        Instant::now() >= self.deadline
    }
}

impl Engine {
    /// The policy in force, if it waits to be confirmed.
    #[must_use]
    pub fn awaiting(&self) -> Option<Awaiting> {
        let pending = (*lock(&self.pending))?;
        let left = pending.deadline.saturating_duration_since(Instant::now());
        Some(Awaiting {
            epoch: pending.epoch,
            revert_to: pending.confirm.revert_to,
            by: pending.confirm.by,
            left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// Keeps the policy in force for good: it no longer reverts by itself. `epoch` guards against confirming another
    /// policy than the one that was looked at.
    ///
    /// # Errors
    /// [`PublishError::NothingToConfirm`]: nothing waits, another epoch does, or its time is over.
    pub async fn confirm(self: &Arc<Self>, epoch: Option<u32>, uid: u32) -> Result<u32, PublishError> {
        let engine = Arc::clone(self);
        let done = tokio::spawn(async move {
            let _turn = engine.turn.lock().await;
            let pending = *lock(&engine.pending);
            let pending = pending
                .filter(|pending| !pending.is_overdue() && epoch.is_none_or(|epoch| epoch == pending.epoch))
                .ok_or_else(|| PublishError::NothingToConfirm(engine.awaiting()))?;
            let entry = Entry { epoch: pending.epoch, at: Timestamp::now(), uid, event: Event::Confirmed };
            lock(&engine.store).append(&entry).map_err(PublishError::Store)?;
            *lock(&engine.pending) = None;
            tracing::info!(epoch = pending.epoch, uid, "policy confirmed");
            Ok(pending.epoch)
        });
        done.await.unwrap_or(Err(PublishError::Interrupted))
    }

    /// Whether the policy in force should have been confirmed by now.
    #[must_use]
    pub fn is_overdue(&self) -> bool {
        lock(&self.pending).is_some_and(|pending| pending.is_overdue())
    }

    /// Publishes the policy before again, if that in force was not confirmed in time.
    ///
    /// # Errors
    /// As [`Engine::publish`]; the policy that was not confirmed then stays in force and is tried again later.
    pub async fn revert_overdue(self: &Arc<Self>) -> Result<Option<Published>, PublishError> {
        let engine = Arc::clone(self);
        let done = tokio::spawn(async move {
            let turn = engine.turn.lock().await;
            let pending = *lock(&engine.pending);
            let Some(pending) = pending.filter(Pending::is_overdue) else { return Ok(None) };
            let loaded = lock(&engine.store).load(pending.confirm.revert_to);
            let record = loaded.map_err(PublishError::Store)?;
            let author = reverted(pending.epoch, pending.confirm);
            let said = author.message.clone();
            let published =
                Arc::clone(&engine).publish_in_turn(&turn, record.files, author, Terms::default()).await;
            if lock(&engine.pending).is_none() {
                engine.notice(said);
            }
            published.map(Some)
        });
        done.await.unwrap_or(Err(PublishError::Interrupted))
    }
}

/// Who publishes what was there before an unconfirmed policy.
pub(super) fn reverted(epoch: u32, confirm: Confirm) -> Author {
    Author {
        publication: Publication::Reverted,
        uid: rustix::process::getuid().as_raw(),
        message: format!(
            "the policy of epoch {epoch} was not confirmed by {}: that of epoch {} is in force again",
            confirm.by, confirm.revert_to
        ),
        rolled_back_to: Some(confirm.revert_to),
    }
}
