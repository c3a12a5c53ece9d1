//! The packet path in memory, at full speed: batches of prepared frames through a stage, timed without the copying
//! in and out, which the kernel does on a wire.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::clock::Now;
use dataplane::counters::WorkerCounters;
use dataplane::flow::fragments::{FragmentHeads, FragmentLimits, FragmentTable};
use dataplane::flow::{HashKey, SweepCursor};
use dataplane::frame::{BATCH_MAX, Batch, Umem};
use dataplane::pipeline::{Arrival, Outbox, Pipeline, PipelineParts, SourceCheck, Stage};
use dataplane::policy::{PolicyTable, Publisher};
use dataplane::records::Records;
use dataplane::verdict::{Side, WireId};

use crate::flows;

/// Chunks of the UMEM: as many as a worker has by default.
const CHUNKS: u32 = 4096;
/// The worker's own frames: read in order, one batch after the other.
const CHUNK_SIZE: u32 = 2048;

/// A stage, and all it needs to be fed.
#[expect(missing_debug_implementations, reason = "megabytes of frames")]
pub struct Path<S> {
    stage: S,
    umem: Umem,
    out: Outbox,
    now: Now,
    /// Kept, or the policy would be gone with its publisher.
    _publisher: Option<Publisher>,
}

/// A pipeline with `table` in force and room for twice `flows` flows.
///
/// # Panics
/// If there is no memory.
#[must_use]
pub fn pipeline(table: PolicyTable, flows: u32) -> Path<Pipeline> {
    pipeline_telling(table, flows, Arc::new(Records::new()), Arc::default())
}

/// The same, telling what it does through `records` and `counters`.
///
/// # Panics
/// If there is no memory.
#[must_use]
pub fn pipeline_telling(
    table: PolicyTable,
    flows: u32,
    records: Arc<Records>,
    counters: Arc<WorkerCounters>,
) -> Path<Pipeline> {
    let publisher = Publisher::new(1);
    publisher.publish(table);
    let heads = Arc::new(FragmentHeads::new(1024, HashKey([1, 2])));
    let pipeline = Pipeline::new(PipelineParts {
        worker: 0,
        reader: publisher.reader(0),
        flows: Arc::new(flows::table(flows)),
        sweep: SweepCursor::new(0, 1),
        fragments: FragmentTable::new(FragmentLimits::default(), heads),
        counters,
        records,
        source_check: SourceCheck::Strict,
        pickup_until: Now::from_nanos(0),
    });
    Path::new(pipeline, Some(publisher))
}

impl<S: Stage> Path<S> {
    /// A path of `stage`.
    ///
    /// # Panics
    /// If there is no memory.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a bench without memory has nothing to measure")]
    pub fn new(stage: S, publisher: Option<Publisher>) -> Self {
        Self {
            umem: Umem::anonymous(CHUNKS, CHUNK_SIZE).expect("memory for the frames"),
            out: Outbox::new(stage.forward_max()),
            now: Now::from_nanos(1_000_000_000),
            stage,
            _publisher: publisher,
        }
    }

    /// The stage's counters.
    #[must_use]
    pub fn counters(&self) -> &WorkerCounters {
        self.stage.counters()
    }

    /// Moves time forward.
    pub fn pass_millis(&mut self, millis: u64) {
        self.now = self.now.plus_millis(millis);
    }

    /// Sends at most [`BATCH_MAX`] frames as one batch; how long the stage took, and how many it forwarded.
    ///
    /// # Panics
    /// If there are more frames, or one does not fit a chunk.
    #[expect(clippy::expect_used, reason = "every chunk was given back after the last batch")]
    pub fn send<'a>(&mut self, side: Side, frames: impl Iterator<Item = &'a [u8]>) -> (Duration, usize) {
        let mut batch = Batch::new();
        for bytes in frames {
            let frame = self.umem.allocate(bytes.len()).expect("a free chunk");
            self.umem.bytes_mut(&frame).copy_from_slice(bytes);
            batch.push(frame);
        }
        let arrival = Arrival { wire: WireId(0), side, now: self.now };
        let started = Instant::now();
        self.stage.process(&mut self.umem, arrival, &mut batch, &mut self.out);
        let took = started.elapsed();
        let frames = self.out.from(side);
        let forwarded = frames.len();
        for frame in frames.drain(..) {
            self.umem.release(frame);
        }
        (took, forwarded)
    }

    /// The stage's upkeep, as a worker does it once per turn.
    pub fn tick(&mut self) {
        self.stage.tick(&mut self.umem, self.now, &mut self.out);
    }
}

/// Many frames of one length in one piece of memory, read batch by batch, for ever.
#[expect(missing_debug_implementations, reason = "megabytes of frames")]
pub struct Frames {
    bytes: Vec<u8>,
    len: usize,
    at: usize,
}

impl Frames {
    /// Joins `frames`.
    ///
    /// # Panics
    /// If they are not of one length, or not at least a batch.
    #[must_use]
    pub fn of(frames: impl Iterator<Item = Vec<u8>>) -> Self {
        let (mut bytes, mut len) = (Vec::new(), 0);
        for frame in frames {
            assert!(len == 0 || len == frame.len(), "frames of one length");
            len = frame.len();
            bytes.extend(frame);
        }
        assert!(bytes.len() >= BATCH_MAX * len && len > 0, "at least a batch");
        Self { bytes, len, at: 0 }
    }

    /// How many frames there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.bytes.len() / self.len
    }

    /// The next batch; `true` beside it if it is the first again.
    pub fn batch(&mut self) -> (impl Iterator<Item = &[u8]>, bool) {
        let size = BATCH_MAX * self.len;
        let wrapped = self.at + size > self.bytes.len();
        if wrapped {
            self.at = 0;
        }
        let batch = self.bytes[self.at..self.at + size].chunks_exact(self.len);
        self.at += size;
        (batch, wrapped)
    }
}
