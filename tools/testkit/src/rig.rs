//! A packet path without a wire: a [`Pipeline`] over a UMEM in memory, one packet at a time or many.

use std::sync::Arc;

use dataplane::clock::Now;
use dataplane::counters::WorkerCounters;
use dataplane::flow::fragments::{FragmentHeads, FragmentLimits, FragmentTable};
use dataplane::flow::{FlowTable, HashKey, SweepCursor};
use dataplane::frame::{Batch, Umem};
use dataplane::pipeline::{Arrival, Outbox, Pipeline, PipelineParts, SourceCheck, Stage};
use dataplane::policy::{PolicyTable, Publisher, Snapshot};
use dataplane::records::{DropRecord, Records};
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
    pub records: Arc<Records>,
    /// The moment of the next packet.
    pub now: Now,
    out: Outbox,
    /// Every snapshot that was in force when packets came.
    snapshots: Vec<Arc<Snapshot>>,
    /// What left with the last packets, by the port it left from.
    left: Vec<(Side, Vec<u8>)>,
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
        let records = Arc::new(Records::with_room(Records::DROPS, 4096));
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
        let (snapshots, left) = (Vec::new(), Vec::new());
        Self { umem, pipeline, publisher, flows, counters, records, now, out, snapshots, left }
    }

    /// Moves time forward.
    pub fn pass_millis(&mut self, millis: u64) {
        self.now = self.now.plus_millis(millis);
    }

    /// Sends one packet and says what became of it. Fragments that it set free are forwarded too, and its sender may
    /// be told that it was refused: see [`Rig::left`].
    ///
    /// # Panics
    /// If frames are not conserved.
    pub fn send(&mut self, side: Side, packet: &[u8]) -> Fate {
        let held = self.counters.held.get();
        let made = self.counters.made.get();
        let mut sent = self.send_all(side, &[packet]);
        if let Some(record) = self.last_record() {
            return Fate::Dropped(record.reason, record.rule);
        }
        if self.counters.held.get() > held {
            return Fate::Held;
        }
        assert_eq!(self.counters.made.get(), made, "a frame was made although nothing was refused");
        Fate::Forwarded(sent.pop().expect("neither forwarded, dropped nor held"))
    }

    /// Sends packets as one batch after another; returns what left by the other side, in order.
    ///
    /// # Panics
    /// If frames are not conserved, or a packet does not fit a chunk.
    pub fn send_all<P: AsRef<[u8]>>(&mut self, side: Side, packets: &[P]) -> Vec<Vec<u8>> {
        let arrival = Arrival { wire: WIRE, side, now: self.now };
        self.left.clear();
        if let Some(now) = self.publisher.current()
            && self.snapshots.last().is_none_or(|last| last.epoch != now.epoch)
        {
            self.snapshots.push(now);
        }
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
            self.collect();
        }
        self.assert_conserved();
        self.left.iter().map(|(_, bytes)| bytes.clone()).collect()
    }

    /// What left with the last call of [`Rig::send`], [`Rig::send_all`] or [`Rig::tick`], and from which port.
    #[must_use]
    pub fn left(&self) -> &[(Side, Vec<u8>)] {
        &self.left
    }

    /// Runs the pipeline's upkeep; returns the frames that left.
    ///
    /// # Panics
    /// If frames are not conserved.
    pub fn tick(&mut self) -> Vec<Vec<u8>> {
        self.left.clear();
        self.pipeline.tick(&mut self.umem, self.now, &mut self.out);
        self.collect();
        self.assert_conserved();
        self.left.iter().map(|(_, bytes)| bytes.clone()).collect()
    }

    fn collect(&mut self) {
        for side in [Side::Inside, Side::Outside] {
            let frames = self.out.from(side);
            self.counters.side(side).forwarded.add(frames.len() as u64);
            for frame in frames.drain(..) {
                self.left.push((side.peer(), self.umem.bytes(&frame).to_vec()));
                self.umem.release(frame);
            }
        }
    }

    /// The newest drop record of a frame that was not held before; the older ones are thrown away.
    fn last_record(&self) -> Option<DropRecord> {
        core::iter::from_fn(|| self.records.next_drop()).filter(|record| !record.held).last()
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
        let hits: u64 = self.snapshots.iter().map(|snapshot| snapshot.hits.total()).sum();
        assert_eq!(hits, self.counters.decisions.get(), "hits and defaults do not add up to the decisions");
        for snapshot in &self.snapshots {
            for draft in &snapshot.drafts {
                let (asked, decided) = (draft.hits.total(), snapshot.hits.total());
                assert_eq!(asked, decided, "draft {} was not asked for every decision", draft.id);
            }
        }
    }
}
