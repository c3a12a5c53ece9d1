//! Why a flow is allowed or denied, in the user's own names.
//!
//! The verdict is the compiled table's. Everything around it is read from the policy itself; if the two name
//! different rules, that is a fault of ringfence and reported as such, never papered over.

mod candidate;
mod end;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use dataplane::address::Address;
use dataplane::policy::ServiceKey;
use dataplane::verdict::{Decision, Gate, RuleId, Verdict};
use serde::Serialize;

use super::compile::Named;
use super::valid::{ServiceRange, ValidPolicy};
pub use candidate::Candidate;
use end::{End, Regime};

/// The most candidates told; the others are counted.
pub const CANDIDATES_MAX: usize = 100;

/// The answer to "why".
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// `allow` or `deny`.
    pub verdict: &'static str,
    /// The rule or named default that decided.
    pub rule: String,
    /// `allowed by rule`, `policy` (denied by a rule), or the name of the default that decided.
    pub reason: String,
    /// The gate that decided: `egress` of the source or `ingress` of the destination.
    pub gate: &'static str,
    /// The tier of the rule; `default` for a named default.
    pub tier: String,
    /// Where the rule was written, `file:line:column`.
    pub written: Option<String>,
    /// The rule or default that would have closed a gate in mode `observe`.
    pub potential: Option<String>,
    /// The initiator.
    pub source: EndView,
    /// The responder.
    pub destination: EndView,
    /// What is spoken.
    pub service: String,
    /// Rules that name this pair but did not decide, in order of evaluation.
    pub candidates: Vec<Candidate>,
    /// How many more there are beyond [`CANDIDATES_MAX`].
    pub candidates_left_out: usize,
}

/// One end of the flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndView {
    /// Its address.
    pub address: IpAddr,
    /// The workload that owns the address.
    pub workload: Option<String>,
    /// The networks that contain it, narrowest first.
    pub networks: Vec<String>,
    /// Its labels, each value with its origin.
    pub labels: BTreeMap<String, Vec<LabelView>>,
    /// How its gate on this flow treats rules: `off`, `observe`, `selective`, `full`, `quarantine` or `unmanaged`.
    pub mode: &'static str,
}

/// One value of a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LabelView {
    /// The value.
    pub value: String,
    /// `own`, or the network it is inherited from.
    pub origin: String,
}

/// Why there is no explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExplainError {
    /// The text is neither an address nor the name of a workload.
    Unknown(String),
    /// The ends have no addresses of one family.
    Family {
        /// The source, as asked.
        source: String,
        /// The destination, as asked.
        destination: String,
    },
    /// Table and policy name different rules: the table was compiled from another policy, or the compiler is wrong.
    Disagreement {
        /// What the table names.
        table: String,
        /// What the policy says.
        policy: String,
    },
}

impl fmt::Display for ExplainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(text) => {
                write!(f, "`{text}` is neither an IP address nor the name of a workload in this policy")
            }
            Self::Family { source, destination } => {
                write!(
                    f,
                    "`{source}` and `{destination}` have no addresses of the same family (IPv4 or IPv6)"
                )
            }
            Self::Disagreement { table, policy } => write!(
                f,
                "the compiled table names `{table}` but the policy says `{policy}`: the table belongs to another \
                 policy, or this is a fault of ringfence; please report it with the policy"
            ),
        }
    }
}

impl std::error::Error for ExplainError {}

/// Explains the decision on a new flow. `source` and `destination` are addresses or workload names; of a workload,
/// the first address is taken whose family the other end has too.
///
/// # Errors
/// An end that is not known by that name, ends of different families, or a table that is not of this policy.
pub fn explain(
    policy: &ValidPolicy,
    compiled: Named<'_>,
    source: &str,
    destination: &str,
    service: ServiceKey,
) -> Result<Explanation, ExplainError> {
    let (from, to) = addresses(policy, source, destination)?;
    let table = compiled.table;
    let resolve = |address: IpAddr| table.resolve(Address::from(address));
    let decision = table.decide(resolve(from), resolve(to), service);

    let (from, to) = (End::new(policy, from), End::new(policy, to));
    let flow = candidate::Flow::new(policy, &from, &to, service);
    check(compiled, &decision, &flow)?;
    let (candidates, candidates_left_out) = flow.losers(compiled.rule_name(decision.rule), &decision);
    let info = compiled.rules.get(decision.rule.0 as usize);
    let key = service.value();
    Ok(Explanation {
        verdict: decision.verdict.name(),
        rule: compiled.rule_name(decision.rule).to_owned(),
        reason: reason(compiled, &decision),
        gate: decision.gate.name(),
        tier: info.map(|info| info.tier.to_string()).unwrap_or_default(),
        written: info
            .and_then(|info| info.origin.as_ref())
            .map(|o| format!("{}:{}:{}", o.file, o.line, o.column)),
        potential: decision.potential.map(|rule| compiled.rule_name(rule).to_owned()),
        source: from.view(flow.egress.regime),
        destination: to.view(flow.ingress.regime),
        service: ServiceRange { first: key, last: key }.to_string(),
        candidates,
        candidates_left_out,
    })
}

fn reason(compiled: Named<'_>, decision: &Decision) -> String {
    if decision.rule < RuleId::FIRST {
        return compiled.rule_name(decision.rule).to_owned();
    }
    match decision.verdict {
        Verdict::Allow => "allowed by rule".to_owned(),
        Verdict::Deny | Verdict::Reject => "policy".to_owned(),
    }
}

/// Whether the policy, read rule by rule, has the rule that the table names at the gate that decided.
fn check(compiled: Named<'_>, decision: &Decision, flow: &candidate::Flow<'_>) -> Result<(), ExplainError> {
    let gate = match decision.gate {
        Gate::Egress => &flow.egress,
        Gate::Ingress => &flow.ingress,
    };
    let expected = match gate.hit.filter(|_| gate.regime != Regime::Off) {
        Some(hit) if gate.regime != Regime::Quarantine || hit.is_infrastructure() => {
            Some(hit.rule.name.as_str())
        }
        _ => None,
    };
    let named = compiled.rule_name(decision.rule);
    let agrees = expected.map_or(decision.rule < RuleId::FIRST, |expected| expected == named);
    if agrees {
        return Ok(());
    }
    let policy = expected.unwrap_or("a default").to_owned();
    Err(ExplainError::Disagreement { table: named.to_owned(), policy })
}

/// The addresses of both ends, of one family.
fn addresses(
    policy: &ValidPolicy,
    source: &str,
    destination: &str,
) -> Result<(IpAddr, IpAddr), ExplainError> {
    let (sources, destinations) = (named(policy, source)?, named(policy, destination)?);
    let pair = sources.iter().find_map(|from| {
        let to = destinations.iter().find(|to| to.is_ipv4() == from.is_ipv4())?;
        Some((*from, *to))
    });
    pair.ok_or_else(|| ExplainError::Family {
        source: source.to_owned(),
        destination: destination.to_owned(),
    })
}

/// The addresses that `text` means. IPv4-mapped IPv6 means IPv4.
fn named(policy: &ValidPolicy, text: &str) -> Result<Vec<IpAddr>, ExplainError> {
    if let Some(workload) = policy.workloads.iter().find(|workload| workload.name == text) {
        return Ok(workload.addresses.clone());
    }
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(vec![address.to_canonical()]),
        Err(_) => Err(ExplainError::Unknown(text.to_owned())),
    }
}

#[cfg(test)]
mod tests;
