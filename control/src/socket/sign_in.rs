//! Signing a browser in, see `session`.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::access::{Grant, Peer, Right};
use super::body::json;
use super::error::{ApiError, ErrorBody};
use super::session::{CODE_LIFE, SESSION_LIFE, Via};

/// A code to ask for.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CodeRequest {
    /// Whether who signs in with it may read only, whatever the asking user may.
    #[serde(default)]
    pub read_only: bool,
}

/// A code that signs one browser in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Code {
    /// The code; good once.
    pub code: String,
    /// The address of the page with the code behind `#`, which browsers send to nobody.
    pub url: String,
    /// Whether it gives the right to change.
    pub may_change: bool,
    /// How long it can be used, s.
    pub expires_s: u64,
}

/// A session.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Session {
    /// What to show: `Authorization: Bearer SECRET`.
    pub secret: String,
    /// Whether it may change.
    pub may_change: bool,
    /// How long it lasts, s.
    pub expires_s: u64,
}

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Caller {
    /// Whether it may change.
    pub may_change: bool,
    /// The user in whose name it asks; none for a token that is nobody's.
    pub uid: Option<u32>,
    /// Whether it can sign out.
    pub session: bool,
}

fn may_change(app: &App, peer: Peer) -> bool {
    app.access.check(peer, Right::Change).is_ok()
}

/// A code that signs one browser in at the loopback address, with the rights of who asks. On the Unix socket only.
#[utoipa::path(post, path = "/v1/session/codes", request_body = CodeRequest, responses(
    (status = 200, description = "The code", body = Code),
    (status = 403, description = "Asked for over the loopback address", body = ErrorBody),
    (status = 409, description = "No loopback address is listened on", body = ErrorBody),
))]
pub(super) async fn code(
    State(app): State<App>,
    Extension(via): Extension<Via>,
    body: Bytes,
) -> Result<Json<Code>, ApiError> {
    let Via::Socket(peer) = via else {
        let message = "a code is given on the Unix socket only, where it is known who asks";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", message));
    };
    let request: CodeRequest = if body.is_empty() { CodeRequest::default() } else { json(&body)? };
    let address = app.sessions.address().ok_or_else(|| {
        let message = "the daemon listens on no loopback address; set `http.listen` in its configuration";
        ApiError::new(StatusCode::CONFLICT, "no_address", message)
    })?;
    let grant = if request.read_only { Grant::Read } else { Grant::Account };
    let peer = Peer { grant, ..peer };
    let code = app.sessions.code(peer)?;
    let url = format!("{address}#code={code}");
    Ok(Json(Code { code, url, may_change: may_change(&app, peer), expires_s: CODE_LIFE.as_secs() }))
}

/// Sign in: exchange a code, shown as `Authorization: Bearer CODE`, for a session.
#[utoipa::path(post, path = "/v1/session", responses(
    (status = 200, description = "Signed in", body = Session),
    (status = 401, description = "The code is not known, was used already, or is over", body = ErrorBody),
))]
pub(super) async fn sign_in(State(app): State<App>, headers: HeaderMap) -> Result<Json<Session>, ApiError> {
    let (secret, peer) = app.sessions.sign_in(&headers)?;
    tracing::info!(uid = peer.uid, may_change = may_change(&app, peer), "a browser signed in");
    Ok(Json(Session { secret, may_change: may_change(&app, peer), expires_s: SESSION_LIFE.as_secs() }))
}

/// Who asks, and what it may.
#[utoipa::path(get, path = "/v1/session", responses((status = 200, body = Caller)))]
pub(super) async fn who(
    State(app): State<App>,
    Extension(via): Extension<Via>,
    Extension(peer): Extension<Peer>,
) -> Json<Caller> {
    let uid = Some(peer.uid).filter(|uid| *uid != super::access::NOBODY);
    let session = matches!(via, Via::Loopback) && uid.is_some();
    Json(Caller { may_change: may_change(&app, peer), uid, session })
}

/// Sign out: the session ends.
#[utoipa::path(delete, path = "/v1/session", responses((status = 200, description = "Signed out", body = Caller)))]
pub(super) async fn sign_out(State(app): State<App>, headers: HeaderMap) -> Json<Caller> {
    app.sessions.sign_out(&headers);
    Json(Caller { may_change: false, uid: None, session: false })
}
