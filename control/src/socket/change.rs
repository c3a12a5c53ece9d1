//! The requests that change something, and `check`, which has the same body.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::access::Peer;
use super::body::json;
use super::error::{ApiError, ErrorBody};
use crate::engine::{self, Author, CutLimit, PublishError, Published, Refusal, Terms};
use crate::policy::Diagnostics;
use crate::store::{Publication, StoreError, StoredFile};

/// A policy to publish.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PublishRequest {
    /// Its files; together they are the whole policy.
    #[serde(default)]
    pub files: Vec<StoredFile>,
    /// In place of files: the name of a draft.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft: Option<String>,
    /// Why; kept in the history, cut after 4096 bytes.
    #[serde(default)]
    pub message: String,
    /// Only if the policy in force has this epoch: nobody published meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_epoch: Option<u32>,
    /// It reverts by itself unless it is confirmed in this time: ms, 1 to 604,800,000 (a week).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_within_ms: Option<u64>,
    /// Refuse if more live flows than this would die.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cut: Option<u64>,
    /// Put it in force only at the gates of the workloads that this selector selects, as the policy language writes
    /// one; the policy in force keeps all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<String>,
    /// Refuse unless the record of flows is complete, and count those that would be denied under `max_cut` (0 unless
    /// told) too.
    #[serde(default)]
    pub require_simulation: bool,
}

/// A policy that is confirmed.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfirmRequest {
    /// Its epoch: what is confirmed is what was looked at. Without it, whatever waits.
    #[serde(default)]
    pub epoch: Option<u32>,
}

/// A policy that stays.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Confirmed {
    /// Its epoch.
    pub epoch: u32,
}

/// A policy to check.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckRequest {
    /// Its files; together they are the whole policy.
    pub files: Vec<StoredFile>,
}

/// An earlier policy to publish again.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RollbackRequest {
    /// Its epoch, as the history shows it.
    pub epoch: u32,
}

/// A policy that could be published.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Checked {
    /// BLAKE3 of what it means.
    pub policy_hash: String,
    /// Rules in it, the built-in ones and the defaults included.
    pub rules: usize,
    /// Workloads in it.
    pub workloads: usize,
    /// How long compiling took, ms.
    pub compile_ms: f64,
    /// What it says that is probably not meant.
    #[schema(value_type = Object)]
    pub warnings: Diagnostics,
}

/// Replace the policy in force. When this returns 200, the policy is on disk and every worker decides by it.
#[utoipa::path(post, path = "/v1/policy", request_body = PublishRequest, responses(
    (status = 200, description = "In force", body = Published),
    (status = 403, description = "The peer may not change", body = ErrorBody),
    (status = 404, description = "There is no such draft", body = ErrorBody),
    (status = 409, description = "Another policy waits to be confirmed or was published meanwhile, or too much would be \
     cut", body = ErrorBody),
    (status = 422, description = "Refused, with all diagnostics; the old policy stays in force", body = ErrorBody),
    (status = 504, description = "In force, but not every worker has said so in time", body = ErrorBody),
    (status = 507, description = "It could not be stored; the old policy stays in force", body = ErrorBody),
))]
pub(super) async fn publish(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    body: Bytes,
) -> Result<Json<Published>, ApiError> {
    let request: PublishRequest = json(&body)?;
    drop(body);
    let author = Author {
        publication: Publication::Request,
        uid: peer.uid,
        message: request.message,
        rolled_back_to: None,
    };
    let asked = request.max_cut.is_some() || request.require_simulation;
    let cut = asked
        .then(|| CutLimit { flows: request.max_cut.unwrap_or(0), simulated: request.require_simulation });
    let mut terms =
        Terms { if_epoch: request.if_epoch, confirm_within: within(request.confirm_within_ms)?, cut };
    let files = match request.draft {
        Some(_) if !request.files.is_empty() => {
            return Err(ApiError::bad_request("name either `files` or a `draft`"));
        }
        Some(name) => app.engine.draft(&name)?.files.to_vec(),
        None => request.files,
    };
    let files = match request.canary {
        Some(select) => {
            let (files, epoch) = app.engine.on_trial(select, files)?;
            terms.if_epoch.get_or_insert(epoch);
            files
        }
        None => files,
    };
    Ok(Json(app.engine.publish(files, author, terms).await?))
}

fn within(millis: Option<u64>) -> Result<Option<Duration>, ApiError> {
    match millis {
        None => Ok(None),
        Some(millis @ 1..=604_800_000) => Ok(Some(Duration::from_millis(millis))),
        Some(other) => Err(ApiError::bad_request(format!(
            "`confirm_within_ms` is {other}; it must be 1 to 604800000, which is a week"
        ))),
    }
}

/// Put the policy that is on trial in force for every workload.
#[utoipa::path(post, path = "/v1/policy/promote", responses(
    (status = 200, description = "In force everywhere", body = Published),
    (status = 403, description = "The peer may not change", body = ErrorBody),
    (status = 409, description = "No policy is on trial, or another one was published meanwhile", body = ErrorBody),
    (status = 422, description = "Refused, with all diagnostics; the trial goes on", body = ErrorBody),
))]
pub(super) async fn promote(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
) -> Result<Json<Published>, ApiError> {
    let (files, epoch) = app.engine.tried()?;
    let author = Author {
        publication: Publication::Request,
        uid: peer.uid,
        message: format!("promote the canary of epoch {epoch}"),
        rolled_back_to: None,
    };
    let terms = Terms { if_epoch: Some(epoch), ..Terms::default() };
    Ok(Json(app.engine.publish(files, author, terms).await?))
}

/// Keep the policy in force that waits to be confirmed.
#[utoipa::path(post, path = "/v1/policy/confirm", request_body = ConfirmRequest, responses(
    (status = 200, description = "It stays", body = Confirmed),
    (status = 403, description = "The peer may not change", body = ErrorBody),
    (status = 409, description = "Nothing waits, or another policy does", body = ErrorBody),
))]
pub(super) async fn confirm(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    body: Bytes,
) -> Result<Json<Confirmed>, ApiError> {
    let request: ConfirmRequest = json(&body)?;
    Ok(Json(Confirmed { epoch: app.engine.confirm(request.epoch, peer.uid).await? }))
}

/// Validate and compile a policy without publishing it.
#[utoipa::path(post, path = "/v1/policy/check", request_body = CheckRequest, responses(
    (status = 200, description = "It could be published", body = Checked),
    (status = 422, description = "It would be refused, with all diagnostics", body = ErrorBody),
))]
pub(super) async fn check(State(app): State<App>, body: Bytes) -> Result<Json<Checked>, ApiError> {
    let request: CheckRequest = json(&body)?;
    drop(body);
    let engine = std::sync::Arc::clone(&app.engine);
    let checked = tokio::task::spawn_blocking(move || {
        let candidate = engine::check(request.files, engine.wire_names())?;
        Ok(Checked {
            policy_hash: candidate.hash,
            rules: candidate.rules.len(),
            workloads: candidate.policy.workloads.len(),
            compile_ms: candidate.compile.as_secs_f64() * 1e3,
            warnings: candidate.warnings,
        })
    });
    let checked = checked.await.unwrap_or(Err(PublishError::Interrupted));
    Ok(Json(checked?))
}

/// Publish an earlier policy again, under a new epoch.
#[utoipa::path(post, path = "/v1/policy/rollback", request_body = RollbackRequest, responses(
    (status = 200, description = "In force", body = Published),
    (status = 403, description = "The peer may not change", body = ErrorBody),
    (status = 404, description = "No such epoch in the history", body = ErrorBody),
    (status = 422, description = "This version refuses the old policy", body = ErrorBody),
    (status = 504, description = "In force, but not every worker has said so in time", body = ErrorBody),
))]
pub(super) async fn rollback(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    body: Bytes,
) -> Result<Json<Published>, ApiError> {
    let request: RollbackRequest = json(&body)?;
    Ok(Json(app.engine.rollback(request.epoch, peer.uid).await?))
}

/// What `details` holds when workers have not taken a policy in time.
#[derive(Serialize)]
struct NotTaken<'a> {
    epoch: u32,
    waited_ms: u128,
    workers: &'a [usize],
}

impl From<Refusal> for PublishError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<PublishError> for ApiError {
    fn from(error: PublishError) -> Self {
        let message = error.to_string();
        match &error {
            PublishError::Refused(Refusal::Invalid(diagnostics)) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "policy_refused", message).with(diagnostics)
            }
            PublishError::Refused(Refusal::Uncompilable(_)) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "policy_too_large", message)
            }
            PublishError::NotTaken { epoch, waited, workers } => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, "not_taken", message).with(&NotTaken {
                    epoch: *epoch,
                    waited_ms: waited.as_millis(),
                    workers,
                })
            }
            PublishError::Store(StoreError::NoRecord { .. }) => {
                Self::new(StatusCode::NOT_FOUND, "no_such_epoch", message)
            }
            PublishError::Store(_) | PublishError::Exhausted => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "not_stored", message)
            }
            PublishError::Unconfirmed(waits) => {
                Self::new(StatusCode::CONFLICT, "unconfirmed", message).with(waits)
            }
            PublishError::Cuts(simulation, _) => {
                Self::new(StatusCode::CONFLICT, "cuts_too_much", message).with(simulation)
            }
            PublishError::NothingToConfirm(_) => {
                Self::new(StatusCode::CONFLICT, "nothing_to_confirm", message)
            }
            PublishError::NothingToRevert => Self::new(StatusCode::CONFLICT, "nothing_to_revert", message),
            PublishError::Overtaken { .. } => Self::new(StatusCode::CONFLICT, "overtaken", message),
            PublishError::TooManyDrafts => Self::new(StatusCode::CONFLICT, "too_many_drafts", message),
            PublishError::Refused(Refusal::Inventory(_)) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "inventory", message)
            }
            PublishError::NothingInForce => Self::new(StatusCode::CONFLICT, "no_policy", message),
            PublishError::NoCanary => Self::new(StatusCode::CONFLICT, "no_canary", message),
            PublishError::CanaryInForce => Self::new(StatusCode::CONFLICT, "canary_in_force", message),
            PublishError::NoWorkload(_) => Self::new(StatusCode::NOT_FOUND, "no_such_workload", message),
            PublishError::JournalFull => Self::new(StatusCode::INSUFFICIENT_STORAGE, "journal_full", message),
            PublishError::NoDraft(_) => Self::new(StatusCode::NOT_FOUND, "no_such_draft", message),
            PublishError::DraftName(_) => Self::new(StatusCode::BAD_REQUEST, "bad_request", message),
            PublishError::Interrupted => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "interrupted", message),
        }
    }
}
