//! A flow before the policy, read rule by rule: both gates, tier by tier, with edits made or without.

use dataplane::policy::ServiceKey;
use dataplane::verdict::{Gate, Verdict};

use super::edit::Edit;
use super::end::{End, Regime, unlike};
use super::{GateTrail, TierTrail};
use crate::policy::valid::{Action, Enforcement, INFRASTRUCTURE, Rule, ValidPolicy};

/// A flow and the policy that judges it.
pub(super) struct Scene<'a> {
    pub(super) policy: &'a ValidPolicy,
    pub(super) from: End<'a>,
    pub(super) to: End<'a>,
    pub(super) service: ServiceKey,
}

/// A rule with its tier.
#[derive(Clone, Copy)]
pub(super) struct Placed<'a> {
    pub(super) tier: &'a str,
    pub(super) rule: &'a Rule,
}

/// What one gate says.
pub(super) struct GateView<'a> {
    pub(super) gate: Gate,
    pub(super) regime: Regime,
    /// The first matching rule of each tier, up to the first that does not pass.
    pub(super) trail: Vec<Placed<'a>>,
    pub(super) verdict: Verdict,
}

impl<'a> GateView<'a> {
    /// The rule that counts, if the gate looks at rules at all.
    pub(super) fn hit(&self) -> Option<Placed<'a>> {
        let last = self.trail.last().filter(|last| last.rule.action != Action::Pass)?;
        let counts = match self.regime {
            Regime::Off => false,
            Regime::Quarantine => last.tier == INFRASTRUCTURE,
            Regime::Observe | Regime::Selective | Regime::Full | Regime::Unmanaged => true,
        };
        counts.then_some(*last)
    }

    /// Tier by tier, what happened.
    pub(super) fn view(&self, policy: &ValidPolicy, named: &str) -> GateTrail {
        let mut over = self.regime == Regime::Off;
        let tier = |name: &str| {
            let met = self.trail.iter().find(|placed| placed.tier == name);
            let outcome = match met {
                _ if over => "not asked",
                None => "no rule matches",
                Some(met) if met.rule.action == Action::Pass => "pass",
                Some(met) => {
                    over = true;
                    if self.regime == Regime::Quarantine && name != INFRASTRUCTURE {
                        "does not count in quarantine"
                    } else {
                        met.rule.action.name()
                    }
                }
            };
            let rule = met.filter(|_| outcome != "not asked").map(|met| met.rule.name.clone());
            TierTrail { tier: name.to_owned(), outcome, rule }
        };
        GateTrail {
            gate: self.gate.name(),
            mode: self.regime.name(),
            verdict: self.verdict.name(),
            rule: self.hit().map_or_else(|| named.to_owned(), |hit| hit.rule.name.clone()),
            tiers: policy.tiers.iter().map(|one| one.name.as_str()).map(tier).collect(),
        }
    }

    /// The named default that answers where no rule counts.
    pub(super) fn default_name(&self) -> &'static str {
        match (self.regime, self.verdict) {
            (Regime::Off, _) => "default/off",
            (Regime::Selective, _) => "default/selective",
            (Regime::Quarantine, _) => "default/quarantine",
            (Regime::Unmanaged, Verdict::Allow) => "default/unmanaged-peer",
            (Regime::Unmanaged, _) => "default/unmanaged",
            (Regime::Full | Regime::Observe, _) => "default/deny",
        }
    }
}

impl<'a> Scene<'a> {
    /// The egress and the ingress gate once `edits` are made.
    pub(super) fn judge<'s>(&'s self, edits: &'s [Edit]) -> [GateView<'s>; 2] {
        let (from, to) = (self.from.edited(edits), self.to.edited(edits));
        let view = |gate: Gate| {
            let (end, other) = if gate == Gate::Egress { (&from, &to) } else { (&to, &from) };
            let regime = self.regime(end, gate, edits);
            let trail = self.trail(&from, &to, gate, edits);
            let mut view = GateView { gate, regime, trail, verdict: Verdict::Deny };
            view.verdict = verdict(&view, other.workload.is_some());
            view
        };
        [view(Gate::Egress), view(Gate::Ingress)]
    }

    /// Whether both gates are open once `edits` are made.
    pub(super) fn allows(&self, edits: &[Edit]) -> bool {
        self.judge(edits).iter().all(|gate| gate.verdict.is_allow())
    }

    fn regime(&self, end: &End<'_>, gate: Gate, edits: &[Edit]) -> Regime {
        let told = |e: &Enforcement| if gate == Gate::Egress { e.egress } else { e.ingress };
        let regime = end.regime(self.policy, told);
        let is_mode = !matches!(regime, Regime::Unmanaged | Regime::Quarantine);
        let name = end.workload.map(|workload| workload.name.as_str());
        let edited = edits.iter().find_map(|edit| match edit {
            Edit::Enforcement { workload, gate: at, mode }
                if Some(workload.as_str()) == name && *at == gate =>
            {
                Some(*mode)
            }
            _ => None,
        });
        edited.filter(|_| is_mode).map_or(regime, Regime::of)
    }

    fn trail<'s>(&'s self, from: &End<'_>, to: &End<'_>, gate: Gate, edits: &'s [Edit]) -> Vec<Placed<'s>> {
        let mut trail = Vec::new();
        let first = [super::edit::FIRST_TIER];
        let tiers = self.policy.tiers.iter().map(|tier| (tier.name.as_str(), tier.rules.as_slice()));
        for (tier, rules) in first.into_iter().map(|name| (name, &[][..])).chain(tiers) {
            let added = edits.iter().filter_map(|edit| match edit {
                Edit::AddRule { tier: into, rule } if *into == tier => Some(rule),
                _ => None,
            });
            let matches = |rule: &&Rule| {
                let speaks = if gate == Gate::Egress { rule.gates.egress } else { rule.gates.ingress };
                speaks
                    && self.covers(rule, edits)
                    && counts(rule, edits)
                    && from.is_selected(&rule.from)
                    && to.is_selected(&rule.to)
                    && unlike(rule, from, to).is_none()
            };
            if let Some(rule) = added.chain(rules).find(matches) {
                trail.push(Placed { tier, rule });
                if rule.action != Action::Pass {
                    break;
                }
            }
        }
        trail
    }

    pub(super) fn covers(&self, rule: &Rule, edits: &[Edit]) -> bool {
        let key = self.service.value();
        let extended = |edit: &Edit| matches!(edit, Edit::Extend { rule: name, .. } if *name == rule.name);
        rule.services.iter().any(|range| range.contains(key)) || edits.iter().any(extended)
    }
}

/// Whether the rule is there and enforced once `edits` are made.
fn counts(rule: &Rule, edits: &[Edit]) -> bool {
    let enforced = |edit: &Edit| matches!(edit, Edit::Enforce { rule: name } if *name == rule.name);
    let removed = |edit: &Edit| matches!(edit, Edit::Remove { origin, .. } if *origin == rule.origin);
    (!rule.staged || edits.iter().any(enforced)) && !edits.iter().any(removed)
}

fn verdict(view: &GateView<'_>, other_is_workload: bool) -> Verdict {
    let by_rule = view.hit().map(|hit| match hit.rule.action {
        Action::Allow => Verdict::Allow,
        Action::Reject => Verdict::Reject,
        Action::Deny | Action::Pass => Verdict::Deny,
    });
    match view.regime {
        Regime::Off | Regime::Observe => Verdict::Allow,
        Regime::Selective => by_rule.unwrap_or(Verdict::Allow),
        Regime::Full | Regime::Quarantine => by_rule.unwrap_or(Verdict::Deny),
        Regime::Unmanaged => {
            by_rule.unwrap_or(if other_is_workload { Verdict::Allow } else { Verdict::Deny })
        }
    }
}
