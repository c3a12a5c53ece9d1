//! Which flows a request asks for, live or recorded.

#![allow(unused_qualifications, reason = "utoipa's macros name the parameters' types by a path")]

use std::net::IpAddr;
use std::sync::Arc;

use dataplane::address::Address;
use serde::Deserialize;
use utoipa::IntoParams;

use super::error::ApiError;
use super::view::FlowEnd;
use crate::engine::{Engine, InForce};
use crate::observe::names::Who;
use crate::policy::valid::Labels;

/// What policy may have said.
const VERDICTS: [&str; 3] = ["allow", "deny", "reject"];

/// Which flows; all that is given must hold.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// At most so many; 1 to 10,000, 100 unless told.
    pub(super) limit: Option<usize>,
    /// A workload at either end, by name.
    workload: Option<String>,
    /// An address at either end.
    #[param(value_type = Option<String>)]
    address: Option<IpAddr>,
    /// A label at either end, as `key=value`.
    label: Option<String>,
    /// The port of the end that was opened to.
    port: Option<u16>,
    /// `allow`, `deny` or `reject`. A live flow that was cut counts as denied.
    verdict: Option<String>,
    /// The rule or default that decided, by name.
    rule: Option<String>,
}

/// A filter that makes sense.
pub(super) struct Wanted {
    workload: Option<String>,
    address: Option<Address>,
    label: Option<(String, String)>,
    port: Option<u16>,
    verdict: Option<String>,
    rule: Option<String>,
}

impl Filter {
    /// Checked.
    pub(super) fn check(self) -> Result<Wanted, ApiError> {
        let label = match self.label.as_deref().map(|label| label.split_once('=')) {
            None => None,
            Some(Some((key, value))) => Some((key.to_owned(), value.to_owned())),
            Some(None) => return Err(ApiError::bad_request("`label` must be `key=value`")),
        };
        if let Some(verdict) = &self.verdict
            && !VERDICTS.contains(&verdict.as_str())
        {
            return Err(ApiError::bad_request("`verdict` must be `allow`, `deny` or `reject`"));
        }
        let address = self.address.map(|address| Address::from(address.to_canonical()));
        let Self { workload, port, verdict, rule, .. } = self;
        Ok(Wanted { workload, address, label, port, verdict, rule })
    }
}

impl Wanted {
    /// What can be told without names.
    pub(super) fn admits_flow(&self, ends: [Address; 2], port: Option<u16>, verdict: &str) -> bool {
        self.address.is_none_or(|address| ends.contains(&address))
            && self.port.is_none_or(|wanted| port == Some(wanted))
            && self.verdict.as_ref().is_none_or(|wanted| wanted == verdict)
    }

    pub(super) fn admits_rule(&self, rule: Option<&str>) -> bool {
        self.rule.is_none() || self.rule.as_deref() == rule
    }

    pub(super) fn admits_ends(&self, ends: [&FlowEnd; 2]) -> bool {
        let named = |name: &String| ends.iter().any(|end| end.who == Who::Workload(name.clone()));
        let labelled = |(key, value): &(String, String)| {
            ends.iter().any(|end| end.labels.get(key).is_some_and(|values| values.contains(value)))
        };
        self.workload.as_ref().is_none_or(named) && self.label.as_ref().is_none_or(labelled)
    }
}

/// What addresses are called under the policy in force.
pub(super) struct Called(Option<Arc<InForce>>);

impl Called {
    pub(super) fn now(engine: &Engine) -> Self {
        Self(engine.in_force())
    }

    pub(super) fn end(&self, address: Address, port: Option<u16>) -> FlowEnd {
        let (who, labels) = match &self.0 {
            Some(now) => {
                let (table, policy) = (&now.snapshot.table, &now.policy);
                (now.names.who(address, table, policy), now.names.labels(address, table, policy).cloned())
            }
            None => (Who::Unknown, None),
        };
        FlowEnd { address: address.to_ip(), port, who, labels: labels.unwrap_or_else(Labels::new) }
    }
}
