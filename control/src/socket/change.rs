//! The requests that change something, and `check`, which has the same body.

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
use crate::engine::{self, Author, PublishError, Published, Refusal};
use crate::policy::Diagnostics;
use crate::store::{Publication, StoreError, StoredFile};

/// A policy to publish.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PublishRequest {
    /// Its files; together they are the whole policy.
    pub files: Vec<StoredFile>,
    /// Why; kept in the history, cut after 4096 bytes.
    #[serde(default)]
    pub message: String,
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
    Ok(Json(app.engine.publish(request.files, author).await?))
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
            PublishError::Interrupted => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "interrupted", message),
        }
    }
}
