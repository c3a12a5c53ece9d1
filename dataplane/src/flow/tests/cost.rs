//! What a packet costs here. Not a test: run by hand, in release, on a quiet core.
//!
//! `cargo test -p dataplane --release --lib flow::tests::cost -- --ignored --nocapture --test-threads 1`

use core::hint::black_box;

use rustix::time::{ClockId, clock_gettime};

use super::*;

/// Nanoseconds of processor time this thread has had: what else runs on the machine does not count.
fn spent() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

const BATCH: usize = 64;

/// The key's ways through a batch of established flows: hash, prefetch, find, TCP, count.
fn established(flows: u32, family: u32) {
    let table = table((flows * 2) as usize);
    let keys: Vec<FlowKey> = (0..flows).map(|n| key(protocol::TCP, 2 * n + family)).collect();
    let ack = segment(ACK, 101, 501);
    for key in &keys {
        establish(&table, key, at(1));
    }
    let mut order = 12345u32;
    let batches = 40_000;
    let picks: Vec<usize> = (0..BATCH * batches)
        .map(|_| {
            order = order.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (order >> 4) as usize % keys.len()
        })
        .collect();
    let mut best = [f64::MAX; 2];
    for _ in 0..5 {
        for (entries, best) in best.iter_mut().enumerate() {
            let start = spent();
            for batch in picks.chunks_exact(BATCH) {
                let mut hashes = [None; BATCH];
                for (hash, pick) in hashes.iter_mut().zip(batch) {
                    let value = table.hash(&keys[*pick]);
                    table.prefetch(value);
                    *hash = Some(value);
                }
                if entries == 1 {
                    for hash in hashes.iter().flatten() {
                        black_box(table.seek(*hash));
                    }
                }
                for (hash, pick) in hashes.iter().flatten().zip(batch) {
                    let handle = table.find(&keys[*pick], *hash, at(2)).unwrap();
                    black_box(handle.observe_tcp(CLIENT, &ack, 60, at(2))).unwrap();
                }
            }
            let nanos = (spent() - start) / (BATCH * batches) as f64;
            *best = best.min(nanos);
        }
    }
    let name = if family == 0 { "v4" } else { "v6" };
    println!("{flows} flows {name}: {:.1} ns, {:.1} ns with entries prefetched", best[0], best[1]);
}

#[test]
#[ignore = "a measurement"]
fn established_hits() {
    for flows in [1_000, 10_000, 100_000, 1_000_000] {
        established(flows, 0);
        established(flows, 1);
    }
}

#[test]
#[ignore = "a measurement"]
fn parts() {
    let table = table(20_000);
    let keys: Vec<FlowKey> = (0..10_000).map(|n| key(protocol::TCP, 2 * n)).collect();
    keys.iter().for_each(|key| establish(&table, key, at(1)));
    let ack = segment(ACK, 101, 501);
    let rounds = 300;
    let per_key = |name: &str, work: &mut dyn FnMut(&FlowKey)| {
        let mut best = f64::MAX;
        for _ in 0..5 {
            let start = spent();
            for _ in 0..rounds / 10 {
                keys.iter().for_each(&mut *work);
            }
            best = best.min((spent() - start) / (keys.len() * rounds / 10) as f64);
        }
        println!("{name}: {best:.1} ns");
    };
    per_key("hash", &mut |key| {
        black_box(table.hash(key));
    });
    #[expect(clippy::cast_possible_truncation, reason = "each half is taken on purpose")]
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        (product >> 64) as u64 ^ product as u64
    };
    per_key("multiply-fold of the same words, for comparison", &mut |key| {
        let words = key.words();
        let ends = fold(words[1] ^ 0x9e37_79b9_7f4a_7c15, words[3] ^ 0xc2b2_ae3d_27d4_eb4f);
        black_box(fold(ends ^ words[4], words[0] ^ words[2] ^ 0x1656_67b1_9e37_79f9));
    });
    let hashed: Vec<_> = keys.iter().map(|key| (key, table.hash(key))).collect();
    let mut at_next = 0;
    per_key("find", &mut |_| {
        let (key, hash) = hashed[at_next % hashed.len()];
        at_next += 1;
        black_box(table.find(key, hash, at(2)));
    });
    let one = find(&table, &keys[0], at(2)).unwrap();
    per_key("observe_tcp, one flow in the cache", &mut |_| {
        black_box(one.observe_tcp(CLIENT, &ack, 60, at(2))).unwrap();
    });
    let mut connection = Connection::open(&segment(SYN, 100, 0), CLIENT, Mode::Strict).unwrap();
    connection.step(SERVER, &segment(SYN | ACK, 500, 101)).unwrap();
    per_key("the same, state only", &mut |_| {
        black_box(connection.step(CLIENT, black_box(&ack))).unwrap();
    });
}
