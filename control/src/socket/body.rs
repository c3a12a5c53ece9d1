//! Reading a request's body within limits of size, time and memory.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use serde::de::DeserializeOwned;

use super::access::Right;
use super::error::ApiError;
use super::{App, Shared};

/// Reads the body of a POST or PUT before its handler runs, and holds its permit until the handler is done.
pub(super) async fn within_limits(
    app: &App,
    right: Right,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if !matches!(*request.method(), Method::POST | Method::PUT) {
        return Ok(next.run(request).await);
    }
    let read = async {
        let permit = app.bodies[usize::from(right == Right::Change)].acquire().await;
        let (parts, body) = request.into_parts();
        let bytes = to_bytes(body, app.body_bytes).await.map_err(|_| too_large(app))?;
        Ok::<_, ApiError>((permit, Request::from_parts(parts, Body::from(bytes))))
    };
    let Ok(read) = tokio::time::timeout(app.timeout, read).await else {
        let millis = app.timeout.as_millis();
        let message = format!("the request was not there after {millis} ms, or others kept the daemon busy");
        return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", message));
    };
    let (_permit, request) = read?;
    Ok(next.run(request).await)
}

/// The only two faults of reading: the limit, and a client that went away and will not see this.
fn too_large(app: &Shared) -> ApiError {
    let message = format!("the request has more than {} bytes (`socket.body_mebibytes`)", app.body_bytes);
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
}

/// Takes a JSON body apart.
pub(super) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::bad_request(format!("the body: {error}")))
}
