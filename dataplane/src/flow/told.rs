//! What of a flow's counters the control thread was told, so that a flow that lives for long is told of while it does
//! and each of its packets once.

use super::entry::{Entry, Rare, generation};
use super::set::Set;
use super::stamp::Stamp;
use super::state::is_past;
use super::sync::Ordering::Relaxed;
use super::table::FlowTable;
use super::view::{FlowView, SweepCursor};
use crate::clock::Now;

impl Rare {
    /// Of so many packets and bytes, those that were not told.
    pub(super) fn untold(&self, packets: [u64; 2], bytes: [u64; 2]) -> ([u64; 2], [u64; 2]) {
        let told = |words: &[super::sync::AtomicU64; 2], at: usize| words[at].load(Relaxed);
        (
            core::array::from_fn(|at| packets[at].wrapping_sub(told(&self.told_packets, at))),
            core::array::from_fn(|at| bytes[at].wrapping_sub(told(&self.told_bytes, at))),
        )
    }

    /// Nothing was told of the flow that begins here. For the holder of the entry's claim.
    pub(super) fn tell_nothing(&self) {
        self.set_told([0; 2], [0; 2]);
    }

    fn was_told(&self) -> bool {
        self.told_packets.iter().any(|told| told.load(Relaxed) != 0)
    }

    fn set_told(&self, packets: [u64; 2], bytes: [u64; 2]) {
        for at in 0..2 {
            self.told_packets[at].store(packets[at], Relaxed);
            self.told_bytes[at].store(bytes[at], Relaxed);
        }
    }
}

impl FlowTable {
    /// Hands those flows of the next `sets` sets of this worker's share to `tell` that are at least `age` milliseconds
    /// old and had packets since they were told last. `tell` says whether it took the flow: if not, the flow counts as
    /// untold, and the cursor stays with its set until there is room. A flow that another worker is writing is left
    /// for the next round; so are flows that were cut, whose end was told. Returns how many were taken.
    pub fn tell(
        &self,
        cursor: &mut SweepCursor,
        now: Now,
        sets: usize,
        age: u32,
        mut tell: impl FnMut(&FlowView) -> bool,
    ) -> usize {
        let mut count = 0;
        for _ in 0..sets {
            let Some(set) = self.next_set(cursor) else { break };
            for way in Set::ways() {
                match set.tell(way, now.as_millis32(), age, &mut tell) {
                    Some(true) => count += 1,
                    Some(false) => return count,
                    None => {}
                }
            }
            cursor.next += cursor.stride;
        }
        count
    }
}

impl Set<'_> {
    /// Whether a flow was taken, if there is one to tell.
    fn tell(&self, way: usize, now: u32, age: u32, tell: &mut impl FnMut(&FlowView) -> bool) -> Option<bool> {
        let (entry, rare) = (self.entry(way), self.rare(way));
        // One that was told before is old enough, also when its opening lies further back than the clock's half.
        let young = || !is_past(rare.opened.load(Relaxed).wrapping_add(age), now) && !rare.was_told();
        // What is over is left to the sweep, which tells all of it.
        let over = || is_past(self.header.deadlines[way].load(Relaxed), now);
        if self.header.tags.get(way) == 0 || over() || young() {
            return None;
        }
        let control = entry.control();
        if Entry::occupied(control) != Some(true) {
            return None;
        }
        let _claim = entry.claim(generation(control)).ok()?;
        if Stamp::from_bits(entry.stamp.load(Relaxed)).is_cut() {
            return None;
        }
        let view = FlowView::copy(*self, way, generation(control));
        if view.untold_packets == [0; 2] {
            return None;
        }
        let taken = tell(&view);
        if taken {
            rare.set_told(view.packets, view.bytes);
        }
        Some(taken)
    }
}
