//! Flows that are relayed between two sockets instead of passed on frame by frame: the relay knows what became of the
//! connection and says so, and the table is where everybody else looks.

use super::entry::generation;
use super::handle::FlowHandle;
use super::key::Orientation;
use super::state::{self, State};
use super::sync::Ordering::Relaxed;
use super::tcp::{Connection, Peer, Phase};
use super::view::FlowView;
use crate::clock::Now;
use crate::verdict::DropReason;

/// A relayed connection as its relay sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relayed {
    /// Where it stands.
    pub phase: Phase,
    /// Reads from each end so far, by [`Orientation::index`].
    pub packets: [u64; 2],
    /// Bytes from each end so far.
    pub bytes: [u64; 2],
}

impl Connection {
    /// A connection whose segments are not seen: it has no windows.
    #[must_use]
    pub fn relayed(initiator: Orientation, phase: Phase) -> Self {
        let replied = !phase.is_half_open();
        Self {
            phase,
            initiator,
            peers: [Peer::default(); 2],
            replied,
            assured: replied,
            simultaneous: false,
            liberal: true,
            note: None,
        }
    }
}

impl FlowHandle<'_> {
    /// Tells apart flows that had the same key one after the other: [`FlowView::generation`].
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.live()
    }

    /// Notes where a relayed connection stands, and that it lives.
    ///
    /// # Errors
    /// See [`FlowHandle`].
    pub fn relayed(&self, relayed: &Relayed, now: Now) -> Result<(), DropReason> {
        let (entry, rare) = (self.entry(), self.rare());
        let _claim = entry.claim(self.live())?;
        state::store(entry, rare, &Connection::relayed(self.initiator(), relayed.phase));
        for at in 0..2 {
            entry.packets[at].store(relayed.packets[at], Relaxed);
            entry.bytes[at].store(relayed.bytes[at], Relaxed);
        }
        let (set, way) = self.slot();
        let state = State::from_bits(entry.state.load(Relaxed));
        let deadline = now.as_millis32().wrapping_add(relayed.phase.timeout_millis());
        set.refresh(way, deadline, state.class(self.is_cut()));
        Ok(())
    }

    /// Takes the flow out of the table, because it is over; returns what it was.
    ///
    /// # Errors
    /// See [`FlowHandle`].
    pub fn end(self) -> Result<FlowView, DropReason> {
        let (set, way) = self.slot();
        let entry = self.entry();
        let control = entry.control();
        if generation(control) != self.live() {
            return Err(DropReason::FlowContended);
        }
        let _vacated = entry.take(control).ok_or(DropReason::FlowContended)?;
        let view = FlowView::copy(set, way, self.live());
        set.header.tags.set(way, 0);
        Ok(view)
    }
}
