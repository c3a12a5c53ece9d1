//! Faults: a table of bad files with what must be said about them, and where.

mod accepted;
mod documents;
mod inventory;
mod language;
mod random;
mod rendered;
mod rules;

use crate::policy::diagnostics::{Code, Diagnostics, Severity};
use crate::policy::{Loaded, SourceFile, load_texts};

/// Something for the snippets below to refer to, as a second document.
const BASE: &str = "---
ringfence: 1
workloads:
  - {name: db, labels: {role: db}, addresses: [10.9.0.1]}
  - {name: web, labels: {role: web}, addresses: [10.9.0.2]}
networks: [{name: office, cidrs: [192.168.0.0/16], labels: {zone: office}}]
services: [{name: postgres, ports: tcp/5432}]
";

pub(super) fn load(text: &str) -> Result<Loaded, Diagnostics> {
    load_texts(&[SourceFile { name: "policy.yaml".to_owned(), text: text.to_owned() }])
}

fn faults(text: &str) -> Vec<(Severity, Code, u32, u32)> {
    let found = match load(text) {
        Ok(loaded) => loaded.warnings,
        Err(errors) => errors,
    };
    found.iter().map(|one| (one.severity, one.code, one.line, one.column)).collect()
}

/// What is tried, the snippet, and severity, code, line and column of the one fault it has.
type Case<'a> = (&'a str, &'a str, Severity, Code, u32, u32);

/// Each snippet stands after the marker's line, so its first line is line 2.
fn check(table: &[Case<'_>]) {
    let mut wrong = Vec::new();
    for &(name, snippet, severity, code, line, column) in table {
        let found = faults(&format!("ringfence: 1\n{snippet}\n{BASE}"));
        if found != [(severity, code, line, column)] {
            wrong.push(format!("{name}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_fault_of_every_file_is_reported_in_order() {
    let file = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.to_owned() };
    let errors = load_texts(&[
        file("a.yaml", "ringfence: 1\nworkloads:\n- {name: a, addresses: x}\n- {name: b, addresses: 10.0.0.1}\n"),
        file("b.yaml", "ringfence: 1\nworkloads: [{name: b, addresses: 10.0.0.1}]\nrules: [1]\n---\n[\n---\nringfence: 3\n"),
        file("c.yaml", ""),
    ])
    .unwrap_err();
    let found: Vec<_> = errors.iter().map(|one| (one.file.as_str(), one.code, one.line)).collect();
    let expected = [
        ("a.yaml", Code::BadAddress, 3),
        ("b.yaml", Code::DuplicateName, 2),
        ("b.yaml", Code::DuplicateAddress, 2),
        ("b.yaml", Code::WrongType, 3),
        ("b.yaml", Code::Syntax, 5),
        ("b.yaml", Code::Version, 7),
        ("c.yaml", Code::Empty, 0),
    ];
    assert_eq!(found, expected);
    let duplicate = errors.iter().find(|one| one.code == Code::DuplicateName).unwrap();
    assert_eq!((duplicate.related[0].file.as_str(), duplicate.related[0].line), ("a.yaml", 4));
    let json = serde_json::to_value(&errors).unwrap();
    assert_eq!(json["diagnostics"][0]["code"], "bad-address");
    assert_eq!(json["diagnostics"][0]["severity"], "error");
}
