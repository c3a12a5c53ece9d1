//! [`Terms`] in the words of an entry: what only odd packets and reports need.

use super::entry::Rare;
use super::sync::Ordering::Relaxed;
use crate::verdict::{DraftAnswers, OnRevoke, Terms};

/// The low 16 bits are the seconds of a drain.
const DRAIN: u32 = 1 << 16;
const KEEP: u32 = 1 << 17;
/// The flow was cut, and its ends are told.
const TOLD: u32 = 1 << 18;

const fn revoke_bits(on_revoke: OnRevoke, told: bool) -> u32 {
    let bits = match on_revoke {
        OnRevoke::Cut => 0,
        OnRevoke::Drain(seconds) => DRAIN | seconds as u32,
        OnRevoke::Keep => KEEP,
    };
    if told { bits | TOLD } else { bits }
}

#[expect(clippy::cast_possible_truncation, reason = "takes the fields apart")]
const fn on_revoke(bits: u32) -> OnRevoke {
    match (bits & DRAIN != 0, bits & KEEP != 0) {
        (true, _) => OnRevoke::Drain(bits as u16),
        (false, true) => OnRevoke::Keep,
        (false, false) => OnRevoke::Cut,
    }
}

impl Rare {
    #[expect(clippy::cast_possible_truncation, reason = "the word holds 16 bits")]
    pub(super) fn terms(&self) -> Terms {
        Terms {
            on_revoke: on_revoke(self.revoke.load(Relaxed)),
            drafts: DraftAnswers::from_bits(self.drafts.load(Relaxed) as u16),
        }
    }

    pub(super) fn is_told(&self) -> bool {
        self.revoke.load(Relaxed) & TOLD != 0
    }

    /// For the holder of the entry's claim.
    pub(super) fn store_terms(&self, terms: Terms, told: bool) {
        self.revoke.store(revoke_bits(terms.on_revoke, told), Relaxed);
        self.drafts.store(u32::from(terms.drafts.to_bits()), Relaxed);
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn terms_survive_their_packed_form() {
        for on in [OnRevoke::Cut, OnRevoke::Drain(0), OnRevoke::Drain(u16::MAX), OnRevoke::Keep] {
            for told in [false, true] {
                let bits = revoke_bits(on, told);
                assert_eq!((on_revoke(bits), bits & TOLD != 0), (on, told), "{on:?} {told}");
            }
        }
    }
}
