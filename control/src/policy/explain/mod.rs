//! Why a flow is allowed or denied, in the user's own names.
//!
//! The verdict is the compiled table's. Everything around it is read from the policy itself; if the two name
//! different rules, that is a fault of ringfence and reported as such, never papered over.

mod candidate;
mod change;
mod edit;
mod effect;
mod end;
mod matching;
mod scene;

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
pub use change::Change;
use end::End;
pub use matching::Matching;
use scene::{GateView, Scene};

/// The most candidates told; the others are counted.
pub const CANDIDATES_MAX: usize = 100;

/// The answer to "why".
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// `allow`, `deny` or `reject`.
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
    /// For an allow: what becomes of the flow once policy allows it no more, as the rule says it: `cut`, `drain 30s` or
    /// `keep`.
    pub on_revoke: Option<String>,
    /// The initiator.
    pub source: EndView,
    /// The responder.
    pub destination: EndView,
    /// What is spoken.
    pub service: String,
    /// Both gates, egress first: tier by tier, what happened. Both must be open.
    pub gates: Vec<GateTrail>,
    /// The smallest change of the policy after which the verdict is the opposite.
    pub change: Option<Change>,
    /// Further changes that flip it, in the same order: fewest edits, then fewest other pairs opened or closed.
    pub alternatives: Vec<Change>,
    /// Rules that name this pair, or would but for one requirement, and did not decide; in order of evaluation.
    pub candidates: Vec<Candidate>,
    /// How many more there are beyond [`CANDIDATES_MAX`].
    pub candidates_left_out: usize,
}

/// One gate of the flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GateTrail {
    /// `egress` (the source's) or `ingress` (the destination's).
    pub gate: &'static str,
    /// As [`EndView::mode`].
    pub mode: &'static str,
    /// What the gate says by itself.
    pub verdict: &'static str,
    /// The rule or named default by which it says so.
    pub rule: String,
    /// Every tier in order.
    pub tiers: Vec<TierTrail>,
}

/// What happened to a flow in one tier, at one gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TierTrail {
    /// The tier's name.
    pub tier: String,
    /// `no rule matches`, `pass`, `allow`, `deny`, `reject`, `does not count in quarantine`, or `not asked` if the
    /// gate is off or an earlier tier has answered.
    pub outcome: &'static str,
    /// The first rule that matches.
    pub rule: Option<String>,
}

/// One end of the flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndView {
    /// Its address.
    pub address: IpAddr,
    /// The workload that owns the address.
    pub workload: Option<String>,
    /// The listener of it that answers, at the destination.
    pub listener: Option<String>,
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
    /// `own`, `listener`, or the network it is inherited from.
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
                "the compiled table says `{table}` but the policy says `{policy}`: the table belongs to another \
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

    let (from, to) = (End::new(policy, from, None), End::new(policy, to, Some(service)));
    let scene = Scene { policy, from, to, service };
    let gates = scene.judge(&[]);
    check(compiled, &decision, &gates)?;
    let (candidates, candidates_left_out) =
        candidate::losers(&scene, &gates, compiled.rule_name(decision.rule), decision.gate);
    let info = compiled.rules.get(decision.rule.0 as usize);
    let key = service.value();
    let mut changes = change::changes(&scene, compiled).into_iter();
    let [egress, ingress] = &gates;
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
        on_revoke: decision.verdict.is_allow().then(|| super::shown::revocation(decision.on_revoke)),
        source: scene.from.view(egress.regime),
        destination: scene.to.view(ingress.regime),
        service: ServiceRange { first: key, last: key }.to_string(),
        gates: gates.iter().map(|gate| gate.view(policy, gate.default_name())).collect(),
        change: changes.next(),
        alternatives: changes.collect(),
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

/// Whether the policy, read rule by rule, says what the table says, by the rule that the table names.
fn check(compiled: Named<'_>, decision: &Decision, gates: &[GateView<'_>; 2]) -> Result<(), ExplainError> {
    let gate = match decision.gate {
        Gate::Egress => &gates[0],
        Gate::Ingress => &gates[1],
    };
    let expected = gate.hit().map_or(gate.default_name(), |hit| hit.rule.name.as_str());
    let named = compiled.rule_name(decision.rule);
    if expected == named && gate.verdict == decision.verdict {
        return Ok(());
    }
    let told = |verdict: Verdict, rule: &str| format!("{} by {rule}", verdict.name());
    Err(ExplainError::Disagreement {
        table: told(decision.verdict, named),
        policy: told(gate.verdict, expected),
    })
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
