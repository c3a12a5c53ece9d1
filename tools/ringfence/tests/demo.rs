//! `ringfence demo` as a stranger runs it: real namespaces, the real daemon, real traffic.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing step must fail the test")]

use std::io::{BufRead, BufReader, Read as _, Write as _};
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
    let deadline = Instant::now() + Duration::from_secs(120);
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

/// The commands and outputs of a page of the README.
fn page(title: &str) -> Vec<(String, String)> {
    const README: &str = include_str!("../../../README.md");
    let (_, page) = README.split_once(&format!("\n## {title}\n")).unwrap();
    let (page, _) = page.split_once("\n## ").unwrap();
    let mut steps: Vec<(String, String)> = Vec::new();
    for (at, block) in page.split("```").enumerate() {
        for line in block.lines().filter(|_| at % 2 == 1) {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push((command.to_owned(), String::new())),
                (None, Some((_, output))) => *output += &format!("{line}\n"),
                (None, None) => {}
            }
        }
    }
    steps
}

/// The letters of a text: numbers and their units differ from run to run, and tables break their cells where those leave
/// room.
fn letters(text: &str) -> String {
    let hash = |word: &&str| word.len() == 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let unit = |word: &&str| ["B", "kB", "MB"].contains(word);
    let words = text.split_whitespace().filter(|word| !hash(word) && !unit(word));
    let mut letters: Vec<char> = words.flat_map(str::chars).filter(|c| c.is_alphabetic()).collect();
    letters.sort_unstable();
    letters.into_iter().collect()
}

#[test]
fn the_readmes_changes_are_real() {
    if skip_unprivileged() {
        return;
    }
    let _turn = turn();
    let socket = "/run/rf-demo/ringfence.sock";
    let mut child = demo(&["--serve"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut before = Vec::new();
    let up = said.by_ref().map_while(Result::ok).any(|line| {
        let up = line.contains("The lab stays up");
        before.push(line);
        up
    });
    assert!(up, "the lab does not stay up:\n{}", before.join("\n"));
    let map = said.by_ref().map_while(Result::ok).find(|line| line.trim().starts_with("http://127.0.0.1:"));
    the_page_is_there(map.expect("the address of the map page").trim());
    thread::spawn(move || said.for_each(drop));
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("safe-change");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy("/run/rf-demo/policy.yaml", folder.join("policy.yaml")).unwrap();
    let bin = PathBuf::from(env!("CARGO_BIN_EXE_ringfence"));
    let path = format!("{}:{}", bin.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let shell = |command: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec 2>&1; {command}")]).current_dir(&folder);
        shell.env("PATH", &path).env("RINGFENCE_SOCKET", socket).env("NO_COLOR", "1");
        String::from_utf8(shell.output().unwrap().stdout).unwrap()
    };
    let status: Value = serde_json::from_str(&shell("ringfence status --json")).unwrap();
    let first = status["policy"]["epoch"].to_string();
    // Some rounds of the lab's traffic, both families.
    thread::sleep(Duration::from_secs(3));
    let (safe, seen) = (page("A change made safely"), page("From what is seen to policy"));
    assert!(safe.len() >= 8 && seen.len() >= 8, "{safe:?} {seen:?}");
    let mut wrong = Vec::new();
    for (command, expected) in safe.into_iter().chain(seen) {
        let command = match command.split_once("rollback ") {
            Some((before, _)) => format!("{before}rollback {first}"),
            None => command,
        };
        let output = shell(&command);
        if letters(&output) != letters(&expected) {
            wrong.push(format!("$ {command}\n{output}\nin the README:\n{expected}"));
        }
    }
    signal(&child, Signal::INT);
    child.wait().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    nothing_is_left();
}

/// From here, outside the namespaces of the lab.
fn the_page_is_there(url: &str) {
    let (address, code) = url.strip_prefix("http://").unwrap().split_once("/#code=").unwrap();
    assert_eq!(code.len(), 64, "{url}");
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("<title>ringfence"), "{text}");
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
