//! The whole path of a batch, from received frames to dispositions, as a function over memory.
//!
//! The worker calls it between its rings; tests, fuzzing, `ringfence replay` and the benches call it with frames
//! they made themselves. Nothing here knows a ring, a socket or a clock.

mod act;
mod flows;
mod identity;
mod judge;
mod neighbour;
mod stage;
mod tapped;
mod upkeep;

use std::sync::Arc;

use arrayvec::ArrayVec;

use crate::clock::Now;
use crate::counters::WorkerCounters;
use crate::flow::fragments::FragmentTable;
use crate::flow::{FlowKey, FlowTable, SweepCursor};
use crate::frame::{BATCH_MAX, Batch, Frame, Umem};
use crate::headers::{self, Headers, Ip, Network};
use crate::policy::{PolicyReader, Snapshot};
use crate::records::Records;
use crate::transmit::limit::TokenBucket;
use crate::verdict::{DropReason, Epoch};

pub use stage::{Arrival, Outbox, Stage};

use act::Scene;
use flows::Lookup;
use judge::{Judge, Loss};
use tapped::Tapped;
use upkeep::Upkeep;

/// How strictly a wire ties source addresses to its inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceCheck {
    /// Frames from the inside must come from a workload that may stand behind this wire.
    #[default]
    Strict,
    /// Also lets addresses in from the inside that no workload owns: for a wire whose inventory is still being
    /// collected. Such endpoints are unmanaged and get what policy gives those.
    Known,
}

/// What a pipeline is made of.
pub struct PipelineParts {
    /// This worker's number: its index into per-worker tables.
    pub worker: usize,
    /// Its view of the published policy.
    pub reader: PolicyReader,
    /// The flow table all workers share.
    pub flows: Arc<FlowTable>,
    /// This worker's share of the flow table's upkeep.
    pub sweep: SweepCursor,
    /// Its own fragment table.
    pub fragments: FragmentTable,
    /// Its own counters.
    pub counters: Arc<WorkerCounters>,
    /// Its own queues to the control thread.
    pub records: Arc<Records>,
    /// How sources are checked.
    pub source_check: SourceCheck,
    /// Until then a TCP segment of an unknown flow may be picked up mid-stream, if policy allows the flow: after a
    /// start, connections older than this process must not all die.
    pub pickup_until: Now,
}

/// One worker's packet path.
pub struct Pipeline {
    reader: PolicyReader,
    path: Path,
    /// What was read of the frames in work, in their order. Kept from batch to batch, so that it is not moved.
    parsed: Box<ArrayVec<Parsed, AT_ONCE>>,
}

/// All of a pipeline but its policy, so that both can be borrowed at once.
struct Path {
    worker: usize,
    flows: Arc<FlowTable>,
    upkeep: Upkeep,
    fragments: FragmentTable,
    counters: Arc<WorkerCounters>,
    records: Arc<Records>,
    /// Who wants copies of the frames of the batch in work.
    tapped: Tapped,
    source_check: SourceCheck,
    pickup_until: Now,
    /// How often senders are told that a frame was refused.
    answers: TokenBucket,
}

/// What was read of a frame, and where its flow would be in the table.
struct Parsed {
    headers: Result<Headers, DropReason>,
    lookup: Option<Lookup>,
}

/// Answers to refused frames that one worker makes a second, and at once. Linux limits its ICMP errors to 1000 a
/// second for the whole host (`icmp_msgs_per_sec`).
const ANSWERS_PER_SECOND: u32 = 1000;
const ANSWERS_AT_ONCE: u32 = 200;

impl Pipeline {
    /// A pipeline over `parts`. Allocates all it will ever need.
    #[must_use]
    pub fn new(parts: PipelineParts) -> Self {
        let PipelineParts {
            worker,
            reader,
            flows,
            sweep,
            fragments,
            counters,
            records,
            source_check,
            pickup_until,
        } = parts;
        let path = Path {
            worker,
            flows,
            upkeep: Upkeep::new(sweep),
            fragments,
            counters,
            records,
            tapped: Tapped::default(),
            source_check,
            pickup_until,
            answers: TokenBucket::new(ANSWERS_PER_SECOND, ANSWERS_AT_ONCE),
        };
        Self { reader, path, parsed: Box::default() }
    }
}

/// Frames whose headers are read before the first of them is judged: enough to wait for their memory together, and few
/// enough that what was read of them, a quarter of a kilobyte each, stays in the first-level cache. With a million flows a
/// packet takes 10 % less than with all 64 of a batch at once (`path` in the benches), with ten thousand the same.
const AT_ONCE: usize = 16;

impl Stage for Pipeline {
    fn process(&mut self, umem: &mut Umem, arrival: Arrival, batch: &mut Batch, out: &mut Outbox) {
        let Self { reader, path, parsed } = self;
        // (1) Read the policy once for the whole batch.
        let snapshot = reader.read();
        path.tapped.begin(&path.records, arrival.wire);
        while !batch.is_empty() {
            let few = batch.len().min(AT_ONCE);
            // (2) Read every header.
            path.parse(umem, arrival, &batch[..few], parsed);
            // (3) See where the flows are, and start fetching them.
            path.seek(parsed);
            // (4) Judge each frame and act on it: forward, hold, or drop with a reason.
            for (frame, parsed) in batch.drain(..few).zip(parsed.iter()) {
                path.judge(umem, snapshot, arrival, frame, parsed, out);
            }
        }
        path.copy_forwarded(umem, snapshot, arrival.now, out);
        path.counters.held.set(path.fragments.held() as u64);
    }

    fn tick(&mut self, umem: &mut Umem, now: Now, out: &mut Outbox) {
        let snapshot = self.reader.read();
        let epoch = snapshot.map_or(Epoch(0), |snapshot| snapshot.epoch);
        self.path.tapped.go_on(&self.path.records);
        let Path { upkeep, flows, records, counters, .. } = &mut self.path;
        upkeep.run(flows, records, counters, now);
        self.path.settle_overdue(umem, epoch, now, out);
        self.path.copy_forwarded(umem, snapshot, now, out);
        self.path.counters.held.set(self.path.fragments.held() as u64);
    }

    fn forward_max(&self) -> usize {
        BATCH_MAX + self.path.fragments.held_max()
    }

    fn counters(&self) -> &WorkerCounters {
        &self.path.counters
    }
}

impl Path {
    /// Counts what came in and reads its headers.
    fn parse(&self, umem: &Umem, arrival: Arrival, batch: &[Frame], parsed: &mut ArrayVec<Parsed, AT_ONCE>) {
        let side = self.counters.side(arrival.side);
        side.received.add(batch.len() as u64);
        side.received_bytes.add(batch.iter().map(|frame| frame.len() as u64).sum());
        parsed.clear();
        for frame in batch {
            let headers = headers::parse(umem.bytes(frame));
            let lookup = match headers {
                Ok(Headers { network: Network::Ip(ref ip), .. }) => self.lookup(arrival, ip),
                _ => None,
            };
            parsed.push(Parsed { headers, lookup });
        }
    }

    fn lookup(&self, arrival: Arrival, ip: &Ip) -> Option<Lookup> {
        let (key, sender) = FlowKey::of(arrival.wire, ip)?;
        let hash = self.flows.hash(&key);
        // Arrives while the headers of the frames behind this one are read.
        self.flows.prefetch(hash);
        Some(Lookup { key, sender, hash, slot: None })
    }

    /// Sees where in the table the flows of a batch are. In loops that do nothing else, so that the processor waits for
    /// the memory of many frames at once.
    fn seek(&self, parsed: &mut [Parsed]) {
        let mut elsewhere = ArrayVec::<&mut Lookup, AT_ONCE>::new();
        for lookup in parsed.iter_mut().filter_map(|parsed| parsed.lookup.as_mut()) {
            lookup.slot = self.flows.seek(lookup.hash);
            if lookup.slot.is_none() {
                elsewhere.push(lookup);
            }
        }
        for lookup in elsewhere {
            lookup.slot = self.flows.seek_on(lookup.hash);
        }
    }

    /// Judges one frame and disposes of it.
    fn judge(
        &mut self,
        umem: &mut Umem,
        snapshot: Option<&Snapshot>,
        arrival: Arrival,
        frame: Frame,
        parsed: &Parsed,
        out: &mut Outbox,
    ) {
        let scene = Scene { arrival, snapshot, ip: None };
        let (headers, snapshot) = match (&parsed.headers, snapshot) {
            (Ok(headers), Some(snapshot)) => (headers, snapshot),
            (Err(reason), _) => return self.drop(umem, scene, frame, Loss::of(*reason), out),
            (_, None) => return self.drop(umem, scene, frame, Loss::of(DropReason::NoPolicy), out),
        };
        let judge = self.judge_with(snapshot, arrival);
        let verdict = judge.frame(headers, parsed.lookup.as_ref(), frame.len);
        let Network::Ip(ref ip) = headers.network else {
            return match verdict {
                Ok(()) => out.from(arrival.side).push(frame),
                Err(loss) => self.drop(umem, scene, frame, loss, out),
            };
        };
        let scene = Scene { ip: Some(ip), ..scene };
        match (ip.fragment, verdict) {
            (Some(_), verdict) => self.fragment(umem, scene, ip, frame, verdict, out),
            (None, Ok(())) => self.forward(umem, arrival, frame, ip, out),
            (None, Err(loss)) => self.drop(umem, scene, frame, loss, out),
        }
    }

    fn judge_with<'a>(&'a self, snapshot: &'a Snapshot, arrival: Arrival) -> Judge<'a> {
        Judge {
            snapshot,
            flows: &self.flows,
            counters: &self.counters,
            records: &self.records,
            worker: self.worker,
            source_check: self.source_check,
            pickup: arrival.now < self.pickup_until,
            arrival,
        }
    }
}
