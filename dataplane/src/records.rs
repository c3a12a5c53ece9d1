//! What a worker tells the control thread: which frames it dropped, and what became of flows.
//!
//! Both go through bounded queues. A full queue loses records, counted exactly; never frames, never time.

use core::sync::atomic::{AtomicU32, Ordering};

use crossbeam::queue::ArrayQueue;

use crate::address::Address;
use crate::capture::Tap;
use crate::clock::Now;
use crate::counters::WorkerCounters;
use crate::flow::tcp::Phase;
use crate::flow::{FlowKey, FlowView, Handshake, Orientation, RoundTrip};
use crate::verdict::{DraftAnswers, DropReason, Epoch, Gate, RuleId, Side, Verdict, WireId};

/// What is known about one dropped frame.
#[derive(Clone, Copy, Debug)]
pub struct DropRecord {
    /// When its batch was taken.
    pub at: Now,
    /// The wire it came in on.
    pub wire: WireId,
    /// The side it came in on.
    pub side: Side,
    /// Why it was dropped.
    pub reason: DropReason,
    /// The policy in force; 0 when there was none.
    pub epoch: Epoch,
    /// The rule or default, where policy dropped it.
    pub rule: Option<RuleId>,
    /// Its addresses and service key, as far as headers could be read.
    pub flow: Option<DroppedFlow>,
    /// Whether it was a fragment that had been held, and is no frame of the batch at hand.
    pub held: bool,
}

/// Who spoke to whom, in a dropped IP packet.
#[derive(Clone, Copy, Debug)]
pub struct DroppedFlow {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// `protocol << 16 | destination port` (or type and code), as in the policy's service space.
    pub service: u32,
}

/// What became of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// Policy allowed it, and the table remembers it; or it had been cut, and policy allows it again.
    Opened,
    /// A newer policy was asked about it while it lived; told only if that denies it, or if drafts were asked too.
    Redecided,
    /// It lives for long, and these packets passed since it was told last.
    Updated,
    /// It is over, and these packets passed since it was told last.
    Ended(Ending),
    /// Policy denied what would have begun it.
    Denied,
}

/// How a flow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ending {
    /// TCP: both sides closed.
    Finished,
    /// TCP: reset.
    Reset,
    /// It was silent for too long; the usual end of everything but TCP.
    TimedOut,
    /// It made room for another.
    Evicted,
    /// Policy denied it while it lived.
    Cut,
}

impl Ending {
    /// `finished`, `reset`, `timed-out`, `evicted` or `cut`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Reset => "reset",
            Self::TimedOut => "timed-out",
            Self::Evicted => "evicted",
            Self::Cut => "cut",
        }
    }

    /// How the flow of `view` ended, which was neither evicted nor cut.
    #[must_use]
    pub const fn of(view: &FlowView) -> Self {
        match view.phase {
            Some(Phase::Closed) => Self::Reset,
            Some(Phase::LastAck | Phase::TimeWait) => Self::Finished,
            _ => Self::TimedOut,
        }
    }
}

/// One thing that happened to a flow.
#[derive(Clone, Copy, Debug)]
pub struct FlowEvent {
    /// When.
    pub at: Now,
    /// What.
    pub occasion: Occasion,
    /// Which flow.
    pub key: FlowKey,
    /// Who opened it, or tried to.
    pub initiator: Orientation,
    /// The policy that was asked last.
    pub epoch: Epoch,
    /// What it said.
    pub verdict: Verdict,
    /// At which gate, where that is still known.
    pub gate: Option<Gate>,
    /// By which rule or default.
    pub rule: RuleId,
    /// The rule or default that a gate in mode `observe` would have denied it with.
    pub potential: Option<RuleId>,
    /// What the drafts beside that policy said.
    pub drafts: DraftAnswers,
    /// Frames per direction, by [`Orientation::index`]. Those of updates and of the end of a flow add up to all that
    /// it had, each told once; a beginning tells of the frame that caused it, which an update or the end counts.
    pub packets: [u64; 2],
    /// Bytes of frames per direction, likewise.
    pub bytes: [u64; 2],
    /// When it was opened, or asked for: [`Now::as_millis32`].
    pub first_seen: u32,
    /// When its last packet passed, or was denied: [`Now::as_millis32`], to half a second.
    pub last_seen: u32,
}

impl FlowEvent {
    /// The end of a flow, from what the table last knew of it. `None` for one that was cut before: that was its end.
    #[must_use]
    pub fn ended(view: &FlowView, ending: Ending, at: Now) -> Option<Self> {
        (!view.cut).then_some(Self::of(view, Occasion::Ended(ending), at))
    }

    /// What happened to a flow that the table knew as `view`.
    #[must_use]
    pub const fn of(view: &FlowView, occasion: Occasion, at: Now) -> Self {
        Self {
            at,
            occasion,
            key: view.key,
            initiator: view.initiator,
            epoch: view.epoch,
            verdict: Verdict::Allow,
            gate: None,
            rule: view.rule,
            potential: view.potential,
            drafts: view.terms.drafts,
            packets: view.untold_packets,
            bytes: view.untold_bytes,
            first_seen: view.opened,
            last_seen: view.last_seen,
        }
    }
}

/// What the wire saw of a flow beside its packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The side of the wire that its first packet came in on; told of beginnings and refusals.
    pub side: Option<Side>,
    /// For TCP: how it began. Told of updates and ends.
    pub handshake: Option<Handshake>,
    /// For TCP: how long its handshake took, if that is known. Told of the end.
    pub round_trip: Option<RoundTrip>,
}

/// A flow event with what the wire saw.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// What happened.
    pub event: FlowEvent,
    /// What was seen.
    pub observed: Observed,
}

impl Told {
    /// As [`FlowEvent::ended`].
    #[must_use]
    pub fn ended(view: &FlowView, ending: Ending, at: Now) -> Option<Self> {
        let event = FlowEvent::ended(view, ending, at)?;
        let FlowView { handshake, round_trip, .. } = *view;
        Some(Self { event, observed: Observed { side: None, handshake, round_trip } })
    }

    /// What passed of a flow since it was told last.
    #[must_use]
    pub const fn updated(view: &FlowView, at: Now) -> Self {
        let observed = Observed { side: None, handshake: view.handshake, round_trip: None };
        Self { event: FlowEvent::of(view, Occasion::Updated, at), observed }
    }
}

impl From<FlowEvent> for Told {
    fn from(event: FlowEvent) -> Self {
        Self { event, observed: Observed::default() }
    }
}

/// The two queues from one worker to the control thread.
#[derive(Debug)]
pub struct Records {
    drops: ArrayQueue<DropRecord>,
    events: ArrayQueue<Told>,
    /// Milliseconds; 0: never.
    update_every: AtomicU32,
    /// Nothing is told of flows.
    muted: bool,
    tap: Tap,
}

impl Records {
    /// Drop records that one worker may be ahead of the control thread.
    pub const DROPS: usize = 4096;
    /// Flow events that one worker may be ahead of the control thread: a hundred thousand flows that begin and end in a
    /// second make twenty thousand in a tenth of it, which is how often they are taken. Denied ones use half of them at most, so that
    /// a flood of refused packets does not hide what passes.
    pub const EVENTS: usize = 32_768;

    /// How often a live flow is told of unless somebody wishes otherwise, milliseconds.
    pub const UPDATE_EVERY: u32 = 60_000;

    /// Empty queues for [`Records::DROPS`] and [`Records::EVENTS`].
    #[must_use]
    pub fn new() -> Self {
        Self::with_room(Self::DROPS, Self::EVENTS)
    }

    /// Empty queues for `drops` and `events`, at least 1 each.
    #[must_use]
    pub fn with_room(drops: usize, events: usize) -> Self {
        Self {
            drops: ArrayQueue::new(drops.max(1)),
            events: ArrayQueue::new(events.max(1)),
            update_every: AtomicU32::new(Self::UPDATE_EVERY),
            muted: false,
            tap: Tap::default(),
        }
    }

    /// Where copies of frames are asked for.
    #[must_use]
    pub const fn tap(&self) -> &Tap {
        &self.tap
    }

    /// Queues whose worker tells nothing of flows and counts no event: to measure what telling costs.
    #[must_use]
    pub fn muted() -> Self {
        Self { muted: true, ..Self::with_room(Self::DROPS, 1) }
    }

    /// Has live flows told about every so many milliseconds, at most an hour; 0: never.
    pub fn set_update_every(&self, millis: u32) {
        self.update_every.store(millis.min(3_600_000), Ordering::Relaxed);
    }

    /// How often live flows are told of, milliseconds; 0: never.
    #[must_use]
    pub fn update_every(&self) -> u32 {
        self.update_every.load(Ordering::Relaxed)
    }

    /// Appends a drop record, or counts the loss.
    pub fn dropped(&self, record: DropRecord, counters: &WorkerCounters) {
        if self.drops.push(record).is_err() {
            counters.drop_records_lost.add(1);
        }
    }

    /// Appends a flow event, or counts the loss.
    pub fn happened(&self, event: impl Into<Told>, counters: &WorkerCounters) {
        if self.muted {
            return;
        }
        let told = event.into();
        counters.flow_events.add(1);
        let crowded = told.event.occasion == Occasion::Denied && self.is_crowded();
        if crowded || self.events.push(told).is_err() {
            counters.flow_events_lost.add(1);
        }
    }

    /// Appends what passed of a live flow; whether there was room. Without room nothing is lost: the flow is told of
    /// when its turn comes again, or at its end. Updates use half of the queue at most.
    #[must_use]
    pub fn updated(&self, told: Told, counters: &WorkerCounters) -> bool {
        let taken = !self.muted && !self.is_crowded() && self.events.push(told).is_ok();
        counters.flow_events.add(u64::from(taken));
        taken
    }

    fn is_crowded(&self) -> bool {
        self.events.len() >= self.events.capacity() / 2
    }

    /// How many flow events wait to be taken.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.events.len()
    }

    /// Takes the oldest drop record.
    #[must_use]
    pub fn next_drop(&self) -> Option<DropRecord> {
        self.drops.pop()
    }

    /// Takes the oldest flow event.
    #[must_use]
    pub fn next_event(&self) -> Option<FlowEvent> {
        self.next_told().map(|told| told.event)
    }

    /// Takes the oldest flow event, with what the wire saw.
    #[must_use]
    pub fn next_told(&self) -> Option<Told> {
        self.events.pop()
    }
}

impl Default for Records {
    fn default() -> Self {
        Self::new()
    }
}
