//! The rules that name a pair, and why each but one did not decide.

use dataplane::policy::ServiceKey;
use dataplane::verdict::{Decision, Gate};
use serde::Serialize;

use super::CANDIDATES_MAX;
use super::end::{End, Regime};
use crate::policy::valid::{Action, INFRASTRUCTURE, Rule, ServiceRange, ValidPolicy};

/// A rule that names the pair but did not decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// Its name.
    pub rule: String,
    /// Its tier.
    pub tier: String,
    /// `allow` or `deny`.
    pub action: &'static str,
    /// Why it did not decide.
    pub lost: String,
}

/// A rule whose peers match both ends, with its tier.
#[derive(Clone, Copy)]
pub(super) struct Named<'a> {
    tier: &'a str,
    pub(super) rule: &'a Rule,
}

impl Named<'_> {
    pub(super) fn is_infrastructure(&self) -> bool {
        self.tier == INFRASTRUCTURE
    }

    fn covers(&self, service: ServiceKey) -> bool {
        let key = service.value();
        self.rule.services.iter().any(|range| range.first <= key && key <= range.last)
    }
}

/// One gate of the flow.
pub(super) struct GateView<'a> {
    gate: Gate,
    pub(super) regime: Regime,
    /// The first rule that matches and speaks here.
    pub(super) hit: Option<Named<'a>>,
}

/// A flow with all rules that name its pair.
pub(super) struct Flow<'a> {
    named: Vec<Named<'a>>,
    pub(super) egress: GateView<'a>,
    pub(super) ingress: GateView<'a>,
    service: ServiceKey,
}

impl<'a> Flow<'a> {
    pub(super) fn new(policy: &'a ValidPolicy, from: &End<'_>, to: &End<'_>, service: ServiceKey) -> Self {
        let tiers = policy.tiers.iter();
        let all = tiers.flat_map(|tier| tier.rules.iter().map(|rule| Named { tier: &tier.name, rule }));
        let named: Vec<Named<'_>> =
            all.filter(|n| from.is_selected(&n.rule.from) && to.is_selected(&n.rule.to)).collect();
        let first = |speaks: fn(&Rule) -> bool| {
            named.iter().find(|named| speaks(named.rule) && named.covers(service)).copied()
        };
        let egress = GateView {
            gate: Gate::Egress,
            regime: from.regime(policy, |e| e.egress),
            hit: first(|rule| rule.gates.egress),
        };
        let ingress = GateView {
            gate: Gate::Ingress,
            regime: to.regime(policy, |e| e.ingress),
            hit: first(|rule| rule.gates.ingress),
        };
        Self { named, egress, ingress, service }
    }

    /// The rules that did not decide, up to [`CANDIDATES_MAX`], and how many more there are.
    pub(super) fn losers(&self, winner: &str, decision: &Decision) -> (Vec<Candidate>, usize) {
        let losers = || self.named.iter().filter(|named| named.rule.name != winner);
        let candidate = |named: &Named<'_>| Candidate {
            rule: named.rule.name.clone(),
            tier: named.tier.to_owned(),
            action: match named.rule.action {
                Action::Allow => "allow",
                Action::Deny => "deny",
                Action::Reject => "reject",
                Action::Pass => "pass",
            },
            lost: self.why_lost(named, decision.gate),
        };
        let told = losers().take(CANDIDATES_MAX).map(candidate).collect();
        (told, losers().count().saturating_sub(CANDIDATES_MAX))
    }

    fn why_lost(&self, named: &Named<'_>, decided: Gate) -> String {
        if !named.covers(self.service) {
            let services: Vec<String> = named.rule.services.iter().map(ServiceRange::to_string).collect();
            let services = if services.is_empty() { "no service".to_owned() } else { services.join(", ") };
            return format!("it covers {services} only");
        }
        let gates = [(&self.egress, named.rule.gates.egress), (&self.ingress, named.rule.gates.ingress)];
        let reasons: Vec<String> = gates
            .iter()
            .filter(|(_, speaks)| *speaks)
            .map(|(gate, _)| gate.why_lost(named, decided))
            .collect();
        if reasons.is_empty() { "it speaks at no gate".to_owned() } else { reasons.join("; ") }
    }
}

impl GateView<'_> {
    fn why_lost(&self, named: &Named<'_>, decided: Gate) -> String {
        let gate = self.gate.name();
        match (self.regime, self.hit) {
            (Regime::Off, _) => format!("the {gate} gate is off and looks at no rule"),
            (_, Some(hit)) if hit.rule.name != named.rule.name => {
                format!("`{}` comes first at the {gate} gate", hit.rule.name)
            }
            (Regime::Quarantine, _) if !named.is_infrastructure() => {
                format!("the {gate} gate is in quarantine, where only infrastructure rules count")
            }
            _ if self.gate != decided => {
                let does = match named.rule.action {
                    Action::Allow => "opens",
                    Action::Deny | Action::Reject => "closes",
                    Action::Pass => "passes on",
                };
                format!("it {does} the {gate} gate, but the {} gate decides", decided.name())
            }
            _ => format!("it does not decide at the {gate} gate"),
        }
    }
}
