//! Fragments in every order, and every way to abuse them. Each case runs for IPv4 and IPv6, and ends with every
//! frame back where it came from.

use core::net::IpAddr;

use super::super::hash::HashKey;
use super::*;
use crate::address::Address;
use crate::frame::Umem;
use crate::headers::{Transport, protocol};

const WIRE: WireId = WireId(1);
const SIDE: Side = Side::Inside;
type Fate = Result<(), DropReason>;

const FORWARD: Fate = Ok(());
const OVERLAP: Fate = Err(DropReason::FragmentOverlap);
const OF_DROPPED: Fate = Err(DropReason::FragmentOfDropped);
const NO_HEAD: Fate = Err(DropReason::FragmentNoHead);
const FULL: Fate = Err(DropReason::FragmentTableFull);

fn at(millis: u64) -> Now {
    Now::from_nanos(millis * 1_000_000)
}

/// A fragment of datagram `id` between two fixed hosts.
fn fragment(v6: bool, id: u32, offset: u16, len: u16, more: bool) -> Ip {
    let (source, destination) = if v6 { ("2001:db8::1", "2001:db8::2") } else { ("10.0.0.1", "10.0.0.2") };
    let address = |text: &str| Address::from(text.parse::<IpAddr>().unwrap());
    Ip {
        source: address(source),
        destination: address(destination),
        protocol: protocol::UDP,
        hop_limit: 64,
        network_offset: 14,
        transport_offset: 34,
        end: 34 + len,
        fragment: Some(Fragment { id, offset, len, more }),
        transport: Transport::Later,
    }
}

/// One worker: its table, its frames, and what became of them by length, which names them here.
struct Worker {
    table: FragmentTable,
    umem: Umem,
    fates: Vec<(usize, Fate)>,
}

impl Worker {
    fn new(limits: FragmentLimits, heads: &Arc<FragmentHeads>) -> Self {
        Self {
            table: FragmentTable::new(limits, Arc::clone(heads)),
            umem: Umem::anonymous(512, 2048).unwrap(),
            fates: Vec::new(),
        }
    }

    /// A fragment arrives; the frame is as long as the fragment's number in its case, plus 100.
    fn arrive(&mut self, ip: &Ip, name: usize, verdict: Fate, now: Now) {
        let (table, fates, umem) = (&mut self.table, &mut self.fates, &mut self.umem);
        let frame = umem.allocate(100 + name).unwrap();
        let mut done = |umem: &mut Umem, frame: Frame, fate| {
            fates.push((frame.len() - 100, fate));
            umem.release(frame);
        };
        let first = ip.fragment.is_some_and(|fragment| fragment.offset == 0);
        if first {
            let fate = table.judge_first(ip, WIRE, SIDE, now, verdict, |settled| {
                assert_eq!((settled.wire, settled.side), (WIRE, SIDE));
                done(umem, settled.frame, settled.fate);
            });
            done(umem, frame, fate);
            return;
        }
        match table.judge_later(ip, WIRE, SIDE, now, frame, |settled| done(umem, settled.frame, settled.fate))
        {
            Later::Forward(frame) => done(umem, frame, Ok(())),
            Later::Drop(frame, reason) => done(umem, frame, Err(reason)),
            Later::Held => {}
        }
    }

    fn expire(&mut self, now: Now) {
        let (fates, umem) = (&mut self.fates, &mut self.umem);
        self.table.expire(now, |settled| {
            fates.push((settled.frame.len() - 100, settled.fate));
            umem.release(settled.frame);
        });
    }

    /// What became of each frame, in the order of their names; nothing may be held any more.
    fn fates(mut self) -> Vec<Fate> {
        assert_eq!(self.table.held(), 0);
        let census = self.umem.census();
        assert_eq!(census.free, census.total(), "{census:?}");
        self.fates.sort_by_key(|(name, _)| *name);
        let names: Vec<usize> = self.fates.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, (0..names.len()).collect::<Vec<_>>(), "each frame ends once");
        self.fates.into_iter().map(|(_, fate)| fate).collect()
    }
}

fn heads() -> Arc<FragmentHeads> {
    Arc::new(FragmentHeads::new(1024, HashKey([3, 4])))
}

/// Offset, length, more.
type Shape = (u16, u16, bool);
/// Name, verdict on the first fragment, fragments as they come, what becomes of each.
type Case<'a> = (&'a str, Fate, &'a [Shape], &'a [Fate]);
const A: Shape = (0, 1000, true);
const B: Shape = (1000, 1000, true);
const C: Shape = (2000, 500, false);

#[test]
fn fragments_follow_their_first() {
    let denied = Err(DropReason::Policy);
    let ok = FORWARD;
    let cases: &[Case<'_>] = &[
        ("in order", ok, &[A, B, C], &[ok, ok, ok]),
        ("reversed", ok, &[C, B, A], &[ok, ok, ok]),
        ("first in the middle", ok, &[B, A, C], &[ok, ok, ok]),
        ("first denied", denied, &[A, B, C], &[denied, OF_DROPPED, OF_DROPPED]),
        ("first denied, last to come", denied, &[C, B, A], &[OF_DROPPED, OF_DROPPED, denied]),
        ("first never comes", ok, &[B, C], &[NO_HEAD, NO_HEAD]),
        ("duplicate", ok, &[A, B, B, C], &[ok, ok, OVERLAP, ok]),
        ("duplicate of the first", ok, &[A, A, B, C], &[ok, OVERLAP, ok, ok]),
        ("duplicate while held", ok, &[B, B, A, C], &[ok, OVERLAP, ok, ok]),
        ("overlap", ok, &[A, (992, 1000, true), B, C], &[ok, OVERLAP, OVERLAP, OVERLAP]),
        ("overlap by one unit", ok, &[A, B, (1992, 16, false)], &[ok, ok, OVERLAP]),
        ("overlap while held", ok, &[B, (1992, 100, true), A, C], &[OVERLAP, OVERLAP, OVERLAP, OVERLAP]),
        ("inside another", ok, &[A, (1000, 2000, true), (1800, 8, true)], &[ok, ok, OVERLAP]),
        ("around another", ok, &[A, (1800, 8, true), (1000, 2000, true)], &[ok, ok, OVERLAP]),
        ("second first, longer", ok, &[A, (0, 1200, true), B], &[ok, OVERLAP, OVERLAP]),
        ("first over what is held", ok, &[(800, 400, true), A], &[OVERLAP, OVERLAP]),
        ("two ends", ok, &[A, C, (3000, 8, false)], &[ok, ok, OVERLAP]),
        ("beyond the end", ok, &[A, C, (3000, 8, true)], &[ok, ok, OVERLAP]),
        ("end before what was seen", ok, &[A, (3000, 8, true), C], &[ok, ok, OVERLAP]),
        ("empty", ok, &[A, (1000, 0, true)], &[ok, OVERLAP]),
        ("complete, then a duplicate", ok, &[A, B, C, C], &[ok, ok, ok, NO_HEAD]),
    ];
    for (name, verdict, shapes, expected) in cases {
        for v6 in [false, true] {
            let mut worker = Worker::new(FragmentLimits::default(), &heads());
            for (at_shape, (offset, len, more)) in shapes.iter().enumerate() {
                worker.arrive(&fragment(v6, 7, *offset, *len, *more), at_shape, *verdict, at(10));
            }
            worker.expire(at(510));
            assert_eq!(worker.fates(), *expected, "{name}, v6 {v6}");
        }
    }
}

#[test]
fn datagrams_do_not_mix() {
    let base = fragment(false, 7, 0, 1000, true);
    let other_source = Ip { source: fragment(true, 7, 0, 0, true).source, ..base };
    let cases = [
        ("another id", fragment(false, 8, 1000, 8, false), WIRE, SIDE),
        ("another family", fragment(true, 7, 1000, 8, false), WIRE, SIDE),
        ("another protocol", Ip { protocol: 6, ..fragment(false, 7, 1000, 8, false) }, WIRE, SIDE),
        (
            "another source",
            Ip { fragment: fragment(false, 7, 1000, 8, false).fragment, ..other_source },
            WIRE,
            SIDE,
        ),
        ("another wire", fragment(false, 7, 1000, 8, false), WireId(2), SIDE),
        ("the other side", fragment(false, 7, 1000, 8, false), WIRE, Side::Outside),
    ];
    for (name, later, wire, side) in cases {
        let mut worker = Worker::new(FragmentLimits::default(), &heads());
        worker.arrive(&base, 0, FORWARD, at(1));
        let frame = worker.umem.allocate(101).unwrap();
        let outcome = worker.table.judge_later(&later, wire, side, at(1), frame, |_| {});
        assert_eq!(outcome, Later::Held, "{name}");
        worker.expire(at(501));
        assert_eq!(worker.fates(), [FORWARD, NO_HEAD], "{name}");
    }
}

/// An IPv6 fragment header may name an extension header in the first fragment and something else later.
#[test]
fn the_protocol_does_not_tell_ipv6_datagrams_apart() {
    let mut worker = Worker::new(FragmentLimits::default(), &heads());
    worker.arrive(&fragment(true, 7, 0, 1000, true), 0, FORWARD, at(1));
    worker.arrive(&Ip { protocol: 60, ..fragment(true, 7, 1000, 8, false) }, 1, FORWARD, at(1));
    assert_eq!(worker.fates(), [FORWARD, FORWARD]);
}

#[test]
fn time_ends_what_is_held_and_what_is_known() {
    let mut worker = Worker::new(FragmentLimits::default(), &heads());
    worker.arrive(&fragment(false, 7, 1000, 1000, true), 0, FORWARD, at(0));
    worker.expire(at(499));
    assert_eq!(worker.table.held(), 1);
    worker.expire(at(500));
    assert_eq!(worker.table.held(), 0);
    worker.arrive(&fragment(false, 7, 0, 1000, true), 1, FORWARD, at(1000));
    worker.arrive(&fragment(false, 7, 1000, 1000, true), 2, FORWARD, at(2900));
    worker.arrive(&fragment(false, 7, 2000, 8, true), 3, FORWARD, at(3100));
    worker.expire(at(3600));
    assert_eq!(worker.fates(), [NO_HEAD, FORWARD, FORWARD, NO_HEAD]);
}

/// A sender's ids come around: a new datagram with the id of one that is complete is a new datagram.
#[test]
fn an_id_can_be_used_again_after_a_complete_datagram() {
    let mut worker = Worker::new(FragmentLimits::default(), &heads());
    for (round, verdict) in [FORWARD, Err(DropReason::Policy)].into_iter().enumerate() {
        for (name, (offset, len, more)) in [A, B, C].into_iter().enumerate() {
            worker.arrive(&fragment(false, 7, offset, len, more), 3 * round + name, verdict, at(1));
        }
    }
    let denied = Err(DropReason::Policy);
    assert_eq!(worker.fates(), [FORWARD, FORWARD, FORWARD, denied, OF_DROPPED, OF_DROPPED]);
}

#[test]
fn every_limit_has_a_reason() {
    let limits = FragmentLimits { datagrams: 8, held: 3, held_per_datagram: 2, ..FragmentLimits::default() };
    let mut worker = Worker::new(limits, &heads());
    for (name, (id, offset)) in [(1, 8), (1, 16), (1, 24), (2, 8), (2, 16)].into_iter().enumerate() {
        worker.arrive(&fragment(false, id, offset, 8, true), name, FORWARD, at(1));
    }
    worker.expire(at(600));
    assert_eq!(worker.fates(), [NO_HEAD, NO_HEAD, FULL, NO_HEAD, FULL], "frames held");

    let mut worker = Worker::new(limits, &heads());
    for id in 0..9u32 {
        worker.arrive(&fragment(false, id, 0, 8, true), id as usize, FORWARD, at(1));
    }
    worker.arrive(&fragment(false, 8, 8, 8, true), 9, FORWARD, at(1));
    let mut expected = vec![FORWARD; 8];
    expected.extend([FULL, FULL]);
    assert_eq!(worker.fates(), expected, "datagrams");

    let mut worker = Worker::new(limits, &heads());
    let parts = u16::try_from(datagram::PARTS_MAX).unwrap();
    for part in 0..parts + 2 {
        worker.arrive(&fragment(false, 1, part * 8, 8, true), usize::from(part), FORWARD, at(1));
    }
    let fates = worker.fates();
    assert!(fates[..datagram::PARTS_MAX].iter().all(Result::is_ok));
    assert_eq!(fates[datagram::PARTS_MAX..], [FULL, FULL], "parts of one datagram");
}

/// A network card hashes first fragments by ports and later ones by addresses: they meet at the shared verdicts.
#[test]
fn workers_share_first_fragments() {
    let denied = Err(DropReason::Policy);
    let cases = [
        ("first comes first", FORWARD, true, [FORWARD, FORWARD, NO_HEAD]),
        ("first comes last", FORWARD, false, [FORWARD, FORWARD, NO_HEAD]),
        ("denied first comes first", denied, true, [OF_DROPPED, OF_DROPPED, OF_DROPPED]),
        ("denied first comes last", denied, false, [OF_DROPPED, OF_DROPPED, OF_DROPPED]),
    ];
    for (name, verdict, first_first, expected) in cases {
        for v6 in [false, true] {
            let heads = heads();
            let mut one = Worker::new(FragmentLimits::default(), &heads);
            let mut other = Worker::new(FragmentLimits::default(), &heads);
            let first = |one: &mut Worker| one.arrive(&fragment(v6, 7, 0, 1000, true), 0, verdict, at(1));
            if first_first {
                first(&mut one);
            }
            other.arrive(&fragment(v6, 7, 1000, 1000, true), 0, FORWARD, at(1));
            other.arrive(&fragment(v6, 7, 2000, 500, false), 1, FORWARD, at(1));
            if !first_first {
                assert_eq!(other.table.held(), 2);
                first(&mut one);
            }
            other.expire(at(2));
            // A whole datagram is over for both: what comes now has its id only.
            other.arrive(&fragment(v6, 7, 1000, 1000, true), 2, FORWARD, at(3));
            other.expire(at(600));
            assert_eq!(one.fates(), [verdict], "{name}");
            assert_eq!(other.fates(), expected, "{name}, v6 {v6}");
        }
    }
}

#[test]
fn overlaps_between_workers_are_found() {
    for first_first in [true, false] {
        let heads = heads();
        let mut one = Worker::new(FragmentLimits::default(), &heads);
        let mut other = Worker::new(FragmentLimits::default(), &heads);
        let first = |one: &mut Worker| one.arrive(&fragment(false, 7, 0, 1000, true), 0, FORWARD, at(1));
        if first_first {
            first(&mut one);
        }
        other.arrive(&fragment(false, 7, 992, 1000, true), 0, FORWARD, at(1));
        if !first_first {
            first(&mut one);
        }
        other.arrive(&fragment(false, 7, 1992, 8, false), 1, FORWARD, at(1));
        other.expire(at(2));
        assert_eq!(other.fates(), [OVERLAP, OVERLAP], "first comes first: {first_first}");
    }
}

/// After construction nothing grows, whatever arrives.
#[test]
fn a_flood_stays_within_its_memory() {
    let heads = heads();
    let mut worker = Worker::new(FragmentLimits::default(), &heads);
    let capacity = worker.table.held.capacity();
    for id in 0..20_000u32 {
        let offset = if id.is_multiple_of(3) { 0 } else { 8 };
        worker.arrive(&fragment(id.is_multiple_of(2), id, offset, 8, true), 0, FORWARD, at(1));
        if id.is_multiple_of(64) {
            worker.expire(at(1));
        }
    }
    assert_eq!(worker.table.held.capacity(), capacity);
    assert!(worker.table.held() <= capacity);
    worker.expire(at(5000));
    assert_eq!(worker.umem.census().free, worker.umem.census().total());
    assert_eq!(worker.fates.len(), 20_000, "each frame ends once");
}

/// Whether fragments, each given by its first byte, the byte past it and whether more follow, are a whole datagram.
fn is_whole(fragments: &[(u16, u16, bool)]) -> bool {
    let ends = fragments.iter().filter(|(_, _, more)| !more).map(|(_, end, _)| *end);
    ends.min().is_some_and(|end| {
        (0..end).all(|byte| fragments.iter().any(|(start, end, _)| (*start..*end).contains(&byte)))
    })
}

/// Of one datagram no two forwarded fragments share a byte; past a whole one its id may name another.
fn no_byte_twice(shapes: &[Shape]) -> Result<(), String> {
    let mut worker = Worker::new(FragmentLimits::default(), &heads());
    for (name, (offset, len, more)) in shapes.iter().enumerate() {
        worker.arrive(&fragment(false, 7, offset * 8, len * 8, *more), name, FORWARD, at(1));
    }
    worker.expire(at(600));
    let mut datagram: Vec<(u16, u16, bool)> = Vec::new();
    for ((offset, len, more), fate) in shapes.iter().zip(worker.fates()) {
        if fate.is_err() {
            continue;
        }
        let (start, end) = (*offset, offset + len);
        if let Some(other) = datagram.iter().find(|other| other.0 < end && start < other.1) {
            return Err(format!("{:?} and {other:?} were forwarded", (start, end)));
        }
        datagram.push((start, end, *more));
        if is_whole(&datagram) {
            datagram.clear();
        }
    }
    Ok(())
}

/// After a whole datagram its fragments once more, in every order, and longer ones.
#[test]
fn an_id_used_again_starts_from_nothing() {
    let first = [(0, 3, true), (3, 3, false)];
    let again: [Shape; 5] = [(0, 3, true), (3, 3, false), (3, 4, false), (0, 4, true), (3, 1, true)];
    for a in again {
        for b in again {
            for c in again {
                let shapes = [first[0], first[1], a, b, c];
                no_byte_twice(&shapes).unwrap_or_else(|error| panic!("{shapes:?}: {error}"));
            }
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_byte_is_forwarded_twice(
        shapes in proptest::collection::vec((0u16..20, 0u16..6, proptest::prelude::any::<bool>()), 1..40),
    ) {
        no_byte_twice(&shapes).map_err(proptest::test_runner::TestCaseError::fail)?;
    }

    /// Few bytes, so that whole datagrams are common.
    #[test]
    fn no_byte_is_forwarded_twice_in_small_datagrams(
        shapes in proptest::collection::vec((0u16..4, 0u16..3, proptest::prelude::any::<bool>()), 1..40),
    ) {
        no_byte_twice(&shapes).map_err(proptest::test_runner::TestCaseError::fail)?;
    }
}
