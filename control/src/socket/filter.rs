//! Which flows a request asks for: live, recorded, or as they happen.

#![allow(unused_qualifications, reason = "utoipa's macros name the parameters' types by a path")]

mod end;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use dataplane::address::Address;
use dataplane::verdict::WireId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::error::ApiError;
use super::view::FlowEnd;
use crate::engine::{Engine, InForce};
use crate::observe::live::port_of;
use crate::observe::names::Who;
use crate::policy::valid::{Labels, ServiceRange};
use end::EndFilter;

/// What policy may have said.
const VERDICTS: [&str; 4] = ["allow", "deny", "reject", POTENTIALLY_BLOCKED];
/// Allowed, but only because a gate observes.
const POTENTIALLY_BLOCKED: &str = "potentially-blocked";

/// Which flows; all that is given must hold.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// At most so many; 1 to 10,000, 100 unless told.
    pub(super) limit: Option<usize>,
    /// A workload at either end, by name.
    pub(super) workload: Option<String>,
    /// An address at either end.
    #[param(value_type = Option<String>)]
    pub(super) address: Option<IpAddr>,
    /// A label at either end, as `key=value`; several, separated by commas, must all hold for one end.
    pub(super) label: Option<String>,
    /// Who opened it: labels as `key=value`, the name of a workload, `net:NAME`, an address, a prefix, or `unknown`;
    /// several, separated by commas, must all hold.
    pub(super) from: Option<String>,
    /// To whom, as `from`.
    pub(super) to: Option<String>,
    /// The port of the end that was opened to.
    pub(super) port: Option<u16>,
    /// The service or protocol, as policy writes it: `tcp`, `tcp/443`, `udp/8000-8099`, `icmp`, `proto/47`.
    pub(super) service: Option<String>,
    /// `allow`, `deny`, `reject`, or `potentially-blocked` for what is allowed only because a gate observes. A live
    /// flow that was cut counts as denied.
    pub(super) verdict: Option<String>,
    /// The rule or default that decided, by name; for `potentially-blocked` also the one that would have denied.
    pub(super) rule: Option<String>,
    /// The wire, by name.
    pub(super) wire: Option<String>,
    /// Of live flows only: `bytes`, `packets` (most first) or `age` (youngest first); in no order unless told.
    pub(super) sort: Option<String>,
}

/// A filter that makes sense.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    workload: Option<String>,
    address: Option<Address>,
    label: Option<EndFilter>,
    from: Option<EndFilter>,
    to: Option<EndFilter>,
    port: Option<u16>,
    service: Option<ServiceRange>,
    verdict: Option<String>,
    rule: Option<String>,
    wire: Option<WireId>,
}

/// What is known of a flow without looking up names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    /// Initiator and responder.
    pub(super) ends: [Address; 2],
    /// What is spoken.
    pub(super) service: u32,
    /// What policy said.
    pub(super) verdict: &'a str,
    /// Whether a gate that observes would have denied it.
    pub(super) is_potential: bool,
    /// The wire, where that is known.
    pub(super) wire: Option<WireId>,
}

pub(super) fn one_of(parameter: &str, given: &str, legal: &[impl AsRef<str>]) -> ApiError {
    let words: Vec<String> = legal.iter().map(|word| format!("`{}`", word.as_ref())).collect();
    let legal = if words.is_empty() { "nothing: there are none".to_owned() } else { words.join(", ") };
    ApiError::bad_request(format!("`{parameter}` is `{given}`; legal is {legal}"))
}

/// A service as policy writes it, or a protocol's number.
fn service(text: &str) -> Result<ServiceRange, ApiError> {
    let numbered = text.parse::<u8>().map(|number| format!("proto/{number}"));
    let asked = numbered.as_deref().unwrap_or(text);
    asked.parse().map_err(|error: crate::policy::service::ServiceError| {
        let legal = error.legal().join(", ");
        ApiError::bad_request(format!("`service`: {error}; legal is, for example, {legal}"))
    })
}

impl Filter {
    /// Refuses an order where there is none to choose.
    pub(super) fn unsorted(self) -> Result<Self, ApiError> {
        if self.sort.is_some() {
            return Err(ApiError::bad_request("`sort` is for live flows only"));
        }
        Ok(self)
    }

    /// Checked. `wires` are the wires' names, by number.
    pub(super) fn check(self, wires: &[String]) -> Result<Wanted, ApiError> {
        if let Some(verdict) = self.verdict.as_deref().filter(|verdict| !VERDICTS.contains(verdict)) {
            return Err(one_of("verdict", verdict, &VERDICTS));
        }
        let wire = self.wire.map(|name| {
            let at = wires.iter().position(|wire| *wire == name).and_then(|at| u16::try_from(at).ok());
            at.map(WireId).ok_or_else(|| one_of("wire", &name, wires))
        });
        let end = |name, text: Option<String>| text.map(|text| EndFilter::parse(name, &text)).transpose();
        Ok(Wanted {
            workload: self.workload,
            address: self.address.map(|address| Address::from(address.to_canonical())),
            label: self.label.map(|text| EndFilter::labels("label", &text)).transpose()?,
            from: end("from", self.from)?,
            to: end("to", self.to)?,
            port: self.port,
            service: self.service.as_deref().map(service).transpose()?,
            verdict: self.verdict,
            rule: self.rule,
            wire: wire.transpose()?,
        })
    }
}

impl Wanted {
    /// What can be told without names.
    pub(super) fn admits(&self, facts: &Facts<'_>) -> bool {
        let verdict = |wanted: &String| {
            if wanted == POTENTIALLY_BLOCKED { facts.is_potential } else { wanted == facts.verdict }
        };
        self.address.is_none_or(|address| facts.ends.contains(&address))
            && self.port.is_none_or(|wanted| port_of(facts.service) == Some(wanted))
            && self.service.is_none_or(|wanted| wanted.contains(facts.service))
            && self.wire.is_none_or(|wanted| facts.wire.is_none_or(|wire| wire == wanted))
            && self.verdict.as_ref().is_none_or(verdict)
    }

    /// Whether a flow decided by `rule` is wanted; `potential` is the rule that would have denied it.
    pub(super) fn admits_rule(&self, rule: Option<&str>, potential: Option<&str>) -> bool {
        let Some(wanted) = self.rule.as_deref() else { return true };
        let is_potential = self.verdict.as_deref() == Some(POTENTIALLY_BLOCKED);
        rule == Some(wanted) || (is_potential && potential == Some(wanted))
    }

    /// Initiator and responder.
    pub(super) fn admits_ends(&self, [source, destination]: [&FlowEnd; 2]) -> bool {
        let either = |test: &dyn Fn(&FlowEnd) -> bool| test(source) || test(destination);
        let named = |name: &String| either(&|end| matches!(&end.who, Who::Workload(own) if own == name));
        self.workload.as_ref().is_none_or(named)
            && self.label.as_ref().is_none_or(|label| either(&|end| label.admits(end)))
            && self.from.as_ref().is_none_or(|wanted| wanted.admits(source))
            && self.to.as_ref().is_none_or(|wanted| wanted.admits(destination))
    }

    /// Whether a wire is asked for, which records do not tell apart.
    pub(super) const fn names_a_wire(&self) -> bool {
        self.wire.is_some()
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
