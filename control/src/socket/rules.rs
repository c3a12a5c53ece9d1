//! `GET /v1/rules`: every rule with what it decided, when last, and why it may never do.

#![allow(unused_qualifications, reason = "utoipa's macros name the parameters' types by a path")]

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use dataplane::verdict::RuleId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::ask::blocking;
use super::error::{ApiError, ErrorBody};
use super::filter::one_of;
use super::read::Ask;
use super::records::CompletenessView;
use crate::engine::{Also, Engine, InForce};
use crate::observe::hits::Uses;
use crate::policy::analysis::Standing;

/// Rules that are named as those that shadow one.
const SHADOWS_MAX: usize = 10;

/// The rules in force, and what others counted before.
#[derive(Debug, Serialize, ToSchema)]
pub struct Rules {
    /// The epoch of the policy in force.
    pub epoch: Option<u32>,
    /// Since when decisions are counted: the start of the process.
    #[schema(value_type = String)]
    pub since: Timestamp,
    /// Policy decisions since then, as the workers count them; when no packet is under way it is the sum of all `hits`
    /// and `removed`, of all rules, listed here or not.
    pub decisions: u64,
    /// How much the flow records hold, which go further back than the counts.
    pub completeness: CompletenessView,
    /// What `also_matches` was counted from, if it was asked for.
    pub also: Option<AlsoView>,
    /// Rules and defaults in force that are asked for, in order of evaluation unless told otherwise.
    pub rules: Vec<RuleView>,
    /// How many more there were beyond the limit.
    pub left_out: usize,
    /// Decisions of rules that are no longer in force, by name.
    pub removed: BTreeMap<String, u64>,
}

/// What `also_matches` was counted from: the flow records, looked at under the policy and inventory in force.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlsoView {
    /// Recorded flows that were looked at.
    pub examined: u64,
    /// Recorded flows that were not: it would have been too much work, or only the labels of their ends are known any
    /// more.
    pub not_examined: u64,
}

/// A rule or default.
#[derive(Debug, Serialize, ToSchema)]
pub struct RuleView {
    /// Its name.
    pub name: String,
    /// Its tier; `default` for the defaults.
    pub tier: String,
    /// `allow`, `deny`, `reject` or `pass`; none for a default.
    pub action: Option<&'static str>,
    /// Whether it is staged: evaluated beside the policy, and decides nothing.
    pub staged: bool,
    /// Where it was written.
    pub file: Option<String>,
    /// The line.
    pub line: Option<u32>,
    /// Decisions it made since the counting began, under any epoch.
    pub hits: u64,
    /// When the last of them was seen: to a tenth of a second, a tenth more for each 20,000 rules.
    #[schema(value_type = Option<String>)]
    pub last_hit: Option<Timestamp>,
    /// Since when a rule of this name is in force without interruption, as far back as this process knows.
    #[schema(value_type = Option<String>)]
    pub in_force_since: Option<Timestamp>,
    /// Flows in the flow records that it decided, which go back before the start.
    pub recorded: u64,
    /// When the last packet of those was seen.
    #[schema(value_type = Option<String>)]
    pub recorded_last: Option<Timestamp>,
    /// Whether it is enforced, and never decided anything, neither counted nor recorded.
    pub unused: bool,
    /// Whether it can decide anything, by proof over the policy and the workloads it was published with: `live`,
    /// `never-matches`, `shadowed` or `not-examined`; none for a default.
    pub standing: Option<&'static str>,
    /// If it is shadowed: the rules before it that take all it matches, at most 10.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shadowed_by: Vec<String>,
    /// Recorded flows that it matches and that another rule or default decided; only if asked for, and only for
    /// enforced rules.
    pub also_matches: Option<u64>,
}

/// Which rules, in which order.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Query {
    /// Only rules that never decided anything.
    #[serde(default)]
    unused: bool,
    /// Only rules that can never decide anything, because others do before or because nothing matches.
    #[serde(default)]
    shadowed: bool,
    /// Only rules of this tier; `default` for the defaults.
    tier: Option<String>,
    /// Only rules whose name holds this.
    name: Option<String>,
    /// `order` (of evaluation), `hits`, `last` or `name`.
    sort: Option<String>,
    /// At most so many; all unless told.
    limit: Option<usize>,
    /// Count what else each rule would match. Takes seconds for tens of thousands of rules.
    #[serde(default)]
    also: bool,
}

const SORTS: [&str; 4] = ["order", "hits", "last", "name"];

impl Query {
    fn check(&self, now: Option<&InForce>) -> Result<(), ApiError> {
        if let Some(sort) = self.sort.as_deref().filter(|sort| !SORTS.contains(sort)) {
            return Err(one_of("sort", sort, &SORTS));
        }
        let (Some(tier), Some(now)) = (&self.tier, now) else { return Ok(()) };
        let tiers = now.policy.tiers.iter().map(|tier| tier.name.as_str()).chain(["default"]);
        let tiers: Vec<&str> = tiers.collect();
        if tiers.contains(&tier.as_str()) { Ok(()) } else { Err(one_of("tier", tier, &tiers)) }
    }

    fn admits(&self, rule: &RuleView) -> bool {
        let is_shadowed = matches!(rule.standing, Some("shadowed" | "never-matches"));
        (!self.unused || rule.unused)
            && (!self.shadowed || is_shadowed)
            && self.tier.as_ref().is_none_or(|tier| *tier == rule.tier)
            && self.name.as_ref().is_none_or(|part| rule.name.contains(part.as_str()))
    }

    fn order(&self, rules: &mut [RuleView]) {
        match self.sort.as_deref() {
            Some("hits") => rules.sort_by_key(|rule| std::cmp::Reverse(rule.hits)),
            Some("last") => rules.sort_by_key(|rule| std::cmp::Reverse(rule.last_hit)),
            Some("name") => rules.sort_by(|a, b| a.name.cmp(&b.name)),
            _ => {}
        }
    }
}

/// The rules in force, with the decisions each made since the start.
#[utoipa::path(get, path = "/v1/rules", params(Query), responses(
    (status = 200, body = Rules),
    (status = 400, description = "There is no such tier or order", body = ErrorBody),
))]
pub(super) async fn rules(State(app): State<App>, Ask(query): Ask<Query>) -> Result<Json<Rules>, ApiError> {
    query.check(app.engine.in_force().as_deref())?;
    // A walk over all records, and over all rules for each, takes a while; the control thread has other work.
    blocking(move || Json(answer(&app.engine, &query))).await
}

fn answer(engine: &Engine, query: &Query) -> Rules {
    let now = engine.in_force();
    let also = if query.also { engine.also() } else { None };
    let (records, completeness) = engine.with_records(|log| {
        let mut records: HashMap<Arc<str>, (u64, Timestamp)> = HashMap::new();
        for record in log.each() {
            let known = records.entry(record.rule).or_insert((0, record.last_seen));
            *known = (known.0.saturating_add(record.flows), known.1.max(record.last_seen));
        }
        (records, log.completeness())
    });
    // The decisions last: each is counted under its rule first.
    let (mut uses, lineage) = engine.with_hits(|hits| (hits.uses(), hits.lineage()));
    let decisions = engine.sum(|worker| &worker.decisions);
    let since = lineage.since();
    let context = Context { records: &records, since: &since, also: also.as_ref() };
    let mut rules: Vec<RuleView> = Vec::new();
    if let Some(now) = &now {
        for (id, rule) in now.rules.iter().enumerate() {
            let own = uses.remove(&rule.name).unwrap_or_default();
            let view = context.view(now, id, own);
            rules.extend(query.admits(&view).then_some(view));
        }
    }
    query.order(&mut rules);
    let left_out = rules.len().saturating_sub(query.limit.unwrap_or(usize::MAX));
    rules.truncate(rules.len() - left_out);
    uses.retain(|_, uses| uses.hits > 0);
    Rules {
        epoch: now.map(|now| now.meta.epoch),
        since: engine.since,
        decisions,
        completeness: completeness.into(),
        also: also.map(|Also { examined, not_examined, .. }| AlsoView { examined, not_examined }),
        rules,
        left_out,
        removed: uses.into_iter().map(|(name, uses)| (name.to_string(), uses.hits)).collect(),
    }
}

/// What is known of rules by name.
struct Context<'a> {
    records: &'a HashMap<Arc<str>, (u64, Timestamp)>,
    since: &'a HashMap<Arc<str>, Timestamp>,
    also: Option<&'a Also>,
}

impl Context<'_> {
    fn view(&self, now: &InForce, id: usize, uses: Uses) -> RuleView {
        let info = &now.rules[id];
        // The place among the rules of the policy, for what is no default.
        let place = id.checked_sub(RuleId::FIRST.0 as usize);
        let rule = place.and_then(|place| rule_at(now, place));
        let (standing, shadowed_by) = standing(now, place);
        let recorded = self.records.get(&info.name);
        let staged = rule.is_some_and(|rule| rule.staged);
        let also = self.also.filter(|_| rule.is_some() && !staged);
        RuleView {
            name: info.name.to_string(),
            tier: info.tier.to_string(),
            action: rule.map(|rule| rule.action.name()),
            staged,
            file: info.origin.as_ref().map(|origin| origin.file.to_string()),
            line: info.origin.as_ref().map(|origin| origin.line),
            hits: uses.hits,
            last_hit: uses.last,
            in_force_since: self.since.get(&info.name).copied(),
            recorded: recorded.map_or(0, |known| known.0),
            recorded_last: recorded.map(|known| known.1),
            unused: rule.is_some() && !staged && uses.hits == 0 && recorded.is_none(),
            standing,
            shadowed_by,
            also_matches: also.map(|also| also.flows.get(&*info.name).copied().unwrap_or(0)),
        }
    }
}

fn rule_at(now: &InForce, mut place: usize) -> Option<&crate::policy::valid::Rule> {
    for tier in &now.policy.tiers {
        match tier.rules.get(place) {
            None => place -= tier.rules.len(),
            found => return found,
        }
    }
    None
}

fn standing(now: &InForce, place: Option<usize>) -> (Option<&'static str>, Vec<String>) {
    match place.map(|place| now.standings.get(place)) {
        None => (None, Vec::new()),
        Some(Some(Standing::Live)) => (Some("live"), Vec::new()),
        Some(Some(Standing::Dead)) => (Some("never-matches"), Vec::new()),
        Some(Some(Standing::NotExamined) | None) => (Some("not-examined"), Vec::new()),
        Some(Some(Standing::Shadowed(by))) => {
            let named = by.iter().take(SHADOWS_MAX).filter_map(|at| rule_at(now, *at as usize));
            (Some("shadowed"), named.map(|rule| rule.name.clone()).collect())
        }
    }
}
