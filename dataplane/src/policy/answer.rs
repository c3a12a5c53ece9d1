//! What the gates say, and both together.

use super::class::GateMode;
use super::hit::{Hit, HitAction};
use crate::verdict::{Decision, Gate, OnRevoke, RuleId, Verdict};

/// What one gate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// [`Verdict::Allow`] if it is open.
    pub(super) verdict: Verdict,
    pub(super) rule: RuleId,
    pub(super) potential: Option<RuleId>,
    /// The rule says what becomes of its flows on revocation.
    pub(super) says_revoke: bool,
}

/// Applies the mode of a gate to its hit, which is never a pass.
pub(super) fn answer(mode: GateMode, hit: Hit, other_is_workload: bool) -> Answer {
    let hit = if mode == GateMode::Quarantine && !hit.is_infrastructure() { Hit::NONE } else { hit };
    let (verdict, rule) = match mode {
        GateMode::Off => (Verdict::Allow, RuleId::OFF_PASS),
        _ if hit != Hit::NONE => (verdict(hit), hit.rule()),
        GateMode::Observe | GateMode::Full => (Verdict::Deny, RuleId::DEFAULT_DENY),
        GateMode::Selective => (Verdict::Allow, RuleId::SELECTIVE_PASS),
        GateMode::Quarantine => (Verdict::Deny, RuleId::QUARANTINE),
        GateMode::Unmanaged if other_is_workload => (Verdict::Allow, RuleId::UNMANAGED_PASS),
        GateMode::Unmanaged => (Verdict::Deny, RuleId::UNMANAGED_DENY),
    };
    let says_revoke = rule >= RuleId::FIRST && hit.says_revoke();
    if mode == GateMode::Observe && !verdict.is_allow() {
        return Answer { verdict: Verdict::Allow, rule, potential: Some(rule), says_revoke };
    }
    Answer { verdict, rule, potential: None, says_revoke }
}

const fn verdict(hit: Hit) -> Verdict {
    match hit.action() {
        HitAction::Allow => Verdict::Allow,
        HitAction::Reject => Verdict::Reject,
        HitAction::Deny | HitAction::Pass => Verdict::Deny,
    }
}

/// Both gates must pass; see [`Decision::gate`] for which one is named. The second value tells whether the rule named
/// says what becomes of the flow on revocation; the decision has [`OnRevoke::Cut`].
pub(super) fn combine(egress: Answer, ingress: Answer) -> (Decision, bool) {
    let potential = egress.potential.or(ingress.potential);
    let egress_named = !egress.verdict.is_allow()
        || ingress.verdict.is_allow() && ingress.rule < RuleId::FIRST && egress.rule >= RuleId::FIRST;
    let (gate, named) = if egress_named { (Gate::Egress, egress) } else { (Gate::Ingress, ingress) };
    let Answer { verdict, rule, says_revoke, .. } = named;
    (Decision { verdict, gate, rule, potential, on_revoke: OnRevoke::Cut }, says_revoke && verdict.is_allow())
}
