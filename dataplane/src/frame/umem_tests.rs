//! Frames through all their places, and addresses that lie.

use super::*;

/// Name, what the ring says, whether it is taken.
type Case = (&'static str, fn(&mut Umem, u64) -> bool, bool);

const INSIDE: Side = Side::Inside;
const OUTSIDE: Side = Side::Outside;

fn umem(chunks: u32) -> Umem {
    Umem::anonymous(chunks, 2048).unwrap()
}

#[test]
fn sizes_the_kernel_would_refuse_are_refused() {
    for (chunks, size) in [(0, 2048), (1, 0), (1, 1024), (1, 3000), (1, 8192)] {
        let error = Umem::anonymous(chunks, size).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{chunks} x {size}");
    }
}

#[test]
fn a_frame_keeps_its_bytes_on_the_way_through_all_places() {
    let mut umem = umem(4);
    let address = umem.lend(INSIDE).unwrap();
    assert_eq!(umem.census(), Census { kernel: 1, free: 3, ..Census::default() });
    assert_eq!(umem.census().with_fill(1), Census { fill: 1, free: 3, ..Census::default() });

    let frame = umem.received(INSIDE, address + 256, 60).unwrap();
    umem.bytes_mut(&frame).fill(7);
    assert_eq!(umem.bytes(&frame), [7; 60]);
    assert_eq!(umem.census(), Census { worker: 1, free: 3, ..Census::default() });

    assert_eq!(umem.transmit(OUTSIDE, frame), (address + 256, 60));
    assert_eq!(umem.census(), Census { transmit: 1, free: 3, ..Census::default() });

    assert!(umem.completed(OUTSIDE, address + 256));
    assert_eq!(umem.census(), Census { free: 4, ..Census::default() });
    assert_eq!(umem.rejected(), 0);
}

#[test]
fn addresses_that_were_not_lent_are_refused_and_counted() {
    // One chunk, address `a`, was lent to the inside port.
    let cases: &[Case] = &[
        ("as lent", |u, a| u.received(INSIDE, a, 60).is_some(), true),
        ("largest frame", |u, a| u.received(INSIDE, a + 256, 1792).is_some(), true),
        ("one byte too long", |u, a| u.received(INSIDE, a + 256, 1793).is_some(), false),
        ("no bytes", |u, a| u.received(INSIDE, a, 0).is_some(), false),
        ("length over 16 bits", |u, a| u.received(INSIDE, a, 65_536 + 60).is_some(), false),
        ("a free chunk", |u, a| u.received(INSIDE, a + 2048, 60).is_some(), false),
        ("past the end", |u, _| u.received(INSIDE, 4 * 2048, 60).is_some(), false),
        ("far away", |u, _| u.received(INSIDE, u64::MAX, 60).is_some(), false),
        ("the other port", |u, a| u.received(OUTSIDE, a, 60).is_some(), false),
        ("as a completion", |u, a| u.completed(INSIDE, a), false),
    ];
    for (name, say, taken) in cases {
        let mut umem = umem(4);
        let address = umem.lend(INSIDE).unwrap();
        assert_eq!(say(&mut umem, address), *taken, "{name}");
        assert_eq!(umem.rejected(), u64::from(!taken), "{name}");
        assert_eq!(umem.census().total(), 4, "{name}");
    }
}

#[test]
fn an_address_said_twice_has_one_owner() {
    let mut umem = umem(2);
    let address = umem.lend(INSIDE).unwrap();
    let frame = umem.received(INSIDE, address, 60).unwrap();
    assert!(umem.received(INSIDE, address, 60).is_none());
    umem.transmit(INSIDE, frame);
    assert!(umem.completed(INSIDE, address));
    assert!(!umem.completed(INSIDE, address));
    assert_eq!((umem.rejected(), umem.free()), (2, 2));
}

#[test]
fn memory_runs_out_and_comes_back() {
    let mut umem = umem(2);
    let first = umem.allocate(1514).unwrap();
    let second = umem.allocate(2048).unwrap();
    assert_ne!(first, second);
    assert!(umem.allocate(60).is_none());
    umem.release(first);
    assert!(umem.allocate(2049).is_none());
    assert!(umem.allocate(0).is_none());
    assert!(umem.allocate(60).is_some());
    umem.release(second);
}
