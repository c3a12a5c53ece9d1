//! Drafts: staged, listed, dropped.

#![allow(unused_qualifications, reason = "utoipa's macros name the parameters' types by a path")]

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::access::Peer;
use super::body::json;
use super::error::{ApiError, ErrorBody};
use super::view::{DraftHit, DraftList, DraftView};
use crate::engine::{Author, Draft, Engine};
use crate::store::{Publication, StoredFile};

/// Rules whose counts are shown for each draft.
const HITS_MAX: usize = 1000;

/// A draft to stage.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StageRequest {
    /// Its name: up to 63 lower-case letters, digits, `.`, `_` and `-`. A draft of the same name is replaced.
    pub name: String,
    /// Its files; together they are the whole policy.
    pub files: Vec<StoredFile>,
    /// Why; cut after 4096 bytes.
    #[serde(default)]
    pub message: String,
}

/// A draft that was dropped.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Dropped {
    /// Its name.
    pub dropped: String,
}

fn view(engine: &Engine, draft: &Draft) -> DraftView {
    let mut hits = engine.draft_hits(draft);
    hits.sort_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.cmp(b)));
    DraftView {
        meta: draft.meta.clone(),
        rules: draft.rules.len(),
        workloads: draft.policy.workloads.len(),
        table_bytes: draft.table.bytes(),
        decisions: hits.iter().map(|(_, count)| count).sum(),
        hits: (hits.into_iter().take(HITS_MAX))
            .map(|(rule, hits)| DraftHit { rule: rule.to_string(), hits })
            .collect(),
    }
}

pub(super) fn views(engine: &Engine) -> Vec<DraftView> {
    engine.drafts().iter().map(|draft| view(engine, draft)).collect()
}

/// The drafts, with what they would have decided.
#[utoipa::path(get, path = "/v1/policy/drafts", responses((status = 200, body = DraftList)))]
pub(super) async fn list(State(app): State<App>) -> Json<DraftList> {
    Json(DraftList { drafts: views(&app.engine) })
}

/// Stage a draft. When this returns 200, it is on disk, and every worker evaluates it beside the enforced policy.
#[utoipa::path(post, path = "/v1/policy/drafts", request_body = StageRequest, responses(
    (status = 200, description = "Staged", body = DraftView),
    (status = 400, description = "A draft cannot have this name", body = ErrorBody),
    (status = 403, description = "The peer may not change", body = ErrorBody),
    (status = 409, description = "There are eight drafts already", body = ErrorBody),
    (status = 422, description = "Refused, with all diagnostics", body = ErrorBody),
    (status = 507, description = "It could not be stored", body = ErrorBody),
))]
pub(super) async fn stage(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    body: Bytes,
) -> Result<Json<DraftView>, ApiError> {
    let request: StageRequest = json(&body)?;
    drop(body);
    let author = Author {
        publication: Publication::Request,
        uid: peer.uid,
        message: request.message,
        rolled_back_to: None,
    };
    let draft = app.engine.stage(request.name, request.files, author).await?;
    Ok(Json(view(&app.engine, &draft)))
}

/// Drop a draft.
#[utoipa::path(delete, path = "/v1/policy/drafts/{name}", params(("name" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "Dropped", body = Dropped),
        (status = 403, description = "The peer may not change", body = ErrorBody),
        (status = 404, description = "There is no such draft", body = ErrorBody),
    ))]
pub(super) async fn unstage(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
) -> Result<Json<Dropped>, ApiError> {
    app.engine.unstage(name.clone(), peer.uid).await?;
    Ok(Json(Dropped { dropped: name }))
}
