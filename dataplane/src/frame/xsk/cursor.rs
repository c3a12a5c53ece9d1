//! The arithmetic of a single-producer, single-consumer ring: two indices that run freely through 2^32 and wrap.
//!
//! Each side owns one index and keeps a copy of its peer's, so that the shared cache line is read once per batch
//! and not once per entry. An index of the kernel is never trusted further than the ring: a distance beyond its
//! size reads as "nothing there". The layout and the barriers are those of `net/xdp/xsk_queue.h`: the producer
//! fills slots and then stores its index with release; the consumer loads that index with acquire, reads, and
//! releases its own.
//!
//! The shared words are behind [`Index`], so that the same arithmetic runs on kernel memory and under loom.

use core::sync::atomic::{AtomicU32, Ordering};

/// A shared ring index: one side stores it, the other loads it.
pub(super) trait Index {
    /// Loads with acquire: what the other side wrote before it stored this is visible.
    fn acquire(&self) -> u32;
    /// Stores with release: what this side wrote before is visible to whoever acquires it.
    fn release(&self, value: u32);
}

impl Index for AtomicU32 {
    fn acquire(&self) -> u32 {
        self.load(Ordering::Acquire)
    }

    fn release(&self, value: u32) {
        self.store(value, Ordering::Release);
    }
}

/// The producer's view.
#[derive(Debug)]
pub(super) struct ProducerCursor {
    next: u32,
    consumed: u32,
    size: u32,
}

impl ProducerCursor {
    /// A producer that goes on from where the shared indices stand. `size` is a power of two.
    pub(super) fn new(size: u32, producer: &impl Index, consumer: &impl Index) -> Self {
        debug_assert!(size.is_power_of_two());
        Self { next: producer.acquire(), consumed: consumer.acquire(), size }
    }

    /// Whether a slot can be claimed. Looks at the consumer's index only when the ring seems full.
    pub(super) fn has_room(&mut self, consumer: &impl Index) -> bool {
        if self.next.wrapping_sub(self.consumed) >= self.size {
            self.consumed = consumer.acquire();
        }
        self.next.wrapping_sub(self.consumed) < self.size
    }

    /// The slot to write next, or `None` while the ring is full.
    pub(super) fn claim(&mut self, consumer: &impl Index) -> Option<u32> {
        if !self.has_room(consumer) {
            return None;
        }
        let slot = self.next & (self.size - 1);
        self.next = self.next.wrapping_add(1);
        Some(slot)
    }

    /// Shows every claimed slot to the consumer.
    pub(super) fn publish(&self, producer: &impl Index) {
        producer.release(self.next);
    }

    /// How many entries the consumer has yet to take.
    pub(super) fn waiting(&mut self, consumer: &impl Index) -> u32 {
        self.consumed = consumer.acquire();
        self.next.wrapping_sub(self.consumed).min(self.size)
    }
}

/// The consumer's view.
#[derive(Debug)]
pub(super) struct ConsumerCursor {
    next: u32,
    produced: u32,
    size: u32,
}

impl ConsumerCursor {
    /// A consumer that goes on from where the shared indices stand. `size` is a power of two.
    pub(super) fn new(size: u32, producer: &impl Index, consumer: &impl Index) -> Self {
        debug_assert!(size.is_power_of_two());
        Self { next: consumer.acquire(), produced: producer.acquire(), size }
    }

    /// The slot to read next, or `None` while the ring is empty. Looks at the producer's index only when the ring
    /// seems empty.
    pub(super) fn take(&mut self, producer: &impl Index) -> Option<u32> {
        if self.next == self.produced {
            let produced = producer.acquire();
            if produced.wrapping_sub(self.next) > self.size {
                return None;
            }
            self.produced = produced;
            if self.next == self.produced {
                return None;
            }
        }
        let slot = self.next & (self.size - 1);
        self.next = self.next.wrapping_add(1);
        Some(slot)
    }

    /// Gives every taken slot back to the producer.
    pub(super) fn publish(&self, consumer: &impl Index) {
        consumer.release(self.next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_takes_its_size_and_no_more_wherever_the_indices_stand() {
        for start in [0, 1, 7, u32::MAX - 9, u32::MAX - 3, u32::MAX] {
            let (producer, consumer) = (AtomicU32::new(start), AtomicU32::new(start));
            let mut put = ProducerCursor::new(8, &producer, &consumer);
            let mut get = ConsumerCursor::new(8, &producer, &consumer);
            for round in 0..5 {
                let slots: Vec<u32> = std::iter::from_fn(|| put.claim(&consumer)).collect();
                assert_eq!(slots.len(), 8, "from {start}, round {round}");
                assert_eq!(get.take(&producer), None, "not published yet, from {start}");
                put.publish(&producer);
                assert_eq!(put.waiting(&consumer), 8);
                let taken: Vec<u32> = std::iter::from_fn(|| get.take(&producer)).collect();
                assert_eq!(taken, slots, "from {start}, round {round}");
                assert_eq!(put.claim(&consumer), None, "not given back yet, from {start}");
                get.publish(&consumer);
                assert_eq!(put.waiting(&consumer), 0);
            }
        }
    }

    #[test]
    fn an_index_beyond_the_ring_reads_as_nothing_there() {
        let (producer, consumer) = (AtomicU32::new(0), AtomicU32::new(0));
        let mut get = ConsumerCursor::new(8, &producer, &consumer);
        for claimed in [9, 1 << 31, u32::MAX] {
            producer.release(claimed);
            assert_eq!(get.take(&producer), None, "{claimed}");
        }
        producer.release(8);
        assert_eq!(get.take(&producer), Some(0));

        let mut put = ProducerCursor::new(8, &AtomicU32::new(0), &consumer);
        consumer.release(5); // "consumed" what was never produced
        assert_eq!(put.waiting(&consumer), 8);
    }

    mod loom {
        use loom::cell::UnsafeCell;
        use loom::sync::Arc;
        use loom::sync::atomic::{AtomicU32, Ordering};

        use super::super::{ConsumerCursor, Index, ProducerCursor};

        impl Index for AtomicU32 {
            fn acquire(&self) -> u32 {
                self.load(Ordering::Acquire)
            }

            fn release(&self, value: u32) {
                self.store(value, Ordering::Release);
            }
        }

        struct Ring {
            producer: AtomicU32,
            consumer: AtomicU32,
            slots: [UnsafeCell<u32>; 2],
        }

        /// Every interleaving of one producer and one consumer on a ring of two, across the wrap of the indices:
        /// loom's cells fail the test if a slot is ever read and written without an order between the two.
        #[test]
        fn no_slot_is_shared_and_none_is_lost() {
            const ITEMS: u32 = 3;
            ::loom::model(|| {
                let start = u32::MAX;
                let ring = Arc::new(Ring {
                    producer: AtomicU32::new(start),
                    consumer: AtomicU32::new(start),
                    slots: [UnsafeCell::new(0), UnsafeCell::new(0)],
                });
                let other = Arc::clone(&ring);
                let thread = ::loom::thread::spawn(move || {
                    let mut cursor = ProducerCursor::new(2, &other.producer, &other.consumer);
                    let mut item = 1;
                    while item <= ITEMS {
                        let Some(slot) = cursor.claim(&other.consumer) else {
                            ::loom::thread::yield_now();
                            continue;
                        };
                        other.slots[slot as usize].with_mut(|value| {
                            // SAFETY: the slot was claimed, so the consumer is done with it; loom checks just that.
                            unsafe { *value = item };
                        });
                        item += 1;
                        cursor.publish(&other.producer);
                    }
                });
                let mut cursor = ConsumerCursor::new(2, &ring.producer, &ring.consumer);
                let mut expected = 1;
                while expected <= ITEMS {
                    let Some(slot) = cursor.take(&ring.producer) else {
                        ::loom::thread::yield_now();
                        continue;
                    };
                    // SAFETY: the slot was published, so the producer is done with it; loom checks just that.
                    let value = ring.slots[slot as usize].with(|value| unsafe { *value });
                    assert_eq!(value, expected);
                    expected += 1;
                    cursor.publish(&ring.consumer);
                }
                thread.join().unwrap();
            });
        }
    }
}
