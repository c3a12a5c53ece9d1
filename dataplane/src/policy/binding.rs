//! What anti-spoofing knows of a workload: where it is and which Ethernet addresses it has.

use core::num::NonZeroU32;
use std::sync::Arc;

use super::class::Class;
use crate::address::Mac;
use crate::verdict::WireId;

/// A workload of the table: its index in the policy the table was compiled from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner(NonZeroU32);

/// Marks the owner of an address whose class depends on the service.
const LISTENS: u32 = 1 << 31;

impl Owner {
    /// How many workloads can be told apart.
    pub const LIMIT: u32 = LISTENS - 1;

    /// The workload at `index`; `None` from [`Owner::LIMIT`] on.
    #[must_use]
    pub const fn new(index: u32) -> Option<Self> {
        match NonZeroU32::new(index.wrapping_add(1)) {
            Some(held) if index < Self::LIMIT => Some(Self(held)),
            _ => None,
        }
    }

    pub(super) const fn with_listeners(self) -> Self {
        Self(self.0.saturating_add(LISTENS))
    }

    pub(super) const fn listens(self) -> bool {
        self.0.get() >= LISTENS
    }

    pub(super) const fn without_listeners(self) -> Self {
        match NonZeroU32::new(self.0.get() & !LISTENS) {
            Some(held) => Self(held),
            None => self,
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

/// What a destination is for some of its services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// First service key.
    pub first: u32,
    /// Last service key, not below `first`.
    pub last: u32,
    /// Its class as a destination of these.
    pub class: Class,
}

/// One address of a workload that has listeners.
#[derive(Clone, Debug)]
pub(super) struct Ear {
    /// Its class wherever no listener answers.
    pub(super) class: Class,
    pub(super) listening: Arc<[Listening]>,
}

/// What is kept of one workload.
#[derive(Clone, Copy, Debug)]
struct Record {
    behind: Behind,
    macs: (u32, u32),
    ears: (u32, u32),
}

/// Workloads in order, in one piece that tables of different epochs share.
#[derive(Clone, Debug)]
struct Shelf {
    records: Arc<[Record]>,
    macs: Arc<[Mac]>,
    ears: Arc<[Ear]>,
}

/// What goes into a shelf for one workload.
pub(super) type Bound<'a> = (Behind, &'a [Mac], &'a [Ear]);

impl Shelf {
    /// `None` for more MAC addresses than 32 bits can count.
    fn new(of: &[Bound<'_>]) -> Option<Self> {
        let (mut records, mut macs, mut ears) = (Vec::with_capacity(of.len()), Vec::new(), Vec::new());
        for (behind, own_macs, own_ears) in of {
            let start = (u32::try_from(macs.len()).ok()?, u32::try_from(ears.len()).ok()?);
            macs.extend_from_slice(own_macs);
            ears.extend_from_slice(own_ears);
            records.push(Record {
                behind: *behind,
                macs: (start.0, u32::try_from(macs.len()).ok()?),
                ears: (start.1, u32::try_from(ears.len()).ok()?),
            });
        }
        Some(Self { records: records.into(), macs: macs.into(), ears: ears.into() })
    }

    fn get(&self, at: usize) -> Option<Bound<'_>> {
        let Record { behind, macs, ears } = *self.records.get(at)?;
        let macs = self.macs.get(macs.0 as usize..macs.1 as usize)?;
        Some((behind, macs, self.ears.get(ears.0 as usize..ears.1 as usize)?))
    }
}

/// Workloads per shelf.
const SHELF: usize = 64;

/// The bindings and listeners of all workloads.
#[derive(Clone, Debug)]
pub(super) struct Bindings {
    shelves: Vec<Shelf>,
    len: usize,
}

impl Bindings {
    /// In workload order; `None` for more MAC addresses than 32 bits can count.
    pub(super) fn new(of: &[Bound<'_>]) -> Option<Self> {
        let shelves = of.chunks(SHELF).map(Shelf::new).collect::<Option<Vec<_>>>()?;
        Some(Self { shelves, len: of.len() })
    }

    /// Puts workloads, each in the place of the one with its index or right after the last, then forgets those from
    /// `len` on. `None` if that leaves a gap, or too many MAC addresses.
    pub(super) fn change(&mut self, put: &[(u32, Bound<'_>)], len: usize) -> Option<()> {
        for (index, bound) in put {
            let (shelf, at) = (*index as usize / SHELF, *index as usize % SHELF);
            let mut held: Vec<Bound<'_>> = match self.shelves.get(shelf) {
                Some(shelf) => (0..shelf.records.len()).filter_map(|at| shelf.get(at)).collect(),
                None => Vec::new(),
            };
            let is_next = at == held.len() && shelf <= self.shelves.len();
            match held.get_mut(at) {
                Some(place) => *place = *bound,
                None if is_next => held.push(*bound),
                None => return None,
            }
            let made = Shelf::new(&held)?;
            match self.shelves.get_mut(shelf) {
                Some(place) => *place = made,
                None => self.shelves.push(made),
            }
        }
        self.shelves.truncate(len.div_ceil(SHELF));
        let kept = len % SHELF;
        if let Some(last) = self.shelves.last_mut().filter(|last| kept > 0 && last.records.len() > kept) {
            let held: Vec<Bound<'_>> = (0..kept).filter_map(|at| last.get(at)).collect();
            *last = Shelf::new(&held)?;
        }
        self.len =
            self.shelves.last().map_or(0, |last| (self.shelves.len() - 1) * SHELF + last.records.len());
        (self.len == len).then_some(())
    }

    fn bound(&self, owner: Owner) -> Option<Bound<'_>> {
        let at = owner.index() as usize;
        self.shelves.get(at / SHELF)?.get(at % SHELF)
    }

    pub(super) fn get(&self, owner: Owner) -> Binding<'_> {
        self.bound(owner).map_or(Binding::NONE, |(behind, macs, _)| Binding { behind, macs })
    }

    /// One of the addresses of a workload with listeners.
    pub(super) fn ear(&self, owner: Owner, number: u32) -> Option<&Ear> {
        self.bound(owner)?.2.get(number as usize)
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn bytes(&self) -> usize {
        let shelf = |shelf: &Shelf| {
            let ears = shelf.ears.iter().map(|ear| size_of_val::<[Listening]>(&ear.listening) + 16);
            size_of::<Shelf>()
                + size_of_val::<[Record]>(&shelf.records)
                + size_of_val::<[Mac]>(&shelf.macs)
                + size_of_val::<[Ear]>(&shelf.ears)
                + ears.sum::<usize>()
                + 48
        };
        self.shelves.iter().map(shelf).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::{Behind, Bindings, Bound, Owner};
    use crate::verdict::WireId;

    #[test]
    fn who_may_send_on_a_wire() {
        let (mine, other) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let bindings = Bindings::new(&[
            (Behind::NotTold, &[], &[]),
            (Behind::NotTold, &[mine], &[]),
            (Behind::Wire(WireId(1)), &[], &[]),
            (Behind::Elsewhere, &[mine], &[]),
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

    #[test]
    fn bindings_grow_shrink_and_change_in_place() {
        let mac = |n: usize| [[2, 0, 0, 0, u8::try_from(n >> 8).unwrap(), u8::try_from(n & 255).unwrap()]];
        let macs: Vec<_> = (0..300).map(mac).collect();
        let of: Vec<Bound<'_>> = macs.iter().map(|mac| (Behind::NotTold, &mac[..], &[][..])).collect();
        let mut bindings = Bindings::new(&of[..100]).unwrap();
        let mut model: Vec<usize> = (0..100).collect();
        for (name, put, len) in [
            ("one more", vec![(100, 200)], 101),
            ("a change", vec![(3, 201), (64, 202)], 101),
            ("the last moves to the front", vec![(0, 200)], 100),
            ("two shelves less", vec![], 30),
            ("and back", (30..130).map(|n| (n, n + 100)).collect(), 130),
            ("to a full shelf", vec![], 128),
            ("nothing", vec![], 0),
        ] {
            let bound: Vec<_> =
                put.iter().map(|&(at, n): &(usize, usize)| (u32::try_from(at).unwrap(), of[n])).collect();
            bindings.change(&bound, len).expect(name);
            for (at, n) in put {
                model.resize(model.len().max(at + 1), 0);
                model[at] = n;
            }
            model.truncate(len);
            assert_eq!(bindings.len(), model.len(), "{name}");
            for (at, n) in model.iter().enumerate() {
                let owner = Owner::new(u32::try_from(at).unwrap()).unwrap();
                assert_eq!(bindings.get(owner).macs, macs[*n], "{name}, {at}");
            }
        }
        assert_eq!(bindings.change(&[(1, of[0])], 2), None, "a gap");
    }
}
