//! The published table: what the compiler hands over, checked once, then only read.

use core::fmt;
use std::sync::Arc;

use super::binding::{Behind, Binding, Bindings, Ear, Listening, Owner};
use super::block::{Block, Chunk, Intervals};
use super::class::Class;
use super::decide::{DecisionKey, Decisions};
use super::map::Map;
use super::ranges::Outside;
use super::service::ServiceKey;
use crate::address::{Address, Mac};
use crate::verdict::{Decision, OnRevoke, RuleId};

/// What an address is to policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    class: Class,
    owner: Option<Owner>,
    /// For an address with listeners, one more than its number among the workload's.
    ear: u32,
}

impl Endpoint {
    /// Its class, wherever no listener of its own answers.
    #[must_use]
    pub const fn class(self) -> Class {
        self.class
    }

    /// The workload that owns the address.
    #[must_use]
    pub const fn owner(self) -> Option<Owner> {
        self.owner
    }

    /// Whether a workload owns the address.
    #[must_use]
    pub const fn is_workload(self) -> bool {
        self.owner.is_some()
    }
}

/// One address of a workload.
#[derive(Clone, Debug)]
pub struct End {
    /// The address.
    pub address: Address,
    /// Its class, wherever no listener answers.
    pub class: Class,
    /// The services for which it has another class as a destination; disjoint.
    pub listening: Vec<Listening>,
}

/// Everything a table holds of one workload.
#[derive(Clone, Debug)]
pub struct WorkloadParts {
    /// Where it is.
    pub behind: Behind,
    /// Its MAC addresses; empty if any will do.
    pub macs: Vec<Mac>,
    /// Its addresses.
    pub ends: Vec<End>,
}

/// Everything a table is made of. The compiler fills it; [`PolicyTable::new`] checks it.
#[derive(Clone, Debug, Default)]
pub struct TableParts {
    /// The workloads; an [`Owner`] is an index.
    pub workloads: Vec<WorkloadParts>,
    /// IPv4 space outside workloads: first address and class of each range, from address 0, ascending.
    pub v4_ranges: Vec<(u32, Class)>,
    /// IPv6 space, likewise.
    pub v6_ranges: Vec<(u128, Class)>,
    /// The entries, in any order, keys distinct.
    pub entries: Vec<(DecisionKey, Block)>,
    /// The intervals of the blocks that do not hold them in place.
    pub intervals: Chunk,
    /// EtherTypes beside IP and ARP that pass; sorted.
    pub ether_types: Vec<u16>,
    /// What the rules of hits made with [`Hit::with_revoke`](super::Hit::with_revoke) say; sorted by rule.
    pub revoke: Vec<(RuleId, OnRevoke)>,
    /// How many rule ids there are, named defaults included: every id is below.
    pub rules: u32,
}

/// What of a table changes with one or a few workloads.
#[derive(Clone, Debug, Default)]
pub struct TableChange {
    /// Addresses that no workload owns any more.
    pub remove: Vec<Address>,
    /// Workloads with their index, in place of the one that has it or right after the last.
    pub put: Vec<(u32, WorkloadParts)>,
    /// How many workloads there are then: those from here on are forgotten (their addresses are in `remove`).
    pub workloads: u32,
    /// New entries, keys distinct.
    pub entries: Vec<(DecisionKey, Block)>,
    /// The next chunk of intervals; an empty one is none.
    pub intervals: Chunk,
}

/// Why parts do not make a table: a fault of the compiler, never of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableError {
    /// Two workloads have this address.
    AddressTwice(Address),
    /// Two entries have this key.
    EntryTwice(DecisionKey),
    /// Ranges of a family do not begin at zero or do not ascend.
    Ranges(&'static str),
    /// A workload, interval or rule is named that does not exist, or a range ends before it begins.
    Reference(&'static str),
    /// More workloads or MAC addresses than can be counted.
    TooMany,
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressTwice(address) => write!(f, "address {address} belongs to two workloads"),
            Self::EntryTwice(key) => write!(f, "the table has two entries for {key:?}"),
            Self::Ranges(family) => write!(f, "the {family} ranges are not in order or do not begin at zero"),
            Self::Reference(part) => write!(f, "the table's {part} refer to something that does not exist"),
            Self::TooMany => f.write_str("the table has more workloads or MAC addresses than it can count"),
        }
    }
}

impl core::error::Error for TableError {}

/// A workload address found: shaped so that an empty slot of the map costs no extra byte. If the owner listens, the
/// number of one of its ears stands in the place of the class.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owned {
    class: Class,
    owner: Owner,
}

/// The compiled policy with its inventory. Read-only; shared by all workers; holds no names. Tables of successive
/// epochs share what does not differ between them.
#[derive(Clone, Debug)]
pub struct PolicyTable {
    pub(super) v4: Map<u32, Owned>,
    pub(super) v6: Map<(u64, u64), Owned>,
    outside: Arc<Outside>,
    pub(super) decisions: Decisions,
    pub(super) bindings: Bindings,
    ether_types: Arc<[u16]>,
    rules: u32,
}

pub(super) fn halves(bits: u128) -> (u64, u64) {
    #[expect(clippy::cast_possible_truncation, reason = "split on purpose")]
    let low = bits as u64;
    ((bits >> 64) as u64, low)
}

/// The addresses of some workloads, as the maps hold them.
#[derive(Default)]
pub(super) struct Addresses {
    pub(super) v4: Vec<(u32, Owned)>,
    pub(super) v6: Vec<((u64, u64), Owned)>,
}

impl Addresses {
    /// Adds those of the workload at `index`, and returns its ears.
    pub(super) fn add(&mut self, index: u32, parts: &WorkloadParts) -> Result<Vec<Ear>, TableError> {
        let owner = Owner::new(index).ok_or(TableError::TooMany)?;
        let mut ears = Vec::new();
        for End { address, class, listening } in &parts.ends {
            let owned = if listening.is_empty() {
                Owned { class: *class, owner }
            } else {
                let number = u32::try_from(ears.len()).map_err(|_| TableError::TooMany)?;
                ears.push(Ear { class: *class, listening: listening.as_slice().into() });
                Owned { class: Class::from_number(number), owner: owner.with_listeners() }
            };
            match address.as_v4() {
                Some(bits) => self.v4.push((bits, owned)),
                None => self.v6.push((halves(address.bits()), owned)),
            }
        }
        Ok(ears)
    }
}

impl PolicyTable {
    /// Checks every reference, so that no lookup can fail later.
    ///
    /// # Errors
    /// What is wrong with the parts.
    pub fn new(parts: TableParts) -> Result<Self, TableError> {
        let rules = parts.rules;
        known("rules", RuleId::FIRST.0 <= rules)?;
        known("intervals", parts.intervals.is_sound(rules))?;
        known("revocations", parts.revoke.is_sorted_by(|a, b| a.0 < b.0))?;
        known("ether types", parts.ether_types.is_sorted())?;
        let intervals = Intervals::new(parts.intervals);
        known("entries", parts.entries.iter().all(|(_, block)| intervals.has(block, rules)))?;

        let mut addresses = Addresses::default();
        let mut ears = Vec::with_capacity(parts.workloads.len());
        for (index, workload) in (0..).zip(&parts.workloads) {
            ears.push(addresses.add(index, workload)?);
        }
        let bound: Vec<_> =
            parts.workloads.iter().zip(&ears).map(|(w, ears)| (w.behind, &*w.macs, &**ears)).collect();
        let twice = |key: (u64, u64)| Address::from_bits(u128::from(key.0) << 64 | u128::from(key.1));
        Ok(Self {
            v4: Map::new(&addresses.v4)
                .map_err(|key| TableError::AddressTwice(Address::v4(key.to_be_bytes())))?,
            v6: Map::new(&addresses.v6).map_err(|key| TableError::AddressTwice(twice(key)))?,
            outside: Arc::new(Outside::new(&parts.v4_ranges, &parts.v6_ranges)?),
            decisions: Decisions::new(&parts.entries, intervals, parts.revoke)
                .map_err(TableError::EntryTwice)?,
            bindings: Bindings::new(&bound).ok_or(TableError::TooMany)?,
            ether_types: parts.ether_types.into(),
            rules,
        })
    }

    /// What `address` is: a hash lookup, and for what no workload owns a search among the network ranges.
    #[inline]
    #[must_use]
    pub fn resolve(&self, address: Address) -> Endpoint {
        let owned = match address.as_v4() {
            Some(bits) => self.v4.get(bits),
            None => self.v6.get(halves(address.bits())),
        };
        match owned {
            Some(Owned { class, owner }) if !owner.listens() => {
                Endpoint { class, owner: Some(owner), ear: 0 }
            }
            Some(owned) => self.listener(owned),
            None => Endpoint { class: self.outside.find(address), owner: None, ear: 0 },
        }
    }

    #[cold]
    fn listener(&self, Owned { class, owner }: Owned) -> Endpoint {
        let (number, owner) = (class.number(), owner.without_listeners());
        // Every number in the map is that of an ear: see `Addresses::add`.
        let class = self.bindings.ear(owner, number).map_or(class, |ear| ear.class);
        Endpoint { class, owner: Some(owner), ear: number + 1 }
    }

    /// The class of a destination for `service`.
    #[inline]
    fn answering(&self, destination: Endpoint, service: ServiceKey) -> Class {
        let ear = match destination.owner {
            Some(owner) if destination.ear > 0 => self.bindings.ear(owner, destination.ear - 1),
            _ => None,
        };
        let answers = |one: &&Listening| one.first <= service.value() && service.value() <= one.last;
        ear.and_then(|ear| ear.listening.iter().find(answers)).map_or(destination.class, |one| one.class)
    }

    /// The decision on a new flow from `source` to `destination`; both must come from this very table.
    #[inline]
    #[must_use]
    pub fn decide(&self, source: Endpoint, destination: Endpoint, service: ServiceKey) -> Decision {
        self.decisions.decide(&source.class, &self.answering(destination, service), service)
    }

    /// Appends every service key at which the decision on a flow between these two may differ from that on the key
    /// before, 0 first, else in no order and possibly repeated: between two of them nothing changes. For whoever
    /// looks at all services of a pair; allocates, so not for the packet path.
    pub fn cuts(&self, source: Endpoint, destination: Endpoint, into: &mut Vec<u32>) {
        into.push(0);
        self.decisions.cuts(&source.class, &destination.class, into);
        let owner = destination.owner.filter(|_| destination.ear > 0);
        let Some(ear) = owner.and_then(|owner| self.bindings.ear(owner, destination.ear - 1)) else { return };
        for one in ear.listening.iter() {
            into.extend([one.first, one.last + 1]);
            self.decisions.cuts(&source.class, &one.class, into);
        }
    }

    /// Where the workload of `endpoint` is and which MAC addresses it has; [`Binding::NONE`] for no workload.
    #[inline]
    #[must_use]
    pub fn binding(&self, endpoint: Endpoint) -> Binding<'_> {
        endpoint.owner.map_or(Binding::NONE, |owner| self.bindings.get(owner))
    }

    /// Whether frames of this EtherType pass; asked only for what is neither IP nor ARP.
    #[inline]
    #[must_use]
    pub fn passes_ether_type(&self, ether_type: u16) -> bool {
        self.ether_types.binary_search(&ether_type).is_ok()
    }

    /// How many rule ids there are, named defaults included.
    #[must_use]
    pub const fn rules(&self) -> u32 {
        self.rules
    }

    /// How many ranges the address space outside workloads is cut into, both families.
    #[must_use]
    pub fn ranges(&self) -> usize {
        self.outside.len()
    }

    /// The number of the chunk that the intervals of the next change will be.
    #[must_use]
    pub const fn interval_chunks(&self) -> usize {
        self.decisions.intervals().chunks()
    }

    /// The size on the heap, bytes, of what this table refers to; part of it may be shared with others.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.v4.bytes()
            + self.v6.bytes()
            + self.outside.bytes()
            + self.decisions.bytes()
            + self.bindings.bytes()
            + size_of_val::<[u16]>(&self.ether_types)
    }

    /// How many workloads have a binding.
    #[must_use]
    pub const fn workloads(&self) -> usize {
        self.bindings.len()
    }
}

pub(super) const fn known(what: &'static str, holds: bool) -> Result<(), TableError> {
    if holds { Ok(()) } else { Err(TableError::Reference(what)) }
}
