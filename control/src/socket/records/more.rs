//! What a flow record tells beside its counts.

use serde::Serialize;
use utoipa::ToSchema;

use crate::engine::Engine;
use crate::observe::flows::{Facts, FlowRecord, Outcomes, RoundTrips};

/// What is known of the flows of one record beside their number.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RecordFacts)]
pub struct MoreView {
    /// The tier of the rule.
    pub tier: Option<String>,
    /// The gate that decided, `egress` or `ingress`; the more frequent one.
    pub gate: Option<&'static str>,
    /// The side of the wire that the flows were opened from, `inside` or `outside`; the more frequent one.
    pub side: Option<&'static str>,
    /// The first and the last epoch of the policies that decided, as `explain --epoch` and the history know them.
    pub epochs: Option<[u32; 2]>,
    /// The hash of the policy of the last of them, as long as the history has it.
    pub policy_hash: Option<String>,
    /// From the end that opened the flows.
    pub sent: CountsView,
    /// To it.
    pub received: CountsView,
    /// How the flows ended; the others live, or their end was missed.
    pub outcomes: Outcomes,
    /// How long TCP handshakes took, if any was timed.
    pub round_trip: Option<RoundTripView>,
    /// Set if the flows are known by the labels of their ends only; the addresses are those of one of them.
    pub folded: Option<FoldedView>,
}

/// Packets of one direction.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = RecordCounts)]
pub struct CountsView {
    /// Packets.
    pub packets: u64,
    /// Bytes of frames.
    pub bytes: u64,
}

/// How long handshakes took, from end to end, as the wire saw it.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct RoundTripView {
    /// Handshakes that were timed.
    pub count: u64,
    /// The shortest, microseconds.
    pub min_us: u32,
    /// The average, microseconds.
    pub avg_us: u64,
    /// Of the average, from the wire to the responder and back.
    pub responder_avg_us: u64,
}

/// What is left of records that were folded.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FoldedView {
    /// The labels of who opened them.
    pub source: String,
    /// The labels of whom they were opened to.
    pub destination: String,
    /// Records that were folded into this one.
    pub records: u64,
}

/// The hashes of the policies in the history, newest first, each with the epoch from which it decided.
pub(super) struct Hashes(Vec<(u32, String)>);

impl Hashes {
    pub(super) fn now(engine: &Engine) -> Self {
        Self(engine.history().into_iter().map(|meta| (meta.epoch, meta.policy_hash)).collect())
    }

    /// Of the policy that decided under `epoch`. Epochs in between are those of drafts.
    fn of(&self, epoch: u32) -> Option<String> {
        let found = self.0.iter().find(|(from, _)| *from <= epoch);
        found.filter(|_| epoch > 0).map(|(_, hash)| hash.clone())
    }
}

impl MoreView {
    pub(super) fn of(record: &FlowRecord, hashes: &Hashes) -> Self {
        let Facts { sent_packets, sent_bytes, epochs, outcomes, round_trips, .. } = record.facts;
        let more_frequent = |[a, b]: [u64; 2], names: [&'static str; 2]| match (a, b) {
            (0, 0) => None,
            _ => Some(names[usize::from(b > a)]),
        };
        let (facts, last) = (&record.facts, epochs[1]);
        Self {
            tier: record.tier.as_deref().map(str::to_owned),
            gate: more_frequent([facts.at_egress, facts.at_ingress], ["egress", "ingress"]),
            side: more_frequent([facts.from_inside, facts.from_outside], ["inside", "outside"]),
            epochs: (last > 0).then_some(epochs),
            policy_hash: hashes.of(last),
            sent: CountsView { packets: sent_packets, bytes: sent_bytes },
            received: CountsView {
                packets: record.packets.saturating_sub(sent_packets),
                bytes: record.bytes.saturating_sub(sent_bytes),
            },
            outcomes,
            round_trip: round_trip(round_trips),
            folded: record.folded.as_ref().map(|folded| FoldedView {
                source: folded.source.to_string(),
                destination: folded.destination.to_string(),
                records: folded.records,
            }),
        }
    }
}

fn round_trip(all: RoundTrips) -> Option<RoundTripView> {
    (all.count > 0).then(|| RoundTripView {
        count: all.count,
        min_us: all.least_us,
        avg_us: all.sum_us / all.count,
        responder_avg_us: all.responder_us / all.count,
    })
}
