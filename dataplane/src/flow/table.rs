//! The flow table: fixed size, set-associative, shared by all workers.
//!
//! A key has two sets that it may be in, taken from independent bits of its hash, so that a table filled to nine
//! tenths still places nearly every flow; a lookup never reads more than two header lines and, for a hit, one
//! entry. Lookups take no claim. An insert claims the key's first set, which makes "is it there? then put it
//! there" one step even when two workers see the first packets of both directions at once.
//!
//! Why one layout for both families: with exact window tracking (32 bytes), counters per direction (32), stamp,
//! control and state (24), an IPv4 entry needs 96 bytes, so it would not fit one cache line either way, and two
//! kinds of sets would cost every lookup a branch on the family.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use super::entry::{Class, Entry, Unavailable, WAYS, generation};
use super::fill::write;
use super::handle::FlowHandle;
use super::hash::{FlowHash, HashKey};
use super::key::{FlowKey, Orientation};
use super::memory::Memory;
use super::set::Set;
use super::stamp::Stamp;
use super::state::State;
use super::sync::{CLAIM_TRIES, Ordering, pause};
use super::tcp::Connection;
use super::view::FlowView;
use crate::clock::Now;
use crate::prefetch::prefetch;
use crate::verdict::{DropReason, Epoch, RuleId, Terms};

/// The live flows of all wires.
#[derive(Debug)]
pub struct FlowTable {
    memory: Memory,
    secret: HashKey,
}

/// A flow as its first packet and the policy describe it.
#[derive(Clone, Copy, Debug)]
pub struct NewFlow {
    /// Who opened it: replies come from the other end.
    pub initiator: Orientation,
    /// Who sent its first packet: the initiator, unless a connection was picked up in the middle.
    pub sender: Orientation,
    /// For TCP what [`Connection::open`] made of the first segment.
    pub connection: Option<Connection>,
    /// The policy that allowed it.
    pub epoch: Epoch,
    /// The rule or default that allowed it; ids from 2^28 on do not fit.
    pub rule: RuleId,
    /// The rule or default that a gate in mode `observe` would have denied it with.
    pub potential: Option<RuleId>,
    /// What else is to be remembered of the decision.
    pub terms: Terms,
    /// Bytes of the first frame.
    pub bytes: u16,
}

/// What [`FlowTable::insert`] did.
#[derive(Debug)]
pub struct Inserted<'t> {
    /// The flow.
    pub handle: FlowHandle<'t>,
    /// Whether it is new. Otherwise another worker inserted it first: nothing was changed, the packet is not
    /// counted, and it must be treated as a hit.
    pub fresh: bool,
    /// The flow that made room.
    pub evicted: Option<Evicted>,
}

/// Where a flow most likely is; any other place only costs time.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    set: u32,
    way: u32,
}

/// A flow that made room for another.
#[derive(Clone, Copy, Debug)]
pub struct Evicted {
    /// Why it was the one to go; never [`Class::Assured`].
    pub class: Class,
    /// What it was, for its record.
    pub view: FlowView,
}

impl FlowTable {
    /// The least and most flows a table can be asked to hold.
    pub const CAPACITY: core::ops::RangeInclusive<usize> = 2 * WAYS..=WAYS << 24;

    /// A table for `capacity` flows, rounded up to a power of two, with a random secret. Takes 192 bytes per flow
    /// at once and never more.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if `capacity` is outside [`FlowTable::CAPACITY`]; otherwise what the kernel
    /// says to the memory or the random bytes.
    pub fn new(capacity: usize) -> io::Result<Self> {
        Self::with_key(capacity, HashKey::random()?)
    }

    /// The same with a given secret, for replays that must be repeatable. Never on a live wire.
    ///
    /// # Errors
    /// As [`FlowTable::new`].
    pub fn with_key(capacity: usize, secret: HashKey) -> io::Result<Self> {
        if !Self::CAPACITY.contains(&capacity) {
            let what = format!(
                "a flow table holds {} to {} flows, not {capacity}",
                Self::CAPACITY.start(),
                Self::CAPACITY.end()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let sets = capacity.div_ceil(WAYS).next_power_of_two();
        Ok(Self { memory: Memory::create(sets, secret.0)?, secret })
    }

    /// Takes over the flows of a predecessor from its [`FlowTable::file`]. The predecessor must not run any more.
    /// Flows that it was writing when it died are given up.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if the file is no flow table of this version.
    pub fn adopt(file: OwnedFd) -> io::Result<Self> {
        let (memory, secret) = Memory::adopt(file)?;
        let table = Self { memory, secret: HashKey(secret) };
        for set in table.sets() {
            set.header.claim.store(0, Ordering::Relaxed);
            for way in Set::ways() {
                let abandoned = set.entry(way).abandon_claim();
                if abandoned || Entry::occupied(set.entry(way).control()) == Some(false) {
                    set.header.tags.set(way, 0);
                }
            }
        }
        Ok(table)
    }

    /// The file behind the table, to hand to a successor process.
    #[must_use]
    pub fn file(&self) -> BorrowedFd<'_> {
        self.memory.file()
    }

    /// How many flows fit.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.set_count() * WAYS
    }

    pub(super) fn set_count(&self) -> usize {
        self.memory.headers().len()
    }

    #[inline(always)]
    pub(super) fn set(&self, index: usize) -> Set<'_> {
        Set::of(&self.memory, index)
    }

    pub(super) fn sets(&self) -> impl Iterator<Item = Set<'_>> + '_ {
        (0..self.set_count()).map(|index| self.set(index))
    }

    /// Hashes a key: once per packet, before [`FlowTable::prefetch`] and [`FlowTable::find`].
    #[inline]
    #[must_use]
    pub fn hash(&self, key: &FlowKey) -> FlowHash {
        self.secret.hash(key)
    }

    /// Starts fetching the header line a lookup reads first. Call it for a whole batch before the first lookup.
    #[inline]
    pub fn prefetch(&self, hash: FlowHash) {
        let [first, _] = self.candidates(hash);
        prefetch(&self.memory.headers()[first]);
    }

    /// The slot that a lookup will most likely compare; starts fetching its entry. Reads the first header line, so call
    /// it for the whole batch after [`FlowTable::prefetch`] has been. If nothing there looks like the flow, starts
    /// fetching the other header line, and [`FlowTable::seek_on`] has the answer. Most flows are in their first set
    /// (`FIRST_SET_FLOWS`), and a line that is not read is not waited for.
    #[inline]
    #[must_use]
    pub fn seek(&self, hash: FlowHash) -> Option<Slot> {
        let [first, second] = self.candidates(hash);
        let headers = self.memory.headers();
        let found = headers[first].tags.matching(tag(hash)).next();
        if found.is_none() {
            prefetch(&headers[second]);
        }
        found.map(|way| self.fetch(first, way))
    }

    /// The same in the flow's second set; `None` if nothing there looks like the flow either. Call it for what
    /// [`FlowTable::seek`] did not find, after it was called for the whole batch.
    #[inline]
    #[must_use]
    pub fn seek_on(&self, hash: FlowHash) -> Option<Slot> {
        let [_, second] = self.candidates(hash);
        let way = self.memory.headers()[second].tags.matching(tag(hash)).next();
        way.map(|way| self.fetch(second, way))
    }

    #[inline(always)]
    fn fetch(&self, set: usize, way: usize) -> Slot {
        let entry = self.set(set).entry(way);
        prefetch(entry);
        prefetch(&entry.peers);
        #[expect(clippy::cast_possible_truncation, reason = "at most 2^24 sets of 8")]
        let slot = Slot { set: set as u32, way: way as u32 };
        slot
    }

    /// As [`FlowTable::find`], looking first where [`FlowTable::seek`] or [`FlowTable::seek_on`] saw the key.
    #[inline]
    #[must_use]
    pub fn find_at(
        &self,
        slot: Option<Slot>,
        key: &FlowKey,
        hash: FlowHash,
        now: Now,
    ) -> Option<FlowHandle<'_>> {
        let seen = slot.and_then(|slot| self.set(slot.set as usize).find(slot.way as usize, &key.words()));
        match seen {
            Some(found) => (!found.is_expired(now.as_millis32())).then_some(found),
            None => self.find(key, hash, now),
        }
    }

    /// The live flow of `key`. A flow whose deadline has passed is not found, swept or not.
    #[inline]
    #[must_use]
    pub fn find(&self, key: &FlowKey, hash: FlowHash, now: Now) -> Option<FlowHandle<'_>> {
        let found = self.find_any(&key.words(), hash);
        found.filter(|found| !found.is_expired(now.as_millis32()))
    }

    /// Puts a flow into the table, making room if needed: an expired flow first, then by [`Class`], within a class
    /// the one that would expire first.
    ///
    /// # Errors
    /// [`DropReason::FlowTableFull`] if all slots hold flows that must not be evicted;
    /// [`DropReason::FlowContended`] if another worker kept the slots busy. Nothing has changed then.
    pub fn insert(
        &self,
        key: &FlowKey,
        hash: FlowHash,
        new: &NewFlow,
        now: Now,
    ) -> Result<Inserted<'_>, DropReason> {
        let words = key.words();
        let sets = self.candidates(hash).map(|set| self.set(set));
        let _first_set = claim_set(sets[0])?;
        // A slot can change under us only by another worker's progress elsewhere, so a few rounds are plenty.
        for _ in 0..2 * WAYS {
            let (set, way) = match self.find_any(&words, hash) {
                Some(expired) if expired.is_expired(now.as_millis32()) => expired.slot(),
                Some(handle) => return Ok(Inserted { handle, fresh: false, evicted: None }),
                None => choose(sets, now.as_millis32())?,
            };
            let entry = set.entry(way);
            let control = entry.control();
            let Some(live) = Entry::occupied(control) else {
                pause();
                continue;
            };
            // Again, now that `control` tells whether anything changes from here on.
            let class = set.class(way, now.as_millis32());
            if live && class == Class::Assured {
                continue;
            }
            let Some(mut claim) = entry.take(control) else { continue };
            let evicted =
                live.then(|| Evicted { class, view: FlowView::copy(set, way, generation(control)) });
            write(set, way, key, &words, new, now);
            set.header.tags.set(way, tag(hash));
            let live = claim.publish();
            drop(claim);
            let handle = FlowHandle::new(set, way, live, new.stamp(), new.state());
            return Ok(Inserted { handle, fresh: true, evicted });
        }
        Err(DropReason::FlowContended)
    }

    /// The flow of a key, expired or not.
    #[inline(always)]
    fn find_any(&self, words: &[u64; 5], hash: FlowHash) -> Option<FlowHandle<'_>> {
        self.candidates(hash).into_iter().find_map(|set| {
            let mut ways = self.memory.headers()[set].tags.matching(tag(hash));
            ways.find_map(|way| self.set(set).find(way, words))
        })
    }

    /// The two sets that a key may be in, the preferred one first.
    #[inline(always)]
    fn candidates(&self, hash: FlowHash) -> [usize; 2] {
        let mask = self.set_count() - 1;
        #[expect(clippy::cast_possible_truncation, reason = "masked to at most 24 bits")]
        let (first, other) = (hash.0 as usize & mask, (hash.0 >> 24) as usize & mask);
        let second = if first == other { first ^ 1 } else { other };
        [first, second & mask]
    }
}

/// 16 bits of the hash that no set index uses; never 0, which means vacant.
const fn tag(hash: FlowHash) -> u16 {
    let tag = (hash.0 >> 48) as u16;
    if tag == 0 { 1 } else { tag }
}

impl<'t> Set<'t> {
    /// The flow of a key, if it is in this slot.
    #[inline(always)]
    fn find(self, way: usize, words: &[u64; 5]) -> Option<FlowHandle<'t>> {
        let read = |entry: &Entry| (entry.stamp.load(Ordering::Relaxed), entry.state.load(Ordering::Relaxed));
        let (live, (stamp, state)) = self.entry(way).holds(words, read)?;
        Some(FlowHandle::new(self, way, live, Stamp::from_bits(stamp), State::from_bits(state)))
    }
}

/// The claim of a set, until dropped.
struct SetClaim<'t>(Set<'t>);

impl Drop for SetClaim<'_> {
    fn drop(&mut self) {
        self.0.header.claim.store(0, Ordering::Release);
    }
}

fn claim_set(set: Set<'_>) -> Result<SetClaim<'_>, Unavailable> {
    for _ in 0..CLAIM_TRIES {
        if set.header.claim.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            return Ok(SetClaim(set));
        }
        pause();
    }
    Err(Unavailable::Busy)
}

/// Flows that a key's first set may hold before the emptier of its two is chosen. With 4 of 8, 99.8 % of the flows of a
/// table filled to a tenth are in their first set, 94 % at three tenths, 85 % at half and 76 % at nine tenths, so that
/// one header line tells where they are; with 0, which is to always choose the emptier set, 79 %, 72 %, 69 % and 68 %.
/// What either loses for want of a slot is the same: nothing at half, 0.8 % against 0.7 % at nine tenths (measured by
/// `tests::sets::most_flows_land_in_their_first_set`, 32,768 sets).
const FIRST_SET_FLOWS: usize = WAYS / 2;

/// The slot to use: a vacant one in the first set while that is half empty, then in the emptier one, or the flow that
/// would be missed least.
fn choose(sets: [Set<'_>; 2], now: u32) -> Result<(Set<'_>, usize), DropReason> {
    let [first, second] = sets.map(|set| set.header.tags.occupied());
    let order = if first <= second || first < FIRST_SET_FLOWS { sets } else { [sets[1], sets[0]] };
    if let Some(vacant) =
        order.into_iter().find_map(|set| set.header.tags.matching(0).next().map(|way| (set, way)))
    {
        return Ok(vacant);
    }
    let slots = sets.into_iter().flat_map(|set| Set::ways().map(move |way| (set, way)));
    let rank = |&(set, way): &(Set<'_>, usize)| {
        let left = set.header.deadlines[way].load(Ordering::Relaxed).wrapping_sub(now);
        (set.class(way, now), left)
    };
    slots
        .filter(|&(set, way)| set.class(way, now) != Class::Assured)
        .min_by_key(rank)
        .ok_or(DropReason::FlowTableFull)
}
