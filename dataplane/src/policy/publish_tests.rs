use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use super::{Publisher, Snapshot};
use crate::policy::testing::Sample;
use crate::verdict::{Epoch, RuleId};

fn publish(publisher: &Publisher) -> Arc<Snapshot> {
    publisher.publish(Sample::new().workload(&["10.0.0.1"]).build())
}

fn epoch(snapshot: Option<&Snapshot>) -> Option<u32> {
    snapshot.map(|snapshot| snapshot.epoch.0)
}

#[test]
fn nothing_published_reads_as_none() {
    let publisher = Publisher::new(1);
    assert!(publisher.reader(0).read().is_none());
    assert_eq!(publisher.executed(), Epoch(0));
    assert!(publisher.current().is_none());
}

#[test]
fn a_later_process_goes_on_counting() {
    let publisher = Publisher::continuing(2, Epoch(41));
    assert!(publisher.current().is_none());
    assert_eq!(publish(&publisher).epoch, Epoch(42));
    assert_eq!(publish(&publisher).epoch, Epoch(43));
    let mut reader = publisher.reader(1);
    assert_eq!(publisher.reported(), [None, None]);
    assert_eq!(epoch(reader.read()), Some(43));
    assert_eq!(publisher.reported(), [None, Some(Epoch(43))]);
}

#[test]
fn executed_is_the_oldest_epoch_of_the_reading_workers() {
    let publisher = Publisher::new(3);
    let (mut first, mut second) = (publisher.reader(0), publisher.reader(1));
    publish(&publisher);
    assert_eq!(publisher.executed(), Epoch(1), "nobody reads yet");
    assert_eq!(epoch(first.read()), Some(1));
    publish(&publisher);
    assert_eq!(publisher.executed(), Epoch(1), "the first worker has not read since");
    assert_eq!(epoch(second.read()), Some(2));
    assert_eq!(publisher.executed(), Epoch(1));
    assert_eq!(epoch(first.read()), Some(2));
    assert_eq!(publisher.executed(), Epoch(2), "the third never started");
    publish(&publisher);
    first.park();
    drop(second);
    assert_eq!(publisher.executed(), Epoch(3), "parked and ended workers hold nothing back");
    assert_eq!(epoch(first.read()), Some(3), "reading ends the parking");
}

#[test]
fn a_snapshot_is_kept_while_a_worker_may_hold_it() {
    let publisher = Publisher::new(2);
    let mut slow = publisher.reader(0);
    let mut quick = publisher.reader(1);
    let old: Weak<Snapshot> = Arc::downgrade(&publish(&publisher));
    slow.read();
    publish(&publisher);
    quick.read();
    assert!(publisher.retire().is_empty());
    assert!(old.upgrade().is_some(), "the slow worker still reads it");
    slow.read();
    let retired = publisher.retire();
    assert_eq!(retired.iter().map(|s| s.epoch).collect::<Vec<_>>(), [Epoch(1)]);
    assert_eq!(Arc::strong_count(&retired[0]), 1, "the last reference is the publisher's");
    drop(retired);
    assert!(old.upgrade().is_none());
    assert!(publisher.retire().is_empty(), "the current one stays");
}

#[test]
fn readers_and_publisher_race() {
    const WORKERS: usize = 3;
    const PUBLISHES: u32 = 300;
    let publisher = Publisher::new(WORKERS);
    publish(&publisher);
    let stop = AtomicBool::new(false);
    let (mut counted, mut retired_total) = (0, 0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (publisher, stop) = (&publisher, &stop);
                scope.spawn(move || {
                    let mut reader = publisher.reader(worker);
                    let (mut last, mut decisions) = (0, 0_u64);
                    while !stop.load(Ordering::Relaxed) {
                        let snapshot = reader.read().unwrap();
                        assert!(snapshot.epoch.0 >= last, "epochs never go back");
                        last = snapshot.epoch.0;
                        snapshot.hits.count(worker, RuleId::DEFAULT_DENY);
                        decisions += 1;
                        if decisions % 64 == 0 {
                            reader.park();
                        }
                    }
                    decisions
                })
            })
            .collect();
        for _ in 0..PUBLISHES {
            publish(&publisher);
            for snapshot in publisher.retire() {
                assert_eq!(Arc::strong_count(&snapshot), 1, "no worker holds what was retired");
                counted += snapshot.hits.total();
                retired_total += 1;
            }
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        let decided: u64 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
        for snapshot in publisher.retire() {
            counted += snapshot.hits.total();
            retired_total += 1;
        }
        counted += publisher.current().unwrap().hits.total();
        assert_eq!(counted, decided, "every decision is counted exactly once");
    });
    assert_eq!(retired_total, PUBLISHES, "all but the current one were retired");
    assert_eq!(publisher.executed(), Epoch(PUBLISHES + 1));
}

#[test]
fn drafts_change_without_a_new_table() {
    let publisher = Publisher::new(1);
    let mut reader = publisher.reader(0);
    let table = Arc::new(Sample::new().workload(&["10.0.0.1"]).build());
    publisher.publish(Arc::clone(&table));
    assert!(reader.read().unwrap().drafts.is_empty());
    let drafts = (0..12).rev().map(|id| (id, Arc::clone(&table))).collect();
    publisher.publish_with(Arc::clone(&table), drafts);
    let snapshot = reader.read().unwrap();
    let ids: Vec<u16> = snapshot.drafts.iter().map(|draft| draft.id).collect();
    assert_eq!(ids, (0..8).collect::<Vec<u16>>(), "at most eight, in order");
    assert!(snapshot.drafts.iter().all(|draft| Arc::ptr_eq(&draft.table, &snapshot.table)), "shared");
    snapshot.hits.count(0, RuleId::DEFAULT_DENY);
    snapshot.drafts[3].hits.count(0, RuleId::OFF_PASS);
    assert_eq!((snapshot.hits.total(), snapshot.drafts[3].hits.total()), (1, 1), "each counts for itself");
    assert_eq!(snapshot.drafts[2].hits.total(), 0);
}
