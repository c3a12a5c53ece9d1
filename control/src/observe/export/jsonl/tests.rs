//! Lines and files.

use std::fs;

use dataplane::records::{Ending, Occasion};
use serde_json::{Value, json};

use super::*;
use crate::observe::export::tests::{HASH, event, scene, settings, told, words};
use crate::observe::export::{self, Exporters};

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringfence-jsonl-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("flows.jsonl")
    }

    /// Every whole line of the file, after those of its predecessors, oldest first.
    fn lines(&self, keep: u32) -> Vec<String> {
        let older = (1..=keep).rev().map(|number| self.0.join(format!("flows.jsonl.{number}")));
        let files = older.chain([self.file()]);
        let texts = files.filter_map(|path| fs::read_to_string(path).ok());
        texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_line_says_everything() {
    let scene = scene();
    let of = |told: &export::told::Told| -> Value {
        let event = Event::new(told, Some(&scene), &[]);
        serde_json::to_value(Line::new(&event)).unwrap()
    };
    let ended = told(event(Occasion::Ended(Ending::Cut), 6, ["10.0.0.1", "10.0.0.2"], [40_000, 443]));
    let expected = json!({
        "at": "2023-11-14T22:13:25.123Z",
        "event": "ended",
        "wire": "",
        "service": "tcp/443",
        "source": {
            "address": "10.0.0.1", "port": 40_000, "kind": "workload", "name": "web",
            "labels": {"app": ["shop"], "role": ["web"]},
        },
        "destination": {
            "address": "10.0.0.2", "port": 443, "kind": "workload", "name": "db",
            "labels": {"app": ["crm", "shop"], "role": ["db"]},
        },
        "verdict": "allow",
        "reason": "revoked",
        "gate": null,
        "rule": "shop-to-db",
        "tier": "application",
        "potential": "default/deny",
        "epoch": 1,
        "policy_hash": HASH,
        "packets": [10, 20],
        "bytes": [1_000, 20_000],
        "first_seen": "2023-11-14T22:13:20.456Z",
        "last_seen": "2023-11-14T22:13:24.789Z",
        "outcome": "cut",
    });
    assert_eq!(of(&ended), expected);
    let denied = of(&told(event(Occasion::Denied, 58, ["fd00::9", "192.0.2.1"], [77, 128])));
    for (place, value) in [
        ("/event", json!("denied")),
        ("/service", json!("icmpv6/128/0")),
        ("/source/kind", json!("unknown")),
        ("/source/name", Value::Null),
        ("/source/labels", Value::Null),
        ("/destination/kind", json!("network")),
        ("/destination/port", Value::Null),
        ("/reason", json!("rejected")),
        ("/outcome", Value::Null),
        ("/potential", Value::Null),
    ] {
        assert_eq!(denied.pointer(place), Some(&value), "{place}");
    }
}

#[test]
fn every_key_is_explained() {
    let text = include_str!("../../../../../config/exports.md");
    let (_, section) = text.split_once("## JSON lines").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap_or((section, ""));
    let told = told(event(Occasion::Opened, 6, ["10.0.0.1", "10.0.0.2"], [1, 2]));
    let line = serde_json::to_value(Line::new(&Event::new(&told, None, &[]))).unwrap();
    let ends = line["source"].as_object().unwrap();
    for key in line.as_object().unwrap().keys().chain(ends.keys()) {
        assert!(section.contains(&format!("| `{key}`")), "`{key}` is not in config/exports.md");
    }
}

#[test]
fn files_are_rotated_and_no_line_is_lost_within_what_is_kept() {
    for keep in [0u32, 1, 3] {
        let scratch = Scratch::new(&format!("rotate-{keep}"));
        let mut file = LineFile::open(&scratch.file(), 100, keep).unwrap();
        for number in 0..50 {
            file.append(format!("{number:09}\n").as_bytes()).unwrap();
        }
        let lines = scratch.lines(keep);
        let first = 50 - lines.len();
        assert_eq!(lines, (first..50).map(|n| format!("{n:09}")).collect::<Vec<_>>(), "keep {keep}");
        assert_eq!(lines.len(), (10 * (keep as usize + 1)).min(50), "keep {keep}");
        let files = fs::read_dir(&scratch.0).unwrap().count();
        assert_eq!(files, keep as usize + 1);
        assert!(fs::metadata(scratch.file()).unwrap().len() <= 100);
    }
}

#[test]
fn a_line_that_a_crash_left_unfinished_is_taken_back() {
    let scratch = Scratch::new("partial");
    for (before, after) in [("a\nb", "a\n"), ("a\n", "a\n"), ("abc", ""), ("", ""), ("a\nb\nccc", "a\nb\n")] {
        fs::write(scratch.file(), before).unwrap();
        let mut file = LineFile::open(&scratch.file(), 100, 1).unwrap();
        file.append(b"next\n").unwrap();
        assert_eq!(fs::read_to_string(scratch.file()).unwrap(), format!("{after}next\n"), "{before:?}");
    }
}

#[test]
fn a_file_that_was_moved_away_is_made_anew() {
    let scratch = Scratch::new("moved");
    let mut file = LineFile::open(&scratch.file(), 1000, 1).unwrap();
    file.append(b"1\n").unwrap();
    fs::rename(scratch.file(), scratch.0.join("taken")).unwrap();
    file.look();
    file.append(b"2\n").unwrap();
    assert_eq!(fs::read_to_string(scratch.file()).unwrap(), "2\n");
    assert_eq!(fs::read_to_string(scratch.0.join("taken")).unwrap(), "1\n");
    assert!(LineFile::open("/dev/full".as_ref(), 100, 1).is_err(), "a device is no file");
}

#[test]
fn a_folder_that_went_away_is_counted_told_and_survived() {
    let scratch = Scratch::new("gone");
    let folder = scratch.0.join("logs");
    fs::create_dir(&folder).unwrap();
    let path = folder.join("flows.jsonl");
    let jsonl = Config { path: path.clone(), rotate_bytes: 1 << 20, keep: 1, settings: settings(1024) };
    let config = export::Config { ipfix: None, jsonl: Some(jsonl) };
    let exporters = Exporters::start(&config, &[]).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let flow = event(Occasion::Opened, 6, ["10.0.0.1", "10.0.0.2"], [1, 2]);
    let step = || {
        exporters.tell(&flow, words());
        std::thread::sleep(Duration::from_millis(20));
        assert!(Instant::now() < deadline, "{:?}", exporters.view());
        exporters.view().remove(0)
    };
    while step().failed == 0 {}
    assert!(exporters.view()[0].error.is_some());
    fs::create_dir(&folder).unwrap();
    let sent = exporters.view()[0].sent;
    while step().sent == sent {}
    let told = exporters.view().remove(0);
    assert_eq!(told.error, None);
    drop(exporters);
    let lines = fs::read_to_string(path).unwrap();
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
}
