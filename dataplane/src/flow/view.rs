//! Reading and ending flows in bulk: snapshots for the control thread, expiry for the workers.

use super::entry::{Class, Entry, NO_RULE, generation};
use super::handshake::{self, Handshake, RoundTrip};
use super::key::{FlowKey, Orientation};
use super::set::Set;
use super::stamp::Stamp;
use super::state::{State, is_past};
use super::sync::Ordering::Relaxed;
use super::table::FlowTable;
use super::tcp::Phase;
use crate::clock::Now;
use crate::verdict::{Epoch, RuleId, Terms};

/// A copy of one flow, all of one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowView {
    /// Which flow.
    pub key: FlowKey,
    /// Tells apart flows that had the same key one after the other, as long as the table lives.
    pub generation: u32,
    /// Who opened it.
    pub initiator: Orientation,
    /// The policy that decided it last.
    pub epoch: Epoch,
    /// The rule or default that allowed it, or that cut it.
    pub rule: RuleId,
    /// The rule or default that would deny it if its endpoint were enforced.
    pub potential: Option<RuleId>,
    /// What it remembers of the decision that allowed it.
    pub terms: Terms,
    /// Both directions are dead.
    pub cut: bool,
    /// The other end has answered.
    pub replied: bool,
    /// For TCP.
    pub phase: Option<Phase>,
    /// For TCP: how it began.
    pub handshake: Option<Handshake>,
    /// For TCP: how long its handshake took.
    pub round_trip: Option<RoundTrip>,
    /// Frames per direction, by [`Orientation::index`].
    pub packets: [u64; 2],
    /// Bytes of frames per direction.
    pub bytes: [u64; 2],
    /// Of `packets`, those that [`FlowTable::tell`] has not told yet.
    pub untold_packets: [u64; 2],
    /// Of `bytes`, likewise.
    pub untold_bytes: [u64; 2],
    /// When it was opened: [`Now::as_millis32`].
    pub opened: u32,
    /// When it expires unless a packet comes: [`Now::as_millis32`].
    pub deadline: u32,
    /// When its last packet passed, to half a second: [`Now::as_millis32`].
    pub last_seen: u32,
}

impl FlowView {
    /// The flow in a slot, or `None` if it is vacant or kept busy.
    fn read(set: Set<'_>, way: usize) -> Option<Self> {
        let (generation, view) = set.entry(way).snapshot(|_| Self::copy(set, way, 0)).ok()??;
        Some(Self { generation, ..view })
    }

    /// The words of a slot as they are now: of one instant only if nobody writes them meanwhile.
    pub(super) fn copy(set: Set<'_>, way: usize, generation: u32) -> Self {
        let entry = set.entry(way);
        let words = core::array::from_fn(|at| entry.key[at].load(Relaxed));
        let stamp = Stamp::from_bits(entry.stamp.load(Relaxed));
        let state = State::from_bits(entry.state.load(Relaxed));
        let potential = entry.potential.load(Relaxed);
        let deadline = set.header.deadlines[way].load(Relaxed);
        let rare = set.rare(way);
        let opened = rare.opened.load(Relaxed);
        let packets = core::array::from_fn(|at| entry.packets[at].load(Relaxed));
        let bytes = core::array::from_fn(|at| entry.bytes[at].load(Relaxed));
        let (untold_packets, untold_bytes) = rare.untold(packets, bytes);
        let refreshed = deadline.wrapping_sub(state.timeout(FlowKey::protocol_of(words[4])));
        Self {
            key: FlowKey::from_words(words),
            generation,
            initiator: state.initiator(),
            epoch: stamp.epoch(),
            rule: stamp.rule(),
            potential: (potential != NO_RULE).then_some(RuleId(potential)),
            terms: rare.terms(),
            cut: stamp.is_cut(),
            replied: state.replied(),
            phase: state.phase(),
            handshake: handshake::of(state),
            round_trip: handshake::round_trip(state, rare),
            packets,
            bytes,
            untold_packets,
            untold_bytes,
            opened,
            deadline,
            // A deadline lags, and a state that changed since has another time-out: never before the opening.
            last_seen: if is_past(refreshed, opened) { opened } else { refreshed },
        }
    }
}

/// Where a worker's expiry stands. The workers divide the sets between them.
#[derive(Clone, Copy, Debug)]
pub struct SweepCursor {
    pub(super) next: usize,
    first: usize,
    pub(super) stride: usize,
}

impl SweepCursor {
    /// The share of worker `worker` of `workers`.
    #[must_use]
    pub fn new(worker: usize, workers: usize) -> Self {
        Self { next: worker, first: worker, stride: workers.max(1) }
    }
}

impl FlowTable {
    /// Ends the expired flows of the next `sets` sets of this worker's share and hands each to `ended`; returns
    /// how many. One header line is read per set. A flow that another worker is writing is left for the next round.
    pub fn sweep(
        &self,
        cursor: &mut SweepCursor,
        now: Now,
        sets: usize,
        mut ended: impl FnMut(FlowView),
    ) -> usize {
        let mut count = 0;
        for _ in 0..sets {
            let Some(set) = self.next_set(cursor) else { break };
            cursor.next += cursor.stride;
            for way in Set::ways() {
                if let Some(view) = set.expire(way, now.as_millis32()) {
                    count += 1;
                    ended(view);
                }
            }
        }
        count
    }

    /// How many flows live. Reads the header of every set and nothing else, without stopping anybody.
    #[must_use]
    pub fn live(&self, now: Now) -> usize {
        let now = now.as_millis32();
        let lives = |set: &Set<'_>, way: usize| {
            set.header.tags.get(way) != 0 && set.class(way, now) != Class::Expired
        };
        self.sets().map(|set| Set::ways().filter(|way| lives(&set, *way)).count()).sum()
    }

    /// The set that `cursor` stands at; `None` if there is none in its share.
    pub(super) fn next_set(&self, cursor: &mut SweepCursor) -> Option<Set<'_>> {
        if cursor.next >= self.set_count() {
            cursor.next = cursor.first;
        }
        (cursor.next < self.set_count()).then(|| self.set(cursor.next))
    }

    /// How many sets there are for a worker to sweep.
    #[must_use]
    pub fn share(&self, cursor: &SweepCursor) -> usize {
        self.set_count().div_ceil(cursor.stride)
    }

    /// Copies of all live flows, one slot after the other, without stopping anybody: flows that come or go
    /// meanwhile may or may not be among them. Lazy; the whole walk reads each set once.
    pub fn views(&self, now: Now) -> impl Iterator<Item = FlowView> + '_ {
        let now = now.as_millis32();
        let slots = self.sets().flat_map(|set| Set::ways().map(move |way| (set, way)));
        slots
            .filter(move |(set, way)| {
                set.header.tags.get(*way) != 0 && set.class(*way, now) != Class::Expired
            })
            .filter_map(|(set, way)| FlowView::read(set, way))
    }
}

impl Set<'_> {
    fn expire(&self, way: usize, now: u32) -> Option<FlowView> {
        let expired = || is_past(self.header.deadlines[way].load(Relaxed), now);
        if self.header.tags.get(way) == 0 || !expired() {
            return None;
        }
        let control = self.entry(way).control();
        // Again, now that `control` tells whether anything changes from here on.
        if Entry::occupied(control) != Some(true) || !expired() {
            return None;
        }
        let _vacated = self.entry(way).take(control)?;
        self.header.tags.set(way, 0);
        Some(FlowView::copy(*self, way, generation(control)))
    }
}
