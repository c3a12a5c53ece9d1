//! The published table: what the compiler hands over, checked once, then only read.

use core::fmt;

use super::binding::{Behind, Binding, Bindings, Owner};
use super::class::Class;
use super::decide::{Block, DecisionKey, Decisions, Interval};
use super::map::Map;
use super::ranges::{IndexedRanges, Ranges};
use super::service::ServiceKey;
use crate::address::{Address, Mac};
use crate::verdict::{Decision, OnRevoke, RuleId};

/// What an address is to policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    class: u32,
    owner: Option<Owner>,
}

impl Endpoint {
    /// The index of its class: addresses of one class cannot be told apart by this policy.
    #[must_use]
    pub const fn class(self) -> u32 {
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

/// Everything a table is made of. The compiler fills it; [`PolicyTable::new`] checks it.
#[derive(Clone, Debug, Default)]
pub struct TableParts {
    /// The classes; the first is that of addresses which are in no network and of no workload.
    pub classes: Vec<Class>,
    /// Each workload address with its class and its workload's index.
    pub addresses: Vec<(Address, u32, u32)>,
    /// IPv4 space outside workloads: first address and class of each range, from address 0, ascending.
    pub v4_ranges: Vec<(u32, u32)>,
    /// IPv6 space, likewise.
    pub v6_ranges: Vec<(u128, u32)>,
    /// The entries, in any order, keys distinct.
    pub entries: Vec<(DecisionKey, Block)>,
    /// The intervals of all blocks.
    pub intervals: Vec<Interval>,
    /// Where each workload is and its MAC addresses.
    pub bindings: Vec<(Behind, Vec<Mac>)>,
    /// EtherTypes beside IP and ARP that pass; sorted.
    pub ether_types: Vec<u16>,
    /// What the rules of hits made with [`Hit::with_revoke`](super::Hit::with_revoke) say; sorted by rule.
    pub revoke: Vec<(RuleId, OnRevoke)>,
    /// How many rule ids there are, named defaults included: every id is below.
    pub rules: u32,
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
    /// A class, workload, interval or rule is named that does not exist, or a range ends before it begins.
    Reference(&'static str),
    /// More MAC addresses than 32 bits can count.
    TooManyMacs,
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressTwice(address) => write!(f, "address {address} belongs to two workloads"),
            Self::EntryTwice(key) => write!(f, "the table has two entries for {key:?}"),
            Self::Ranges(family) => write!(f, "the {family} ranges are not in order or do not begin at zero"),
            Self::Reference(part) => write!(f, "the table's {part} refer to something that does not exist"),
            Self::TooManyMacs => f.write_str("the table has more MAC addresses than 32 bits can count"),
        }
    }
}

impl core::error::Error for TableError {}

/// A workload address found: shaped so that an empty slot of the map costs no extra byte.
#[derive(Clone, Copy, Debug)]
struct Owned {
    class: u32,
    owner: Owner,
}

/// The compiled policy with its inventory. Read-only; shared by all workers; holds no names.
#[derive(Debug)]
pub struct PolicyTable {
    v4: Map<u32, Owned>,
    v6: Map<(u64, u64), Owned>,
    v4_ranges: IndexedRanges,
    v6_ranges: Ranges<u128>,
    decisions: Decisions,
    bindings: Bindings,
    ether_types: Box<[u16]>,
    rules: u32,
}

fn halves(bits: u128) -> (u64, u64) {
    #[expect(clippy::cast_possible_truncation, reason = "split on purpose")]
    let low = bits as u64;
    ((bits >> 64) as u64, low)
}

impl PolicyTable {
    /// Checks every reference, so that no lookup can fail later.
    ///
    /// # Errors
    /// What is wrong with the parts.
    pub fn new(parts: TableParts) -> Result<Self, TableError> {
        check(&parts)?;
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (address, class, workload) in parts.addresses {
            let owner = Owner::new(workload).ok_or(TableError::Reference("addresses"))?;
            let owned = Owned { class, owner };
            match address.as_v4() {
                Some(bits) => v4.push((bits, owned)),
                None => v6.push((halves(address.bits()), owned)),
            }
        }
        let twice = |key: (u64, u64)| Address::from_bits(u128::from(key.0) << 64 | u128::from(key.1));
        Ok(Self {
            v4: Map::new(&v4).map_err(|key| TableError::AddressTwice(Address::v4(key.to_be_bytes())))?,
            v6: Map::new(&v6).map_err(|key| TableError::AddressTwice(twice(key)))?,
            v4_ranges: IndexedRanges::new(&parts.v4_ranges).ok_or(TableError::Ranges("IPv4"))?,
            v6_ranges: Ranges::new(&parts.v6_ranges).ok_or(TableError::Ranges("IPv6"))?,
            decisions: Decisions::new(parts.classes, &parts.entries, parts.intervals, parts.revoke)
                .map_err(TableError::EntryTwice)?,
            bindings: Bindings::new(parts.bindings).ok_or(TableError::TooManyMacs)?,
            ether_types: parts.ether_types.into(),
            rules: parts.rules,
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
        if let Some(Owned { class, owner }) = owned {
            return Endpoint { class, owner: Some(owner) };
        }
        let class = match address.as_v4() {
            Some(bits) => self.v4_ranges.find(bits),
            None => self.v6_ranges.find(address.bits()),
        };
        Endpoint { class, owner: None }
    }

    /// The decision on a new flow from `source` to `destination`; both must come from this very table.
    #[inline]
    #[must_use]
    pub fn decide(&self, source: Endpoint, destination: Endpoint, service: ServiceKey) -> Decision {
        self.decisions.decide(source.class, destination.class, service)
    }

    /// Appends every service key at which the decision on a flow between these two may differ from that on the key
    /// before, 0 first, else in no order and possibly repeated: between two of them nothing changes. For whoever
    /// looks at all services of a pair; allocates, so not for the packet path.
    pub fn cuts(&self, source: Endpoint, destination: Endpoint, into: &mut Vec<u32>) {
        self.decisions.cuts(source.class, destination.class, into);
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
        self.v4_ranges.len() + self.v6_ranges.len()
    }

    /// The size on the heap, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.v4.bytes()
            + self.v6.bytes()
            + self.v4_ranges.bytes()
            + self.v6_ranges.bytes()
            + self.decisions.bytes()
            + self.bindings.bytes()
            + size_of_val(&*self.ether_types)
    }

    /// How many workloads have a binding.
    #[must_use]
    pub fn workloads(&self) -> usize {
        self.bindings.len()
    }
}

fn check(parts: &TableParts) -> Result<(), TableError> {
    let class = |class: u32| (class as usize) < parts.classes.len();
    let workload = |workload: u32| (workload as usize) < parts.bindings.len();
    let known = |what, holds: bool| if holds { Ok(()) } else { Err(TableError::Reference(what)) };
    known("classes", !parts.classes.is_empty())?;
    known("addresses", parts.addresses.iter().all(|&(_, c, w)| class(c) && workload(w)))?;
    known("IPv4 ranges", parts.v4_ranges.iter().all(|&(_, c)| class(c)))?;
    known("IPv6 ranges", parts.v6_ranges.iter().all(|&(_, c)| class(c)))?;
    known("rules", RuleId::FIRST.0 <= parts.rules)?;
    let rule = |hit: super::Hit| hit == super::Hit::NONE || hit.rule().0 < parts.rules;
    known(
        "intervals",
        parts.intervals.iter().all(|i| i.first <= i.last && rule(i.egress) && rule(i.ingress)),
    )?;
    known("revocations", parts.revoke.is_sorted_by(|a, b| a.0 < b.0))?;
    known("ether types", parts.ether_types.is_sorted())?;
    known("entries", parts.entries.iter().all(|(_, block)| inside(&parts.intervals, *block)))
}

fn inside(intervals: &[Interval], block: Block) -> bool {
    let (start, len) = (block.start as usize, block.len.get() as usize);
    start.checked_add(len).is_some_and(|end| end <= intervals.len())
}
