//! When connections must be looked at next: a wheel of lists, so that setting, moving and taking a time costs the same
//! for one connection as for a million.
//!
//! A connection has one time. Whoever looks at it computes what is really due and sets the next one, so that the
//! moments that move with every byte (idle, stalled) cost nothing when they move.

/// Width of a slot: 2^6 = 64 ms.
const SHIFT: u32 = 6;
const SLOTS: u32 = 1024;
/// The farthest that a time is from now, milliseconds: what is later is looked at then and set again.
const FARTHEST: u32 = (SLOTS - 2) << SHIFT;
/// "None" in a list.
const NIL: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Node {
    next: u32,
    previous: u32,
    /// `NIL` while it has no time.
    slot: u32,
    due: u32,
}

/// The times of all connections.
pub(super) struct Wheel {
    nodes: Box<[Node]>,
    heads: Box<[u32]>,
    /// A bit for each slot that is not empty.
    filled: [u64; SLOTS as usize / 64],
    /// The slot time that is taken next.
    tick: u32,
}

impl Wheel {
    /// For connections numbered below `count`, beginning at `now` (milliseconds, modulo 2^32).
    pub(super) fn new(count: usize, now: u32) -> Self {
        let none = Node { next: NIL, previous: NIL, slot: NIL, due: 0 };
        Self {
            nodes: vec![none; count].into_boxed_slice(),
            heads: vec![NIL; SLOTS as usize].into_boxed_slice(),
            filled: [0; SLOTS as usize / 64],
            tick: now >> SHIFT,
        }
    }

    /// Sets the time of a connection, whatever it was: `millis` after `now`, cut off at about a minute.
    pub(super) fn set(&mut self, index: u32, now: u32, millis: u32) {
        self.clear(index);
        let due = now.wrapping_add(millis.min(FARTHEST));
        // Rounded up, so that what is taken is over; never the slot that is being taken.
        let ahead = (due >> SHIFT).wrapping_sub(self.tick) & (u32::MAX >> SHIFT);
        let slot = self.tick.wrapping_add(ahead.clamp(0, SLOTS - 2) + 1) % SLOTS;
        let head = self.heads[slot as usize];
        if let Some(first) = self.nodes.get_mut(head as usize) {
            first.previous = index;
        }
        self.nodes[index as usize] = Node { next: head, previous: NIL, slot, due };
        self.heads[slot as usize] = index;
        self.filled[slot as usize / 64] |= 1 << (slot % 64);
    }

    /// Sets the time of a connection unless it has an earlier one.
    pub(super) fn set_sooner(&mut self, index: u32, now: u32, millis: u32) {
        let node = self.nodes[index as usize];
        let left = node.due.wrapping_sub(now);
        if node.slot == NIL || (left < 1 << 31 && left > millis) {
            self.set(index, now, millis);
        }
    }

    /// Takes the time of a connection away.
    pub(super) fn clear(&mut self, index: u32) {
        let Node { next, previous, slot, .. } = self.nodes[index as usize];
        if slot == NIL {
            return;
        }
        if let Some(next) = self.nodes.get_mut(next as usize) {
            next.previous = previous;
        }
        match self.nodes.get_mut(previous as usize) {
            Some(previous) => previous.next = next,
            None => {
                self.heads[slot as usize] = next;
                if next == NIL {
                    self.filled[slot as usize / 64] &= !(1 << (slot % 64));
                }
            }
        }
        self.nodes[index as usize].slot = NIL;
    }

    /// Takes one connection whose time has come by `now`.
    pub(super) fn take(&mut self, now: u32) -> Option<u32> {
        let end = now >> SHIFT;
        loop {
            let behind = end.wrapping_sub(self.tick) & (u32::MAX >> SHIFT);
            if behind == 0 || behind > u32::MAX >> (SHIFT + 1) {
                return None;
            }
            let slot = self.tick.wrapping_add(1) % SLOTS;
            let head = self.heads[slot as usize];
            if head != NIL {
                self.clear(head);
                return Some(head);
            }
            // Empty slots in between are passed over in one go.
            let empty = self.ahead().map_or(behind, |ahead| (ahead - 1).min(behind));
            self.tick = self.tick.wrapping_add(empty.max(1));
        }
    }

    /// Milliseconds from `now` until a time comes; `None` without any.
    pub(super) fn next(&self, now: u32) -> Option<u32> {
        let ahead = self.ahead()?;
        let at = self.tick.wrapping_add(ahead) << SHIFT;
        let left = at.wrapping_sub(now);
        Some(if left < 1 << 31 { left } else { 0 })
    }

    /// How many slots ahead the next filled one is, from 1.
    fn ahead(&self) -> Option<u32> {
        let first = self.tick.wrapping_add(1) % SLOTS;
        let words = self.filled.len();
        let (word, bit) = (first as usize / 64, first % 64);
        for step in 0..=words {
            let at = (word + step) % words;
            let mask = match step {
                0 => u64::MAX << bit,
                last if last == words => !(u64::MAX << bit),
                _ => u64::MAX,
            };
            let found = self.filled[at] & mask;
            if found != 0 {
                #[expect(clippy::cast_possible_truncation, reason = "below SLOTS")]
                let slot = at as u32 * 64 + found.trailing_zeros();
                return Some((slot.wrapping_sub(first) % SLOTS) + 1);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Set(u32, u32),
        Sooner(u32, u32),
        Clear(u32),
        Pass(u32),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let millis = prop_oneof![0..200_u32, 0..70_000_u32, any::<u32>()];
        let step = prop_oneof![
            (0..8_u32, millis.clone()).prop_map(|(i, m)| Step::Set(i, m)),
            (0..8_u32, millis).prop_map(|(i, m)| Step::Sooner(i, m)),
            (0..8_u32).prop_map(Step::Clear),
            (0..20_000_u32).prop_map(Step::Pass),
        ];
        proptest::collection::vec(step, 1..80)
    }

    proptest! {
        /// Nothing is taken before its time, nor more than two slots after it; what has no time is never taken.
        #[test]
        fn times_come_in_time(start in any::<u32>(), steps in steps()) {
            let (mut wheel, mut now) = (Wheel::new(8, start), start);
            let mut due: [Option<u64>; 8] = [None; 8];
            let mut elapsed = 0_u64;
            for step in steps {
                match step {
                    Step::Set(i, m) => {
                        wheel.set(i, now, m);
                        due[i as usize] = Some(elapsed + u64::from(m.min(FARTHEST)));
                    }
                    Step::Sooner(i, m) => {
                        wheel.set_sooner(i, now, m);
                        let new = elapsed + u64::from(m.min(FARTHEST));
                        let old = &mut due[i as usize];
                        if old.is_none_or(|old| old > elapsed + u64::from(m)) {
                            *old = Some(new);
                        }
                    }
                    Step::Clear(i) => {
                        wheel.clear(i);
                        due[i as usize] = None;
                    }
                    Step::Pass(m) => {
                        let told = wheel.next(now);
                        prop_assert_eq!(told.is_some(), due.iter().any(Option::is_some));
                        elapsed += u64::from(m);
                        now = now.wrapping_add(m);
                        while let Some(i) = wheel.take(now) {
                            let at = due[i as usize].take();
                            prop_assert!(at.is_some_and(|at| at <= elapsed), "{i} early: {at:?} at {elapsed}");
                        }
                        for (i, at) in due.iter().enumerate() {
                            prop_assert!(at.is_none_or(|at| at + 192 > elapsed), "{i} late: {at:?} at {elapsed}");
                        }
                    }
                }
            }
        }
    }
}
