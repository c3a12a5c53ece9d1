//! `GET /v1/records`: the flows there were, summed up, and how much of what happened that is.

#![allow(unused_qualifications, reason = "utoipa's macros name the parameters' types by a path")]

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use dataplane::address::Address;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

mod more;

use super::App;
use super::error::ApiError;
use super::filter::{Called, Facts, Filter, Wanted};
use super::read::{Ask, bounded};
use super::view::FlowEnd;
use crate::engine::Engine;
use crate::observe::flows::{Completeness, FlowRecord};
use crate::observe::live::port_of;
use crate::observe::names::service_name;
use more::{Hashes, MoreView};

/// Flow records.
#[derive(Debug, Serialize, ToSchema)]
pub struct Records {
    /// How much of what happened is recorded.
    pub completeness: CompletenessView,
    /// The records, those seen last first.
    pub records: Vec<RecordView>,
    /// Whether there were more that match; narrow the filter or raise `limit`.
    pub more: bool,
}

/// How much of what happened is recorded.
#[derive(Debug, Serialize, ToSchema)]
pub struct CompletenessView {
    /// Whether nothing is missing.
    pub complete: bool,
    /// Since when flows were recorded.
    #[schema(value_type = String)]
    pub from: Timestamp,
    /// Until when.
    #[schema(value_type = String)]
    pub to: Timestamp,
    /// Events in that time that were lost: flows opened, ended or denied.
    pub missed: u64,
    /// How often in that time the daemon was down.
    pub gaps: u32,
    /// Flows among the records that are known by the labels of their ends only, for want of room.
    pub folded: u64,
}

impl From<Completeness> for CompletenessView {
    fn from(known: Completeness) -> Self {
        let Completeness { from, to, missed, gaps, folded } = known;
        Self { complete: known.is_complete(), from, to, missed, gaps, folded }
    }
}

/// Flows between two addresses about one service, decided in one way.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecordView {
    /// Who opened them.
    pub source: FlowEnd,
    /// To whom.
    pub destination: FlowEnd,
    /// The service, as `tcp/443`.
    pub service: String,
    /// `allow`, `deny` or `reject`.
    pub verdict: &'static str,
    /// The rule or default that decided.
    pub rule: String,
    /// The rule or default that would have denied them, were their endpoint enforced.
    pub potential: Option<String>,
    /// Flows; for denied ones, packets that asked for one.
    pub flows: u64,
    /// Packets, both directions; those of a live flow come about once a minute.
    pub packets: u64,
    /// Bytes, both directions, likewise.
    pub bytes: u64,
    /// When the first was seen.
    #[schema(value_type = String)]
    pub first_seen: Timestamp,
    /// When the last packet was seen.
    #[schema(value_type = String)]
    pub last_seen: Timestamp,
    /// Drafts that answered otherwise.
    pub drafts: Vec<DraftView>,
    /// What else is known of them.
    #[serde(flatten)]
    pub more: MoreView,
}

/// What a draft would have answered.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RecordDraft)]
pub struct DraftView {
    /// Its number.
    pub draft: u16,
    /// `allow`, `potentially-blocked`, `deny` or `reject`.
    pub answer: &'static str,
    /// To how many flows.
    pub flows: u64,
}

/// The records that match, those seen last first.
#[utoipa::path(get, path = "/v1/records", params(Filter), responses((status = 200, body = Records)))]
pub(super) async fn records(
    State(app): State<App>,
    Ask(filter): Ask<Filter>,
) -> Result<Json<Records>, ApiError> {
    let limit = bounded(filter.limit, 100)?;
    let wanted = filter.unsorted()?.check(app.engine.wire_names())?;
    if wanted.names_a_wire() {
        let message = "records are not kept apart by wire: `wire` is for live flows and events";
        return Err(ApiError::bad_request(message));
    }
    // Naming tens of thousands of addresses takes a while; the control thread has other work.
    let engine = Arc::clone(&app.engine);
    let walk = tokio::task::spawn_blocking(move || find(&engine, &wanted, limit));
    walk.await.map(Json).map_err(|_| {
        let message = "the walk over the records was interrupted";
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "interrupted", message)
    })
}

fn find(engine: &Engine, wanted: &Wanted, limit: usize) -> Records {
    let (mut found, completeness) = engine.with_records(|log| {
        let found: Vec<_> = log.each().filter(|record| admits(wanted, record)).collect();
        (found, log.completeness())
    });
    found.sort_by(|a, b| b.last_seen.cmp(&a.last_seen).then_with(|| a.source.cmp(&b.source)));
    let (called, hashes) = (Called::now(engine), Hashes::now(engine));
    let mut matching = found.into_iter().filter_map(|record| view(&called, &hashes, wanted, record));
    let records = matching.by_ref().take(limit).collect();
    Records { completeness: completeness.into(), records, more: matching.next().is_some() }
}

fn admits(wanted: &Wanted, record: &FlowRecord) -> bool {
    let ends = [record.source, record.destination].map(Address::from);
    let facts = Facts {
        ends,
        service: record.service,
        verdict: record.verdict.name(),
        is_potential: record.potential.is_some(),
        wire: None,
    };
    wanted.admits(&facts) && wanted.admits_rule(Some(&record.rule), record.potential.as_deref())
}

fn view(called: &Called, hashes: &Hashes, wanted: &Wanted, record: FlowRecord) -> Option<RecordView> {
    let source = called.end(record.source.into(), None);
    let destination = called.end(record.destination.into(), port_of(record.service));
    if !wanted.admits_ends([&source, &destination]) {
        return None;
    }
    let said = record.drafts.iter().map(|tally| DraftView {
        draft: tally.draft,
        answer: tally.answer.name(),
        flows: tally.flows,
    });
    Some(RecordView {
        source,
        destination,
        service: service_name(record.service),
        verdict: record.verdict.name(),
        rule: record.rule.to_string(),
        potential: record.potential.as_deref().map(str::to_owned),
        flows: record.flows,
        packets: record.packets,
        bytes: record.bytes,
        first_seen: record.first_seen,
        last_seen: record.last_seen,
        drafts: said.collect(),
        more: MoreView::of(&record, hashes),
    })
}

#[cfg(test)]
pub(super) mod tests;
