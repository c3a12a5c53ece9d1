//! Errors as the API says them: `{"error": {"code", "message", …}}`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// What every answer with a status of 400 or above has as its body.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorInfo,
}

/// One error.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorInfo {
    /// Its stable name.
    #[schema(example = "policy_refused")]
    pub code: &'static str,
    /// What happened and what to do, for people.
    pub message: String,
    /// More, by code: for `policy_refused` the diagnostics; for `not_taken` the epoch and the workers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub details: Option<serde_json::Value>,
}

/// An error on its way to the client.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    info: ErrorInfo,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, info: ErrorInfo { code, message: message.into(), details: None } }
    }

    /// Something in the request cannot be understood.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(super) fn with(mut self, details: &impl Serialize) -> Self {
        self.info.details = serde_json::to_value(details).ok();
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(ErrorBody { error: self.info })).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer realm=\"ringfence\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
