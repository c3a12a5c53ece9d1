//! `GET /v1/propose`: rules for what was seen.

#![allow(unused_qualifications, reason = "utoipa's macros name the parameters' types by a path")]

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::ask::blocking;
use super::error::{ApiError, ErrorBody};
use super::map::{keys, labels, time};
use super::read::{Ask, in_force};
use super::records::CompletenessView;
use crate::engine::{EndWanted, Proposal, ProposalTerms};
use crate::observe::names::service_name;
use crate::policy::propose::{Terms, Tightness};

/// Refusals in one answer.
const REFUSED_MAX: usize = 1000;

/// Which flows rules are proposed for, and how.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ProposalAsked {
    /// `workload`, `tier`, `app` or `wide`; `tier` unless told.
    tightness: Option<String>,
    /// The label keys that selectors ask for, the most important first, with commas between them; `app,role,env,loc`
    /// unless told.
    keys: Option<String>,
    /// Those of them that tell tiers of one application apart; `role` unless told.
    tier: Option<String>,
    /// Only flows that were seen since: `15m` ago (`s`, `m`, `h`, `d`), or a time as `2026-11-22T17:40:11Z`.
    since: Option<String>,
    /// Only flows that were first seen until then: likewise.
    until: Option<String>,
    /// Only flows with this label at either end: `key=value`; several with commas between them must all hold.
    label: Option<String>,
    /// Only flows that such an end opened: `key=value` with commas between several, `net:NAME`, `unlabelled` or
    /// `unknown`.
    from: Option<String>,
    /// Only flows to such an end: likewise.
    to: Option<String>,
    /// Only flows about this service: `tcp/443`, `udp/8000-8099`, …
    service: Option<String>,
    /// Flows that were denied, too.
    #[serde(default)]
    include_denied: bool,
    /// Flows that a rule of the policy in force allows already, too.
    #[serde(default)]
    all: bool,
}

/// Rules that allow what was seen.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProposalView {
    /// How much of what happened was recorded.
    pub completeness: CompletenessView,
    /// The epoch of the policy in force, beside whose files the proposed one can stand.
    pub epoch: u32,
    /// The tightness.
    pub tightness: &'static str,
    /// The label keys that selectors ask for.
    pub keys: Vec<String>,
    /// Whether there are no fewer rules, and of as few none that would allow fewer unseen tuples.
    pub exact: bool,
    /// A name for the proposed file that no file of the policy in force has.
    pub name: String,
    /// The proposed file, in the policy language.
    pub yaml: String,
    /// Its rules, those with the most flows first.
    pub rules: Vec<ProposedView>,
    /// Networks that it names.
    pub networks: Vec<NamedPrefix>,
    /// Flows that match what was asked.
    pub flows: u64,
    /// Of those, flows that a rule of the policy in force allows already.
    pub already_allowed: u64,
    /// Of those, flows that were denied and are left alone: see `include_denied`.
    pub denied: u64,
    /// Flows that no rule can be proposed for; at most 1,000.
    pub not_proposable: Vec<RefusedView>,
    /// Why the policy in force could not be published together with the file; none if it could.
    pub refusal: Option<String>,
}

/// A proposed rule.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProposedView {
    /// Its name.
    pub name: String,
    /// Who may open, as the policy language writes it.
    pub from: String,
    /// To whom.
    pub to: String,
    /// What.
    pub services: Vec<String>,
    /// Observed flows that it allows.
    pub flows: u64,
    /// Of those, flows that a rule of the policy in force allows already.
    pub already_allowed: u64,
    /// Tuples of source workload, destination workload and service that it allows; an end that is no workload counts as
    /// one.
    pub tuples: u64,
    /// Of those, tuples that were not seen.
    pub unseen: u64,
}

/// A network that a proposal names.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NamedPrefix {
    /// Its name.
    pub name: String,
    /// Its prefix.
    pub cidr: String,
}

/// Flows that no rule can be proposed for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RefusedView {
    /// Who opened them.
    #[schema(value_type = String)]
    pub source: IpAddr,
    /// To whom.
    #[schema(value_type = String)]
    pub destination: IpAddr,
    /// The service.
    pub service: String,
    /// How many.
    pub flows: u64,
    /// Why, and what would help.
    pub why: String,
}

/// The smallest set of label rules that allows what was seen and no rule allows yet, at a chosen tightness.
#[utoipa::path(get, path = "/v1/propose", params(ProposalAsked), responses(
    (status = 200, body = ProposalView),
    (status = 400, description = "The question cannot be understood", body = ErrorBody),
    (status = 409, description = "No policy is in force", body = ErrorBody),
))]
pub(super) async fn propose(
    State(app): State<App>,
    Ask(asked): Ask<ProposalAsked>,
) -> Result<Json<ProposalView>, ApiError> {
    let now = in_force(&app)?;
    let wanted = asked.check(Timestamp::now())?;
    let found = blocking(move || {
        let proposal = app.engine.propose(&now, &wanted)?;
        Ok::<_, ApiError>(view(proposal, wanted.terms))
    });
    Ok(Json(found.await??))
}

impl ProposalAsked {
    /// Checked, at `now`.
    fn check(self, now: Timestamp) -> Result<ProposalTerms, ApiError> {
        let tightness = self.tightness.as_deref().unwrap_or("tier");
        let tightness = Tightness::ALL.into_iter().find(|one| one.name() == tightness).ok_or_else(|| {
            ApiError::bad_request("`tightness` must be `workload`, `tier`, `app` or `wide`")
        })?;
        let asked = keys("keys", self.keys.as_deref().unwrap_or("app,role,env,loc"))?;
        if asked.is_empty() {
            return Err(ApiError::bad_request("`keys` must name at least one label key"));
        }
        let service = self.service.map(|text| text.parse()).transpose();
        let time = |name, text: Option<String>| text.map(|text| time(name, &text, now)).transpose();
        Ok(ProposalTerms {
            terms: Terms {
                tightness,
                keys: asked,
                tier: keys("tier", self.tier.as_deref().unwrap_or("role"))?,
            },
            since: time("since", self.since)?,
            until: time("until", self.until)?,
            labels: labels("label", self.label.as_deref().unwrap_or(""))?,
            from: self.from.map(|text| end("from", &text)).transpose()?,
            to: self.to.map(|text| end("to", &text)).transpose()?,
            service: service.map_err(|error: crate::policy::service::ServiceError| {
                ApiError::bad_request(error.to_string())
            })?,
            denied: self.include_denied,
            all: self.all,
        })
    }
}

fn end(name: &str, text: &str) -> Result<EndWanted, ApiError> {
    match text {
        "unlabelled" => Ok(EndWanted::Unlabelled),
        "unknown" => Ok(EndWanted::Unknown),
        _ => match text.strip_prefix("net:") {
            Some(network) => Ok(EndWanted::Network(network.to_owned())),
            None => labels(name, text).map(EndWanted::Labels),
        },
    }
}

fn view(proposal: Proposal, terms: Terms) -> ProposalView {
    let Proposal { plan, text, name, epoch, completeness, flows, already, denied, refusal } = proposal;
    let rules = plan.rules.into_iter().map(|rule| ProposedView {
        name: rule.name,
        from: rule.from.to_string(),
        to: rule.to.to_string(),
        services: rule.services.iter().map(ToString::to_string).collect(),
        flows: rule.flows,
        already_allowed: rule.already,
        tuples: rule.allows,
        unseen: rule.unseen,
    });
    let refused = plan.refused.into_iter().take(REFUSED_MAX).map(|one| RefusedView {
        source: one.source,
        destination: one.destination,
        service: service_name(one.service),
        flows: one.flows,
        why: one.why,
    });
    ProposalView {
        completeness: completeness.into(),
        epoch,
        tightness: terms.tightness.name(),
        keys: terms.keys,
        exact: plan.exact,
        name,
        yaml: text,
        rules: rules.collect(),
        networks: plan.networks.into_iter().map(|(name, cidr)| NamedPrefix { name, cidr }).collect(),
        flows,
        already_allowed: already,
        denied,
        not_proposable: refused.collect(),
        refusal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_checked() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let ask = |query: &str| {
            let uri: axum::http::Uri = format!("/v1/propose?{query}").parse().unwrap();
            let asked = axum::extract::Query::<ProposalAsked>::try_from_uri(&uri).map(|query| query.0);
            asked.ok().and_then(|asked| asked.check(now).ok())
        };
        let plain = ask("").unwrap();
        assert_eq!((plain.terms.tightness, plain.terms.tier), (Tightness::Tier, vec!["role".to_owned()]));
        assert_eq!(plain.terms.keys, ["app", "role", "env", "loc"]);
        let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        for (query, from) in [
            ("from=unknown", EndWanted::Unknown),
            ("from=unlabelled", EndWanted::Unlabelled),
            ("from=net:office", EndWanted::Network("office".into())),
            ("from=app=shop,role=web", EndWanted::Labels(vec![label("app", "shop"), label("role", "web")])),
        ] {
            assert_eq!(ask(query).and_then(|wanted| wanted.from), Some(from), "{query}");
        }
        let wanted =
            ask("tightness=wide&keys=a,b&service=tcp/80-90&include_denied=true&all=true&since=5m").unwrap();
        assert!(wanted.denied && wanted.all && wanted.since.is_some() && wanted.service.is_some());
        for query in [
            "tightness=loose",
            "keys=",
            "keys=a,b,c,d,e,f,g,h,i",
            "service=http",
            "from=x",
            "since=yesterday",
            "all=2",
            "who=me",
        ] {
            assert!(ask(query).is_none(), "{query}");
        }
    }
}
