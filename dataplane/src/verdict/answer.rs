//! Decisions without their causes, in few bits: what a flow and its records remember of every policy that was asked.

use super::{Decision, OnRevoke, Verdict};

/// What a policy that is not in force would have answered, or the one in force did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Answer {
    /// Allowed, and no gate would have closed.
    #[default]
    Allow = 0,
    /// Allowed only because a gate is in mode `observe`.
    PotentiallyBlocked = 1,
    /// Denied.
    Deny = 2,
    /// Denied, and the sender told.
    Reject = 3,
}

impl Answer {
    const fn from_bits(bits: u16) -> Self {
        match bits & 3 {
            0 => Self::Allow,
            1 => Self::PotentiallyBlocked,
            2 => Self::Deny,
            _ => Self::Reject,
        }
    }

    /// `allow`, `potentially-blocked`, `deny` or `reject`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::PotentiallyBlocked => "potentially-blocked",
            Self::Deny => "deny",
            Self::Reject => "reject",
        }
    }
}

impl Decision {
    /// The decision without its causes.
    #[must_use]
    pub const fn answer(&self) -> Answer {
        match (self.verdict, self.potential) {
            (Verdict::Allow, None) => Answer::Allow,
            (Verdict::Allow, Some(_)) => Answer::PotentiallyBlocked,
            (Verdict::Deny, _) => Answer::Deny,
            (Verdict::Reject, _) => Answer::Reject,
        }
    }
}

/// What each of up to [`DraftAnswers::MAX`] drafts answered about one flow, by its place among the drafts of the
/// snapshot that decided the flow. A place without a draft holds the enforced answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DraftAnswers(u16);

impl DraftAnswers {
    /// The most drafts evaluated beside the policy in force.
    pub const MAX: usize = 8;

    /// Every draft answers as the policy in force.
    #[must_use]
    pub const fn agreeing(enforced: Answer) -> Self {
        Self(enforced as u16 * 0x5555)
    }

    /// The same, but the draft at `place` answers `answer`; a place from [`DraftAnswers::MAX`] on changes nothing.
    #[must_use]
    pub const fn with(self, place: usize, answer: Answer) -> Self {
        if place >= Self::MAX {
            return self;
        }
        let shift = 2 * place;
        Self(self.0 & !(3 << shift) | (answer as u16) << shift)
    }

    /// What the draft at `place` answers.
    #[must_use]
    pub const fn of(self, place: usize) -> Answer {
        if place < Self::MAX { Answer::from_bits(self.0 >> (2 * place)) } else { Answer::Allow }
    }

    /// A bit for each draft that answers otherwise than the policy in force, the first in the lowest.
    #[must_use]
    pub const fn differing(self, enforced: Answer) -> u8 {
        let other = self.0 ^ Self::agreeing(enforced).0;
        let (mut bits, mut place) = (0, 0);
        while place < Self::MAX {
            bits |= ((other >> (2 * place) & 3 != 0) as u8) << place;
            place += 1;
        }
        bits
    }

    /// The answers in 16 bits.
    #[must_use]
    pub const fn to_bits(self) -> u16 {
        self.0
    }

    /// The inverse of [`DraftAnswers::to_bits`].
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }
}

/// What a flow remembers of its decision beside rule and epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// What becomes of the flow once policy allows it no more.
    pub on_revoke: OnRevoke,
    /// What the drafts answered.
    pub drafts: DraftAnswers,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_draft_keeps_its_own_answer() {
        let all = [Answer::Allow, Answer::PotentiallyBlocked, Answer::Deny, Answer::Reject];
        for enforced in all {
            let agreeing = DraftAnswers::agreeing(enforced);
            assert_eq!(agreeing.differing(enforced), 0);
            for place in 0..DraftAnswers::MAX {
                for answer in all {
                    let answers = agreeing.with(place, answer);
                    assert_eq!(DraftAnswers::from_bits(answers.to_bits()), answers);
                    let expected = u8::from(answer != enforced) << place;
                    assert_eq!(answers.differing(enforced), expected, "{enforced:?} {place} {answer:?}");
                    for other in 0..DraftAnswers::MAX {
                        assert_eq!(answers.of(other), if other == place { answer } else { enforced });
                    }
                }
            }
            assert_eq!(agreeing.with(DraftAnswers::MAX, Answer::Deny), agreeing, "no such place");
        }
    }
}
