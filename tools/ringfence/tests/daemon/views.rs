//! The reading commands: JSON for each, help with examples, and refusals that say what is legal.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use super::{Daemon, POLICY, json, text};

#[test]
fn every_reading_command_has_json_and_examples() {
    let mut daemon = Daemon::prepare("json", POLICY, "");
    daemon.run();
    for (arguments, key) in [
        (&["status"][..], "workers"),
        (&["flows", "--from", "app=shop", "--sort", "bytes"], "flows"),
        (&["records", "--service", "tcp", "--verdict", "potentially-blocked"], "completeness"),
        (&["rules", "--unused", "--sort", "last"], "rules"),
        (&["rules", "--shadowed", "--tier", "application"], "decisions"),
        (&["workloads"], "workloads"),
        (&["drops", "--reason", "policy", "--port", "443"], "suggestions"),
        (&["top", "--interval", "100ms"], "frames_per_s"),
        (&["policy", "history"], "history"),
        (&["policy", "drafts"], "drafts"),
        (&["policy", "show"], "files"),
        (&["explain", "web", "db", "tcp/5432"], "verdict"),
        (&["matrix", "tcp/5432"], "pairs"),
    ] {
        let output = daemon.ask(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        assert!(!json(&output)[key].is_null(), "{arguments:?}: {}", text(&output.stdout));
        let words = arguments.iter().take_while(|word| !word.starts_with('-'));
        let command: Vec<&str> = words.take(if arguments[0] == "policy" { 2 } else { 1 }).copied().collect();
        let help = text(&daemon.ask(&[&command[..], &["--help"]].concat()).stdout);
        assert!(help.contains("Example"), "{command:?}: {help}");
    }
}

#[test]
fn what_is_not_known_is_refused_with_what_is_legal() {
    let mut daemon = Daemon::prepare("legal", POLICY, "");
    daemon.run();
    for (arguments, status, words) in [
        (&["flows", "--verdict", "drop"][..], 2, "potentially-blocked"),
        (&["flows", "--wire", "uplink"], 1, "there are none"),
        (&["flows", "--service", "tpc"], 1, "there is no protocol `tpc`"),
        (&["flows", "--label", "shop"], 1, "key=value"),
        (&["flows", "--from", "10.0.0.0/40"], 1, "net:NAME"),
        (&["flows", "--follow", "--sort", "bytes"], 2, "cannot be used with"),
        (&["flows", "--follow", "--to", "net:"], 1, "net:NAME"),
        (&["records", "--wire", "uplink"], 1, "there are none"),
        (&["records", "--rule", "shop"], 0, "no rule or default `shop` is in force, but `shop-to-db`"),
        (&["flows", "--rule", "shop-to-db"], 0, "no flows\n"),
        (&["flows", "--rule", "bank"], 0, "no rule or default `bank` is in force; `ringfence rules`"),
        (&["rules", "--tier", "aplication"], 1, "`application`"),
        (&["rules", "--sort", "size"], 2, "hits"),
        (&["drops", "--reason", "polcy"], 2, "spoofed_source"),
        (&["drops", "--suggest", "21"], 2, "0..=20"),
        (&["top", "--interval", "10ms"], 2, "at least 100ms"),
        (&["top", "--once", "--size", "8x2"], 2, "80x24"),
        (&["completions", "tcsh"], 2, "fish"),
        (&["man", "flow"], 2, "records"),
        (&["man", "policy", "publish"], 0, ".TH ringfence-policy-publish"),
    ] {
        let output = daemon.ask(arguments);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
}

#[test]
fn a_stream_begins_at_once_and_ends_with_the_daemon() {
    let mut daemon = Daemon::prepare("stream", POLICY, "");
    daemon.run();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringfence"))
        .args(["flows", "--follow", "--json"])
        .env("RINGFENCE_SOCKET", daemon.file("s.sock"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(first["event"], "following");
    assert_eq!(daemon.stop(Signal::TERM), Some(0), "a follower does not hold up the stop");
    assert!(lines.next().is_none());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(text(&ended.stderr).contains("ringfence: "), "{}", text(&ended.stderr));
}

#[test]
fn completions_name_every_command() {
    let daemon = Daemon::prepare("completions", POLICY, "");
    for shell in ["bash", "zsh", "fish"] {
        let output = daemon.ask(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        let script = text(&output.stdout);
        assert!(script.contains("simulate") && script.contains("potentially-blocked"), "{shell}");
    }
    let script = daemon.file("ringfence.bash");
    std::fs::write(&script, daemon.ask(&["completions", "bash"]).stdout).unwrap();
    // What bash makes of it: the words that could follow.
    let asked = format!(
        "source {}; COMP_WORDS=(ringfence ru); COMP_CWORD=1; _ringfence ringfence ru ringfence; echo ${{COMPREPLY[@]}}",
        script.display()
    );
    let output = Command::new("bash").args(["--norc", "-c", &asked]).output().unwrap();
    assert_eq!(text(&output.stdout).trim(), "run rules", "{}", text(&output.stderr));
}
