//! What policy has done to a flow, in one word, so that it is read and replaced whole.

use super::key::Orientation;
use crate::verdict::{Epoch, RuleId, Side};

/// From the lowest bit: cut (1 bit), vouched (3), rule (28: as many as a hit of the policy table holds), epoch (31),
/// draining (1). Epoch and draining stand together, so that one comparison tells the flows that every packet of the
/// epoch passes from those that somebody must look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(u64);

const CUT: u64 = 1;
/// By [`Orientation::index`]: the source check of what this end sends need not be repeated; see [`Stamp::vouches`].
const VOUCHED: [u64; 2] = [1 << 1, 1 << 2];
/// The end `first` was vouched for on the inside, or `second` on the outside. Otherwise the other way round.
const FIRST_INSIDE: u64 = 1 << 3;
const RULE_SHIFT: u32 = 4;
const RULE: u64 = (1 << 28) - 1;
const EPOCH_SHIFT: u32 = 32;
const EPOCH: u32 = (1 << 31) - 1;
const DRAINING: u64 = 1 << 63;

impl Stamp {
    /// Decided under `epoch` (below 2^31) by `rule` (below 2^28).
    pub(super) const fn new(epoch: Epoch, rule: RuleId) -> Self {
        Self(((epoch.0 & EPOCH) as u64) << EPOCH_SHIFT | (rule.0 as u64 & RULE) << RULE_SHIFT)
    }

    /// The same, cut or draining if told so.
    pub(super) const fn ended(self, cut: bool, draining: bool) -> Self {
        Self(self.0 | if cut { CUT } else { 0 } | if draining { DRAINING } else { 0 })
    }

    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) const fn to_bits(self) -> u64 {
        self.0
    }

    pub(super) const fn epoch(self) -> Epoch {
        Epoch((self.0 >> EPOCH_SHIFT) as u32 & EPOCH)
    }

    pub(super) const fn rule(self) -> RuleId {
        RuleId((self.0 >> RULE_SHIFT & RULE) as u32)
    }

    pub(super) const fn is_cut(self) -> bool {
        self.0 & CUT != 0
    }

    /// Lives only until [`super::entry::Rare::drained`].
    pub(super) const fn is_draining(self) -> bool {
        self.0 & DRAINING != 0
    }

    /// Decided under `epoch`, and not draining.
    pub(super) const fn is_settled(self, epoch: Epoch) -> bool {
        self.0 >> EPOCH_SHIFT == epoch.0 as u64
    }

    /// Whether the source check of packets from `sender` that come in on `side` is known to pass under this stamp's
    /// epoch, whatever their MAC address.
    #[inline(always)]
    pub(super) const fn vouches(self, sender: Orientation, side: Side) -> bool {
        self.0 & (VOUCHED[sender.index()] | FIRST_INSIDE) == VOUCHED[sender.index()] | home(sender, side)
    }

    /// The same, but vouching for that as well. One end of a flow is inside and the other outside: what would
    /// contradict the end that is vouched for already is left out.
    pub(super) const fn vouching(self, sender: Orientation, side: Side) -> Self {
        let other = self.0 & VOUCHED[sender.reverse().index()];
        if other != 0 && self.0 & FIRST_INSIDE != home(sender, side) {
            return self;
        }
        Self(self.0 & !FIRST_INSIDE | VOUCHED[sender.index()] | home(sender, side))
    }
}

/// [`FIRST_INSIDE`] if that is what a packet from `sender` on `side` means.
const fn home(sender: Orientation, side: Side) -> u64 {
    match (sender, side) {
        (Orientation::FromFirst, Side::Inside) | (Orientation::FromSecond, Side::Outside) => FIRST_INSIDE,
        (Orientation::FromFirst, Side::Outside) | (Orientation::FromSecond, Side::Inside) => 0,
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use Orientation::{FromFirst, FromSecond};
    use Side::{Inside, Outside};

    use super::*;

    #[test]
    fn fields_survive_and_do_not_touch() {
        for (epoch, rule) in [(0, 0), (1, 8), (EPOCH, 0), (0, 0xfff_ffff), (EPOCH, 0xfff_ffff)] {
            for (cut, draining) in [(false, false), (true, false), (false, true), (true, true)] {
                for vouched in [false, true] {
                    let plain = Stamp::new(Epoch(epoch), RuleId(rule)).ended(cut, draining);
                    let stamp = if vouched { plain.vouching(FromSecond, Outside) } else { plain };
                    let name = format!("{epoch} {rule} {cut} {draining} {vouched}");
                    assert_eq!((stamp.epoch(), stamp.rule()), (Epoch(epoch), RuleId(rule)), "{name}");
                    assert_eq!((stamp.is_cut(), stamp.is_draining()), (cut, draining), "{name}");
                    assert_eq!(stamp.is_settled(Epoch(epoch)), !draining, "{name}");
                    assert_eq!(stamp.vouches(FromSecond, Outside), vouched, "{name}");
                    assert!(!stamp.is_settled(Epoch(epoch ^ 1)), "{name}");
                }
            }
        }
    }

    /// Whatever was vouched for in whatever order: nothing else is.
    #[test]
    fn vouches_only_for_what_was_checked() {
        let places = [(FromFirst, Inside), (FromFirst, Outside), (FromSecond, Inside), (FromSecond, Outside)];
        for first in places {
            for second in places {
                let stamp =
                    [first, second].iter().fold(Stamp::new(Epoch(3), RuleId(9)), |stamp, (sender, side)| {
                        stamp.vouching(*sender, *side)
                    });
                let vouched = places.into_iter().filter(|(sender, side)| stamp.vouches(*sender, *side));
                let vouched: Vec<_> = vouched.collect();
                assert!(
                    vouched.iter().all(|place| *place == first || *place == second),
                    "{first:?} {second:?}"
                );
                assert!(!vouched.is_empty(), "{first:?} {second:?}");
                let apart = first.0 != second.0 && first.1 != second.1;
                assert_eq!(vouched.len() == 2, apart, "{first:?} {second:?}: {vouched:?}");
            }
        }
    }
}
