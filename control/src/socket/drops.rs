//! `GET /v1/drops`: what was dropped, by reason, by rule, by who spoke to whom, and what would change that.

#![allow(unused_qualifications, reason = "utoipa's macros name the parameters' types by a path")]

mod suggest;
mod sums;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use dataplane::address::Address;
use dataplane::verdict::DropReason;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::ask::blocking;
use super::error::{ApiError, ErrorBody};
use super::filter::{Called, Facts, Filter, Wanted, one_of};
use super::read::{Ask, bounded};
use super::view::FlowEnd;
use crate::engine::Engine;
use crate::observe::drops::{DropCount, ReasonCount, reasons};
use crate::policy::service;
use suggest::Suggestion;
use sums::{PairCount, RuleCount};

/// Suggestions in one answer.
const SUGGEST_MAX: usize = 20;

/// What was dropped.
#[derive(Debug, Serialize, ToSchema)]
pub struct DropsView {
    /// Every reason with its count, exact since the start, whatever is asked for.
    pub reasons: Vec<ReasonCount>,
    /// The most frequent kinds, of those recorded.
    pub top: Vec<DropCount>,
    /// The rules and defaults that dropped most, of what is recorded.
    pub rules: Vec<RuleCount>,
    /// Who was kept from whom most, in label terms, of what is recorded.
    pub pairs: Vec<PairCount>,
    /// For the most frequent drops by policy: the smallest change that would allow them. Empty unless asked for.
    pub suggestions: Vec<Suggestion>,
    /// Recorded drops that are asked for, whether listed or not.
    pub matching: u64,
    /// Drops that were recorded.
    pub recorded: u64,
    /// Drops that were not recorded because a queue was full; 0 means that what is recorded is complete.
    pub lost: u64,
    /// Recorded drops of kinds that were too many to be kept apart.
    pub forgotten: u64,
}

/// Which drops, and how much of them.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Query {
    /// At most so many of each list; 1 to 10,000, 100 unless told.
    limit: Option<usize>,
    /// The stable name of a reason.
    reason: Option<String>,
    /// The rule or default that dropped, by name.
    rule: Option<String>,
    /// A workload at either end, by name.
    workload: Option<String>,
    /// A label at either end, as `key=value`; several, separated by commas, must all hold for one end.
    label: Option<String>,
    /// Who sent it: as for flows.
    from: Option<String>,
    /// To whom: as for flows.
    to: Option<String>,
    /// The destination port.
    port: Option<u16>,
    /// The service or protocol, as policy writes it.
    service: Option<String>,
    /// The wire, by name.
    wire: Option<String>,
    /// For so many of the most frequent drops by policy, what would allow them; 0 to 20, 0 unless told.
    suggest: Option<usize>,
}

/// A query that makes sense.
struct Asked {
    limit: usize,
    suggest: usize,
    reason: Option<&'static str>,
    /// The wire's name too: drops carry it.
    wire: Option<String>,
    /// Whether anything is asked about the ends, which drops without an IP packet do not have.
    of_ends: bool,
    wanted: Wanted,
}

impl Query {
    fn check(self, wires: &[String]) -> Result<Asked, ApiError> {
        let limit = bounded(self.limit, 100)?;
        let suggest = self.suggest.unwrap_or(0);
        if suggest > SUGGEST_MAX {
            return Err(ApiError::bad_request(format!(
                "`suggest` is {suggest}; it must be 0 to {SUGGEST_MAX}"
            )));
        }
        let reason = self.reason.map(|name| {
            let known = DropReason::ALL.iter().map(|reason| reason.name());
            known.clone().find(|known| *known == name).ok_or_else(|| {
                let legal: Vec<&str> = known.collect();
                one_of("reason", &name, &legal)
            })
        });
        let of_ends =
            [&self.workload, &self.label, &self.from, &self.to, &self.service].iter().any(|w| w.is_some());
        let filter = Filter {
            workload: self.workload,
            label: self.label,
            from: self.from,
            to: self.to,
            port: self.port,
            service: self.service,
            rule: self.rule,
            wire: self.wire.clone(),
            ..Filter::default()
        };
        let of_ends = of_ends || self.port.is_some();
        Ok(Asked {
            limit,
            suggest,
            reason: reason.transpose()?,
            wire: self.wire,
            of_ends,
            wanted: filter.check(wires)?,
        })
    }
}

/// A kind of drop with its ends in full.
struct Dropped {
    count: DropCount,
    ends: Option<[FlowEnd; 2]>,
}

impl Asked {
    /// `count` with its ends, if it is asked for.
    fn admit(&self, called: &Called, count: DropCount) -> Option<Dropped> {
        let kind = &count.kind;
        if self.reason.is_some_and(|wanted| wanted != kind.reason)
            || self.wire.as_ref().is_some_and(|wanted| *wanted != kind.wire)
            || !self.wanted.admits_rule(kind.rule.as_deref(), None)
        {
            return None;
        }
        let Some((source, destination)) = count.last_source.zip(count.last_destination) else {
            return (!self.of_ends).then_some(Dropped { count, ends: None });
        };
        let key = kind.service.as_deref().and_then(|text| service::parse_one(text).ok()).unwrap_or(0);
        let addresses = [source, destination].map(Address::from);
        let facts = Facts { ends: addresses, service: key, verdict: "", is_potential: false, wire: None };
        let ends = addresses.map(|address| called.end(address, None));
        let admits = self.wanted.admits(&facts) && self.wanted.admits_ends([&ends[0], &ends[1]]);
        admits.then_some(Dropped { count, ends: Some(ends) })
    }
}

/// What was dropped, and why.
#[utoipa::path(get, path = "/v1/drops", params(Query), responses(
    (status = 200, body = DropsView),
    (status = 400, description = "What is asked for cannot be understood", body = ErrorBody),
))]
pub(super) async fn drops(
    State(app): State<App>,
    Ask(query): Ask<Query>,
) -> Result<Json<DropsView>, ApiError> {
    let asked = query.check(app.engine.wire_names())?;
    // Suggestions compile policies; the control thread has other work.
    let engine = Arc::clone(&app.engine);
    blocking(move || Json(answer(&engine, &asked))).await
}

fn answer(engine: &Engine, asked: &Asked) -> DropsView {
    let (all, (recorded, forgotten)) = engine.with_drops(|drops| (drops.top(usize::MAX), drops.totals()));
    let called = Called::now(engine);
    let chosen: Vec<Dropped> = all.into_iter().filter_map(|count| asked.admit(&called, count)).collect();
    DropsView {
        reasons: reasons(|reason| engine.sum(|worker| worker.dropped(reason))),
        rules: sums::rules(&chosen, asked.limit),
        pairs: sums::pairs(&chosen, asked.limit),
        suggestions: suggest::suggestions(engine, &chosen, asked.suggest),
        matching: chosen.iter().map(|one| one.count.count).sum(),
        top: chosen.into_iter().take(asked.limit).map(|one| one.count).collect(),
        recorded,
        lost: engine.sum(|worker| &worker.drop_records_lost),
        forgotten,
    }
}
