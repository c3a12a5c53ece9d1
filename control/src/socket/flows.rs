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
use super::error::{ApiError, ErrorBody};
use super::filter::{Called, Facts, Filter, Wanted, one_of};
use super::read::{Ask, bounded};
use super::view::{FlowEntry, Flows};
use crate::engine::Engine;
use crate::observe::live::Ends;
use crate::observe::names::service_name;

/// The live flows that match.
#[utoipa::path(get, path = "/v1/flows", params(Filter), responses(
    (status = 200, body = Flows),
    (status = 400, description = "The filter cannot be understood", body = ErrorBody),
))]
pub(super) async fn flows(State(app): State<App>, Ask(filter): Ask<Filter>) -> Result<Json<Flows>, ApiError> {
    let limit = bounded(filter.limit, 100)?;
    let order = filter.sort.as_deref().map(Order::of).transpose()?;
    let wanted = filter.check(app.engine.wire_names())?;
    let Some(table) = app.wires.flows() else {
        return Ok(Json(Flows { flows: Vec::new(), more: false }));
    };
    // A walk over millions of slots takes a while; the control thread has other work.
    let engine = Arc::clone(&app.engine);
    let walk = tokio::task::spawn_blocking(move || {
        let now = Now::read();
        let words = Words { engine: &engine, called: Called::now(&engine), now };
        let mut top = Top { limit, flows: Vec::new(), least: None, more: false };
        for view in table.views(now) {
            let size = order.map_or(0, |order| order.size(&view, now));
            // What has no place is not named, once it is known that there are more.
            if top.more && top.least.is_some_and(|least| size <= least) {
                if order.is_none() {
                    break;
                }
                continue;
            }
            if let Some(entry) = words.entry(&view, &wanted) {
                top.push(size, entry);
            }
        }
        top.flows()
    });
    walk.await.map(Json).map_err(|_| {
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "interrupted",
            "the walk over the flows was interrupted",
        )
    })
}

const ORDERS: [&str; 3] = ["bytes", "packets", "age"];

/// By what flows are sorted.
#[derive(Clone, Copy)]
enum Order {
    Bytes,
    Packets,
    Age,
}

impl Order {
    fn of(name: &str) -> Result<Self, ApiError> {
        match name {
            "bytes" => Ok(Self::Bytes),
            "packets" => Ok(Self::Packets),
            "age" => Ok(Self::Age),
            other => Err(one_of("sort", other, &ORDERS)),
        }
    }

    /// What is larger comes first.
    fn size(self, view: &FlowView, now: Now) -> u64 {
        let sum = |counts: [u64; 2]| counts[0].saturating_add(counts[1]);
        match self {
            Self::Bytes => sum(view.bytes),
            Self::Packets => sum(view.packets),
            Self::Age => u64::from(u32::MAX - age(view, now)),
        }
    }
}

/// Milliseconds since a flow was opened. A worker's clock may be a little ahead of ours.
fn age(view: &FlowView, now: Now) -> u32 {
    now.as_millis32().wrapping_sub(view.opened).cast_signed().max(0).cast_unsigned()
}

/// The largest flows met so far, and at most as many again.
struct Top {
    limit: usize,
    flows: Vec<(u64, FlowEntry)>,
    /// What is not larger than this has no place.
    least: Option<u64>,
    /// Whether something that matches was left out.
    more: bool,
}

impl Top {
    fn push(&mut self, size: u64, entry: FlowEntry) {
        self.flows.push((size, entry));
        if self.flows.len() > 2 * self.limit {
            self.cut();
        }
    }

    fn cut(&mut self) {
        // Stable: those met first stay among equals.
        self.flows.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
        self.more |= self.flows.len() > self.limit;
        self.flows.truncate(self.limit);
        self.least = self.flows.get(self.limit - 1).map(|(size, _)| *size);
    }

    fn flows(mut self) -> Flows {
        self.cut();
        Flows { flows: self.flows.into_iter().map(|(_, entry)| entry).collect(), more: self.more }
    }
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
        let facts = Facts {
            ends: [ends.source, ends.destination],
            service: ends.service,
            verdict,
            is_potential: view.potential.is_some(),
            wire: Some(view.key.wire),
        };
        if !wanted.admits(&facts) {
            return None;
        }
        let forward = view.initiator.index();
        let source = self.called.end(ends.source, ends.ports[0]);
        let destination = self.called.end(ends.destination, ends.ports[1]);
        let rule = |rule| self.engine.rule_name(view.epoch, rule);
        let (decided, potential) = (rule(view.rule), view.potential.and_then(rule));
        if !wanted.admits_ends([&source, &destination])
            || !wanted.admits_rule(decided.as_deref(), potential.as_deref())
        {
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
            potential,
            epoch: view.epoch.0,
            state: state(view),
            age_s: age(view, self.now) / 1000,
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
