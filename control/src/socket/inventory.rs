//! Changes of the inventory.

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
use crate::engine::{CutLimit, InventoryChange, InventoryChanged};
use crate::policy::valid::Labels;

/// A workload as it shall be.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PutRequest {
    /// Its fields as the policy language has them: `labels`, `addresses`, `macs`, `wire`, `listeners`.
    #[schema(value_type = Object)]
    pub workload: serde_json::Map<String, serde_json::Value>,
    /// Refuse if more live flows than this would die.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cut: Option<u64>,
}

/// Other labels for a workload.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LabelRequest {
    /// Keys with all their values, in place of those it has.
    #[serde(default)]
    pub set: Labels,
    /// Keys that it shall have no more.
    #[serde(default)]
    pub remove: Vec<String>,
    /// Refuse if more live flows than this would die.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cut: Option<u64>,
}

fn limit(max_cut: Option<u64>) -> Option<CutLimit> {
    max_cut.map(|flows| CutLimit { flows, simulated: false })
}

/// Add a workload, or replace the one of this name. When this returns 200, the change is on disk and every worker
/// decides by it; it outlives publishes of other policies.
#[utoipa::path(put, path = "/v1/workloads/{name}", request_body = PutRequest,
    params(("name" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "In force", body = InventoryChanged),
        (status = 403, description = "The peer may not change", body = ErrorBody),
        (status = 409, description = "No policy is in force, or too much would be cut", body = ErrorBody),
        (status = 422, description = "Refused: it is wrong, or an assertion would not hold, with a witness",
         body = ErrorBody),
    ))]
pub(super) async fn put(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<InventoryChanged>, ApiError> {
    let request: PutRequest = json(&body)?;
    let change = InventoryChange::Put(request.workload.into());
    Ok(Json(app.engine.change_workload(name, change, limit(request.max_cut), peer.uid).await?))
}

/// Change labels of a workload.
#[utoipa::path(post, path = "/v1/workloads/{name}/labels", request_body = LabelRequest,
    params(("name" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "In force", body = InventoryChanged),
        (status = 403, description = "The peer may not change", body = ErrorBody),
        (status = 404, description = "There is no such workload", body = ErrorBody),
        (status = 409, description = "No policy is in force, or too much would be cut", body = ErrorBody),
        (status = 422, description = "Refused: it is wrong, or an assertion would not hold, with a witness",
         body = ErrorBody),
    ))]
pub(super) async fn label(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<InventoryChanged>, ApiError> {
    let request: LabelRequest = json(&body)?;
    let change = InventoryChange::Label(request.set, request.remove);
    Ok(Json(app.engine.change_workload(name, change, limit(request.max_cut), peer.uid).await?))
}

/// Remove a workload.
#[utoipa::path(delete, path = "/v1/workloads/{name}", params(("name" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "Gone", body = InventoryChanged),
        (status = 403, description = "The peer may not change", body = ErrorBody),
        (status = 404, description = "There is no such workload", body = ErrorBody),
        (status = 422, description = "Refused: an assertion would not hold, with a witness", body = ErrorBody),
    ))]
pub(super) async fn remove(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
) -> Result<Json<InventoryChanged>, ApiError> {
    Ok(Json(app.engine.change_workload(name, InventoryChange::Remove, None, peer.uid).await?))
}
