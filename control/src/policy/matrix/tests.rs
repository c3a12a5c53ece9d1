use dataplane::policy::ServiceKey;

use super::matrix;
use crate::policy::compile::{CompileOptions, compile};
use crate::policy::{SourceFile, load_texts};

const POLICY: &str = "
ringfence: 1
workloads:
  - {name: web, labels: {role: web}, addresses: [10.1.0.1, 'fd00::1']}
  - {name: db, labels: {role: db}, addresses: [10.1.0.2]}
  - {name: legacy, labels: {role: db}, addresses: ['fd00::3']}
rules:
  - {name: to-db, from: {role: web}, to: {role: db}, service: tcp/5432}
";

#[test]
fn every_pair_once_with_verdict_and_rule() {
    let file = SourceFile { name: "policy.yaml".to_owned(), text: POLICY.to_owned() };
    let policy = load_texts(&[file]).unwrap().policy;
    let compiled = compile(&policy, &CompileOptions::default()).unwrap();
    let matrix = matrix(&policy, compiled.named(), ServiceKey::new(6, 5432));
    let pairs: Vec<_> = matrix.pairs().map(|p| (p.source, p.destination, p.verdict, p.rule)).collect();
    assert_eq!(
        pairs,
        [
            ("db", "legacy", "none", None),
            ("db", "web", "deny", Some("default/deny")),
            ("legacy", "db", "none", None),
            ("legacy", "web", "deny", Some("default/deny")),
            ("web", "db", "allow", Some("to-db")),
            ("web", "legacy", "allow", Some("to-db")),
        ]
    );
    assert_eq!(matrix.allowed(), 2);
    let json = serde_json::to_value(&matrix).unwrap();
    assert_eq!(json["service"], "tcp/5432");
    assert_eq!(json["pairs"].as_array().unwrap().len(), 6);
    assert_eq!(json["pairs"][4]["rule"], "to-db");

    let mut csv = Vec::new();
    matrix.write_csv(&mut csv).unwrap();
    let expected = "source,db,legacy,web\r\ndb,-,none,deny\r\nlegacy,none,-,deny\r\nweb,allow,allow,-\r\n";
    assert_eq!(String::from_utf8(csv).unwrap(), expected);
}

#[test]
fn rejects_and_listeners_show() {
    let text = "
ringfence: 1
workloads:
  - name: db
    labels: {role: db}
    addresses: [10.1.0.2]
    listeners: [{name: shop, service: tcp/5432, labels: {app: shop}}]
  - {name: web, labels: {app: shop}, addresses: [10.1.0.1]}
rules:
  - {name: own, from: {app: shop}, to: {app: shop}, service: any, same: app}
  - {name: aloud, from: any, to: {role: db}, service: tcp/22, action: reject}
";
    let file = SourceFile { name: "policy.yaml".to_owned(), text: text.to_owned() };
    let policy = load_texts(&[file]).unwrap().policy;
    let compiled = compile(&policy, &CompileOptions::default()).unwrap();
    for (port, expected) in
        [(5432, ("allow", "own")), (5433, ("deny", "default/deny")), (22, ("reject", "aloud"))]
    {
        let matrix = matrix(&policy, compiled.named(), ServiceKey::new(6, port));
        let pair = matrix.pair(1, 0).unwrap();
        assert_eq!((pair.verdict, pair.rule), (expected.0, Some(expected.1)), "{port}");
        assert_eq!(matrix.allowed(), usize::from(expected.0 == "allow"), "{port}");
        let mut csv = Vec::new();
        matrix.write_csv(&mut csv).unwrap();
        let last = format!("web,{},-\r\n", expected.0);
        assert!(String::from_utf8(csv).unwrap().ends_with(&last), "{port}");
    }
}

#[test]
fn csv_fields_are_quoted_where_needed() {
    for (text, expected) in [("web", "web"), ("a,b", "\"a,b\""), ("say \"x\"", "\"say \"\"x\"\"\"")] {
        assert_eq!(super::field(text), expected);
    }
}
