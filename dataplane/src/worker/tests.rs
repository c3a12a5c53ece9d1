//! The loop over rings in ordinary memory, with a device that does as it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use rustix::net::xdp::{XdpDesc, XdpDescOptions};

use super::pair::End;
use super::*;
use crate::counters::WorkerCounters;
use crate::frame::xsk::{Device, without_kernel};
use crate::frame::{BATCH_MAX, HEADROOM, Umem};
use crate::verdict::DropReason;

const CHUNKS: u32 = 256;
const RING: u32 = 32;
const LONGEST: usize = 1522;

/// Forwards everything, and tells how often it was called.
struct Forward {
    counters: WorkerCounters,
    ticks: Arc<AtomicU32>,
}

impl Stage for Forward {
    /// Longer than any test run: only a wake-up can end a sleep.
    const TICK_MILLIS: u32 = 86_400_000;

    fn process(&mut self, _umem: &mut Umem, arrival: Arrival, batch: &mut Batch, out: &mut Outbox) {
        let received = u64::try_from(batch.len()).unwrap();
        self.counters.side(arrival.side).received.add(received);
        out.from(arrival.side).extend(batch.drain(..));
    }

    fn tick(&mut self, _umem: &mut Umem, _now: Now, _out: &mut Outbox) {
        self.ticks.fetch_add(1, Ordering::SeqCst);
    }

    fn forward_max(&self) -> usize {
        BATCH_MAX
    }

    fn counters(&self) -> &WorkerCounters {
        &self.counters
    }
}

/// A worker and the devices at both of its ends.
struct Rig {
    worker: Worker<Forward>,
    inside: Device,
    outside: Device,
}

impl Rig {
    fn new() -> Self {
        let end = |side| {
            let (receiver, transmitter, device) = without_kernel(side, RING);
            (End { receiver, transmitter, longest: LONGEST }, device)
        };
        let (inside_end, inside) = end(Side::Inside);
        let (outside_end, outside) = end(Side::Outside);
        let umem = Umem::anonymous(CHUNKS, 2048).unwrap();
        let pair = QueuePair { umem, inside: inside_end, outside: outside_end, reserve: 64 };
        let stage = Forward { counters: WorkerCounters::default(), ticks: Arc::default() };
        let worker = Worker::new(WireId(0), pair, stage, Control::new().unwrap(), false);
        let mut rig = Self { worker, inside, outside };
        rig.turn();
        rig
    }

    fn turn(&mut self) -> bool {
        self.worker.turn(Now::from_nanos(1))
    }

    fn device(&mut self, side: Side) -> &mut Device {
        match side {
            Side::Inside => &mut self.inside,
            Side::Outside => &mut self.outside,
        }
    }

    /// Frames of `len` bytes arrive, as many as there are chunks for: how many did.
    fn arrive(&mut self, side: Side, frames: usize, len: u32) -> usize {
        let device = self.device(side);
        let mut arrived = 0;
        while arrived < frames
            && let Some(addr) = device.fill.pop()
        {
            assert!(
                device.rx.push(descriptor(addr + u64::from(HEADROOM), len)),
                "ring and fill ring are equal"
            );
            arrived += 1;
        }
        device.fill.publish();
        device.rx.publish();
        arrived
    }

    /// The device sends what waits, at most `frames`, and completes it: how many it was.
    fn depart(&mut self, side: Side, frames: usize) -> usize {
        let device = self.device(side);
        let mut sent = 0;
        while sent < frames
            && let Some(frame) = device.tx.pop()
        {
            assert!(device.completion.push(frame.addr));
            sent += 1;
        }
        device.tx.publish();
        device.completion.publish();
        sent
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.worker.stage.counters.dropped(reason).get()
    }

    fn check(&mut self) {
        assert_eq!(self.worker.stage.counters.unaccounted(), 0);
        let census = self.worker.pair.census();
        assert_eq!((census.total(), census.worker), (CHUNKS, 0), "{census:?}");
    }
}

fn descriptor(addr: u64, len: u32) -> XdpDesc {
    XdpDesc { addr, len, options: XdpDescOptions::empty() }
}

#[test]
fn a_wire_and_its_waker_may_be_used_from_any_thread() {
    fn check<T: Send + Sync>() {}
    check::<Waker>();
    check::<Wire<Forward>>();
}

#[test]
fn both_ports_are_given_chunks_before_anything_comes() {
    let mut rig = Rig::new();
    let census = rig.worker.pair.census();
    assert_eq!((census.fill, census.free), (2 * RING, CHUNKS - 2 * RING));
}

#[test]
fn a_reserve_of_chunks_is_never_lent() {
    let mut rig = Rig::new();
    for _ in 0..20 {
        for side in [Side::Inside, Side::Outside] {
            rig.arrive(side, 32, 60);
        }
        rig.turn();
        assert!(rig.worker.pair.umem.free() >= 64);
        rig.check();
    }
}

proptest! {
    /// Whatever the pace of both devices: nothing is lost without a reason, no chunk is lost, none has two owners.
    #[test]
    fn frames_and_chunks_are_conserved(
        steps in prop::collection::vec((0..80_usize, 0..80_usize, 0..80_usize, 0..80_usize), 1..40)
    ) {
        let mut rig = Rig::new();
        let (mut arrived, mut departed) = (0, 0);
        for (from_inside, from_outside, to_inside, to_outside) in steps {
            arrived += rig.arrive(Side::Inside, from_inside, 60) + rig.arrive(Side::Outside, from_outside, 1514);
            rig.turn();
            rig.check();
            departed += rig.depart(Side::Inside, to_inside) + rig.depart(Side::Outside, to_outside);
        }
        while rig.turn() || rig.depart(Side::Inside, usize::MAX) + rig.depart(Side::Outside, usize::MAX) > 0 {
            // What is left in the rings flows out.
        }
        let forwarded = [Side::Inside, Side::Outside].map(|s| rig.worker.stage.counters.side(s).forwarded.get());
        let dropped = rig.dropped(DropReason::TransmitFull);
        prop_assert_eq!(forwarded.iter().sum::<u64>() + dropped, arrived as u64);
        prop_assert!(departed as u64 <= forwarded.iter().sum());
        rig.check();
        prop_assert_eq!(rig.worker.pair.census().transmit, 0);
        prop_assert_eq!(rig.worker.pair.umem.rejected(), 0);
    }
}

#[test]
fn what_cannot_leave_is_dropped_with_its_reason() {
    // name, state of the port, frames, their length, reason, expected drops
    let cases = [
        ("ring just enough", PortState::Up, 32, 60, DropReason::TransmitFull, 0),
        ("ring full", PortState::Up, 64, 60, DropReason::TransmitFull, 32),
        ("ring full, port down", PortState::Down, 64, 60, DropReason::PortDown, 32),
        ("longest frame", PortState::Up, 1, 1522, DropReason::TooBig, 0),
        ("longer", PortState::Up, 5, 1523, DropReason::TooBig, 5),
    ];
    for (name, state, frames, len, reason, expected) in cases {
        let mut rig = Rig::new();
        let mut arrived = 0;
        while arrived < frames {
            // The state lasts: without a kernel no kick says otherwise.
            arrived += rig.arrive(Side::Inside, frames - arrived, len);
            rig.worker.control.set_state(Side::Outside, state);
            rig.turn();
        }
        assert_eq!(rig.dropped(reason), expected, "{name}");
        assert_eq!(rig.worker.stage.counters.dropped_in_all(), expected, "{name}");
        rig.check();
        assert_eq!(rig.depart(Side::Outside, usize::MAX) as u64, arrived as u64 - expected, "{name}");
    }
}

#[test]
fn nonsense_from_the_rings_is_counted_and_costs_nothing() {
    let mut rig = Rig::new();
    let lent = rig.inside.fill.pop().unwrap();
    let own = descriptor(lent + 256, 60);
    let nonsense = [
        descriptor(u64::MAX, 60),
        descriptor(u64::from(CHUNKS) * 2048, 60),
        descriptor(u64::from(CHUNKS - 1) * 2048, 60),
    ];
    for entry in nonsense {
        rig.inside.rx.push(entry);
    }
    rig.inside.rx.push(own);
    rig.inside.rx.push(own);
    rig.inside.rx.publish();
    rig.outside.completion.push(lent);
    rig.outside.completion.push(u64::MAX);
    rig.outside.completion.publish();
    rig.turn();
    assert_eq!(rig.worker.pair.umem.rejected(), 3 + 1 + 2);
    assert_eq!(rig.worker.control.rejected(), 6);
    assert_eq!(rig.worker.stage.counters.side(Side::Inside).received.get(), 1);
    rig.check();
}

#[test]
fn a_sleeping_worker_wakes_for_a_publish_and_for_a_stop() {
    let rig = Rig::new();
    let control = rig.worker.control.clone();
    let ticks = Arc::clone(&rig.worker.stage.ticks);
    let worker = rig.worker;
    let thread = std::thread::spawn(move || worker.run());
    for _ in 0..3 {
        let before = ticks.load(Ordering::SeqCst);
        control.wake();
        while ticks.load(Ordering::SeqCst) == before {
            std::thread::yield_now();
        }
    }
    control.stop();
    let mut worker = thread.join().unwrap();
    assert_eq!(worker.pair.census().total(), CHUNKS);
}
