//! What anti-spoofing knows of a workload: where it is and which Ethernet addresses it has.

use core::num::NonZeroU32;

use crate::address::Mac;
use crate::verdict::WireId;

/// A workload of the table: its index in the policy the table was compiled from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner(NonZeroU32);

impl Owner {
    /// The workload at `index`; `None` for `u32::MAX`, which cannot be held.
    #[must_use]
    pub const fn new(index: u32) -> Option<Self> {
        match NonZeroU32::new(index.wrapping_add(1)) {
            Some(held) => Some(Self(held)),
            None => None,
        }
    }

    /// The workload's index.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0.get() - 1
    }
}

/// Where a workload is, as far as the policy tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// The policy does not say: it may be behind any wire.
    NotTold,
    /// Behind this wire.
    Wire(WireId),
    /// Behind a wire that this process does not serve.
    Elsewhere,
}

/// Where a workload is and what its frames look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding<'a> {
    /// The wire it is behind.
    pub behind: Behind,
    /// Its Ethernet addresses; empty when the policy gives none, and then any will do.
    pub macs: &'a [Mac],
}

impl Binding<'_> {
    /// Of an endpoint that is no workload.
    pub const NONE: Self = Self { behind: Behind::NotTold, macs: &[] };

    /// Whether a frame of the workload may come in on the inside of `wire` with the source `mac`.
    #[must_use]
    pub fn admits(&self, wire: WireId, mac: Mac) -> bool {
        self.is_behind(wire) && (self.macs.is_empty() || self.macs.contains(&mac))
    }

    /// Whether the workload may be behind `wire`: told so, or not told at all.
    #[must_use]
    pub fn is_behind(&self, wire: WireId) -> bool {
        match self.behind {
            Behind::NotTold => true,
            Behind::Wire(told) => told == wire,
            Behind::Elsewhere => false,
        }
    }
}

/// The bindings of all workloads, MAC addresses in one array.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    workloads: Vec<(Behind, u32, u32)>,
    macs: Vec<Mac>,
}

impl Bindings {
    /// In workload order. Only the first `u32::MAX` MAC addresses can be held; `None` beyond that.
    pub(super) fn new(of: Vec<(Behind, Vec<Mac>)>) -> Option<Self> {
        let mut bindings = Self { workloads: Vec::with_capacity(of.len()), macs: Vec::new() };
        for (behind, macs) in of {
            let first = u32::try_from(bindings.macs.len()).ok()?;
            bindings.macs.extend(macs);
            bindings.workloads.push((behind, first, u32::try_from(bindings.macs.len()).ok()?));
        }
        Some(bindings)
    }

    pub(super) fn get(&self, owner: Owner) -> Binding<'_> {
        let Some(&(behind, first, end)) = self.workloads.get(owner.index() as usize) else {
            return Binding::NONE;
        };
        Binding { behind, macs: self.macs.get(first as usize..end as usize).unwrap_or_default() }
    }

    pub(super) fn len(&self) -> usize {
        self.workloads.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.workloads.len() * size_of::<(Behind, u32, u32)>() + self.macs.len() * size_of::<Mac>()
    }
}

#[cfg(test)]
mod tests {
    use super::{Behind, Bindings, Owner};
    use crate::verdict::WireId;

    #[test]
    fn who_may_send_on_a_wire() {
        let (mine, other) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let bindings = Bindings::new(vec![
            (Behind::NotTold, vec![]),
            (Behind::NotTold, vec![mine]),
            (Behind::Wire(WireId(1)), vec![]),
            (Behind::Elsewhere, vec![mine]),
        ])
        .unwrap();
        for (name, workload, wire, mac, expected) in [
            ("nothing told admits all", 0, 7, other, true),
            ("own mac", 1, 7, mine, true),
            ("another's mac", 1, 7, other, false),
            ("own wire", 2, 1, other, true),
            ("another wire", 2, 0, other, false),
            ("a wire that is not here", 3, 0, mine, false),
            ("no such workload binds nothing", 9, 0, mine, true),
        ] {
            let binding = bindings.get(Owner::new(workload).unwrap());
            assert_eq!(binding.admits(WireId(wire), mac), expected, "{name}");
        }
        assert_eq!(Owner::new(u32::MAX), None);
    }
}
