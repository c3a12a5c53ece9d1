//! The control socket: HTTP and JSON on a Unix socket, so that `curl --unix-socket` works; the same on a loopback address
//! if the configuration asks for it.
//!
//! `GET /openapi.json` describes it. Every answer with a status of 400 or above is an [`error::ErrorBody`]. Who may
//! read and who may change is decided by the credentials of the connecting process, see [`access::Access`]; over the
//! loopback address, where there are none, by what the request shows, see `session`.
//!
//! Limits: connections at a time, bytes of a request's head (16 KiB) and of its body, the time to send a request and
//! to take its answer, two bodies in memory at a time (one of a reader, one of a changer), pages of listings.

pub mod access;
mod ask;
mod body;
mod browser;
mod candidate;
mod capture;
mod change;
mod drafts;
pub mod drops;
pub mod error;
pub mod events;
mod filter;
mod flows;
mod handover;
mod inventory;
mod listen;
mod loopback;
mod map;
mod metrics;
mod openapi;
mod page;
pub mod proxies;
mod propose;
mod read;
pub mod records;
pub mod rules;
mod session;
mod sign_in;
mod stream;
#[cfg(test)]
mod tests;
pub mod view;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, post, put};
use axum::{Extension, Router};
use tokio::sync::{Semaphore, mpsc};

use crate::daemon::{Asking, Proxies, Wires};
use crate::engine::Engine;
use access::{Access, Right};
use error::ApiError;
use session::Via;

pub use listen::{Listener, SocketError};
pub use loopback::Loopback;
pub use session::Sessions;

/// What the handlers work with.
pub struct Shared {
    /// The daemon's state.
    pub engine: Arc<Engine>,
    /// The wires as they are.
    pub wires: Wires,
    /// The proxies as they are.
    pub proxies: Proxies,
    /// Who may do what.
    pub access: Access,
    /// Who is signed in over the loopback address.
    pub sessions: Sessions,
    /// The largest request body, bytes.
    pub body_bytes: usize,
    /// Connections at a time.
    pub connections: usize,
    /// The time to send a body.
    pub timeout: Duration,
    /// When the daemon started.
    pub started: Instant,
    /// One body of each right in memory at a time.
    pub(crate) bodies: [Semaphore; 2],
    /// Where the connections go of processes that want to take over.
    pub(crate) successors: mpsc::Sender<Asking>,
    /// One at a time.
    pub(crate) successor: Arc<Semaphore>,
}

impl Shared {
    /// One permit for each kind of body.
    #[must_use]
    pub fn bodies() -> [Semaphore; 2] {
        [Semaphore::new(1), Semaphore::new(1)]
    }
}

type App = Arc<Shared>;

/// One route: what the router, the documentation and its test are made of.
struct Route {
    #[cfg_attr(not(test), expect(dead_code, reason = "compared with the documentation"))]
    method: &'static str,
    path: &'static str,
    right: Right,
    handler: fn() -> MethodRouter<App>,
}

macro_rules! route {
    (GET $path:literal, $right:ident, $handler:path) => {
        Route { method: "get", path: $path, right: Right::$right, handler: || get($handler) }
    };
    (PUT $path:literal, $right:ident, $handler:path) => {
        Route { method: "put", path: $path, right: Right::$right, handler: || put($handler) }
    };
    (DELETE $path:literal, $right:ident, $handler:path) => {
        Route { method: "delete", path: $path, right: Right::$right, handler: || delete($handler) }
    };
    (POST $path:literal, $right:ident, $handler:path) => {
        Route { method: "post", path: $path, right: Right::$right, handler: || post($handler) }
    };
}

const ROUTES: &[Route] = &[
    route!(GET "/openapi.json", Read, openapi::document),
    route!(GET "/metrics", Metrics, metrics::metrics),
    route!(GET "/v1/status", Read, read::status),
    route!(GET "/v1/session", Read, sign_in::who),
    route!(POST "/v1/session", Open, sign_in::sign_in),
    route!(DELETE "/v1/session", Read, sign_in::sign_out),
    route!(POST "/v1/session/codes", Read, sign_in::code),
    route!(GET "/v1/flows", Read, flows::flows),
    route!(GET "/v1/events", Read, events::events),
    route!(GET "/v1/records", Read, records::records),
    route!(GET "/v1/map", Read, map::map),
    route!(GET "/v1/propose", Read, propose::propose),
    route!(GET "/v1/rules", Read, rules::rules),
    route!(GET "/v1/workloads", Read, read::workloads),
    route!(PUT "/v1/workloads/{name}", Change, inventory::put),
    route!(DELETE "/v1/workloads/{name}", Change, inventory::remove),
    route!(POST "/v1/workloads/{name}/labels", Change, inventory::label),
    route!(GET "/v1/drops", Read, drops::drops),
    route!(POST "/v1/capture", Change, capture::capture),
    route!(DELETE "/v1/capture", Change, capture::end),
    route!(GET "/v1/policy", Read, read::policy),
    route!(GET "/v1/policy/history", Read, read::history),
    route!(GET "/v1/explain", Read, ask::explain),
    route!(GET "/v1/matrix", Read, ask::matrix),
    route!(POST "/v1/policy", Change, change::publish),
    route!(POST "/v1/policy/check", Read, change::check),
    route!(POST "/v1/policy/promote", Change, change::promote),
    route!(POST "/v1/policy/rollback", Change, change::rollback),
    route!(POST "/v1/policy/confirm", Change, change::confirm),
    route!(POST "/v1/policy/simulate", Read, candidate::simulate),
    route!(POST "/v1/policy/diff", Read, candidate::diff),
    route!(GET "/v1/policy/drafts", Read, drafts::list),
    route!(POST "/v1/policy/drafts", Change, drafts::stage),
    route!(DELETE "/v1/policy/drafts/{name}", Change, drafts::unstage),
    route!(POST "/v1/handover", Change, handover::hand_over),
];

/// The whole API.
pub fn router(shared: Arc<Shared>) -> Router {
    let mut router: Router<App> = Router::new();
    for route in ROUTES {
        // Two routes with one path are two methods of it.
        let right = route.right;
        let app = Arc::clone(&shared);
        let guard = move |via: Extension<Via>, request: Request, next: Next| {
            admit(Arc::clone(&app), right, via, request, next)
        };
        router = router.route(route.path, (route.handler)().layer(from_fn(guard)));
    }
    page::files(router)
        .fallback(|| async {
            ApiError::new(StatusCode::NOT_FOUND, "not_found", "no such path; see /openapi.json")
        })
        .method_not_allowed_fallback(|| async {
            ApiError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method",
                "this path has another method; see /openapi.json",
            )
        })
        .layer(from_fn(page::careful))
        .with_state(shared)
}

/// Lets a request through if no foreign page made it, and if its peer has the right; only then is its body read, within the limits.
async fn admit(
    app: App,
    right: Right,
    Extension(via): Extension<Via>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    browser::check(via, right, request.method(), request.headers())?;
    let peer = app.sessions.peer(via, right, request.headers())?;
    app.access.check(peer, right)?;
    request.extensions_mut().insert(peer);
    if right == Right::Open {
        // Whoever is nobody yet has no body that anybody waits for.
        return Ok(next.run(request).await);
    }
    body::within_limits(&app, right, request, next).await
}
