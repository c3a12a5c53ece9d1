//! Rules as numbers: hits, stages, and what is told of them beside the table.

use std::sync::Arc;

use dataplane::policy::{Hit, HitAction};
use dataplane::verdict::{OnRevoke, RuleId};

use super::RuleInfo;
use super::block::GateHits;
use super::error::CompileError;
use super::vocabulary::number;
use crate::policy::valid::{Action, INFRASTRUCTURE, Rule, Tier, ValidPolicy};

/// Every rule with its tier, in order of evaluation.
pub(super) fn all(policy: &ValidPolicy) -> Vec<(&Tier, &Rule)> {
    policy.tiers.iter().flat_map(|tier| tier.rules.iter().map(move |rule| (tier, rule))).collect()
}

/// The id of the rule at `index` in order of evaluation.
fn rule_id(index: usize) -> RuleId {
    RuleId(number(index).saturating_add(RuleId::FIRST.0))
}

/// Each rule's hit at the gates it speaks at, in order of evaluation.
pub(super) fn hits(rules: &[(&Tier, &Rule)]) -> Result<Vec<GateHits>, CompileError> {
    let hit = |(at, (tier, rule)): (usize, &(&Tier, &Rule))| {
        let action = match rule.action {
            Action::Allow => HitAction::Allow,
            Action::Deny => HitAction::Deny,
            Action::Reject => HitAction::Reject,
            Action::Pass => HitAction::Pass,
        };
        let hit = Hit::new(rule_id(at), action, tier.name == INFRASTRUCTURE)?;
        let hit = if rule.on_revoke == OnRevoke::Cut { hit } else { hit.with_revoke() };
        let speaks = |gate: bool| if gate { hit } else { Hit::NONE };
        Some(GateHits { egress: speaks(rule.gates.egress), ingress: speaks(rule.gates.ingress) })
    };
    let hits: Option<Vec<_>> = rules.iter().enumerate().map(hit).collect();
    hits.ok_or(CompileError::TooManyRules { rules: rules.len() })
}

/// The stage of each rule: a tier with a rule that passes is the last of its stage.
pub(super) fn stages(
    policy: &ValidPolicy,
    is_compiled: impl Fn(&Rule) -> bool,
) -> Result<Vec<u8>, CompileError> {
    let mut stages = Vec::new();
    let mut stage = 0_usize;
    for tier in &policy.tiers {
        let of_tier =
            u8::try_from(stage).ok().filter(|stage| *stage < u8::MAX).ok_or(CompileError::TooManyStages)?;
        stages.extend(tier.rules.iter().map(|_| of_tier));
        let passes = |rule: &Rule| rule.action == Action::Pass && is_compiled(rule);
        stage += usize::from(tier.rules.iter().any(passes));
    }
    Ok(stages)
}

pub(super) fn revocations(rules: &[(&Tier, &Rule)]) -> Vec<(RuleId, OnRevoke)> {
    let said = rules.iter().enumerate().map(|(at, (_, rule))| (rule_id(at), rule.on_revoke));
    said.filter(|(_, on_revoke)| *on_revoke != OnRevoke::Cut).collect()
}

pub(super) fn infos(policy: &ValidPolicy) -> Vec<RuleInfo> {
    let default: Arc<str> = "default".into();
    let named = |name: &str| RuleInfo { name: name.into(), tier: Arc::clone(&default), origin: None };
    let mut infos: Vec<_> = RuleId::DEFAULT_NAMES.into_iter().map(named).collect();
    for tier in &policy.tiers {
        let name: Arc<str> = tier.name.as_str().into();
        infos.extend(tier.rules.iter().map(|rule| RuleInfo {
            name: rule.name.as_str().into(),
            tier: Arc::clone(&name),
            origin: Some(rule.origin.clone()),
        }));
    }
    infos
}
