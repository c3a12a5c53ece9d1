//! One ring: shared memory, two indices, slots. The kernel is on the other side, or, in tests, another ring half.

use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU32, Ordering};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

#[cfg(test)]
use rustix::mm::mmap_anonymous;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::net::xdp::{XdpDesc, XdpRingFlags, XdpRingOffset};

use super::cursor::{ConsumerCursor, ProducerCursor};

/// What a slot holds. Only for types of which any bits are a value: the other side wrote them.
pub(crate) trait Entry: Copy {}
/// Fill and completion rings hold chunk addresses.
impl Entry for u64 {}
/// RX and TX rings hold descriptors: three integers.
impl Entry for XdpDesc {}

/// A mapping of ring memory, unmapped when its last half is dropped.
#[derive(Debug)]
struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to no thread; access to it goes through the ring halves, whose indices say who may
// touch which slot, and those indices are only touched atomically.
unsafe impl Send for Mapping {}
// SAFETY: as for Send; `Mapping` itself offers no access.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is exactly what was mapped, and every pointer into it is held beside an `Arc` of this
        // value, which is the last one now.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// What both halves hold: where the words and slots are.
#[derive(Debug)]
struct Shared<T> {
    mapping: Arc<Mapping>,
    offsets: XdpRingOffset,
    size: u32,
    slots: PhantomData<T>,
}

impl<T: Entry> Shared<T> {
    /// Maps the ring at `page_offset` of an AF_XDP socket; the kernel made it with `size` slots (`xskq_create`).
    fn of_socket(
        socket: BorrowedFd<'_>,
        page_offset: u64,
        size: u32,
        offsets: XdpRingOffset,
    ) -> io::Result<Self> {
        let len = Self::len_for(&offsets, size)?;
        // SAFETY: a null hint and no MAP_FIXED: no existing memory is touched. The memory is shared with the
        // kernel, which is why it is only reached through atomics and raw slot reads and writes.
        let base = unsafe {
            mmap(
                ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::POPULATE,
                socket,
                page_offset,
            )
        }?;
        Self::new(base.cast(), len, size, offsets)
    }

    /// A ring with nobody at the other end yet.
    #[cfg(test)]
    fn anonymous(size: u32) -> io::Result<Self> {
        let offsets = XdpRingOffset { producer: 0, consumer: 64, flags: Some(128), desc: 192 };
        let len = Self::len_for(&offsets, size)?;
        // SAFETY: a null hint and no MAP_FIXED: no existing memory is touched.
        let base = unsafe {
            mmap_anonymous(ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        }?;
        Self::new(base.cast(), len, size, offsets)
    }

    fn new(base: *mut u8, len: usize, size: u32, offsets: XdpRingOffset) -> io::Result<Self> {
        let base = NonNull::new(base).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { mapping: Arc::new(Mapping { base, len }), offsets, size, slots: PhantomData })
    }

    /// The length of the mapping, after checking that every part of the ring lies inside it, aligned.
    fn len_for(offsets: &XdpRingOffset, size: u32) -> io::Result<usize> {
        let slots = u64::from(size) * size_of::<T>() as u64;
        let aligned = |offset: u64, to: usize| offset.is_multiple_of(to as u64);
        let sound = size.is_power_of_two()
            && aligned(offsets.desc, align_of::<T>())
            && [Some(offsets.producer), Some(offsets.consumer), offsets.flags]
                .into_iter()
                .flatten()
                .all(|word| aligned(word, 4) && word + 4 <= offsets.desc);
        let len = usize::try_from(offsets.desc + slots).ok().filter(|_| sound);
        len.ok_or_else(|| io::Error::other("the kernel reports an impossible ring layout"))
    }

    fn word(&self, offset: u64) -> &AtomicU32 {
        // SAFETY: `len_for` checked that the words lie before the slots, inside the mapping.
        let word = unsafe { self.mapping.base.as_ptr().add(to_usize(offset)) }.cast::<u32>();
        // SAFETY: the word is aligned (checked by `len_for`; mappings start on a page), lives as long as
        // `self.mapping`, and is only ever accessed atomically, by the kernel too (`xsk_queue.h`).
        unsafe { AtomicU32::from_ptr(word) }
    }

    fn producer(&self) -> &AtomicU32 {
        self.word(self.offsets.producer)
    }

    fn consumer(&self) -> &AtomicU32 {
        self.word(self.offsets.consumer)
    }

    fn slot(&self, slot: u32) -> *mut T {
        debug_assert!(slot < self.size);
        // SAFETY: the slots begin at `desc`, inside the mapping.
        let first = unsafe { self.mapping.base.as_ptr().add(to_usize(self.offsets.desc)) }.cast::<T>();
        // SAFETY: cursors mask slot numbers to the size that `len_for` made room for.
        unsafe { first.add(slot as usize) }
    }
}

/// Every offset was checked against a mapping that exists, so it fits the address space.
#[expect(clippy::cast_possible_truncation, reason = "AF_XDP exists on 64-bit targets; see the docstring")]
const fn to_usize(offset: u64) -> usize {
    offset as usize
}

/// The half of a ring that writes entries.
#[derive(Debug)]
pub(crate) struct Producer<T> {
    cursor: ProducerCursor,
    shared: Shared<T>,
}

impl<T: Entry> Producer<T> {
    /// The writing half of a socket's fill or TX ring.
    pub(super) fn of_socket(
        socket: BorrowedFd<'_>,
        page_offset: u64,
        size: u32,
        offsets: XdpRingOffset,
    ) -> io::Result<Self> {
        Shared::of_socket(socket, page_offset, size, offsets).map(Self::new)
    }

    fn new(shared: Shared<T>) -> Self {
        let cursor = ProducerCursor::new(shared.size, shared.producer(), shared.consumer());
        Self { cursor, shared }
    }

    /// Writes one entry, unseen until [`Producer::publish`]. `false` while the ring is full: fewer entries than
    /// wanted are no reason to write none.
    pub(crate) fn push(&mut self, entry: T) -> bool {
        let Some(slot) = self.cursor.claim(self.shared.consumer()) else { return false };
        let slot = self.shared.slot(slot);
        // SAFETY: the slot was claimed: it lies inside the ring, is aligned, and the consumer has given it back
        // and will not read it before `publish`.
        unsafe { slot.write(entry) };
        true
    }

    /// Whether at least one entry can be written.
    pub(crate) fn has_room(&mut self) -> bool {
        self.cursor.has_room(self.shared.consumer())
    }

    /// Shows the written entries to the consumer.
    pub(crate) fn publish(&mut self) {
        self.cursor.publish(self.shared.producer());
    }

    /// Entries the consumer has yet to take.
    pub(crate) fn waiting(&mut self) -> u32 {
        self.cursor.waiting(self.shared.consumer())
    }

    /// Whether the kernel sleeps until it is kicked (`XDP_RING_NEED_WAKEUP`). Without the flag's word (before
    /// Linux 5.4) it always has to be.
    pub(crate) fn needs_wakeup(&self) -> bool {
        self.shared.offsets.flags.is_none_or(|flags| {
            self.shared.word(flags).load(Ordering::Relaxed) & XdpRingFlags::XDP_RING_NEED_WAKEUP.bits() != 0
        })
    }

    /// Capacity, entries.
    pub(crate) fn size(&self) -> u32 {
        self.shared.size
    }
}

/// The half of a ring that reads entries.
#[derive(Debug)]
pub(crate) struct Consumer<T> {
    cursor: ConsumerCursor,
    shared: Shared<T>,
}

impl<T: Entry> Consumer<T> {
    /// The reading half of a socket's RX or completion ring.
    pub(super) fn of_socket(
        socket: BorrowedFd<'_>,
        page_offset: u64,
        size: u32,
        offsets: XdpRingOffset,
    ) -> io::Result<Self> {
        Shared::of_socket(socket, page_offset, size, offsets).map(Self::new)
    }

    fn new(shared: Shared<T>) -> Self {
        let cursor = ConsumerCursor::new(shared.size, shared.producer(), shared.consumer());
        Self { cursor, shared }
    }

    /// Takes one entry; its slot is the producer's again after [`Consumer::publish`].
    pub(crate) fn pop(&mut self) -> Option<T> {
        let slot = self.cursor.take(self.shared.producer())?;
        let slot = self.shared.slot(slot);
        // SAFETY: the slot was published: it lies inside the ring, is aligned, and the producer leaves it alone
        // until `publish`. Any bits are a `T` (see `Entry`).
        Some(unsafe { slot.read() })
    }

    /// Gives the taken slots back.
    pub(crate) fn publish(&mut self) {
        self.cursor.publish(self.shared.consumer());
    }
}

/// Both halves of a ring in ordinary memory: a worker's rings without a kernel.
#[cfg(test)]
pub(crate) fn pair<T: Entry>(size: u32) -> io::Result<(Producer<T>, Consumer<T>)> {
    let shared = Shared::<T>::anonymous(size)?;
    let other = Shared {
        mapping: Arc::clone(&shared.mapping),
        offsets: shared.offsets,
        size: shared.size,
        slots: PhantomData,
    };
    Ok((Producer::new(shared), Consumer::new(other)))
}
