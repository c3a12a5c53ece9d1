//! What is known of the flows of one record beside how many there were: all of it adds up.

use dataplane::flow::{Handshake, RoundTrip};
use dataplane::records::Ending;
use dataplane::verdict::{Gate, Side};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What one event tells beside its counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Of its packets, those that the initiator sent.
    pub sent_packets: u64,
    /// Of its bytes, likewise.
    pub sent_bytes: u64,
    /// The epoch of the policy that was asked last; 0: not known.
    pub epoch: u32,
    /// The side of the wire that the flow was opened from.
    pub side: Option<Side>,
    /// The gate that decided.
    pub gate: Option<Gate>,
    /// How the flow ended.
    pub outcome: Option<Outcome>,
    /// How long its handshake took.
    pub round_trip: Option<RoundTrip>,
}

/// How a flow ended, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// TCP: both sides closed.
    Finished,
    /// TCP: reset after the handshake.
    Reset,
    /// TCP: reset before the handshake was complete.
    Refused,
    /// TCP: no answer to the SYN.
    Unanswered,
    /// TCP: answered, but the handshake was never completed.
    HalfOpen,
    /// Silent for too long.
    TimedOut,
    /// It made room for another.
    Evicted,
    /// Policy denied it while it lived.
    Cut,
}

impl Outcome {
    const ALL: [Self; 8] = [
        Self::Finished,
        Self::Reset,
        Self::Refused,
        Self::Unanswered,
        Self::HalfOpen,
        Self::TimedOut,
        Self::Evicted,
        Self::Cut,
    ];

    /// Of a flow that ended like this after such a beginning.
    #[must_use]
    pub const fn of(ending: Ending, handshake: Option<Handshake>) -> Self {
        match (ending, handshake) {
            (Ending::Finished, _) => Self::Finished,
            (Ending::Reset, Some(Handshake::Unanswered | Handshake::Answered)) => Self::Refused,
            (Ending::Reset, _) => Self::Reset,
            (Ending::TimedOut, Some(Handshake::Unanswered)) => Self::Unanswered,
            (Ending::TimedOut, Some(Handshake::Answered)) => Self::HalfOpen,
            (Ending::TimedOut, _) => Self::TimedOut,
            (Ending::Evicted, _) => Self::Evicted,
            (Ending::Cut, _) => Self::Cut,
        }
    }
}

/// How flows ended, counted. Those that live are in none of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = FlowOutcomes)]
pub struct Outcomes {
    /// TCP: both sides closed.
    pub finished: u64,
    /// TCP: reset after the handshake.
    pub reset: u64,
    /// TCP: reset before the handshake was complete, as a closed port does.
    pub refused: u64,
    /// TCP: no answer to the SYN.
    pub unanswered: u64,
    /// TCP: answered, but the handshake was never completed.
    pub half_open: u64,
    /// Silent for too long; the usual end of everything but TCP.
    pub timed_out: u64,
    /// Made room for another.
    pub evicted: u64,
    /// Policy denied them while they lived.
    pub cut: u64,
}

impl Outcomes {
    const fn of(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Finished => &mut self.finished,
            Outcome::Reset => &mut self.reset,
            Outcome::Refused => &mut self.refused,
            Outcome::Unanswered => &mut self.unanswered,
            Outcome::HalfOpen => &mut self.half_open,
            Outcome::TimedOut => &mut self.timed_out,
            Outcome::Evicted => &mut self.evicted,
            Outcome::Cut => &mut self.cut,
        }
    }

    /// Flows that ended.
    #[must_use]
    pub const fn all(&self) -> u64 {
        let Self { finished, reset, refused, unanswered, half_open, timed_out, evicted, cut } = *self;
        finished + reset + refused + unanswered + half_open + timed_out + evicted + cut
    }
}

/// Handshakes that were timed, from the wire to each end and back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoundTrips {
    /// How many.
    pub count: u64,
    /// The shortest from end to end, microseconds.
    pub least_us: u32,
    /// All from end to end, microseconds.
    pub sum_us: u64,
    /// Of that, to the responder and back.
    pub responder_us: u64,
}

impl RoundTrips {
    fn add(&mut self, other: Self) {
        if other.count > 0 {
            self.least_us = if self.count == 0 { other.least_us } else { self.least_us.min(other.least_us) };
            self.count = self.count.saturating_add(other.count);
            self.sum_us = self.sum_us.saturating_add(other.sum_us);
            self.responder_us = self.responder_us.saturating_add(other.responder_us);
        }
    }
}

impl From<RoundTrip> for RoundTrips {
    fn from(one: RoundTrip) -> Self {
        let (sum_us, responder_us) = (u64::from(one.whole()), u64::from(one.responder));
        Self { count: 1, least_us: one.whole(), sum_us, responder_us }
    }
}

/// What the flows of a record add up to beside their number, packets and bytes. Zero where a record is older than
/// the program that learnt to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// Of the packets, those that initiators sent.
    pub sent_packets: u64,
    /// Of the bytes, likewise.
    pub sent_bytes: u64,
    /// The first and the last epoch of the policies that decided; 0: not known.
    pub epochs: [u32; 2],
    /// Flows opened from the inside, or that would have been.
    pub from_inside: u64,
    /// From the outside.
    pub from_outside: u64,
    /// Decided at the egress gate of the source.
    pub at_egress: u64,
    /// Decided at the ingress gate of the destination.
    pub at_ingress: u64,
    /// How they ended.
    pub outcomes: Outcomes,
    /// Handshakes that were timed.
    pub round_trips: RoundTrips,
}

impl Facts {
    /// Adds what one event tells; `flows` began with it.
    pub(super) fn note(&mut self, details: &Details, flows: u64) {
        let mut one = Self {
            sent_packets: details.sent_packets,
            sent_bytes: details.sent_bytes,
            epochs: [details.epoch; 2],
            round_trips: details.round_trip.map(Into::into).unwrap_or_default(),
            ..Self::default()
        };
        match details.side {
            Some(Side::Inside) => one.from_inside = flows,
            Some(Side::Outside) => one.from_outside = flows,
            None => {}
        }
        match details.gate {
            Some(Gate::Egress) => one.at_egress = flows,
            Some(Gate::Ingress) => one.at_ingress = flows,
            None => {}
        }
        if let Some(outcome) = details.outcome {
            *one.outcomes.of(outcome) = 1;
        }
        self.add(&one);
    }

    /// Adds those of other flows.
    pub(super) fn add(&mut self, other: &Self) {
        let own = [
            (&mut self.sent_packets, other.sent_packets),
            (&mut self.sent_bytes, other.sent_bytes),
            (&mut self.from_inside, other.from_inside),
            (&mut self.from_outside, other.from_outside),
            (&mut self.at_egress, other.at_egress),
            (&mut self.at_ingress, other.at_ingress),
        ];
        own.into_iter().for_each(|(sum, more)| *sum = sum.saturating_add(more));
        let mut more = other.outcomes;
        for outcome in Outcome::ALL {
            let sum = self.outcomes.of(outcome);
            *sum = sum.saturating_add(*more.of(outcome));
        }
        self.epochs = joined(self.epochs, other.epochs);
        self.round_trips.add(other.round_trips);
    }
}

/// Both ranges of epochs in one; 0 stands for none.
fn joined(own: [u32; 2], other: [u32; 2]) -> [u32; 2] {
    match (own, other) {
        ([0, _], range) | (range, [0, _]) => range,
        ([a, b], [c, d]) => [a.min(c), b.max(d)],
    }
}
