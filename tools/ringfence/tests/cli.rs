//! The binary as scripts see it: exit status, what goes to which stream, and JSON.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
mod daemon;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A policy of the source tree.
fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/policies/demo.yaml")
}

/// Runs the binary with no daemon in sight.
fn ringfence(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringfence"))
        .args(arguments)
        .env("RINGFENCE_SOCKET", "/nonexistent/ringfence.sock")
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)))
}

/// A file that goes with the test.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str, content: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringfence-cli-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn exit_status_and_streams() {
    let sample = sample();
    let sample = sample.to_str().unwrap();
    let bad = Temporary::new("bad.yaml", "ringfence: 1\nrules: [{nam: x}]\n");
    let without = std::fs::read_to_string(sample).unwrap().replacen("service: postgres", "service: tcp/1", 1);
    let other = Temporary::new("other.yaml", &without);
    // Name, arguments, status, words on stdout, words on stderr.
    type Case<'a> = (&'a str, Vec<&'a str>, i32, &'a str, &'a str);
    let cases: Vec<Case<'_>> = vec![
        ("no command", vec![], 2, "", "Usage"),
        ("unknown command", vec!["frobnicate"], 2, "", "unrecognized"),
        ("help", vec!["--help"], 0, "First steps", ""),
        ("version", vec!["version"], 0, "ringfence 0", ""),
        ("schema", vec!["schema"], 0, "\"$schema\"", ""),
        ("good policy", vec!["check", sample], 0, "ok: 1 file", ""),
        ("bad policy", vec!["check", bad.path()], 1, "", "nam"),
        ("missing file", vec!["check", "/nonexistent.yaml"], 1, "", "/nonexistent.yaml"),
        ("check without a file", vec!["check"], 2, "", "PATH"),
        ("explain", vec!["explain", "--policy", sample, "web", "db", "tcp/5432"], 0, "allow", ""),
        ("explain a deny", vec!["explain", "--policy", sample, "dev", "db", "tcp/5432"], 0, "deny", ""),
        ("nobody", vec!["explain", "--policy", sample, "web", "nobody", "tcp/1"], 1, "", "nobody"),
        ("bad service", vec!["explain", "--policy", sample, "web", "db", "tcp/x"], 2, "", "is not a port"),
        ("too few", vec!["explain", "--policy", sample, "web", "db"], 2, "", "SERVICE"),
        ("matrix", vec!["matrix", "--policy", sample, "tcp/5432"], 0, "pairs allowed", ""),
        ("matrix csv", vec!["matrix", "--policy", sample, "tcp/5432", "--csv"], 0, "source,", ""),
        ("both formats", vec!["matrix", "--policy", sample, "tcp/1", "--csv", "--json"], 2, "", "--csv"),
        ("diff of nothing", vec!["diff", "--policy", sample, "--against", sample], 0, "no flow changes", ""),
        ("diff", vec!["diff", "--policy", sample, "--against", other.path()], 0, "become denied", ""),
        ("diff with a bad policy", vec!["diff", "--policy", sample, "--against", bad.path()], 1, "", "nam"),
        ("diff of one", vec!["diff", "--policy", sample], 2, "", "--against"),
        ("no daemon", vec!["status"], 1, "", "no daemon listens on /nonexistent/ringfence.sock"),
        ("no daemon to explain", vec!["explain", "a", "b", "tcp/1"], 1, "", "no daemon listens"),
        ("too many flows", vec!["flows", "--limit", "10001"], 2, "", "10001"),
        ("no epoch", vec!["policy", "rollback", "one"], 2, "", "one"),
        ("bad policy is not sent", vec!["policy", "publish", bad.path()], 1, "", "nam"),
        ("no configuration", vec!["run", "--config", "/nonexistent.yaml"], 1, "", "/nonexistent.yaml"),
        ("bad configuration", vec!["run", "--config", bad.path()], 1, "", "unknown field"),
    ];
    for (name, arguments, status, out, err) in cases {
        let output = ringfence(&arguments);
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(status), "{name}: {stdout}{stderr}");
        assert!(stdout.contains(out), "{name}: {stdout}");
        assert!(stderr.contains(err), "{name}: {stderr}");
        assert!(!stderr.contains("panicked"), "{name}: {stderr}");
        assert!(!stdout.contains('\x1b') && !stderr.contains('\x1b'), "{name}: colours without a terminal");
    }
}

#[test]
fn json_answers() {
    let sample = sample();
    let sample = sample.to_str().unwrap();
    let explained = json(&ringfence(&["explain", "--policy", sample, "web", "db", "tcp/5432", "--json"]));
    assert_eq!((&explained["verdict"], &explained["rule"]), (&"allow".into(), &"shop-to-db".into()));
    assert_eq!(explained["source"]["workload"], "web");
    assert_eq!(explained["destination"]["workload"], "db");

    let denied = json(&ringfence(&["explain", "--policy", sample, "dev", "web", "tcp/443", "--json"]));
    assert_eq!((&denied["verdict"], &denied["rule"]), (&"deny".into(), &"dev-not-prod".into()));

    let matrix = json(&ringfence(&["matrix", "--policy", sample, "tcp/5432", "--json"]));
    let pairs = matrix["pairs"].as_array().unwrap();
    let workloads = matrix["workloads"].as_array().unwrap().len();
    assert_eq!(pairs.len(), workloads * (workloads - 1));
    let allowed = pairs.iter().filter(|p| p["verdict"] == "allow");
    let allowed: Vec<_> = allowed.map(|p| (p["source"].clone(), p["destination"].clone())).collect();
    let expected = [("crm", "db"), ("crm", "ledger"), ("till", "ledger"), ("web", "db")];
    assert_eq!(allowed, expected.map(|(from, to)| (from.into(), to.into())));

    let checked = json(&ringfence(&["check", sample, "--json"]));
    assert_eq!(checked["ok"], true);
    let bad = Temporary::new("bad-json.yaml", "ringfence: 1\nrules: [{nam: x}]\n");
    let output = ringfence(&["check", bad.path(), "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let checked = json(&output);
    assert_eq!((&checked["ok"], &checked["diagnostics"][0]["line"]), (&false.into(), &2.into()));
}

#[test]
fn matrix_csv_has_a_row_for_each_workload() {
    let sample = sample();
    let output = ringfence(&["matrix", "--policy", sample.to_str().unwrap(), "tcp/5432", "--csv"]);
    let table: Vec<Vec<String>> =
        text(&output.stdout).lines().map(|line| line.split(',').map(str::to_owned).collect()).collect();
    assert_eq!(table.len(), table[0].len());
    for (at, row) in table.iter().enumerate().skip(1) {
        assert_eq!((row.len(), row[at].as_str()), (table.len(), "-"));
        assert_eq!(row[0], table[0][at]);
    }
}

#[test]
fn what_import_prints_decides_as_the_manifests_do() {
    let manifests = Temporary::new(
        "cluster.yaml",
        "{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {app: web}}, status: {podIP: 10.0.0.1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: db, namespace: shop, labels: {app: db}}, status: {podIP: 10.0.0.2},
  spec: {containers: [{ports: [{name: sql, containerPort: 5432}]}]}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: sql}]}]
",
    );
    let printed = ringfence(&["import", manifests.path()]);
    assert!(printed.status.success(), "{}", text(&printed.stderr));
    let native = Temporary::new("native.yaml", &text(&printed.stdout));
    for file in [&manifests, &native] {
        let ask = |from: &str, to: &str, service: &str| {
            json(&ringfence(&["explain", "--policy", file.path(), from, to, service, "--json"]))
        };
        let answers: Vec<(String, String)> = [
            ("shop/web", "shop/db", "tcp/5432"),
            ("shop/web", "shop/db", "tcp/22"),
            ("shop/db", "shop/web", "tcp/80"),
        ]
        .map(|(from, to, service)| ask(from, to, service))
        .map(|answer| {
            (answer["verdict"].as_str().unwrap().to_owned(), answer["rule"].as_str().unwrap().to_owned())
        })
        .into();
        let expected = [
            ("allow", "network-policy/shop/db/ingress/0/sql"),
            ("deny", "network-policy/shop/db/isolated-ingress"),
            ("allow", "kubernetes/open-ingress"),
        ];
        assert_eq!(answers, expected.map(|(verdict, rule)| (verdict.to_owned(), rule.to_owned())));
    }
    let again = ringfence(&["import", native.path()]);
    assert!(again.status.success(), "tiers of one's own are written as well: {}", text(&again.stderr));
    let native_rules =
        Temporary::new("rules.yaml", "ringfence: 1\nrules: [{name: a, from: any, to: any, service: any}]\n");
    let refused = ringfence(&["import", native_rules.path()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("native already"), "{}", text(&refused.stderr));
}
