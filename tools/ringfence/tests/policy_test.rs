//! `ringfence policy test` as CI sees it, and every policy of the source tree through it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn ringfence(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringfence")).args(arguments).env("NO_COLOR", "1").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringfence-policy-test-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Every native policy of the source tree would be published, and its tests hold.
#[test]
fn every_sample_policy_holds_what_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/policies");
    let (mut policies, mut tested) = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "yaml") {
            continue;
        }
        let name = path.to_str().unwrap();
        let checked = ringfence(&["check", name]);
        assert_eq!(checked.status.code(), Some(0), "{name}: {}", text(&checked.stderr));
        policies += 1;
        if std::fs::read_to_string(&path).unwrap().lines().any(|line| line == "tests:") {
            let run = ringfence(&["policy", "test", name]);
            assert_eq!(run.status.code(), Some(0), "{name}: {}{}", text(&run.stdout), text(&run.stderr));
            tested += 1;
        }
    }
    assert!(policies >= 5 && tested >= 1, "{policies} policies, {tested} of them with tests");
}

const POLICY: &str = "ringfence: 1
workloads:
- {name: web, labels: {role: web}, addresses: [10.0.0.1]}
- {name: db, labels: {role: db}, addresses: [10.0.0.2]}
rules:
- {name: web-to-db, from: {role: web}, to: {role: db}, service: tcp/5432}
";

#[test]
fn each_case_has_its_line_and_failures_their_status() {
    let directory = Directory::new("lines");
    let policy = directory.file("policy.yaml", POLICY);
    let tests = |body: &str| format!("ringfence: 1\ntests:\n{body}");
    let good = "- {from: web, to: db, service: tcp/5432, expect: allow, rule: web-to-db}\n";
    let wrong_verdict =
        "- {name: \"<closed> & \\\"shut\\\"\", from: web, to: db, service: tcp/5432, expect: deny}\n";
    let wrong_rule = "- {from: db, to: web, service: tcp/22, expect: deny, rule: web-to-db}\n";
    for (name, body, status, lines) in [
        (
            "good",
            good.to_owned(),
            0,
            vec!["ok   web -> db tcp/5432: allow, by web-to-db at the ingress gate ("],
        ),
        (
            "wrong verdict",
            format!("{good}{wrong_verdict}"),
            1,
            vec![
                "ok   web",
                "FAIL <closed> & \"shut\": web -> db tcp/5432: allow, expected deny, by web-to-db at",
            ],
        ),
        (
            "wrong rule",
            wrong_rule.to_owned(),
            1,
            vec![
                "FAIL db -> web tcp/22: deny, expected deny by web-to-db, by default/deny at the egress gate",
            ],
        ),
    ] {
        let tests = directory.file("tests.yaml", &tests(&body));
        let run = ringfence(&["policy", "test", &tests, "--policy", &policy]);
        let said = text(&run.stdout);
        assert_eq!(run.status.code(), Some(status), "{name}: {said}{}", text(&run.stderr));
        assert_eq!(said.lines().count(), lines.len() + 1, "{name}: {said}");
        for (said, line) in said.lines().zip(lines) {
            assert!(said.starts_with(line), "{name}: {said}");
        }
    }
    let none = ringfence(&["policy", "test", &policy]);
    assert_eq!(none.status.code(), Some(1), "a policy without tests has not passed any");
    assert!(text(&none.stderr).contains("have no tests"), "{}", text(&none.stderr));
}

#[test]
fn json_and_junit_tell_the_same() {
    let directory = Directory::new("junit");
    let body = "tests:
- {from: web, to: db, service: tcp/5432, expect: allow}
- {name: \"<closed>\", from: web, to: db, service: tcp/5432, expect: deny}
assertions:
- never: {name: nobody, from: any, to: {role: db}}
";
    let policy = directory.file("policy.yaml", &format!("{POLICY}{body}"));
    let report = directory.0.join("report.xml");
    let run = ringfence(&["policy", "test", &policy, "--json", "--junit", report.to_str().unwrap()]);
    assert_eq!(run.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!((&told["ok"], &told["passed"], &told["failed"]), (&false.into(), &1.into(), &1.into()));
    assert_eq!(told["refused"][0]["code"], "assertion", "{told:#}");
    assert_eq!(told["tests"][1]["got"]["rule"], "web-to-db");
    let report = std::fs::read_to_string(report).unwrap();
    assert!(
        report.contains("<testsuite name=\"ringfence policy test\" tests=\"3\" failures=\"2\""),
        "{report}"
    );
    assert_eq!((report.matches("<testcase ").count(), report.matches("</failure>").count()), (3, 2));
    assert!(report.contains("name=\"&lt;closed&gt;\"") && !report.contains("<closed>"), "{report}");
}
