//! Questions to the policy in force: one flow, or all pairs.

#![allow(unused_qualifications, reason = "utoipa's macros name the parameters' types by a path")]

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use dataplane::policy::ServiceKey;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::App;
use super::error::{ApiError, ErrorBody};
use super::read::{Ask, in_force};
use crate::policy::diff::Side;
use crate::policy::{Explanation, service};

/// Workloads of which a matrix is still one answer: 4 million pairs.
const MATRIX_MAX: usize = 2000;

/// A flow that is asked about.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Flow {
    /// Who initiates: an address or the name of a workload.
    source: String,
    /// Who answers: an address or the name of a workload.
    destination: String,
    /// `tcp/443`, `icmp/8`, `gre`, …
    service: String,
    /// Under the policy and inventory of this epoch, as records carry it; the one in force unless told.
    epoch: Option<u32>,
}

/// A matrix that is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Pairs {
    /// `tcp/443`, `icmp/8`, `gre`, …
    service: String,
    /// `json` or `csv`; JSON unless told.
    #[serde(default)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Csv,
}

fn key(text: &str) -> Result<ServiceKey, ApiError> {
    let key = service::parse_one(text).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let [_, protocol, high, low] = key.to_be_bytes();
    Ok(ServiceKey::new(protocol, u16::from_be_bytes([high, low])))
}

/// The decision on a new flow under the policy in force or one of the history, and why.
#[utoipa::path(get, path = "/v1/explain", params(Flow), responses(
    (status = 200, description = "`verdict`, `rule`, `reason`, `gate`, both ends, and why each other rule lost",
     body = Object),
    (status = 400, description = "An end or the service cannot be understood", body = ErrorBody),
    (status = 404, description = "The history does not go back to that epoch", body = ErrorBody),
    (status = 409, description = "No policy is in force", body = ErrorBody),
))]
pub(super) async fn explain(
    State(app): State<App>,
    Ask(flow): Ask<Flow>,
) -> Result<Json<Explanation>, ApiError> {
    let (now, key) = (in_force(&app)?, key(&flow.service)?);
    let explanation = blocking(move || {
        let ask = |side: Side<'_>| {
            crate::policy::explain(side.policy, side.compiled, &flow.source, &flow.destination, key)
                .map_err(|error| ApiError::bad_request(error.to_string()))
        };
        match flow.epoch {
            None => ask(now.side()),
            Some(epoch) => ask(app.engine.policy_of(epoch)?.side()),
        }
    });
    explanation.await?.map(Json)
}

/// The verdict for every pair of workloads under the policy in force; at most 2,000 workloads.
#[utoipa::path(get, path = "/v1/matrix", params(Pairs), responses(
    (status = 200, description = "`service`, `workloads`, `pairs`; or the same as CSV", body = Object),
    (status = 400, description = "The service cannot be understood", body = ErrorBody),
    (status = 409, description = "No policy is in force", body = ErrorBody),
    (status = 413, description = "Too many workloads for one answer", body = ErrorBody),
))]
pub(super) async fn matrix(State(app): State<App>, Ask(pairs): Ask<Pairs>) -> Result<Response, ApiError> {
    let (now, key) = (in_force(&app)?, key(&pairs.service)?);
    let workloads = now.policy.workloads.len();
    if workloads > MATRIX_MAX {
        let message = format!(
            "the policy has {workloads} workloads; a matrix has at most {MATRIX_MAX} here. `ringfence policy show` \
             and `ringfence matrix --policy` print larger ones"
        );
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message));
    }
    let written = blocking(move || {
        let matrix = crate::policy::matrix(&now.policy, now.named(), key);
        let mut text = Vec::new();
        match pairs.format {
            Format::Json => serde_json::to_writer(&mut text, &matrix).map_err(|error| error.to_string())?,
            Format::Csv => matrix.write_csv(&mut text).map_err(|error| error.to_string())?,
        }
        Ok((pairs.format, text))
    });
    let (format, text) = written
        .await?
        .map_err(|error: String| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error))?;
    let kind = if format == Format::Csv { "text/csv; charset=utf-8" } else { "application/json" };
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// Runs `work` beside the control thread.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "interrupted", "the work was interrupted")
    })
}
