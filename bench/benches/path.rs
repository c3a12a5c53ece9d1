//! The whole path in memory: from received frames to what is forwarded, batches of 64, as a worker calls it. Not in
//! it: rings, system calls, and the copies that the kernel makes.

use std::time::Duration;

use bench::measure::statistics::Random;
use bench::noop::NoOp;
use bench::path::{Frames, Path, pipeline};
use bench::{estate, flows, sizes};
use control::policy::{CompileOptions, compile};
use criterion::{BenchmarkId, Criterion, Throughput};
use dataplane::frame::BATCH_MAX;
use dataplane::pipeline::{Pipeline, Stage};
use dataplane::policy::PolicyTable;
use dataplane::verdict::Side;
use testkit::Packet;

const WORKLOADS: u32 = 10_000;
const RULES: u32 = 1000;
const FLOWS: &[u32] = &[64, 10_000, 1_000_000];
/// More than any time-out of a datagram flow.
const EXPIRED: u64 = 200_000;

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("path");
    group.throughput(Throughput::Elements(BATCH_MAX as u64));
    let mut made = None;
    group.bench_function("no-op stage", |b| {
        let (path, frames) = made.get_or_insert_with(|| (Path::new(NoOp::default(), None), udp(1000)));
        b.iter_custom(|batches| established(path, frames, batches));
    });
    for &count in sizes(FLOWS) {
        for (kind, open) in ESTABLISHED {
            let mut made = None;
            group.bench_function(BenchmarkId::new(*kind, count), |b| {
                let (path, frames) = made.get_or_insert_with(|| open(count));
                b.iter_custom(|batches| established(path, frames, batches));
            });
        }
    }
    let count = if bench::quick() { 1000 } else { 1_000_000 };
    let mut made = None;
    group.bench_function("udp over IPv4, every packet a new flow", |b| {
        let (path, frames) = made.get_or_insert_with(|| (pipeline(table(), count), udp(count)));
        b.iter_custom(|batches| every_packet_new(path, frames, batches));
    });
    let mut made = None;
    group.bench_function("udp over IPv4, every packet denied", |b| {
        let (path, frames) = made.get_or_insert_with(|| (pipeline(table(), count), denied(count)));
        b.iter_custom(|batches| every_packet_denied(path, frames, batches));
    });
    group.finish();
}

type Open = fn(u32) -> (Path<Pipeline>, Frames);

const ESTABLISHED: &[(&str, Open)] = &[
    ("udp over IPv4", |count| {
        let mut path = pipeline(table(), count);
        let mut frames = udp(count);
        all(&mut path, Side::Inside, &mut frames);
        (path, frames)
    }),
    ("tcp over IPv4", |count| {
        let sockets = |n| flows::sockets(n, WORKLOADS, RULES);
        shaken(count, &sockets)
    }),
    ("tcp over IPv6", |count| {
        let sockets = |n| flows::sockets_v6(n, WORKLOADS, RULES);
        shaken(count, &sockets)
    }),
];

type Sockets<'a> = &'a dyn Fn(u32) -> (std::net::SocketAddr, std::net::SocketAddr);

/// TCP flows after their handshakes, and the acknowledgements to send on them.
fn shaken(count: u32, sockets: Sockets<'_>) -> (Path<Pipeline>, Frames) {
    let mut path = pipeline(table(), count);
    let packet = |n, reply| {
        let (from, to) = sockets(n);
        if reply { Packet::tcp(to, from) } else { Packet::tcp(from, to) }
    };
    let frames = |reply: bool, flags: fn(Packet) -> Packet| {
        Frames::of(order(count).map(|n| flags(packet(n, reply)).padded().build()))
    };
    all(&mut path, Side::Inside, &mut frames(false, |packet| packet.syn().seq(1000)));
    all(&mut path, Side::Outside, &mut frames(true, |packet| packet.syn().seq(5000).ack(1001)));
    let mut acknowledgements = frames(false, |packet| packet.seq(1001).ack(5001));
    all(&mut path, Side::Inside, &mut acknowledgements);
    (path, acknowledgements)
}

/// Sends every frame once; all must be forwarded.
fn all(path: &mut Path<Pipeline>, side: Side, frames: &mut Frames) {
    for _ in 0..frames.count() / BATCH_MAX {
        let (_, forwarded) = path.send(side, frames.batch().0);
        assert_eq!(forwarded, BATCH_MAX, "{:?}", path.counters());
    }
}

/// Sends so many batches of established flows; the time the stage took.
fn established<S: Stage>(path: &mut Path<S>, frames: &mut Frames, batches: u64) -> Duration {
    let mut sum = Duration::ZERO;
    for _ in 0..batches {
        let (took, forwarded) = path.send(Side::Inside, frames.batch().0);
        assert_eq!(forwarded, BATCH_MAX, "{:?}", path.counters());
        sum += took;
    }
    sum
}

/// Sends so many batches, each packet of a flow that the table does not know: by the time its turn comes again, it
/// has expired.
fn every_packet_new(path: &mut Path<Pipeline>, frames: &mut Frames, batches: u64) -> Duration {
    let mut sum = Duration::ZERO;
    for _ in 0..batches {
        let (batch, wrapped) = frames.batch();
        if wrapped {
            path.pass_millis(EXPIRED);
        }
        let (took, forwarded) = path.send(Side::Inside, batch);
        assert_eq!(forwarded, BATCH_MAX, "{:?}", path.counters());
        sum += took;
    }
    assert_eq!(path.counters().flow_hits.get(), 0, "not every one was new");
    sum
}

fn every_packet_denied(path: &mut Path<Pipeline>, frames: &mut Frames, batches: u64) -> Duration {
    let mut sum = Duration::ZERO;
    for _ in 0..batches {
        let (took, forwarded) = path.send(Side::Inside, frames.batch().0);
        assert_eq!(forwarded, 0);
        sum += took;
    }
    sum
}

/// Datagrams to a port that no rule allows.
fn denied(count: u32) -> Frames {
    Frames::of(order(count).map(|n| {
        let (from, to) = flows::sockets(n, WORKLOADS, RULES);
        Packet::udp(from, (to.ip(), 9)).payload([0; 18]).build()
    }))
}

fn udp(count: u32) -> Frames {
    Frames::of(order(count).map(|n| {
        let (from, to) = flows::sockets(n, WORKLOADS, RULES);
        Packet::udp(from, to).payload([0; 18]).build()
    }))
}

/// The flows, in an order that has nothing to do with their hosts.
fn order(count: u32) -> impl Iterator<Item = u32> {
    let mut order: Vec<u32> = (0..count).collect();
    Random(7).shuffle(&mut order);
    order.into_iter()
}

fn table() -> PolicyTable {
    let policy = estate::policy(WORKLOADS, RULES);
    compile(&policy, &CompileOptions::default()).expect("within the limits").table
}
