//! A daemon without wires, from its start to its end, driven by the client commands.

mod views;

use std::fs;

use rustix::process::Signal;

use super::common::{CONFIG, Daemon};
use super::{json, sample, text};

const POLICY: &str = "ringfence: 1
workloads:
  - {name: web, labels: {app: shop}, addresses: [10.0.0.1]}
  - {name: db, labels: {app: shop, role: db}, addresses: [10.0.0.2]}
rules:
  - {name: shop-to-db, from: {app: shop}, to: {role: db}, service: tcp/5432}
";

impl Daemon {
    fn stop(&mut self, signal: Signal) -> Option<i32> {
        self.signal(signal);
        self.end()
    }

    fn epoch(&self) -> u64 {
        self.json(&["status"])["policy"]["epoch"].as_u64().unwrap()
    }
}

#[test]
fn a_life_of_a_daemon() {
    let mut daemon = Daemon::prepare("life", POLICY, "");
    daemon.run();
    for (arguments, words) in [
        (&["status"][..], "policy: epoch 1"),
        (&["rules"], "shop-to-db"),
        (&["workloads"], "app=shop,role=db"),
        (&["drops"], "nothing was dropped"),
        (&["flows"], "no flows"),
        (&["records"], "no records"),
        (&["map"], "app=shop · 2 workloads"),
        (&["policy", "propose"], "rules: []"),
        (&["policy", "history"], "config"),
        (&["policy", "show"], "name: shop-to-db"),
        (&["explain", "web", "db", "tcp/5432"], "allow: web (10.0.0.1) -> db (10.0.0.2) tcp/5432"),
        (&["matrix", "tcp/5432"], "1 of 2 pairs allowed"),
        (&["matrix", "tcp/5432", "--csv"], "source,db,web"),
    ] {
        let output = daemon.ask(arguments);
        let shown = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        assert!(shown.contains(words), "{arguments:?}: {shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= 100), "{arguments:?} is too wide: {shown}");
    }

    let sample = sample();
    let published = daemon.ask(&["policy", "publish", sample.to_str().unwrap(), "-m", "sample", "--json"]);
    assert_eq!(json(&published)["epoch"], 2, "{}", text(&published.stderr));
    let rolled_back = daemon.ask(&["policy", "rollback", "1"]);
    assert!(text(&rolled_back.stdout).contains("epoch 3 is in force"), "{}", text(&rolled_back.stderr));
    let missing = daemon.ask(&["policy", "rollback", "9"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("the history goes from 1 to 3"), "{}", text(&missing.stderr));
    assert_eq!(json(&daemon.ask(&["policy", "history", "--json"]))["history"][1]["message"], "sample");

    assert_eq!(daemon.stop(Signal::TERM), Some(0));
    assert!(!daemon.file("s.sock").exists(), "the socket is gone");
    daemon.run();
    assert_eq!(daemon.epoch(), 3, "the last good policy, under its own epoch");
    // Killed: the socket stays, and the next start replaces it.
    assert_eq!(daemon.stop(Signal::KILL), None);
    assert!(daemon.file("s.sock").exists());
    daemon.run();
    assert_eq!(daemon.epoch(), 3);
    assert_eq!(daemon.stop(Signal::INT), Some(0));
}

#[test]
fn a_change_is_made_safely() {
    let mut daemon = Daemon::prepare("change", POLICY, "");
    daemon.run();
    let next = daemon.file("next.yaml");
    fs::write(&next, POLICY.replace("tcp/5432", "tcp/5433")).unwrap();
    let next = next.to_str().unwrap();
    for (arguments, status, words) in [
        (&["policy", "stage", "next", next, "-m", "another port"][..], 0, "draft next is evaluated"),
        (&["policy", "drafts"], 0, "another port"),
        (&["page"], 1, "set `http.listen`"),
        (&["policy", "diff", "--draft", "next"], 0, "- deny"),
        (&["policy", "diff", next], 0, "edited: ~rule shop-to-db"),
        (&["policy", "simulate", "--draft", "next"], 0, "live: 0 flows"),
        (&["policy", "publish", "--draft", "next", next], 2, "cannot be used with"),
        (&["policy", "publish"], 2, "--draft"),
        (&["policy", "publish", "--draft", "none"], 1, "there is no draft `none`"),
        (&["policy", "publish", "--draft", "next", "--if-epoch", "9"], 1, "epoch 1 is in force, not 9"),
        (&["policy", "publish", "--draft", "next", "--confirm-within", "60"], 2, "unit"),
        (
            &["policy", "publish", "--draft", "next", "--max-cut", "0", "--confirm-within", "1h"],
            0,
            "confirm it by",
        ),
        (&["status"], 0, "waits to be confirmed"),
        (&["policy", "publish", next], 1, "waits to be confirmed"),
    ] {
        let output = daemon.ask(arguments);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    // The daemon dies, and nobody is there: the deadline is on disk.
    assert_eq!(daemon.stop(Signal::KILL), None);
    daemon.run();
    assert_eq!(daemon.epoch(), 3);
    assert!(text(&daemon.ask(&["status"]).stdout).contains("waits to be confirmed"));
    assert!(text(&daemon.ask(&["policy", "confirm"]).stdout).contains("epoch 3 is confirmed"));
    let published = daemon.ask(&["policy", "publish", next, "--confirm-within", "1ms"]);
    assert_eq!(published.status.code(), Some(0), "{}", text(&published.stderr));
    while daemon.epoch() < 5 {
        std::thread::yield_now();
    }
    assert!(text(&daemon.ask(&["policy", "history"]).stdout).contains("reverted of 3"));
    assert_eq!(daemon.ask(&["policy", "drop", "next"]).status.code(), Some(0));
    assert!(text(&daemon.ask(&["policy", "drafts"]).stdout).contains("no drafts"));
}

#[test]
fn labels_change_like_policy() {
    let mut daemon = Daemon::prepare("labels", POLICY, "");
    daemon.run();
    for (arguments, status, words) in [
        (
            &["workload", "set", "web-2", "--address", "10.0.0.3", "--label", "app=shop"][..],
            0,
            "workload web-2: in force",
        ),
        (&["explain", "web-2", "db", "tcp/5432"], 0, "allow: web-2"),
        (&["workload", "label", "web-2", "app=crm", "app=x", "tier-"], 0, "in force"),
        (&["workloads"], 0, "app=crm,app=x"),
        (&["explain", "web-2", "db", "tcp/5432"], 0, "deny: web-2"),
        (&["explain", "web-2", "db", "tcp/5432", "--epoch", "2"], 0, "allow: web-2"),
        (&["explain", "web-2", "db", "tcp/5432", "--epoch", "9"], 1, "the history"),
        (&["workload", "set", "web-3", "--address", "10.0.0.1"], 1, "belongs to workload `web`"),
        (&["workload", "label", "web-2", "app"], 2, "KEY=VALUE"),
        (&["workload", "label", "web-9", "app=x"], 1, "there is no workload `web-9`"),
        (&["workload", "remove", "web-2"], 0, "in force"),
        (&["workload", "remove", "web-2"], 1, "there is no workload"),
    ] {
        let output = daemon.ask(arguments);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
}

#[test]
fn hangup_publishes_the_configurations_files() {
    let mut daemon = Daemon::prepare("hangup", POLICY, "");
    daemon.run();
    fs::write(daemon.file("policy.yaml"), POLICY.replace("shop-to-db", "renamed")).unwrap();
    assert_eq!(daemon.epoch(), 1, "a changed file alone changes nothing");
    daemon.signal(Signal::HUP);
    while daemon.epoch() == 1 {
        std::thread::yield_now();
    }
    assert!(text(&daemon.ask(&["rules"]).stdout).contains("renamed"));
    // A bad file: nothing changes, and the daemon lives.
    fs::write(daemon.file("policy.yaml"), "ringfence: 1\nrules: 5\n").unwrap();
    daemon.signal(Signal::HUP);
    assert_eq!(daemon.epoch(), 2);
    assert_eq!(daemon.stop(Signal::TERM), Some(0));
}

#[test]
fn two_daemons_do_not_share_state_or_socket() {
    let mut daemon = Daemon::prepare("shared", POLICY, "");
    daemon.run();
    let other = daemon.file("other.yaml");
    for (config, words) in [
        (CONFIG.to_owned(), "is in use by another daemon"),
        (CONFIG.replace("state_dir: state", "state_dir: other"), "another daemon listens"),
    ] {
        fs::write(&other, config).unwrap();
        let output = daemon.ask(&["run", "--config", other.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
    }
    assert_eq!(daemon.epoch(), 1, "the first one goes on");
}

#[test]
fn a_wire_that_cannot_be_opened_is_named() {
    let wires = "wires: [{name: w, inside: {interface: rf-none-0}, outside: {interface: rf-none-1}}]\n";
    let daemon = Daemon::prepare("wires", POLICY, wires);
    let config = daemon.file("ringfence.yaml");
    let output = daemon.ask(&["run", "--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("rf-none-0"), "{}", text(&output.stderr));
    assert!(!daemon.file("s.sock").exists());
}
