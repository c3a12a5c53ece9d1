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
    /// The frames in work. Kept from batch to batch, so that they are not moved.
    groups: Box<[Group; 3]>,
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
        Self { reader, path, groups: Box::default() }
    }
}

/// Frames of a [`Group`]: so few that what is read of three groups, a quarter of a kilobyte a frame, stays in the
/// first-level cache.
const AT_ONCE: usize = 8;

/// Some frames of a batch that take each step together, and what was read of each, in their order.
#[derive(Default)]
struct Group {
    frames: ArrayVec<Frame, AT_ONCE>,
    parsed: ArrayVec<Parsed, AT_ONCE>,
}

impl Group {
    /// Takes the next frames, and starts fetching their first lines.
    fn take(&mut self, umem: &Umem, batch: &mut impl Iterator<Item = Frame>) {
        self.frames.extend(batch.take(AT_ONCE));
        self.frames.iter().for_each(|frame| umem.prefetch(frame));
    }
}

impl Stage for Pipeline {
    fn process(&mut self, umem: &mut Umem, arrival: Arrival, batch: &mut Batch, out: &mut Outbox) {
        let Self { reader, path, groups } = self;
        // (1) Read the policy once for the whole batch.
        let snapshot = reader.read();
        path.tapped.begin(&path.records, arrival.wire);
        // Each turn takes another step with each of three groups. What a step makes the processor fetch (the frames, the
        // headers of the flow table, its entries) arrives while the other groups take theirs. The last step stands first: each
        // makes room for the one before it.
        let [mut fresh, mut read, mut sought] = groups.each_mut();
        let mut frames = batch.drain(..);
        loop {
            // (5) Judge each frame and act on it: forward, hold, or drop with a reason.
            for (frame, parsed) in sought.frames.drain(..).zip(&sought.parsed) {
                path.judge(umem, snapshot, arrival, frame, parsed, out);
            }
            sought.parsed.clear();
            // (4) See where the flows are, and start fetching them.
            path.seek(&mut read.parsed);
            // (3) Read every header.
            path.parse(umem, arrival, fresh);
            (fresh, read, sought) = (sought, fresh, read);
            // (2) Take the next frames, and start fetching them.
            fresh.take(umem, &mut frames);
            if [&fresh, &read, &sought].iter().all(|group| group.frames.is_empty()) {
                break;
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
    fn parse(&self, umem: &Umem, arrival: Arrival, group: &mut Group) {
        let Group { frames, parsed } = group;
        let side = self.counters.side(arrival.side);
        side.received.add(frames.len() as u64);
        side.received_bytes.add(frames.iter().map(|frame| frame.len() as u64).sum());
        for frame in frames {
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
