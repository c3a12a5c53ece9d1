//! The store under damage, crashes and limits.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A directory that is removed when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ringfence-store-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self(std::env::temp_dir().join(name))
    }

    fn file(&self, epoch: u32) -> PathBuf {
        self.0.join(format!("policies/{epoch:010}.policy"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn files(text: &str) -> Vec<StoredFile> {
    vec![StoredFile { name: "p.yaml".into(), text: text.into() }]
}

fn meta(epoch: u32, files: &[StoredFile]) -> Meta {
    Meta {
        epoch,
        policy_hash: "00".into(),
        source_hash: source_hash(files),
        at: jiff::Timestamp::UNIX_EPOCH,
        publication: Publication::Request,
        uid: 0,
        message: "line\nbreak".into(),
        rules: 1,
        workloads: 2,
        rolled_back_to: None,
        config_hash: None,
        summary: String::new(),
        confirm: None,
    }
}

fn save(store: &mut Store, epoch: u32, text: &str) {
    let files = files(text);
    store.save(meta(epoch, &files), &files).unwrap();
}

fn open(scratch: &Scratch) -> (Store, Vec<StoreError>) {
    Store::open(&scratch.0, Limits::default()).unwrap()
}

/// The newest policy that can be read in full, as a start would find it.
fn last_good(store: &Store) -> Option<(u32, String)> {
    store.history().rev().find_map(|m| {
        let record = store.load(m.epoch).ok()?;
        Some((record.meta.epoch, record.files[0].text.clone()))
    })
}

#[test]
fn what_is_saved_is_there_after_a_restart() {
    let scratch = Scratch::new();
    let (mut store, _) = open(&scratch);
    save(&mut store, 1, "a: 1\nb: 2\n");
    save(&mut store, 7, "ü");
    drop(store);
    let (store, damage) = open(&scratch);
    assert!(damage.is_empty());
    assert_eq!(store.newest_epoch(), 7);
    assert_eq!(store.history().map(|m| m.epoch).collect::<Vec<_>>(), [1, 7]);
    let wanted = files("a: 1\nb: 2\n");
    assert_eq!(store.load(1).unwrap(), Record { meta: meta(1, &wanted), files: wanted });
    assert!(matches!(store.load(2), Err(StoreError::NoRecord { epoch: 2, range: Some((1, 7)) })));
}

#[test]
fn an_epoch_is_never_saved_twice() {
    let scratch = Scratch::new();
    let (mut store, _) = open(&scratch);
    save(&mut store, 3, "x");
    for epoch in [1, 3] {
        let files = files("y");
        assert!(matches!(
            store.save(meta(epoch, &files), &files),
            Err(StoreError::NotNewest { newest: 3, .. })
        ));
    }
}

#[test]
fn two_daemons_cannot_share_a_state_directory() {
    let scratch = Scratch::new();
    let (store, _) = open(&scratch);
    assert!(matches!(Store::open(&scratch.0, Limits::default()), Err(StoreError::InUse(_))));
    drop(store);
    open(&scratch);
}

/// Every truncation of the newest record, and every single changed byte, falls back to the one before.
#[test]
fn a_damaged_record_falls_back_to_the_one_before() {
    let scratch = Scratch::new();
    let (mut store, _) = open(&scratch);
    save(&mut store, 1, "old");
    save(&mut store, 2, "new");
    drop(store);
    let whole = fs::read(scratch.file(2)).unwrap();
    let cut = (0..whole.len()).map(|n| whole[..n].to_vec());
    let flipped = (0..whole.len()).flat_map(|n| {
        [0x01u8, 0x80, 0xff].map(|bits| {
            let mut bytes = whole.clone();
            bytes[n] ^= bits;
            bytes
        })
    });
    let longer = [b"x".as_slice(), b"\n", b"\0"].into_iter().map(|more| [&whole, more].concat());
    let mut tried = 0;
    for bytes in cut.chain(flipped).chain(longer) {
        fs::write(scratch.file(2), &bytes).unwrap();
        let (store, _) = open(&scratch);
        assert_eq!(last_good(&store), Some((1, "old".into())), "{:?}", String::from_utf8_lossy(&bytes));
        assert_eq!(store.newest_epoch(), 2, "the epoch of a damaged record is not given out again");
        tried += 1;
    }
    assert_eq!(tried, 4 * whole.len() + 3);
    fs::write(scratch.file(2), &whole).unwrap();
    assert_eq!(last_good(&open(&scratch).0), Some((2, "new".into())));
}

/// The states of the directory between any two system calls of `save`.
#[test]
fn a_crash_during_save_leaves_the_old_or_the_new_policy() {
    let scratch = Scratch::new();
    let (mut store, _) = open(&scratch);
    save(&mut store, 1, "old");
    let files = files("new");
    let bytes = record::encode(&meta(2, &files), &files);
    drop(store);
    let new = scratch.file(2).with_extension("new");
    for written in 0..=bytes.len() {
        fs::write(&new, &bytes[..written]).unwrap();
        let (store, damage) = open(&scratch);
        assert_eq!(last_good(&store), Some((1, "old".into())));
        assert!(damage.is_empty() && !new.exists());
    }
    fs::write(&new, &bytes).unwrap();
    fs::rename(&new, scratch.file(2)).unwrap();
    assert_eq!(last_good(&open(&scratch).0), Some((2, "new".into())));
}

#[test]
fn history_is_bounded_by_number_and_by_bytes() {
    // Epochs of one digit, so that all records have this length.
    let sample = files("p");
    let one = record::encode(&meta(1, &sample), &sample).len() as u64;
    for (name, limits, kept) in [
        ("number", Limits { records: 3, ..Limits::default() }, vec![7, 8, 9]),
        ("bytes", Limits { bytes: 5 * one, ..Limits::default() }, vec![5, 6, 7, 8, 9]),
        ("one byte too few", Limits { bytes: 5 * one - 1, ..Limits::default() }, vec![6, 7, 8, 9]),
        ("never fewer than two", Limits { bytes: 1, ..Limits::default() }, vec![8, 9]),
    ] {
        let scratch = Scratch::new();
        let (mut store, _) = Store::open(&scratch.0, limits).unwrap();
        for epoch in 1..=9 {
            save(&mut store, epoch, "p");
        }
        assert_eq!(store.history().map(|m| m.epoch).collect::<Vec<_>>(), kept, "{name}");
        drop(store);
        assert_eq!(open(&scratch).0.history().map(|m| m.epoch).collect::<Vec<_>>(), kept, "{name}");
    }
}

#[test]
fn a_refused_save_changes_nothing() {
    let scratch = Scratch::new();
    let (mut store, _) = Store::open(&scratch.0, Limits { record_bytes: 1000, ..Limits::default() }).unwrap();
    save(&mut store, 1, "old");
    let long = files(&"x".repeat(2000));
    assert!(matches!(store.save(meta(2, &long), &long), Err(StoreError::TooLong(1000))));
    assert_eq!(fs::read_dir(scratch.0.join("policies")).unwrap().count(), 1);
    assert_eq!(last_good(&store), Some((1, "old".into())));
    save(&mut store, 2, "new");
}
