//! `ringfence demo` as a stranger runs it: real namespaces, the real daemon, real traffic.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing step must fail the test")]

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use lab::{LabLock, names_with_prefix, skip_unprivileged};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const PREFIX: &str = "rf-demo";
const POLICY: &str = include_str!("../../../config/policies/demo.yaml");

/// One demo at a time on a machine: the tests of this file take turns, and let a demo that somebody else runs end.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let deadline = Instant::now() + Duration::from_secs(120);
    while let Err(error) = LabLock::acquire("/run/rf-demo.lock".as_ref()) {
        assert!(Instant::now() < deadline, "{error}");
        thread::sleep(Duration::from_millis(200));
    }
    turn
}

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
    command.arg("demo").args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    demo(arguments).output().unwrap()
}

/// Starts a demo and waits until its network stands.
fn start(arguments: &[&str]) -> Child {
    let child = demo(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !names_with_prefix(PREFIX).contains(&"rf-demo-stranger".to_owned()) {
        assert!(Instant::now() < deadline, "the demo builds no network");
        thread::sleep(Duration::from_millis(10));
    }
    child
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id().try_into().unwrap()).unwrap(), signal).unwrap();
}

fn expectations(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

fn nothing_is_left() {
    assert_eq!(names_with_prefix(PREFIX), Vec::<String>::new());
    assert!(!PathBuf::from("/run/rf-demo").exists());
}

#[test]
fn every_expectation_holds_even_after_a_run_that_was_killed() {
    if skip_unprivileged() {
        return;
    }
    let _turn = turn();
    let mut killed = start(&["--check"]);
    let second = run(&["--check"]);
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains(&format!("another one is running (process {}", killed.id())), "{said}");
    signal(&killed, Signal::KILL);
    killed.wait().unwrap();
    assert!(!names_with_prefix(PREFIX).is_empty(), "nothing was left to clean up, so nothing is shown");

    let output = run(&["--check", "--json"]);
    let all = expectations(&output);
    let broken: Vec<_> = all.iter().filter(|one| one["holds"] != true).collect();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(broken.is_empty() && output.status.success(), "{broken:#?}\n{said}");
    for (tried, decided) in [
        ("web -> db tcp/5432 IPv4", "shop-to-db"),
        ("web -> db tcp/5432 IPv6", "shop-to-db"),
        ("crm -> db tcp/5432 IPv6", "crm-to-db"),
        ("batch -> db tcp/5432 IPv4", "default/deny"),
        ("dev -> db tcp/5432 IPv4", "dev-not-prod"),
        ("fresh -> db udp/8125 IPv4", "default/quarantine"),
        ("stranger -> fresh tcp/443 IPv6", "default/quarantine"),
        ("batch as web -> db udp/8125 IPv4", "spoofed_source"),
    ] {
        let one =
            all.iter().find(|one| one["tried"] == tried).unwrap_or_else(|| panic!("{tried} was not tried"));
        assert!(one["decided"].as_str().unwrap().contains(decided), "{one:#}");
    }
    nothing_is_left();
}

#[test]
fn a_rule_that_is_missing_is_noticed() {
    if skip_unprivileged() {
        return;
    }
    let _turn = turn();
    let rule = POLICY.find("  - name: web-telemetry").unwrap();
    let next = rule + POLICY[rule..].find("  - name: web-ping").unwrap();
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("without-telemetry.yaml");
    std::fs::write(&file, format!("{}{}", &POLICY[..rule], &POLICY[next..])).unwrap();
    let output = run(&["--check", "--json", "--policy", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let all = expectations(&output);
    let held =
        |tried: &str| all.iter().find(|one| one["tried"] == tried).unwrap()["holds"].as_bool().unwrap();
    assert!(!held("web -> db udp/8125 IPv4"), "what needs the rule fails");
    assert!(held("web -> db tcp/5432 IPv4"), "what does not need it holds");
    nothing_is_left();
}

#[test]
fn an_interrupt_cleans_up() {
    if skip_unprivileged() {
        return;
    }
    let _turn = turn();
    for number in [Signal::INT, Signal::TERM] {
        let mut child = start(&[]);
        signal(&child, number);
        assert_eq!(child.wait().unwrap().code(), Some(1));
        nothing_is_left();
    }
}

#[test]
fn a_policy_that_cannot_be_read_is_one_line() {
    if skip_unprivileged() {
        return;
    }
    let output = run(&["--policy", "/nowhere/policy.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("/nowhere/policy.yaml"), "{said}");
}
