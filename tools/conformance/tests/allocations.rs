//! A worker allocates nothing after its start: every kind of packet, every disposition, and a publish in between.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use control::policy::valid::Action;
use control::policy::{CompileOptions, SourceFile, compile, load_texts};
use dataplane::capture::{Fates, Filter, Lane, Sieve};
use dataplane::frame::{BATCH_MAX, Batch};
use dataplane::pipeline::{Arrival, Outbox, Stage};
use dataplane::policy::PolicyTable;
use dataplane::verdict::{OnRevoke, Side};
use testkit::Packet;
use testkit::rig::{Rig, RigOptions, WIRE};

/// The system's allocator, counting per thread.
struct Counting;

thread_local! {
    // Constant and without a destructor, so reading it never allocates.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn allocations() -> u64 {
    ALLOCATIONS.get()
}

// SAFETY: every call goes to `System` unchanged, which keeps the contract of `GlobalAlloc`; counting touches only a
// thread-local number.
#[allow(unsafe_code, reason = "a global allocator is an unsafe trait")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`, which is that of `System.alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // Freeing counts too: a destructor of something large has no place on a worker either.
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: `pointer` came from `System` through `alloc` above, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn table(rules: &str) -> PolicyTable {
    let text = format!(
        "ringfence: 1
workloads:
  - {{name: web, labels: {{role: web}}, addresses: [10.0.0.1, \"fd00::1\"]}}
  - {{name: db, labels: {{role: db}}, addresses: [10.0.0.2, \"fd00::2\"]}}
  - {{name: old, labels: {{role: old}}, addresses: [10.0.0.3], wire: w}}
rules:
  - {{name: no-finger, from: any, to: {{role: db}}, service: [tcp/79, udp/79], action: override-deny}}
{rules}"
    );
    let file = SourceFile { name: "test.yaml".to_owned(), text };
    let mut loaded = load_texts(&[file]).expect("a valid policy");
    for rule in loaded.policy.tiers.iter_mut().flat_map(|tier| &mut tier.rules) {
        rule.on_revoke = if rule.name == "web-to-db" { OnRevoke::Drain(1) } else { OnRevoke::Cut };
        if rule.action == Action::Deny {
            rule.action = Action::Reject;
        }
    }
    let wires = ["w".to_owned()];
    let options = CompileOptions { wires: &wires, ..CompileOptions::default() };
    compile(&loaded.policy, &options).expect("it compiles").table
}

/// Packets of every kind: forwarded, dropped for each sort of reason, opening and following flows, fragments in
/// order, out of order and overlapping.
fn traffic() -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for port in 1..40u16 {
        let udp = Packet::udp(format!("10.0.0.1:{port}").as_str(), "10.0.0.2:99").payload(b"x");
        let tcp = Packet::tcp(format!("[fd00::1]:{port}").as_str(), "[fd00::2]:99");
        packets.push(udp.clone().build());
        packets.push(udp.partial_checksum().build());
        packets.push(tcp.clone().syn().build());
        packets.push(tcp.seq(1).ack(1).payload(b"data").build());
        packets.push(Packet::tcp(format!("10.0.0.1:{port}").as_str(), "10.0.0.2:79").syn().build());
        packets.push(
            Packet::udp(format!("[fd00::1]:{port}").as_str(), "[fd00::2]:79").payload([0; 1400]).build(),
        );
        packets.push(Packet::tcp(format!("10.0.0.2:{port}").as_str(), "10.0.0.1:9").syn().build());
        packets.push(Packet::udp(format!("10.0.0.3:{port}").as_str(), "10.0.0.2:53").build());
    }
    let quoted = packets[0].clone();
    packets.push(Packet::icmp_error("192.0.2.1", "10.0.0.1", 3, 4, &quoted).build());
    packets.push(Packet::echo_request("10.0.0.1", "10.0.0.2", 1).build());
    packets.push(Packet::arp_request("10.0.0.1", "10.0.0.2").build());
    packets.push(Packet::neighbour_solicit("fd00::1", "fd00::2").build());
    packets.push(Packet::ether_type(0x88cc, [0; 50]).build());
    packets.push(quoted[..20].to_vec());
    let big = |id| Packet::udp("10.0.0.1:7", "10.0.0.2:7").payload(vec![1; 1900]).id(id);
    packets.extend(big(1).fragments(800));
    packets.extend(big(2).fragments(800).into_iter().rev());
    packets.extend(big(3).fragments(800).into_iter().skip(1));
    packets.extend(big(4).fragments(800).into_iter().chain(big(4).fragments(400)));
    packets
}

#[test]
fn the_packet_path_allocates_nothing() {
    let all = "  - {name: web-to-db, from: {role: web}, to: {role: db}, service: any}\n";
    let few = "  - {name: web-to-db, from: {role: web}, to: {role: db}, service: tcp/99}\n";
    let mut rig = Rig::new(table(all), &RigOptions { flows: 64, ..RigOptions::default() });
    let packets = traffic();
    let mut out = Outbox::new(rig.pipeline.forward_max());
    let (mut batch, mut judged) = (Batch::new(), 0);
    // A capture that begins in between, and soon has no room.
    let filter = Filter { fates: Fates::Any, snap_len: 200, ..Filter::default() };
    let lane = Arc::new(Lane::new(Arc::new(Sieve::new(filter)), 100));
    for round in 0..6u64 {
        if round == 3 {
            rig.records.tap().open(Arc::clone(&lane));
        }
        if round % 2 == 1 {
            let drafts = vec![(1, Arc::new(table(few))), (2, Arc::new(table(all)))];
            rig.publisher.publish_with(table(if round % 4 == 1 { few } else { all }), drafts);
        }
        for side in [Side::Inside, Side::Outside] {
            for chunk in packets.chunks(BATCH_MAX) {
                for packet in chunk {
                    let frame = rig.umem.allocate(packet.len()).expect("a free chunk");
                    rig.umem.bytes_mut(&frame).copy_from_slice(packet);
                    batch.push(frame);
                }
                judged += chunk.len() as u64;
                let arrival = Arrival { wire: WIRE, side, now: rig.now };
                // The first read of a worker makes its policy cache; that belongs to its start.
                let before = allocations();
                rig.pipeline.process(&mut rig.umem, arrival, &mut batch, &mut out);
                rig.pipeline.tick(&mut rig.umem, rig.now, &mut out);
                let spent = allocations() - before;
                assert!(spent == 0 || judged <= BATCH_MAX as u64, "{spent} allocations in round {round}");
                for side in [Side::Inside, Side::Outside] {
                    rig.counters.side(side).forwarded.add(out.from(side).len() as u64);
                    out.from(side).drain(..).for_each(|frame| rig.umem.release(frame));
                }
            }
        }
        rig.pass_millis(600);
    }
    assert!(allocations() > 1000, "the allocator does not count");
    let counted = |counter: u64, what: &str| assert!(counter > 0, "the traffic had no {what}");
    counted(rig.counters.flow_hits.get(), "known flow");
    counted(rig.counters.flow_stale.get(), "stale flow");
    let drafts = &rig.publisher.current().expect("a policy").drafts;
    counted(drafts.iter().map(|draft| draft.hits.total()).min().unwrap_or(0), "decision of a draft");
    counted(rig.counters.flow_events.get(), "flow event");
    counted(rig.counters.flow_events_lost.get(), "flow event without room");
    counted(rig.counters.made.get(), "answer to a refused frame");
    counted(rig.counters.flows_evicted.get(), "eviction");
    let copied = core::iter::from_fn(|| lane.next()).collect::<Vec<_>>();
    assert_eq!(copied.len(), 100);
    counted(copied.iter().filter(|copy| copy.dropped.is_none()).count() as u64, "copy of a forwarded frame");
    counted(copied.iter().filter(|copy| copy.dropped.is_some()).count() as u64, "copy of a dropped frame");
    counted(lane.counts(Side::Inside).lost, "copy without room");
    counted(rig.counters.checksums_finished.get(), "unfinished checksum");
    counted(rig.counters.drop_records_lost.get() + rig.counters.dropped_in_all(), "drop");
    counted(rig.counters.dropped(dataplane::verdict::DropReason::FragmentNoHead).get(), "late fragment");
}
