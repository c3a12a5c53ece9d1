//! The rule that matched at a gate, in 32 bits.

use crate::verdict::RuleId;

/// What a hit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum HitAction {
    /// Opens the gate.
    Allow = 0,
    /// Closes the gate.
    Deny = 1,
    /// Leaves the gate to the next stage.
    Pass = 2,
    /// Closes the gate, and the sender is told.
    Reject = 3,
}

/// The first matching rule of a gate, or none: from the top 28 bits of rule id, one bit for "says something of
/// revocation", one for "its tier is infrastructure", two of action. Rule ids ascend in the order of evaluation, so
/// the smaller of two hits is the one that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hit(u32);

const ID_SHIFT: u32 = 4;
const REVOKE: u32 = 8;
const INFRASTRUCTURE: u32 = 4;
const ACTION: u32 = 3;

impl Hit {
    /// No rule matched; larger than every other.
    pub const NONE: Self = Self(u32::MAX);
    /// The largest rule id that a hit can hold.
    pub const MAX_RULE: RuleId = RuleId((1 << (32 - ID_SHIFT)) - 2);

    /// Of a rule up to [`Hit::MAX_RULE`]; `None` above.
    #[must_use]
    pub fn new(rule: RuleId, action: HitAction, infrastructure: bool) -> Option<Self> {
        let tier = if infrastructure { INFRASTRUCTURE } else { 0 };
        (rule <= Self::MAX_RULE).then_some(Self(rule.0 << ID_SHIFT | tier | action as u32))
    }

    /// The same, but its rule is in [`TableParts::revoke`](super::TableParts::revoke).
    #[must_use]
    pub const fn with_revoke(self) -> Self {
        Self(self.0 | REVOKE)
    }

    /// The rule.
    #[must_use]
    pub const fn rule(self) -> RuleId {
        RuleId(self.0 >> ID_SHIFT)
    }

    pub(super) const fn bits(self) -> u32 {
        self.0
    }

    /// The inverse of [`Hit::bits`].
    pub(super) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Whether it names no rule, or one below `rules`.
    pub(super) const fn is_below(self, rules: u32) -> bool {
        self.0 == Self::NONE.0 || self.rule().0 < rules
    }

    pub(super) const fn action(self) -> HitAction {
        match self.0 & ACTION {
            0 => HitAction::Allow,
            1 => HitAction::Deny,
            2 => HitAction::Pass,
            _ => HitAction::Reject,
        }
    }

    /// Whether later stages are not asked.
    pub(super) const fn is_final(self) -> bool {
        self.0 & ACTION != HitAction::Pass as u32 && self.0 != Self::NONE.0
    }

    pub(super) const fn is_infrastructure(self) -> bool {
        self.0 & INFRASTRUCTURE != 0
    }

    pub(super) const fn says_revoke(self) -> bool {
        self.0 & REVOKE != 0
    }
}
