//! `GET /v1/flows`: the live flows, in the policy's words.

#![allow(unused_qualifications, reason = "utoipa's macros name the parameters' types by a path")]

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use dataplane::address::Address;
use dataplane::clock::Now;
use dataplane::flow::FlowView;
use dataplane::flow::tcp::Phase;
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::error::ApiError;
use super::read::{Ask, bounded};
use super::view::{FlowEnd, FlowEntry, Flows};
use crate::engine::{Engine, InForce};
use crate::observe::live::Ends;
use crate::observe::names::{Who, service_name};
use crate::policy::valid::Labels;

/// Which flows; all that is given must hold.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// At most so many; 1 to 10,000, 100 unless told.
    limit: Option<usize>,
    /// A workload at either end, by name.
    workload: Option<String>,
    /// An address at either end.
    #[param(value_type = Option<String>)]
    address: Option<IpAddr>,
    /// A label at either end, as `key=value`.
    label: Option<String>,
    /// The port of the end that was opened to.
    port: Option<u16>,
    /// `allow`, or `deny` for flows that were cut.
    verdict: Option<String>,
}

/// The live flows that match, in no particular order.
#[utoipa::path(get, path = "/v1/flows", params(Filter), responses((status = 200, body = Flows)))]
pub(super) async fn flows(State(app): State<App>, Ask(filter): Ask<Filter>) -> Result<Json<Flows>, ApiError> {
    let limit = bounded(filter.limit, 100)?;
    let wanted = Wanted::new(&filter)?;
    let Some(table) = app.wires.flows() else {
        return Ok(Json(Flows { flows: Vec::new(), more: false }));
    };
    // A walk over millions of slots takes a while; the control thread has other work.
    let engine = Arc::clone(&app.engine);
    let walk = tokio::task::spawn_blocking(move || {
        let now = Now::read();
        let words = Words { engine: &engine, in_force: engine.in_force(), now };
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

/// A filter that makes sense.
struct Wanted {
    workload: Option<String>,
    address: Option<Address>,
    label: Option<(String, String)>,
    port: Option<u16>,
    cut: Option<bool>,
}

impl Wanted {
    fn new(filter: &Filter) -> Result<Self, ApiError> {
        let label = match filter.label.as_deref().map(|label| label.split_once('=')) {
            None => None,
            Some(Some((key, value))) => Some((key.to_owned(), value.to_owned())),
            Some(None) => return Err(ApiError::bad_request("`label` must be `key=value`")),
        };
        let cut = match filter.verdict.as_deref() {
            None => None,
            Some("allow") => Some(false),
            Some("deny") => Some(true),
            Some(_) => return Err(ApiError::bad_request("`verdict` must be `allow` or `deny`")),
        };
        let address = filter.address.map(|address| Address::from(address.to_canonical()));
        Ok(Self { workload: filter.workload.clone(), address, label, port: filter.port, cut })
    }

    /// What can be told without names.
    fn admits_raw(&self, view: &FlowView, port: Option<u16>) -> bool {
        self.address.is_none_or(|address| view.key.first == address || view.key.second == address)
            && self.port.is_none_or(|wanted| port == Some(wanted))
            && self.cut.is_none_or(|cut| view.cut == cut)
    }

    fn admits(&self, ends: [&FlowEnd; 2]) -> bool {
        let named = |name: &String| ends.iter().any(|end| end.who == Who::Workload(name.clone()));
        let labelled = |(key, value): &(String, String)| {
            ends.iter().any(|end| end.labels.get(key).is_some_and(|values| values.contains(value)))
        };
        self.workload.as_ref().is_none_or(named) && self.label.as_ref().is_none_or(labelled)
    }
}

struct Words<'a> {
    engine: &'a Engine,
    in_force: Option<Arc<InForce>>,
    now: Now,
}

impl Words<'_> {
    fn entry(&self, view: &FlowView, wanted: &Wanted) -> Option<FlowEntry> {
        let ends = Ends::of(view);
        if !wanted.admits_raw(view, ends.ports[1]) {
            return None;
        }
        let forward = view.initiator.index();
        let (source, destination) =
            (self.end(ends.source, ends.ports[0]), self.end(ends.destination, ends.ports[1]));
        if !wanted.admits([&source, &destination]) {
            return None;
        }
        let rule = |rule| self.engine.rule_name(view.epoch, rule);
        let (now, both) = (self.now.as_millis32(), |counts: [u64; 2]| [counts[forward], counts[1 - forward]]);
        Some(FlowEntry {
            wire: self.engine.wire_name(view.key.wire).to_owned(),
            source,
            destination,
            service: service_name(ends.service),
            verdict: if view.cut { "deny" } else { "allow" },
            rule: rule(view.rule),
            potential: view.potential.and_then(rule),
            epoch: view.epoch.0,
            state: state(view),
            age_s: now.wrapping_sub(view.opened) / 1000,
            expires_s: view.deadline.wrapping_sub(now) / 1000,
            packets: both(view.packets),
            bytes: both(view.bytes),
        })
    }

    fn end(&self, address: Address, port: Option<u16>) -> FlowEnd {
        let (who, labels) = match &self.in_force {
            Some(now) => {
                let (table, policy) = (&now.snapshot.table, &now.policy);
                (now.names.who(address, table, policy), now.names.labels(address, table, policy).cloned())
            }
            None => (Who::Unknown, None),
        };
        FlowEnd { address: address.to_ip(), port, who, labels: labels.unwrap_or_else(Labels::new) }
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
