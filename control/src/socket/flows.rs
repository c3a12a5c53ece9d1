//! `GET /v1/flows`: the live flows, in the policy's words.

#![allow(unused_qualifications, reason = "utoipa's macros name the parameters' types by a path")]

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use dataplane::clock::Now;
use dataplane::flow::FlowView;
use dataplane::flow::tcp::Phase;

use super::App;
use super::error::ApiError;
use super::filter::{Called, Filter, Wanted};
use super::read::{Ask, bounded};
use super::view::{FlowEntry, Flows};
use crate::engine::Engine;
use crate::observe::live::Ends;
use crate::observe::names::service_name;

/// The live flows that match, in no particular order.
#[utoipa::path(get, path = "/v1/flows", params(Filter), responses((status = 200, body = Flows)))]
pub(super) async fn flows(State(app): State<App>, Ask(filter): Ask<Filter>) -> Result<Json<Flows>, ApiError> {
    let limit = bounded(filter.limit, 100)?;
    let wanted = filter.check()?;
    let Some(table) = app.wires.flows() else {
        return Ok(Json(Flows { flows: Vec::new(), more: false }));
    };
    // A walk over millions of slots takes a while; the control thread has other work.
    let engine = Arc::clone(&app.engine);
    let walk = tokio::task::spawn_blocking(move || {
        let now = Now::read();
        let words = Words { engine: &engine, called: Called::now(&engine), now };
        let mut flows = Vec::new();
        for view in table.views(now) {
            let Some(entry) = words.entry(&view, &wanted) else { continue };
            if flows.len() == limit {
                return Flows { flows, more: true };
            }
            flows.push(entry);
        }
        Flows { flows, more: false }
    });
    walk.await.map(Json).map_err(|_| {
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "interrupted",
            "the walk over the flows was interrupted",
        )
    })
}

struct Words<'a> {
    engine: &'a Engine,
    called: Called,
    now: Now,
}

impl Words<'_> {
    fn entry(&self, view: &FlowView, wanted: &Wanted) -> Option<FlowEntry> {
        let ends = Ends::of(view);
        let verdict = if view.cut { "deny" } else { "allow" };
        if !wanted.admits_flow([ends.source, ends.destination], ends.ports[1], verdict) {
            return None;
        }
        let forward = view.initiator.index();
        let source = self.called.end(ends.source, ends.ports[0]);
        let destination = self.called.end(ends.destination, ends.ports[1]);
        let rule = |rule| self.engine.rule_name(view.epoch, rule);
        let decided = rule(view.rule);
        if !wanted.admits_ends([&source, &destination]) || !wanted.admits_rule(decided.as_deref()) {
            return None;
        }
        let (now, both) = (self.now.as_millis32(), |counts: [u64; 2]| [counts[forward], counts[1 - forward]]);
        Some(FlowEntry {
            wire: self.engine.wire_name(view.key.wire).to_owned(),
            source,
            destination,
            service: service_name(ends.service),
            verdict,
            rule: decided,
            potential: view.potential.and_then(rule),
            epoch: view.epoch.0,
            state: state(view),
            // A worker's clock may be a little ahead of ours.
            age_s: now.wrapping_sub(view.opened).cast_signed().max(0).cast_unsigned() / 1000,
            expires_s: view.deadline.wrapping_sub(now) / 1000,
            packets: both(view.packets),
            bytes: both(view.bytes),
        })
    }
}

fn state(view: &FlowView) -> String {
    match view.phase {
        Some(phase) => phase_name(phase).to_owned(),
        None if view.replied => "replied".into(),
        None => "unreplied".into(),
    }
}

/// The state's name in RFC 9293 3.3.2, as far as a middle box can tell.
const fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::SynSent => "syn-sent",
        Phase::SynCrossed => "syn-crossed",
        Phase::SynReceived => "syn-received",
        Phase::Established => "established",
        Phase::FinWait => "fin-wait",
        Phase::CloseWait => "close-wait",
        Phase::LastAck => "last-ack",
        Phase::TimeWait => "time-wait",
        Phase::Closed => "closed",
    }
}
