use std::path::PathBuf;
use std::time::Duration;

use dataplane::capture::{Fate, Sight};
use dataplane::clock::Now;
use dataplane::verdict::{DropReason, Side, WireId};

use super::*;
use crate::engine::Parts;
use crate::observe::worker::Worker;
use crate::store::{Limits, Store};

const POLICY: &str = "ringfence: 1
workloads:
  - {name: web, labels: {app: shop}, addresses: [10.0.0.1]}
  - {name: db, labels: {app: shop, role: db}, addresses: [10.0.0.2]}
rules:
  - {name: shop-to-db, from: {app: shop}, to: {role: db}, service: tcp/5432}
";

/// An engine with two workers on one wire, and its folder, which goes with it.
struct Bed {
    folder: PathBuf,
    engine: Arc<Engine>,
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Bed {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("ringfence-capture-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("policy.yaml"), POLICY).unwrap();
        let (store, _) = Store::open(&folder.join("state"), Limits::default()).unwrap();
        let worker =
            |queue| Worker { wire: WireId(0), queue, counters: Arc::default(), records: Arc::default() };
        let parts = Parts {
            workers: vec![worker(0), worker(1)],
            flows: None,
            wires: vec!["a".into()],
            proxies: Vec::new(),
            store,
            timeout: Duration::from_millis(50),
            wake: Box::new(|| ()),
        };
        let engine = Engine::start(parts, &[folder.join("policy.yaml")], false).unwrap();
        Self { folder, engine }
    }

    fn begin(&self, request: &Request) -> Result<(Capture, Vec<u8>), CaptureError> {
        let port = |name: &str| Port { interface: name.into(), description: format!("wire a, {name}") };
        let mut out = Vec::new();
        let capture = self.engine.capture(request, vec![[port("in0"), port("out0")]], &mut out)?;
        Ok((capture, out))
    }

    /// A worker drops a frame of `len` bytes by `rule`.
    fn drop_one(&self, worker: usize, len: usize, rule: u32) {
        let lane = self.engine.workers[worker].records.tap().current().unwrap();
        let sight = Sight {
            at: Now::read(),
            wire: WireId(0),
            side: Side::Outside,
            fate: Fate::Dropped(DropReason::Policy),
            epoch: self.engine.in_force().unwrap().snapshot.epoch,
            rule: Some(RuleId(rule)),
            ip: None,
            order: 0,
        };
        lane.offer(&sight, &vec![9; len]);
    }
}

/// Blocks of a kind, by the format's numbers.
fn blocks(file: &[u8], kind: u32) -> Vec<&[u8]> {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    let (mut at, mut found) = (0, Vec::new());
    while at < file.len() {
        let len = word(at + 4) as usize;
        if word(at) == kind {
            found.push(&file[at..at + len]);
        }
        at += len;
    }
    found
}

/// The numbers of the last statistics of the outside: dropped, accepted, delivered.
fn counts(file: &[u8]) -> [u64; 3] {
    let all = blocks(file, 5);
    let last = all.last().unwrap();
    let option = |code: u8| {
        let at = last.windows(4).position(|four| four == [code, 0, 8, 0]).unwrap() + 4;
        u64::from_le_bytes(last[at..at + 8].try_into().unwrap())
    };
    [option(5), option(6), option(8)]
}

#[test]
fn one_capture_at_a_time_and_none_is_left_open() {
    let bed = Bed::new("one");
    let (first, _) = bed.begin(&Request::default()).unwrap();
    assert_eq!(bed.begin(&Request::default()).err(), Some(CaptureError::Busy));
    assert!(bed.engine.workers.iter().all(|worker| worker.records.tap().current().is_some()));
    drop(first);
    assert!(bed.engine.workers.iter().all(|worker| worker.records.tap().current().is_none()));
    let (mut second, mut out) = bed.begin(&Request::default()).unwrap();
    assert!(second.go_on(&mut out));
    assert!(bed.engine.end_capture());
    assert!(!second.go_on(&mut out));
    second.end(&mut out);
    assert!(!bed.engine.end_capture(), "there is none");
    let bad = Request { rule: Some("nobody".into()), ..Request::default() };
    assert!(matches!(bed.begin(&bad), Err(CaptureError::Request(_))));
    assert!(bed.begin(&Request::default()).is_ok(), "a refusal leaves nothing behind");
}

#[test]
fn what_is_in_the_file_and_what_was_lost_add_up() {
    let bed = Bed::new("lost");
    let request = Request { packets: Some(1_000_000), snap_len: Some(60), ..Request::default() };
    let (mut capture, mut out) = bed.begin(&request).unwrap();
    for _ in 0..3 {
        (0..6000).for_each(|n| bed.drop_one(n % 2, 100, 0));
        capture.go_on(&mut out);
    }
    capture.end(&mut out);
    let packets = blocks(&out, 6);
    let [lost, accepted, delivered] = counts(&out);
    assert_eq!(accepted, 18_000);
    assert_eq!(delivered, packets.len() as u64);
    assert!(lost > 0, "the lanes of both workers hold 8192");
    assert_eq!(lost + delivered, accepted);
    let told: u64 = packets.iter().map(|packet| drop_count(packet)).sum();
    assert!(told <= lost, "losses that a later packet tells of: {told} of {lost}");
    let len = |packet: &[u8], at: usize| u32::from_le_bytes(packet[at..at + 4].try_into().unwrap());
    assert!(packets.iter().all(|packet| (len(packet, 20), len(packet, 24)) == (60, 100)));
}

/// `epb_dropcount` of a packet of 60 bytes.
fn drop_count(packet: &[u8]) -> u64 {
    let at = packet[88..].windows(4).position(|four| four == [4, 0, 8, 0]);
    at.map_or(0, |at| u64::from_le_bytes(packet[88 + at + 4..88 + at + 12].try_into().unwrap()))
}

#[test]
fn limits_are_exact() {
    let bed = Bed::new("limits");
    for (name, request, expected) in [
        ("packets", Request { packets: Some(7), ..Request::default() }, 7),
        ("bytes", Request { bytes: Some(250), ..Request::default() }, 3),
        ("rate", Request { rate: Some(5), ..Request::default() }, 5),
    ] {
        let (mut capture, mut out) = bed.begin(&request).unwrap();
        (0..20).for_each(|n| bed.drop_one(n % 2, 100, 0));
        std::thread::sleep(Duration::from_millis(15));
        let goes_on = capture.go_on(&mut out);
        assert_eq!(goes_on, name == "rate", "{name}");
        capture.end(&mut out);
        // A second may end in between.
        let packets = blocks(&out, 6).len();
        assert!(packets == expected || (name == "rate" && packets == 2 * expected), "{name}: {packets}");
    }
}

#[test]
fn only_what_the_rule_decided_under_whatever_number() {
    let bed = Bed::new("rule");
    let request = Request { rule: Some("default/deny".into()), ..Request::default() };
    let (mut capture, mut out) = bed.begin(&request).unwrap();
    bed.drop_one(0, 60, 1);
    capture.go_on(&mut out);
    for rule in [0, 1, 0, 2] {
        bed.drop_one(1, 60, rule);
    }
    capture.end(&mut out);
    let packets = blocks(&out, 6);
    assert_eq!(packets.len(), 2);
    let words = "verdict=drop reason=policy rule=default/deny epoch=1";
    for packet in packets {
        assert!(String::from_utf8_lossy(packet).contains(words));
    }
}
