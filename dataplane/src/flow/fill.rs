//! Filling a slot with a new flow.

use super::entry::NO_RULE;
use super::handshake;
use super::key::{FlowKey, Orientation};
use super::set::Set;
use super::stamp::Stamp;
use super::state::{self, State};
use super::sync::Ordering;
use super::table::NewFlow;
use crate::clock::Now;

impl NewFlow {
    pub(super) const fn stamp(&self) -> Stamp {
        Stamp::new(self.epoch, self.rule)
    }

    pub(super) fn state(&self) -> State {
        match self.connection {
            None => State::datagram(self.initiator),
            Some(connection) => State::opened(&connection),
        }
    }
}

/// Fills a slot, for the holder of its claim.
pub(super) fn write(set: Set<'_>, way: usize, key: &FlowKey, words: &[u64; 5], new: &NewFlow, at: Now) {
    let now = at.as_millis32();
    let (entry, rare) = (set.entry(way), set.rare(way));
    for (own, word) in entry.key.iter().zip(words) {
        own.store(*word, Ordering::Relaxed);
    }
    entry.stamp.store(new.stamp().to_bits(), Ordering::Relaxed);
    entry.potential.store(new.potential.map_or(NO_RULE, |rule| rule.0), Ordering::Relaxed);
    match &new.connection {
        Some(connection) => {
            state::store(entry, rare, connection);
            handshake::begin(entry, rare, at);
        }
        None => entry.state.store(new.state().to_bits(), Ordering::Relaxed),
    }
    for direction in [Orientation::FromFirst, Orientation::FromSecond] {
        let own = direction == new.sender;
        entry.packets[direction.index()].store(u64::from(own), Ordering::Relaxed);
        entry.bytes[direction.index()].store(if own { u64::from(new.bytes) } else { 0 }, Ordering::Relaxed);
    }
    rare.opened.store(now, Ordering::Relaxed);
    rare.tell_nothing();
    rare.store_terms(new.terms, false);
    let state = new.state();
    set.header.deadlines[way].store(now.wrapping_add(state.timeout(key.protocol)), Ordering::Relaxed);
    set.header.classes[way].store(state.class(false) as u8, Ordering::Relaxed);
}
