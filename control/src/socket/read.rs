//! The requests that only look.

#![allow(unused_qualifications, reason = "utoipa's macros name the parameters' types by a path")]

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use dataplane::counters::WorkerCounters;
use dataplane::verdict::{Epoch, Side};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::App;
use super::error::{ApiError, ErrorBody};
use super::view::{History, PolicySource, PolicyStatus, Status, Totals, WorkerView, WorkloadView, Workloads};
use crate::engine::InForce;

/// A query whose refusal is a JSON error.
pub(super) struct Ask<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Ask<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query)).map_err(|error| ApiError::bad_request(error.body_text()))
    }
}

/// The policy in force, or the error that there is none.
pub(super) fn in_force(app: &App) -> Result<Arc<InForce>, ApiError> {
    app.engine.in_force().ok_or_else(|| {
        let message = "no policy is in force: everything is dropped until one is published";
        ApiError::new(StatusCode::CONFLICT, "no_policy", message)
    })
}

/// How the daemon is: policy in force, wires, workers, totals.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = Status)))]
pub(super) async fn status(State(app): State<App>) -> Json<Status> {
    let engine = &app.engine;
    let reported = engine.publisher().reported();
    let policy = engine.in_force().map(|now| PolicyStatus {
        meta: now.meta.clone(),
        compile_ms: now.compile.as_secs_f64() * 1e3,
        table_bytes: now.snapshot.table.bytes(),
        table_epoch: now.snapshot.epoch.0,
        taken: reported.iter().flatten().all(|epoch| *epoch >= now.snapshot.epoch),
    });
    let workers: Vec<WorkerView> = (engine.workers.iter().zip(&reported).enumerate())
        .map(|(number, (worker, epoch))| WorkerView {
            number,
            wire: engine.wire_name(worker.wire).to_owned(),
            queue: worker.queue,
            epoch: epoch.map(|Epoch(epoch)| epoch),
            counts: Totals::default().with(&worker.counters),
        })
        .collect();
    Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        uptime_s: app.started.elapsed().as_secs(),
        policy,
        awaiting: engine.awaiting(),
        drafts: super::drafts::views(engine),
        notices: engine.notices(),
        page: app.sessions.address(),
        wires: app.wires.view(),
        proxies: app.proxies.status().into_iter().map(Into::into).collect(),
        workers,
        totals: engine.workers.iter().fold(Totals::default(), |sum, worker| sum.with(&worker.counters)),
        exporters: engine.exporters(),
        flow_capacity: app.wires.flows().map(|flows| flows.capacity()),
    })
}

impl Totals {
    /// Adds the counts of one worker.
    fn with(mut self, counts: &WorkerCounters) -> Self {
        for side in [Side::Inside, Side::Outside] {
            let side = counts.side(side);
            self.received += side.received.get();
            self.received_bytes += side.received_bytes.get();
            self.forwarded += side.forwarded.get();
        }
        self.dropped += counts.dropped_in_all();
        self.made += counts.made.get();
        self.answers_suppressed += counts.answers_suppressed.get();
        self.held += counts.held.get();
        self.decisions += counts.decisions.get();
        self.flow_hits += counts.flow_hits.get();
        self.flow_stale += counts.flow_stale.get();
        self.flow_misses += counts.flow_misses.get();
        self.flows_opened += counts.flows_opened.get();
        self.flows_evicted += counts.flows_evicted.get();
        self.flows_cut += counts.flows_cut.get();
        self.potentially_blocked += counts.potentially_blocked.get();
        self.flow_events += counts.flow_events.get();
        self.drop_records_lost += counts.drop_records_lost.get();
        self.flow_events_lost += counts.flow_events_lost.get();
        self
    }
}

/// Which page of a listing.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// At most so many; 1 to 10,000, 1,000 unless told.
    limit: Option<usize>,
    /// Begin after so many; the `next` of the page before.
    after: Option<usize>,
}

/// A limit within its bounds.
pub(super) fn bounded(limit: Option<usize>, default: usize) -> Result<usize, ApiError> {
    match limit.unwrap_or(default) {
        limit @ 1..=10_000 => Ok(limit),
        other => Err(ApiError::bad_request(format!("`limit` is {other}; it must be 1 to 10000"))),
    }
}

/// The workloads of the policy in force, in its order.
#[utoipa::path(get, path = "/v1/workloads", params(Page), responses((status = 200, body = Workloads)))]
pub(super) async fn workloads(
    State(app): State<App>,
    Ask(page): Ask<Page>,
) -> Result<Json<Workloads>, ApiError> {
    let limit = bounded(page.limit, 1000)?;
    let Some(now) = app.engine.in_force() else {
        return Ok(Json(Workloads { epoch: None, total: 0, workloads: Vec::new(), next: None }));
    };
    let (all, after) = (&now.policy.workloads, page.after.unwrap_or(0));
    let view = all.iter().skip(after).take(limit).map(|workload| WorkloadView {
        name: workload.name.clone(),
        labels: workload.labels.clone(),
        addresses: workload.addresses.clone(),
        wire: workload.wire.clone(),
        quarantine: workload.labels.is_empty(),
    });
    let workloads: Vec<WorkloadView> = view.collect();
    let end = after.saturating_add(workloads.len());
    let next = (end < all.len() && !workloads.is_empty()).then_some(end);
    Ok(Json(Workloads { epoch: Some(now.meta.epoch), total: all.len(), workloads, next }))
}

/// The source text of the policy in force.
#[utoipa::path(get, path = "/v1/policy", responses(
    (status = 200, body = PolicySource),
    (status = 409, description = "No policy is in force", body = ErrorBody),
))]
pub(super) async fn policy(State(app): State<App>) -> Result<Json<PolicySource>, ApiError> {
    let now = in_force(&app)?;
    Ok(Json(PolicySource { meta: now.meta.clone(), files: now.source() }))
}

/// Every policy that is kept, newest first.
#[utoipa::path(get, path = "/v1/policy/history", responses((status = 200, body = History)))]
pub(super) async fn history(State(app): State<App>) -> Json<History> {
    let epoch = app.engine.in_force().map(|now| now.meta.epoch);
    Json(History { epoch, history: app.engine.history() })
}
