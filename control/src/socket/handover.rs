//! `POST /v1/handover`: the connection becomes the one over which a successor takes this daemon's place.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, UPGRADE};
use axum::http::{HeaderValue, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::App;
use super::error::{ApiError, ErrorBody};
use super::session::Via;
use super::stream::Timed;
use crate::daemon::HANDOVER;

/// Hands over to a new process, which asks with `Upgrade: ringfence-handover`: `ringfence run --take-over` does.
#[utoipa::path(post, path = "/v1/handover", responses(
    (status = 101, description = "The connection speaks another protocol from here on"),
    (status = 400, description = "The request does not ask for the protocol", body = ErrorBody),
    (status = 409, description = "Another process takes over at this moment", body = ErrorBody),
))]
pub(super) async fn hand_over(
    State(app): State<App>,
    Extension(via): Extension<Via>,
    mut request: Request,
) -> Result<Response<Body>, ApiError> {
    if matches!(via, Via::Loopback) {
        let message = "listeners can be handed over on the Unix socket only";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", message));
    }
    if request.headers().get(UPGRADE).is_none_or(|protocol| protocol != HANDOVER) {
        return Err(ApiError::bad_request(format!(
            "this needs `Upgrade: {HANDOVER}`; see `ringfence run --help`"
        )));
    }
    let Ok(place) = Arc::clone(&app.successor).try_acquire_owned() else {
        let message = "another process takes over at this moment";
        return Err(ApiError::new(StatusCode::CONFLICT, "hands_over", message));
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let successors = app.successors.clone();
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        // The connection is what this server put into it; nothing was sent ahead of the answer.
        if let Ok(parts) = upgraded.downcast::<TokioIo<Timed<UnixStream>>>() {
            // If nobody takes it any more, the daemon is stopping, and the successor sees its end.
            let _ = successors.send((parts.io.into_inner().into_inner(), place)).await;
        }
    });
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    answer.headers_mut().insert(UPGRADE, HeaderValue::from_static(HANDOVER));
    Ok(answer)
}
