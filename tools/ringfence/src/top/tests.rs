//! Frames as they look, and what keys do.

use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};

use super::load::Loads;
use super::model::{Model, Pane};
use super::sample::Sample;
use super::state::{Action, State};
use super::{frame, size};

fn worker(number: u64, queue: u64, frames: u64) -> Value {
    json!({"number": number, "wire": "uplink", "queue": queue, "epoch": 12, "counts": {
        "received": frames, "received_bytes": frames * 100, "forwarded": frames - frames / 10,
        "dropped": frames / 10, "decisions": frames / 20, "flow_hits": frames - frames / 20,
        "flow_stale": 0, "flow_misses": frames / 20}})
}

fn flow(source: &str, port: u64, packets: u64, labels: &Value) -> Value {
    json!({"wire": "uplink", "source": {"address": source, "port": port, "who": {"kind": "workload", "name": "web-1"},
            "labels": labels},
        "destination": {"address": "fd00::2", "port": 5432, "who": {"kind": "unknown"}, "labels": {}},
        "service": "tcp/5432", "verdict": "allow", "rule": "shop-to-db", "potential": null, "age_s": 100,
        "packets": [packets, packets], "bytes": [packets * 60, packets * 1400]})
}

/// A daemon after so many seconds.
fn sample(start: Instant, second: u64) -> Sample {
    let (frames, n) = (1_000_000 + second * 50_000, second);
    let labels = json!({"app": ["shop"], "role": ["web"]});
    let port = |lost: u64| json!({"state": "up", "lost_before_worker": lost, "lost_by_device": 0, "fallback_dropped": 0});
    let rule = |name: &str, hits: u64| json!({"name": name, "hits": hits, "last_hit": null});
    Sample {
        at: start + Duration::from_secs(second),
        status: json!({"version": "0.1.0", "pid": 0, "uptime_s": 200 + n, "policy": {"epoch": 12, "rules": 18},
            "awaiting": null, "totals": {"received": 2 * frames, "received_bytes": 200 * frames,
                "dropped": frames / 5, "decisions": frames / 10, "flows_opened": n * 7},
            "wires": [{"name": "uplink", "inside": port(0), "outside": port(n * 3)}],
            "workers": [worker(0, 0, frames), worker(1, 1, frames)]}),
        drops: json!({"reasons": [
            {"reason": "policy", "count": frames / 5}, {"reason": "tcp_no_flow", "count": 3},
            {"reason": "too_big", "count": 0}]}),
        rules: json!({"rules": [rule("default/deny", frames / 20), rule("shop-to-db", n * 12), rule("never", 0)]}),
        flows: json!({"flows": [
            flow("10.0.0.1", 40_000, n * 2000, &labels), flow("10.0.0.1", 40_001, n * 1000, &labels),
            flow("10.0.0.1", 40_002, 500_000 + n, &labels)]}),
        loads: Loads::default(),
    }
}

fn model() -> Model {
    let start = Instant::now();
    Model::between(&sample(start, 1), &sample(start, 3))
}

fn press(state: &mut State, model: &Model, keys: &str) -> Action {
    let mut action = Action::Draw;
    for key in keys.chars() {
        let code = match key {
            '\t' => KeyCode::Tab,
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            '\u{8}' => KeyCode::Backspace,
            'v' => KeyCode::Down,
            letter => KeyCode::Char(letter),
        };
        action = state.key(KeyEvent::new(code, KeyModifiers::NONE), model);
    }
    action
}

/// The frame after some keys.
fn shown(keys: &str, width: u16, height: u16) -> String {
    let (mut model, mut state) = (model(), State::new(""));
    press(&mut state, &model, keys);
    frame(&mut model, &mut state, width, height).unwrap_or_else(|_| panic!("{keys}"))
}

#[test]
fn frames_look_like_this() {
    for (name, keys, width, height) in [
        ("eighty_columns", "", 80, 24),
        ("wide", "", 130, 30),
        ("help", "?", 80, 24),
        ("one_table", "5\n", 80, 12),
        ("filtered", "/policy\n", 80, 24),
        ("typing", "/sho", 80, 24),
        ("sorted_the_other_way", "3sr", 80, 24),
        ("small", "", 40, 10),
    ] {
        let text = shown(keys, width, height);
        assert!(text.lines().all(|line| line.chars().count() <= usize::from(width)), "{name}: {text}");
        insta::assert_snapshot!(name, text);
    }
}

#[test]
fn no_size_and_no_key_panics() {
    for (width, height) in [(1, 1), (5, 3), (40, 10), (300, 100)] {
        for keys in ["", "?", "1z", "2z", "4zSSSS", "/x\nvvvv", "vvvvvvvvv", "5s5s5s5sr"] {
            shown(keys, width, height);
        }
    }
}

#[test]
fn keys_change_what_is_shown() {
    let model = model();
    let mut state = State::new("");
    assert_eq!((state.pane, state.order(&model, Pane::Flows)), (Pane::Flows, (3, false)));
    press(&mut state, &model, "s");
    assert_eq!(state.order(&model, Pane::Flows), (4, false));
    press(&mut state, &model, "SSSSSr");
    assert_eq!(state.order(&model, Pane::Flows), (6, true));
    press(&mut state, &model, "\t\t");
    assert_eq!(state.pane, Pane::Rules);
    press(&mut state, &model, "\t2");
    assert_eq!(state.pane, Pane::Workers);
    press(&mut state, &model, "p/qz\u{8}p");
    assert_eq!((state.filter.as_str(), state.typing, state.paused), ("qp", true, true));
    press(&mut state, &model, "\n ");
    assert_eq!((state.typing, state.paused), (false, false));
    press(&mut state, &model, "/\u{1b}");
    assert_eq!(state.filter, "");
    assert_eq!(press(&mut state, &model, "+"), Action::Every(Duration::from_secs(2)));
    assert_eq!(press(&mut state, &model, "----"), Action::Every(Duration::from_millis(250)));
    assert_eq!(press(&mut state, &model, "?x"), Action::Draw);
    assert_eq!(press(&mut state, &model, "q"), Action::Quit);
    let control = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    press(&mut state, &model, "/");
    assert_eq!(state.key(control, &model), Action::Quit, "also while typing");
}

#[test]
fn figures_are_differences_over_time() {
    let told = model().json("");
    for (path, expected) in [
        ("/frames_per_s", json!(100_000.0)),
        ("/bits_per_s", json!(80_000_000.0)),
        ("/drops_per_s", json!(10_000.0)),
        ("/new_flows_per_s", json!(7.0)),
        ("/wires/0/frames_per_s", json!(100_000.0)),
        ("/wires/0/lost_per_s", json!(3.0)),
        ("/workers/1/frames_per_s", json!(50_000.0)),
        ("/workers/1/known_flows", json!(0.95)),
        ("/workers/1/load", Value::Null),
        ("/flows/0/frames_per_s", json!(4000.0)),
        ("/flows/0/bits_per_s", json!(4000.0 / 2.0 * 1460.0 * 8.0)),
        ("/flows/2/bytes", json!(500_003u64 * 1460)),
        ("/drops/0/reason", json!("policy")),
        ("/drops/0/drops_per_s", json!(10_000.0)),
        ("/rules/0/rule", json!("default/deny")),
        ("/rules/1/hits_per_s", json!(12.0)),
    ] {
        assert_eq!(told.pointer(path), Some(&expected), "{path}: {told}");
    }
    assert_eq!(told["rules"].as_array().unwrap().len(), 2, "a rule without hits is not shown");
    assert_eq!(model().json("tcp_no")["drops"].as_array().unwrap().len(), 1);
}

#[test]
fn proxies_stand_beside_wires() {
    let start = Instant::now();
    let with_proxy = |second: u64| {
        let mut sample = sample(start, second);
        sample.status["proxies"] = json!([{"name": "edge", "open": 7, "bytes_from_clients": second * 1000,
            "bytes_from_servers": second * 9000, "refused": [{"reason": "policy", "count": second * 3}]}]);
        sample
    };
    let told = Model::between(&with_proxy(1), &with_proxy(3)).json("edge");
    let expected = json!([{"wire": "edge (proxy)", "frames_per_s": null, "bits_per_s": 80_000.0,
        "forwarded_per_s": null, "drops_per_s": 3.0, "lost_per_s": null, "ports": "7 open"}]);
    assert_eq!(told["wires"], expected);
}

#[test]
fn a_restart_of_the_daemon_is_no_negative_rate() {
    let start = Instant::now();
    let told = Model::between(
        &sample(start, 9),
        &Sample { at: start + Duration::from_secs(11), ..sample(start, 1) },
    );
    assert_eq!(told.json("")["frames_per_s"], json!(0.0));
}

#[test]
fn sizes_are_checked() {
    assert_eq!(size("80x24"), Ok((80, 24)));
    for text in ["", "80", "80x", "x24", "39x24", "80x9", "80x24x3", "1001x24", "-80x24"] {
        assert!(size(text).is_err(), "{text}");
    }
}
