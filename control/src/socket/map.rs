//! `GET /v1/map`: which applications depend on which, and what policy and a draft say of it.

#![allow(unused_qualifications, reason = "utoipa's macros name the parameters' types by a path")]

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::ask::blocking;
use super::error::{ApiError, ErrorBody};
use super::read::Ask;
use super::records::CompletenessView;
use crate::engine::{Draft, Engine};
use crate::observe::map::{self, EDGES_MAX, KEYS_MAX, LeftOut, Map, Question, Sums};
use crate::policy::Named;
use crate::policy::valid::ValidPolicy;

/// Labels that may be asked for at once.
const LABELS_MAX: usize = 8;
/// Letters that may be searched for.
const SEARCH_MAX: usize = 256;

/// What the map shall show; all that is given must hold.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct MapAsked {
    /// The label keys that groups are made by, with commas between them; `app` unless told, empty for one group.
    by: Option<String>,
    /// The label keys that nodes in a group are made by; `role` unless told, empty for one node a group.
    tier: Option<String>,
    /// Only flows that were seen since: `15m` ago (`s`, `m`, `h`, `d`), or a time as `2026-11-22T17:40:11Z`.
    since: Option<String>,
    /// Only flows that were first seen until then: likewise.
    until: Option<String>,
    /// Only flows with this label at either end: `key=value`; several with commas between them must all hold.
    label: Option<String>,
    /// Only flows with this in a name, a label or an address of either end.
    search: Option<String>,
    /// The draft whose verdicts are shown beside; `staged` for the staged rules of the policy in force.
    draft: Option<String>,
    /// At most so many edges; 1 to 10,000, 2,000 unless told.
    limit: Option<usize>,
}

/// The map.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MapView {
    /// How much of what happened is recorded.
    pub completeness: CompletenessView,
    /// The epoch of the policy in force, whose inventory gives the labels.
    pub epoch: Option<u32>,
    /// The keys that groups are made by.
    pub by: Vec<String>,
    /// The keys that nodes are made by, with commas between them.
    pub tier: String,
    /// The draft whose verdicts are shown.
    pub draft: Option<String>,
    /// The groups, those without traffic too.
    pub groups: Vec<map::Group>,
    /// Who depends on whom; one edge for each pair of nodes and state.
    pub edges: Vec<map::Edge>,
    /// What the records that match come to, edges that are left out included.
    pub totals: Sums,
    /// Whether anything was left out; narrow the filter or raise `limit`.
    pub more: bool,
    /// What was left out.
    pub left_out: LeftOut,
}

/// The application dependency map over the recorded flows. A record's sums go back to its first flow, whatever `since`
/// says.
#[utoipa::path(get, path = "/v1/map", params(MapAsked), responses(
    (status = 200, body = MapView),
    (status = 400, description = "The question cannot be understood", body = ErrorBody),
    (status = 404, description = "There is no such draft", body = ErrorBody),
))]
pub(super) async fn map(
    State(app): State<App>,
    Ask(asked): Ask<MapAsked>,
) -> Result<Json<MapView>, ApiError> {
    let draft = asked.draft.as_deref().map(|name| app.engine.draft(name)).transpose()?;
    let question = asked.check(Timestamp::now())?;
    blocking(move || view(&app.engine, question, draft)).await.map(Json)
}

fn view(engine: &Engine, question: Question, draft: Option<Arc<Draft>>) -> MapView {
    let (records, completeness) =
        engine.with_records(|log| (log.each().collect::<Vec<_>>(), log.completeness()));
    let now = engine.in_force();
    let policy = now.as_ref().map_or_else(|| Arc::new(ValidPolicy::default()), |now| Arc::clone(&now.policy));
    let named = draft.as_ref().map(|draft| Named { table: &draft.table, rules: &draft.rules });
    let Map { groups, edges, totals, left_out } = map::draw(&records, &policy, named, &question);
    MapView {
        completeness: completeness.into(),
        epoch: now.map(|now| now.meta.epoch),
        by: question.by,
        tier: question.tier.join(","),
        draft: draft.map(|draft| draft.meta.name.clone()),
        groups,
        edges,
        totals,
        more: left_out != LeftOut::default(),
        left_out,
    }
}

impl MapAsked {
    /// Checked, at `now`.
    fn check(self, now: Timestamp) -> Result<Question, ApiError> {
        let limit = self.limit.unwrap_or(2000);
        if !(1..=EDGES_MAX).contains(&limit) {
            return Err(ApiError::bad_request(format!("`limit` must be 1 to {EDGES_MAX}")));
        }
        let search = self.search.filter(|text| !text.is_empty());
        if search.as_ref().is_some_and(|text| text.len() > SEARCH_MAX) {
            return Err(ApiError::bad_request(format!("`search` must have at most {SEARCH_MAX} bytes")));
        }
        let time = |name, text: Option<String>| text.map(|text| time(name, &text, now)).transpose();
        Ok(Question {
            by: keys("by", self.by.as_deref().unwrap_or("app"))?,
            tier: keys("tier", self.tier.as_deref().unwrap_or("role"))?,
            since: time("since", self.since)?,
            until: time("until", self.until)?,
            labels: labels("label", self.label.as_deref().unwrap_or(""))?,
            search,
            limit,
        })
    }
}

/// Keys with commas between them, each once.
pub(super) fn keys(name: &str, text: &str) -> Result<Vec<String>, ApiError> {
    let mut keys: Vec<String> = Vec::new();
    for key in text.split(',').map(str::trim).filter(|key| !key.is_empty()) {
        if !keys.iter().any(|known| known == key) {
            keys.push(key.to_owned());
        }
    }
    if keys.len() > KEYS_MAX {
        return Err(ApiError::bad_request(format!("`{name}` must have at most {KEYS_MAX} label keys")));
    }
    Ok(keys)
}

/// Labels as `key=value`, with commas between them.
pub(super) fn labels(name: &str, text: &str) -> Result<Vec<(String, String)>, ApiError> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let labels: Option<Vec<_>> = words
        .map(|word| word.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())))
        .collect();
    match labels {
        Some(labels) if labels.len() <= LABELS_MAX => Ok(labels),
        Some(_) => Err(ApiError::bad_request(format!("`{name}` must have at most {LABELS_MAX} labels"))),
        None => {
            Err(ApiError::bad_request(format!("`{name}` must be `key=value`, with commas between several")))
        }
    }
}

/// `15m` before `now`, or a time of RFC 3339.
pub(super) fn time(name: &str, text: &str, now: Timestamp) -> Result<Timestamp, ApiError> {
    let wrong = || {
        let message =
            format!("`{name}` must be `90s`, `15m`, `2h` or `7d` ago, or a time as `2026-11-22T17:40:11Z`");
        ApiError::bad_request(message)
    };
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    now.checked_sub(SignedDuration::from_secs(i64::from(number) * seconds)).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_checked() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let ask = |query: &str| {
            let uri: axum::http::Uri = format!("/v1/map?{query}").parse().unwrap();
            let asked = axum::extract::Query::<MapAsked>::try_from_uri(&uri).map(|query| query.0);
            asked.ok().and_then(|asked| asked.check(now).ok())
        };
        let plain = Question {
            by: vec!["app".into()],
            tier: vec!["role".into()],
            limit: 2000,
            ..Question::default()
        };
        assert_eq!(ask(""), Some(plain.clone()));
        let some = |change: fn(&mut Question)| {
            let mut question = plain.clone();
            change(&mut question);
            Some(question)
        };
        for (query, expected) in [
            ("by=app,env,app&tier=", some(|q| (q.by, q.tier) = (vec!["app".into(), "env".into()], vec![]))),
            ("by=", some(|q| q.by = vec![])),
            ("limit=10000", some(|q| q.limit = 10_000)),
            ("since=15m", some(|q| q.since = "2026-11-22T11:45:00Z".parse().ok())),
            ("until=2d", some(|q| q.until = "2026-11-20T12:00:00Z".parse().ok())),
            ("since=2026-11-22T11:45:00Z", some(|q| q.since = "2026-11-22T11:45:00Z".parse().ok())),
            ("label=app=shop,env=", {
                some(|q| q.labels = vec![("app".into(), "shop".into()), ("env".into(), String::new())])
            }),
            ("search=&label=", some(|_| ())),
            ("search=We%20b", some(|q| q.search = Some("We b".into()))),
            ("limit=0", None),
            ("limit=10001", None),
            ("since=15", None),
            ("since=m", None),
            ("since=-1m", None),
            ("since=99999999999d", None),
            ("since=", None),
            ("since=1%C3%BC", None),
            ("label=app", None),
            ("by=a,b,c,d,e,f,g,h,i", None),
            ("who=me", None),
        ] {
            assert_eq!(ask(query), expected, "{query}");
        }
        assert_eq!(ask(&format!("search={}", "x".repeat(257))), None);
    }
}
