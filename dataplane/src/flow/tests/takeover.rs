//! A successor process takes the table over by its file.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

use super::*;

#[test]
fn a_successor_finds_every_flow() {
    let old = FlowTable::new(512).unwrap();
    for n in 0..300 {
        establish(&old, &key(protocol::TCP, n), at(1));
    }
    let before: Vec<FlowView> = old.views(at(2)).collect();
    let file = old.file().try_clone_to_owned().unwrap();
    drop(old);
    let table = FlowTable::adopt(file).unwrap();
    assert_eq!(table.views(at(2)).collect::<Vec<_>>(), before);
    assert_eq!(before.len(), 300);
    assert_sound(&table, at(2));
    let handle = find(&table, &key(protocol::TCP, 7), at(2)).unwrap();
    handle.observe_tcp(SERVER, &segment(ACK, 501, 101), 60, at(2)).unwrap();
    insert(&table, &udp(9), at(2)).unwrap();
}

/// A worker that dies in the middle of a write leaves its claims behind: the successor gives those flows up.
#[test]
fn claims_of_the_dead_are_released() {
    let old = table(16);
    for n in 0..4 {
        insert(&old, &udp(n), at(1)).unwrap();
    }
    let (set, way) = find(&old, &udp(2), at(1)).unwrap().slot();
    set.header.claim.store(1, core::sync::atomic::Ordering::Relaxed);
    let claim = set.entry(way).take(set.entry(way).control()).unwrap();
    core::mem::forget(claim);
    let table = FlowTable::adopt(old.file().try_clone_to_owned().unwrap()).unwrap();
    assert!(find(&table, &udp(2), at(1)).is_none());
    for n in [0, 1, 3] {
        assert!(find(&table, &udp(n), at(1)).is_some());
    }
    assert!(insert(&table, &udp(2), at(1)).unwrap().fresh, "the set and the slot can be claimed again");
    assert_sound(&table, at(1));
}

#[test]
fn what_is_no_flow_table_is_refused() {
    let memfd = |len: u64, seals: SealFlags| -> OwnedFd {
        let fd = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&fd, len).unwrap();
        fcntl_add_seals(&fd, seals).unwrap();
        fd
    };
    let all = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    let sealed_copy = {
        let old = table(16);
        let copy = File::from(memfd(4096 + 2 * 1216, SealFlags::empty()));
        let mut page = [0; 32];
        File::from(old.file().try_clone_to_owned().unwrap()).read_exact_at(&mut page, 0).unwrap();
        page[8] = 4;
        copy.write_all_at(&page, 0).unwrap();
        fcntl_add_seals(&copy, all).unwrap();
        OwnedFd::from(copy)
    };
    let cases = [
        ("may shrink", memfd(8192, SealFlags::GROW | SealFlags::SEAL)),
        ("not one of ours", memfd(8192, all)),
        ("longer than it is", sealed_copy),
    ];
    for (name, file) in cases {
        assert_eq!(FlowTable::adopt(file).unwrap_err().kind(), ErrorKind::InvalidData, "{name}");
    }
    assert!(FlowTable::adopt(memfd(0, all)).is_err(), "empty");
}

#[test]
fn capacities_out_of_range_are_refused() {
    for capacity in [0, 15, (8 << 24) + 1, usize::MAX] {
        let error = FlowTable::with_key(capacity, SECRET).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(&capacity.to_string()), "{error}");
    }
    assert_eq!(table(17).capacity(), 32);
}
