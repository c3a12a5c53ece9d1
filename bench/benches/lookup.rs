//! One flow found among many: our table one packet at a time and a batch at a time with prefetches, and hashbrown
//! beside it. hashbrown is neither shared between threads nor keyed against crafted collisions: it is the peer to be
//! near to, not an alternative.

use std::collections::hash_map::RandomState;
use std::hint::black_box;

use bench::{flows, sizes};
use criterion::{BenchmarkId, Criterion, Throughput};
use dataplane::clock::Now;
use dataplane::flow::{FlowHash, FlowKey, FlowTable, Slot};
use dataplane::frame::BATCH_MAX;
use hashbrown::HashMap;

const FLOWS: &[u32] = &[10_000, 1_000_000];
/// Where flows that are not in the table begin.
const ABSENT: u32 = 2_000_000;
const WORKLOADS: u32 = 10_000;
const RULES: u32 = 1000;
const NOW: Now = Now::from_nanos(1_000_000_000);

/// Batch after batch through a list of keys, for ever.
struct Turns<'a> {
    keys: &'a [FlowKey],
    at: usize,
}

impl<'a> Turns<'a> {
    fn next(&mut self) -> &'a [FlowKey] {
        let batch = &self.keys[self.at..self.at + BATCH_MAX];
        self.at = (self.at + BATCH_MAX) % (self.keys.len() / BATCH_MAX * BATCH_MAX);
        batch
    }
}

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("lookup");
    group.throughput(Throughput::Elements(BATCH_MAX as u64));
    for &count in sizes(FLOWS) {
        let ours = flows::table(count);
        let mut peer: HashMap<FlowKey, [u64; 4]> = HashMap::with_capacity(count as usize);
        let mut sip: HashMap<FlowKey, [u64; 4], RandomState> = HashMap::default();
        sip.reserve(count as usize);
        for n in 0..count {
            let (from, to) = flows::sockets(n, WORKLOADS, RULES);
            let (key, initiator) = flows::key(from, to);
            let inserted = ours.insert(&key, ours.hash(&key), &flows::allowed(initiator), NOW);
            assert!(inserted.is_ok_and(|inserted| inserted.fresh), "flow {n} of {count}");
            peer.insert(key, [n.into(); 4]);
            sip.insert(key, [n.into(); 4]);
        }
        for (kind, first) in [("hit", 0), ("miss", ABSENT)] {
            let keys = keys(first, count);
            let found = keys.iter().filter(|key| ours.find(key, ours.hash(key), NOW).is_some()).count();
            assert_eq!(found, if first == 0 { keys.len() } else { 0 }, "{kind}");
            let turns = || Turns { keys: &keys, at: 0 };
            group.bench_function(BenchmarkId::new(format!("{kind}, one at a time"), count), |b| {
                let mut turns = turns();
                b.iter(|| one_at_a_time(&ours, turns.next()));
            });
            group.bench_function(BenchmarkId::new(format!("{kind}, batch with prefetch"), count), |b| {
                let mut turns = turns();
                b.iter(|| batched(&ours, turns.next()));
            });
            group.bench_function(BenchmarkId::new(format!("{kind}, hashbrown with foldhash"), count), |b| {
                let mut turns = turns();
                b.iter(|| turns.next().iter().filter(|key| black_box(peer.get(*key)).is_some()).count());
            });
            group.bench_function(BenchmarkId::new(format!("{kind}, hashbrown with SipHash"), count), |b| {
                let mut turns = turns();
                b.iter(|| turns.next().iter().filter(|key| black_box(sip.get(*key)).is_some()).count());
            });
        }
    }
    group.finish();
}

fn one_at_a_time(table: &FlowTable, keys: &[FlowKey]) -> usize {
    keys.iter().filter(|key| black_box(table.find(key, table.hash(key), NOW)).is_some()).count()
}

fn batched(table: &FlowTable, keys: &[FlowKey]) -> usize {
    let mut hashes: [Option<FlowHash>; BATCH_MAX] = [None; BATCH_MAX];
    let mut slots: [Option<Slot>; BATCH_MAX] = [None; BATCH_MAX];
    for (key, hash) in keys.iter().zip(&mut hashes) {
        let of_key = table.hash(key);
        table.prefetch(of_key);
        *hash = Some(of_key);
    }
    for (hash, slot) in hashes.iter().flatten().zip(&mut slots) {
        *slot = table.seek(*hash);
    }
    for (hash, slot) in hashes.iter().flatten().zip(&mut slots).filter(|(_, slot)| slot.is_none()) {
        *slot = table.seek_on(*hash);
    }
    let sought = keys.iter().zip(hashes.iter().flatten()).zip(slots);
    sought.filter(|((key, hash), slot)| black_box(table.find_at(*slot, key, **hash, NOW)).is_some()).count()
}

/// `count` keys from flow `first` on, in an order that has nothing to do with how they were inserted.
fn keys(first: u32, count: u32) -> Vec<FlowKey> {
    let mut order: Vec<u32> = (first..first + count).collect();
    bench::measure::statistics::Random(7).shuffle(&mut order);
    order
        .into_iter()
        .map(|n| flows::sockets(n, WORKLOADS, RULES))
        .map(|(from, to)| flows::key(from, to).0)
        .collect()
}
