//! A packet path without a wire: a [`Pipeline`] over a UMEM in memory, one packet at a time or many.

use std::sync::Arc;

use dataplane::clock::Now;
use dataplane::counters::{DropRecord, DropRecords, WorkerCounters};
use dataplane::flow::fragments::{FragmentHeads, FragmentLimits, FragmentTable};
use dataplane::flow::{FlowTable, HashKey, SweepCursor};
use dataplane::frame::{Batch, Umem};
use dataplane::pipeline::{Arrival, Outbox, Pipeline, PipelineParts, SourceCheck, Stage};
use dataplane::policy::{PolicyTable, Publisher};
use dataplane::verdict::{DropReason, RuleId, Side, WireId};

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It left by the other side as these bytes.
    Forwarded(Vec<u8>),
    /// It was lost.
    Dropped(DropReason, Option<RuleId>),
    /// It waits for its datagram's first fragment.
    Held,
}

impl Fate {
    /// The reason it was dropped for, if it was.
    #[must_use]
    pub fn reason(&self) -> Option<DropReason> {
        match self {
            Self::Dropped(reason, _) => Some(*reason),
            Self::Forwarded(_) | Self::Held => None,
        }
    }

    /// Whether it left by the other side.
    #[must_use]
    pub fn is_forwarded(&self) -> bool {
        matches!(self, Self::Forwarded(_))
    }
}

/// How a [`Rig`] is built.
#[derive(Clone, Copy, Debug)]
pub struct RigOptions {
    /// Flows the table holds.
    pub flows: usize,
    /// How sources are checked.
    pub source_check: SourceCheck,
    /// Until when TCP may be picked up mid-stream.
    pub pickup_until: Now,
    /// Chunks of the UMEM, 2048 bytes each.
    pub chunks: u32,
}

impl Default for RigOptions {
    fn default() -> Self {
        Self {
            flows: 4096,
            source_check: SourceCheck::Strict,
            pickup_until: Now::from_nanos(0),
            chunks: 1024,
        }
    }
}

/// One worker's packet path on one wire, in memory. Deterministic: fixed hash keys, and time only moves when told.
pub struct Rig {
    /// Where its frames live.
    pub umem: Umem,
    /// The packet path.
    pub pipeline: Pipeline,
    /// Where policies are published.
    pub publisher: Publisher,
    /// The flow table.
    pub flows: Arc<FlowTable>,
    /// What the worker counted.
    pub counters: Arc<WorkerCounters>,
    /// Drops, in order.
    pub records: Arc<DropRecords>,
    /// The moment of the next packet.
    pub now: Now,
    out: Outbox,
}

/// The wire every rig is on.
pub const WIRE: WireId = WireId(0);

impl Rig {
    /// A rig with `table` in force.
    #[must_use]
    pub fn new(table: PolicyTable, options: &RigOptions) -> Self {
        let rig = Self::without_policy(options);
        rig.publisher.publish(table);
        rig
    }

    /// A rig before the first publish.
    ///
    /// # Panics
    /// If the memory cannot be had.
    #[must_use]
    pub fn without_policy(options: &RigOptions) -> Self {
        let publisher = Publisher::new(1);
        let secret = HashKey([1, 2]);
        let flows = Arc::new(FlowTable::with_key(options.flows, secret).expect("a flow table"));
        let heads = Arc::new(FragmentHeads::new(1024, secret));
        let counters = Arc::new(WorkerCounters::default());
        let records = Arc::new(DropRecords::new());
        let pipeline = Pipeline::new(PipelineParts {
            worker: 0,
            reader: publisher.reader(0),
            flows: Arc::clone(&flows),
            sweep: SweepCursor::new(0, 1),
            fragments: FragmentTable::new(FragmentLimits::default(), heads),
            counters: Arc::clone(&counters),
            records: Arc::clone(&records),
            source_check: options.source_check,
            pickup_until: options.pickup_until,
        });
        let umem = Umem::anonymous(options.chunks, 2048).expect("a UMEM");
        let out = Outbox::new(pipeline.forward_max());
        let now = Now::from_nanos(1_000_000_000);
        Self { umem, pipeline, publisher, flows, counters, records, now, out }
    }

    /// Moves time forward.
    pub fn pass_millis(&mut self, millis: u64) {
        self.now = self.now.plus_millis(millis);
    }

    /// Sends one packet and says what became of it. Fragments that it set free are forwarded too and are only
    /// counted: use [`Rig::send_all`] to see them.
    ///
    /// # Panics
    /// If frames are not conserved.
    pub fn send(&mut self, side: Side, packet: &[u8]) -> Fate {
        let held = self.counters.held.get();
        let mut sent = self.send_all(side, &[packet]);
        if let Some(record) = self.last_record() {
            return Fate::Dropped(record.reason, record.rule);
        }
        if self.counters.held.get() > held {
            return Fate::Held;
        }
        Fate::Forwarded(sent.pop().expect("neither forwarded, dropped nor held"))
    }

    /// Sends packets as one batch after another; returns what left by the other side, in order.
    ///
    /// # Panics
    /// If frames are not conserved, or a packet does not fit a chunk.
    pub fn send_all<P: AsRef<[u8]>>(&mut self, side: Side, packets: &[P]) -> Vec<Vec<u8>> {
        let arrival = Arrival { wire: WIRE, side, now: self.now };
        let mut left = Vec::new();
        for packets in packets.chunks(dataplane::frame::BATCH_MAX) {
            let mut batch = Batch::new();
            for packet in packets {
                let packet = packet.as_ref();
                let frame = self.umem.allocate(packet.len()).expect("a free chunk for the packet");
                self.umem.bytes_mut(&frame).copy_from_slice(packet);
                batch.push(frame);
            }
            self.pipeline.process(&mut self.umem, arrival, &mut batch, &mut self.out);
            assert!(batch.is_empty(), "the pipeline left frames in the batch");
            self.collect(&mut left);
        }
        self.assert_conserved();
        left
    }

    /// Runs the pipeline's upkeep; returns the frames that left.
    ///
    /// # Panics
    /// If frames are not conserved.
    pub fn tick(&mut self) -> Vec<Vec<u8>> {
        self.pipeline.tick(&mut self.umem, self.now, &mut self.out);
        let mut left = Vec::new();
        self.collect(&mut left);
        self.assert_conserved();
        left
    }

    fn collect(&mut self, left: &mut Vec<Vec<u8>>) {
        for side in [Side::Inside, Side::Outside] {
            let frames = self.out.from(side);
            self.counters.side(side).forwarded.add(frames.len() as u64);
            for frame in frames.drain(..) {
                left.push(self.umem.bytes(&frame).to_vec());
                self.umem.release(frame);
            }
        }
    }

    /// The newest drop record; the older ones are thrown away.
    fn last_record(&self) -> Option<DropRecord> {
        core::iter::from_fn(|| self.records.pop()).last()
    }

    /// Every frame is free again or held, every packet is counted once, and every decision under its rule.
    ///
    /// # Panics
    /// If not.
    pub fn assert_conserved(&self) {
        let census = self.umem.census();
        let held = usize::try_from(self.counters.held.get()).expect("fits");
        assert_eq!(self.umem.free() + held, census.total() as usize, "a frame leaked: {census:?}");
        assert_eq!(self.counters.unaccounted(), 0, "a packet was not counted once");
        if let Some(snapshot) = self.publisher.current() {
            let decided: u64 = self.counters.decisions.get();
            assert!(snapshot.hits.total() <= decided, "more hits than decisions");
        }
    }
}
