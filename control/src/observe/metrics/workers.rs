//! What workers count, summed per wire and side, or over all.

use dataplane::counters::{Counter, SideCounters};
use dataplane::verdict::{DropReason, Epoch, Side};

use super::family::{Families, Labels, label};
use crate::engine::Engine;

pub(super) fn gather(engine: &Engine, into: &mut Families) {
    sides(engine, into);
    frames(engine, into);
    flows(engine, into);
    epochs(engine, into);
}

/// A count of every wire and side.
fn per_side(engine: &Engine, count: impl Fn(&SideCounters) -> &Counter) -> Vec<(Labels, u64)> {
    let mut samples = Vec::new();
    for (wire, name) in engine.wire_names().iter().enumerate() {
        for side in [Side::Inside, Side::Outside] {
            let workers = engine.workers.iter().filter(|worker| usize::from(worker.wire.0) == wire);
            let counts = workers.map(|worker| count(worker.counters.side(side)).get());
            let labels = vec![("wire", name.clone()), ("side", side.name().to_owned())];
            samples.push((labels, counts.fold(0, u64::wrapping_add)));
        }
    }
    samples
}

fn sides(engine: &Engine, into: &mut Families) {
    into.counts(
        "ringfence_received_frames",
        "Frames received, by wire and the side they came in on",
        per_side(engine, |side| &side.received),
    );
    into.counts(
        "ringfence_received_bytes",
        "Bytes of the frames received",
        per_side(engine, |side| &side.received_bytes),
    );
    into.counts(
        "ringfence_forwarded_frames",
        "Frames that came in on this side and left by the other",
        per_side(engine, |side| &side.forwarded),
    );
}

fn frames(engine: &Engine, into: &mut Families) {
    let dropped = DropReason::ALL
        .iter()
        .map(|&reason| (label("reason", reason.name()), engine.sum(|worker| worker.dropped(reason))));
    into.counts("ringfence_dropped_frames", "Frames dropped, by reason", dropped);
    into.count(
        "ringfence_made_frames",
        "Frames made to tell a sender that its frame was refused",
        engine.sum(|worker| &worker.made),
    );
    into.count(
        "ringfence_answers_suppressed",
        "Frames that were not made, because there would have been too many",
        engine.sum(|worker| &worker.answers_suppressed),
    );
    into.level(
        "ringfence_held_fragments",
        "Fragments that wait for their first one",
        engine.sum(|worker| &worker.held),
    );
    into.count(
        "ringfence_potentially_blocked_packets",
        "Packets that a gate in mode observe would have dropped",
        engine.sum(|worker| &worker.potentially_blocked),
    );
    into.count(
        "ringfence_drop_records_lost",
        "Drops that are counted but not described, because a queue was full",
        engine.sum(|worker| &worker.drop_records_lost),
    );
}

fn flows(engine: &Engine, into: &mut Families) {
    into.count(
        "ringfence_decisions",
        "Decisions of policy; the sum of ringfence_rule_hits_total",
        engine.sum(|worker| &worker.decisions),
    );
    let lookups = [
        ("known", engine.sum(|worker| &worker.flow_hits)),
        ("stale", engine.sum(|worker| &worker.flow_stale)),
        ("unknown", engine.sum(|worker| &worker.flow_misses)),
    ];
    into.counts(
        "ringfence_flow_lookups",
        "Packets by what the flow table knew of their flow",
        lookups.map(|(result, count)| (label("result", result), count)),
    );
    into.count("ringfence_flows_opened", "Flows opened", engine.sum(|worker| &worker.flows_opened));
    into.count(
        "ringfence_flows_evicted",
        "Flows that made room for others",
        engine.sum(|worker| &worker.flows_evicted),
    );
    into.count(
        "ringfence_flows_cut",
        "Flows cut because a newer policy denies them",
        engine.sum(|worker| &worker.flows_cut),
    );
    into.count(
        "ringfence_flow_events",
        "What happened to flows: beginnings, ends, refusals",
        engine.sum(|worker| &worker.flow_events),
    );
    into.count(
        "ringfence_flow_events_lost",
        "Of those, how many a full queue lost before they were recorded",
        engine.sum(|worker| &worker.flow_events_lost),
    );
}

fn epochs(engine: &Engine, into: &mut Families) {
    let reported = engine.publisher().reported();
    let epoch = |(number, epoch): (usize, &Option<Epoch>)| {
        epoch.map(|Epoch(epoch)| (label("worker", number.to_string()), u64::from(epoch)))
    };
    into.levels(
        "ringfence_worker_table_epoch",
        "The table that a worker decides by; compare with ringfence_policy_table_epoch",
        reported.iter().enumerate().filter_map(epoch),
    );
}
