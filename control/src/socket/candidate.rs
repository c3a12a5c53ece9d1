//! Questions about a policy that is not in force yet.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use dataplane::policy::PolicyTable;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::ask::blocking;
use super::body::json;
use super::error::{ApiError, ErrorBody};
use super::read::in_force;
use crate::engine::{self, Engine, PublishError, Simulation};
use crate::observe::hits::Rules;
use crate::policy::Named;
use crate::policy::diff::{Diff, Limits, Side};
use crate::policy::valid::ValidPolicy;
use crate::store::StoredFile;

/// A policy to ask about: its files, or the name of a draft.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CandidateRequest {
    /// Its files; together they are the whole policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<StoredFile>>,
    /// The name of a draft; `staged` for the staged rules of the policy in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft: Option<String>,
}

/// A policy that could be published.
pub(super) struct Asked {
    pub(super) policy: Arc<ValidPolicy>,
    pub(super) table: Arc<PolicyTable>,
    pub(super) rules: Rules,
    /// Whether rules marked `staged` count in the table.
    pub(super) staged: bool,
}

impl Asked {
    pub(super) fn side(&self) -> Side<'_> {
        Side {
            policy: &self.policy,
            compiled: Named { table: &self.table, rules: &self.rules },
            staged: self.staged,
        }
    }

    /// What `request` asks about; takes as long as compiling does.
    pub(super) fn find(engine: &Engine, request: CandidateRequest) -> Result<Self, ApiError> {
        match (request.files, request.draft) {
            (Some(files), None) => {
                let candidate = engine::check(engine.with_inventory(files), engine.wire_names())
                    .map_err(PublishError::Refused)?;
                let (policy, table, rules) = (candidate.policy, candidate.table, candidate.rules);
                Ok(Self { policy, table, rules, staged: false })
            }
            (None, Some(name)) => {
                let draft = engine.draft(&name)?;
                Ok(Self {
                    policy: Arc::clone(&draft.policy),
                    table: Arc::clone(&draft.table),
                    rules: Arc::clone(&draft.rules),
                    staged: name == engine::STAGED,
                })
            }
            _ => Err(ApiError::bad_request("name either `files` or a `draft`")),
        }
    }
}

/// What would become of recorded flows under a policy: each decided by its very table; and which live flows would die.
#[utoipa::path(post, path = "/v1/policy/simulate", request_body = CandidateRequest, responses(
    (status = 200, description = "What would change, and what the record missed", body = Simulation),
    (status = 404, description = "There is no such draft", body = ErrorBody),
    (status = 409, description = "No policy is in force", body = ErrorBody),
    (status = 422, description = "It would be refused, with all diagnostics", body = ErrorBody),
))]
pub(super) async fn simulate(State(app): State<App>, body: Bytes) -> Result<Json<Simulation>, ApiError> {
    let request: CandidateRequest = json(&body)?;
    drop(body);
    let now = in_force(&app)?;
    let found = blocking(move || {
        let asked = Asked::find(&app.engine, request)?;
        Ok::<_, ApiError>(app.engine.simulate(&now, asked.side()))
    });
    Ok(Json(found.await??))
}

/// What a policy would change against the one in force, in label terms, with the recorded flows that it touches.
#[utoipa::path(post, path = "/v1/policy/diff", request_body = CandidateRequest, responses(
    (status = 200, description = "What would change", body = Diff),
    (status = 404, description = "There is no such draft", body = ErrorBody),
    (status = 409, description = "No policy is in force", body = ErrorBody),
    (status = 422, description = "It would be refused, with all diagnostics", body = ErrorBody),
))]
pub(super) async fn diff(State(app): State<App>, body: Bytes) -> Result<Json<Diff>, ApiError> {
    let request: CandidateRequest = json(&body)?;
    drop(body);
    let now = in_force(&app)?;
    let found = blocking(move || {
        let asked = Asked::find(&app.engine, request)?;
        Ok::<_, ApiError>(crate::policy::diff::diff(
            now.side(),
            asked.side(),
            app.engine.seen().into_iter(),
            Limits::default(),
        ))
    });
    Ok(Json(found.await??))
}
