//! `GET /metrics`: for Prometheus, in its own text format or as OpenMetrics.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::App;
use super::error::ApiError;
use crate::observe::metrics::{Format, Metrics};

/// Metrics, in OpenMetrics if the request accepts that, in the text format of Prometheus otherwise.
#[utoipa::path(get, path = "/metrics", responses(
    (status = 200, description = "Metrics", body = String, content_type = "text/plain"),
))]
pub(super) async fn metrics(State(app): State<App>, headers: HeaderMap) -> Result<Response, ApiError> {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("");
    let format = Format::accepted(accept);
    // Walking the flow table takes a while; the control thread has other work.
    let app = Arc::clone(&app);
    let gathered = tokio::task::spawn_blocking(move || {
        Metrics::gather(&app.engine, &app.wires.view(), &app.proxies.status()).write(format)
    });
    let text = gathered.await.ok().and_then(Result::ok).ok_or_else(|| {
        let message = "the metrics could not be gathered";
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "interrupted", message)
    })?;
    Ok(([(CONTENT_TYPE, format.content_type())], text).into_response())
}
