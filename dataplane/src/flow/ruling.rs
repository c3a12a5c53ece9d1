//! What a newer policy means for a live flow.

use crate::clock::Now;
use crate::verdict::{Answer, Decision, OnRevoke, RuleId, Verdict};

/// What a newer policy says of a live flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It is allowed.
    Allow {
        /// By this rule or default.
        rule: RuleId,
        /// A gate in mode `observe` would have denied it by this one.
        potential: Option<RuleId>,
        /// What becomes of it once it is denied.
        on_revoke: OnRevoke,
    },
    /// It is denied, and lives on for some time.
    Drain {
        /// Its end, less than 24 days from now.
        until: Now,
    },
    /// It is denied, and lives on until it ends by itself.
    Keep,
    /// It is denied: both directions die.
    Cut {
        /// By this rule or default.
        rule: RuleId,
        /// Whether its ends are told.
        told: bool,
    },
}

/// What earlier policies have made of a live flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What the rule that allowed it says of its end.
    pub on_revoke: OnRevoke,
    /// It was cut.
    pub cut: bool,
    /// It was given time, and that time is over.
    pub drained: bool,
}

impl Ruling {
    /// What `decision` means for a flow that stands so, and the answer that drafts are compared with. One that is
    /// denied ends as the rule says that had allowed it. What was cut once is never given time again.
    #[must_use]
    pub fn of(decision: &Decision, standing: Standing, now: Now) -> (Self, Answer) {
        let Standing { on_revoke, cut, drained } = standing;
        let rule = decision.rule;
        let told = decision.verdict == Verdict::Reject;
        match (decision.verdict, on_revoke) {
            (Verdict::Allow, _) => {
                let Decision { potential, on_revoke, .. } = *decision;
                (Self::Allow { rule, potential, on_revoke }, decision.answer())
            }
            _ if cut => (Self::Cut { rule, told }, decision.answer()),
            (_, OnRevoke::Keep) => (Self::Keep, Answer::Allow),
            (_, OnRevoke::Drain(seconds)) if seconds > 0 && !drained => {
                (Self::Drain { until: now.plus_millis(u64::from(seconds) * 1000) }, Answer::Allow)
            }
            (_, OnRevoke::Drain(_) | OnRevoke::Cut) => (Self::Cut { rule, told }, decision.answer()),
        }
    }

    /// The rule or default that is named.
    #[must_use]
    pub const fn rule(&self) -> RuleId {
        match self {
            Self::Allow { rule, .. } | Self::Cut { rule, .. } => *rule,
            Self::Drain { .. } => RuleId::DRAINING,
            Self::Keep => RuleId::KEPT,
        }
    }
}
