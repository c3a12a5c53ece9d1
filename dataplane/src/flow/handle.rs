//! One flow in the hands of one worker.

use super::entry::{Class, Entry, NO_RULE, Rare, generation};
use super::fill::write;
use super::handshake;
use super::key::{FlowKey, Orientation};
use super::ruling::{Ruling, Standing};
use super::set::Set;
use super::stamp::Stamp;
use super::state::{self, State, is_past};
use super::sync::Ordering::Relaxed;
use super::table::NewFlow;
use super::tcp::{self, Phase, Step};
use super::view::FlowView;
use crate::clock::Now;
use crate::headers::Tcp;
use crate::verdict::{DraftAnswers, DropReason, Epoch, OnRevoke, RuleId, Side, Terms};

/// A flow that was found, with its stamp as of then.
///
/// Nothing keeps the flow alive meanwhile. If another worker evicts it or reopens its ports, every method that
/// writes says [`DropReason::FlowContended`] and changes nothing: the slot's new flow is never touched by mistake.
#[derive(Clone, Copy)]
pub struct FlowHandle<'t> {
    set: Set<'t>,
    way: usize,
    entry: &'t Entry,
    live: u32,
    stamp: Stamp,
    state: State,
}

impl core::fmt::Debug for FlowHandle<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FlowHandle").field("stamp", &self.stamp).field("state", &self.state).finish()
    }
}

impl<'t> FlowHandle<'t> {
    pub(super) fn new(set: Set<'t>, way: usize, live: u32, stamp: Stamp, state: State) -> Self {
        Self { set, way, entry: set.entry(way), live, stamp, state }
    }

    pub(super) const fn slot(&self) -> (Set<'t>, usize) {
        (self.set, self.way)
    }

    pub(super) const fn live(&self) -> u32 {
        self.live
    }

    pub(super) const fn entry(&self) -> &'t Entry {
        self.entry
    }

    pub(super) fn rare(&self) -> &'t Rare {
        self.set.rare(self.way)
    }

    pub(super) fn is_expired(&self, now: u32) -> bool {
        is_past(self.set.header.deadlines[self.way].load(Relaxed), now)
    }

    /// The epoch under which the flow was decided last.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.stamp.epoch()
    }

    /// The rule or default that allowed the flow, or that cut it.
    #[must_use]
    pub const fn rule(&self) -> RuleId {
        self.stamp.rule()
    }

    /// Whether every packet of the flow passes under `epoch` without a further look: it was decided under it and has
    /// no end set.
    #[must_use]
    pub const fn is_settled(&self, epoch: Epoch) -> bool {
        self.stamp.is_settled(epoch)
    }

    /// What becomes of the flow once it is denied, said by the rule that allowed it. That of another flow if this one
    /// is gone, which the next method that writes then says.
    #[must_use]
    pub fn on_revoke(&self) -> OnRevoke {
        self.rare().terms().on_revoke
    }

    /// What earlier policies have made of the flow, at `now`. As for [`FlowHandle::on_revoke`].
    #[must_use]
    pub fn standing(&self, now: Now) -> Standing {
        Standing { on_revoke: self.on_revoke(), cut: self.is_cut(), drained: self.is_drained(now) }
    }

    /// When the flow was opened: [`Now::as_millis32`]. As for [`FlowHandle::on_revoke`].
    #[must_use]
    pub fn opened(&self) -> u32 {
        self.rare().opened.load(Relaxed)
    }

    /// Whether the ends of the flow are told that it was cut.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.is_cut() && self.rare().is_told()
    }

    /// Whether the flow drains and its time is not over at `now`.
    #[must_use]
    pub fn drains(&self, now: Now) -> bool {
        self.stamp.is_draining() && !is_past(self.rare().drained.load(Relaxed), now.as_millis32())
    }

    /// Whether the flow drains and its time is over at `now`.
    #[must_use]
    pub fn is_drained(&self, now: Now) -> bool {
        self.stamp.is_draining() && !self.drains(now)
    }

    /// Whether both directions are dead until policy allows the flow again (TCP: until a new SYN).
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.stamp.is_cut()
    }

    /// The end that opened the flow. Policy decides a stale flow in this direction, whatever packet found it stale.
    #[must_use]
    pub const fn initiator(&self) -> Orientation {
        self.state.initiator()
    }

    /// The phase of a TCP flow when it was found.
    #[must_use]
    pub const fn phase(&self) -> Option<Phase> {
        self.state.phase()
    }

    /// Whether the source check of packets from `sender` on `side` is known to pass under `epoch`, whatever their MAC
    /// address: see [`FlowHandle::vouch`].
    #[inline(always)]
    #[must_use]
    pub const fn vouches(&self, epoch: Epoch, sender: Orientation, side: Side) -> bool {
        self.stamp.is_settled(epoch) & self.stamp.vouches(sender, side)
    }

    /// Remembers, as long as the flow is settled under `epoch`, that the source check of packets from `sender` on
    /// `side` passes whatever their MAC address. Forgotten with the next ruling, and not remembered at all if another
    /// worker is faster or keeps the flow busy: only time is lost.
    pub fn vouch(&mut self, epoch: Epoch, sender: Orientation, side: Side) {
        let entry = self.entry();
        let Ok(_claim) = entry.claim(self.live) else { return };
        let stamp = Stamp::from_bits(entry.stamp.load(Relaxed));
        if stamp.is_settled(epoch) {
            self.stamp = stamp.vouching(sender, side);
            entry.stamp.store(self.stamp.to_bits(), Relaxed);
        }
    }

    /// What the policy of `epoch` says of the flow, and what the drafts beside it say.
    ///
    /// A cut flow that is allowed again lives again, except for TCP: its ends have lost segments and may have given
    /// up, so it takes a new SYN (see [`FlowHandle::observe_tcp`]). The entry of a cut flow stays until its deadline,
    /// so that its packets are known for what they are; no packet prolongs it. A draining flow keeps the end that was
    /// set first.
    ///
    /// An older epoch than the flow's own changes nothing: a worker that still reads the previous table must not
    /// undo what the next one said.
    ///
    /// Returns what the flow was, if this cut it: its final counters. One that lives again counts from zero.
    ///
    /// # Errors
    /// See [`FlowHandle`].
    pub fn rule_on(
        &mut self,
        epoch: Epoch,
        ruling: Ruling,
        drafts: DraftAnswers,
    ) -> Result<Option<FlowView>, DropReason> {
        let (entry, rare) = (self.entry(), self.rare());
        let _claim = entry.claim(self.live)?;
        let old = Stamp::from_bits(entry.stamp.load(Relaxed));
        let state = State::from_bits(entry.state.load(Relaxed));
        self.state = state;
        if old.epoch() > epoch {
            self.stamp = old;
            return Ok(None);
        }
        let rule = ruling.rule();
        let dead = old.is_cut() && state.phase().is_some();
        let (mut on_revoke, mut told) = (rare.terms().on_revoke, rare.is_told());
        let (mut cut, mut draining, mut potential) = (dead, false, None);
        match ruling {
            Ruling::Allow { potential: observed, on_revoke: newly, .. } => {
                (potential, on_revoke) = (observed, newly);
            }
            Ruling::Drain { until } => {
                draining = true;
                if !old.is_draining() {
                    rare.drained.store(until.as_millis32(), Relaxed);
                }
            }
            Ruling::Keep => {}
            Ruling::Cut { told: newly, .. } => (cut, told) = (true, newly),
        }
        let ended = (cut && !old.is_cut()).then(|| FlowView::copy(self.set, self.way, self.live));
        if old.is_cut() && !cut {
            for counter in entry.packets.iter().chain(&entry.bytes) {
                counter.store(0, Relaxed);
            }
            rare.tell_nothing();
        }
        rare.store_terms(Terms { on_revoke, drafts }, told);
        self.stamp = Stamp::new(epoch, rule).ended(cut, draining);
        entry.stamp.store(self.stamp.to_bits(), Relaxed);
        entry.potential.store(potential.map_or(NO_RULE, |rule| rule.0), Relaxed);
        self.set.header.classes[self.way].store(state.class(cut) as u8, Relaxed);
        Ok(ended)
    }

    /// Takes the next segment of a TCP flow: state, windows, deadline and counters in one step. `bytes` is the
    /// frame's length.
    ///
    /// On a cut flow a SYN is answered with [`Step::Reopen`].
    ///
    /// # Errors
    /// The reason to drop the segment, which is not counted then: what [`super::tcp::Connection::step`] says,
    /// [`DropReason::Revoked`] on a cut flow, or see [`FlowHandle`].
    #[inline(always)]
    pub fn observe_tcp(
        &self,
        direction: Orientation,
        segment: &Tcp,
        bytes: u16,
        now: Now,
    ) -> Result<Step, DropReason> {
        let entry = self.entry();
        let _claim = entry.claim(self.live)?;
        if Stamp::from_bits(entry.stamp.load(Relaxed)).is_cut() {
            return if tcp::is_opening(segment) { Ok(Step::Reopen) } else { Err(DropReason::Revoked) };
        }
        if let Some(step) = state::step_plain(entry, direction, segment) {
            let step = step?;
            self.count(direction, bytes);
            if step == Step::Pass {
                let deadline = now.as_millis32().wrapping_add(Phase::Established.timeout_millis());
                self.set.refresh(self.way, deadline, Class::Assured);
            }
            return Ok(step);
        }
        self.step_any(direction, segment, bytes, now)
    }

    /// The rest of [`FlowHandle::observe_tcp`], for segments and connections of any kind.
    #[inline(never)]
    fn step_any(
        &self,
        direction: Orientation,
        segment: &Tcp,
        bytes: u16,
        now: Now,
    ) -> Result<Step, DropReason> {
        let (entry, rare) = (self.entry(), self.rare());
        let Some(mut connection) = state::load(entry, rare) else { return Err(DropReason::TcpState) };
        let before = State::from_bits(entry.state.load(Relaxed));
        let step = connection.step(direction, segment)?;
        if step != Step::Reopen {
            state::store(entry, rare, &connection);
            handshake::go_on(entry, rare, before, now);
            self.count(direction, bytes);
        }
        if step == Step::Pass {
            let state = State::from_bits(entry.state.load(Relaxed));
            let deadline = now.as_millis32().wrapping_add(connection.phase.timeout_millis());
            self.set.refresh(self.way, deadline, state.class(false));
        }
        Ok(step)
    }

    /// Takes the next packet of a flow that is not TCP: deadline and counters.
    ///
    /// # Errors
    /// [`DropReason::Revoked`] on a cut flow, or see [`FlowHandle`].
    #[inline(always)]
    pub fn observe(&self, direction: Orientation, bytes: u16, now: Now) -> Result<(), DropReason> {
        let entry = self.entry();
        let _claim = entry.claim(self.live)?;
        if Stamp::from_bits(entry.stamp.load(Relaxed)).is_cut() {
            return Err(DropReason::Revoked);
        }
        let mut state = State::from_bits(entry.state.load(Relaxed));
        if direction != state.initiator() && !state.replied() {
            state = state.with_reply();
            entry.state.store(state.to_bits(), Relaxed);
        }
        self.count(direction, bytes);
        let timeout = state.timeout(FlowKey::protocol_of(entry.key[4].load(Relaxed)));
        self.set.refresh(self.way, now.as_millis32().wrapping_add(timeout), state.class(false));
        Ok(())
    }

    /// Counts a packet that belongs to the flow without saying that it lives: an ICMP error about it, or a later
    /// fragment.
    ///
    /// # Errors
    /// See [`FlowHandle`].
    pub fn account(&self, direction: Orientation, bytes: u16) -> Result<(), DropReason> {
        let _claim = self.entry().claim(self.live)?;
        self.count(direction, bytes);
        Ok(())
    }

    /// Begins a new connection in the slot of one that is over or cut, after policy allowed it; returns what the
    /// old one was. `self` stands for the new one afterwards.
    ///
    /// # Errors
    /// See [`FlowHandle`]; also when another worker reopened it first.
    pub fn reopen(&mut self, key: &FlowKey, new: &NewFlow, now: Now) -> Result<FlowView, DropReason> {
        let entry = self.entry();
        let control = entry.control();
        if generation(control) != self.live {
            return Err(DropReason::FlowContended);
        }
        let mut claim = entry.take(control).ok_or(DropReason::FlowContended)?;
        let view = FlowView::copy(self.set, self.way, self.live);
        write(self.set, self.way, key, &key.words(), new, now);
        self.live = claim.publish();
        self.stamp = new.stamp();
        self.state = new.state();
        Ok(view)
    }

    /// How readily the flow would be evicted at `now`.
    #[must_use]
    pub fn class(&self, now: Now) -> Class {
        self.set.class(self.way, now.as_millis32())
    }

    fn count(&self, direction: Orientation, bytes: u16) {
        let entry = self.entry();
        for (counter, by) in [(&entry.packets, 1), (&entry.bytes, u64::from(bytes))] {
            let counter = &counter[direction.index()];
            counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
        }
    }
}
