//! Changes as people read them.

use super::{Becomes, Diff, Limits, Seen, Side, diff};
use crate::policy::{CompileOptions, Loaded, SourceFile, compile, load_texts};

const ESTATE: &str = "ringfence: 1
workloads:
  - {name: shop-web, labels: {app: shop, role: web, env: prod, uid: a}, addresses: [10.0.0.1]}
  - {name: shop-db, labels: {app: shop, role: db, env: prod, uid: b}, addresses: [10.0.0.2, \"fd00::2\"]}
  - {name: crm-web, labels: {app: crm, role: web, env: prod, uid: c}, addresses: [10.0.0.3]}
  - {name: crm-db, labels: {app: crm, role: db, env: prod, uid: d}, addresses: [10.0.0.4, \"fd00::4\"]}
  - {name: dev-1, labels: {app: shop, role: web, env: dev, uid: e}, addresses: [10.0.0.5]}
  - {name: fresh, addresses: [10.0.0.6]}
networks:
  - {name: office, cidrs: [192.168.0.0/16], labels: {zone: office}}
infrastructure: {dns: false, dhcp: false, ntp: false, neighbour-discovery: false, igmp: false}
rules:
  - {name: shop, from: {app: shop, role: web, env: prod}, to: {app: shop, role: db}, service: tcp/5432}
  - {name: crm, from: {app: crm, role: web}, to: {app: crm, role: db}, service: [tcp/5432, tcp/5433]}
";

fn loaded(text: &str) -> Loaded {
    load_texts(&[SourceFile { name: "p".into(), text: text.into() }])
        .unwrap_or_else(|faults| panic!("{faults}"))
}

fn between(old: &str, new: &str, seen: &[(&str, &str, u32)], limits: Limits) -> Diff {
    let (old, new) = (loaded(old), loaded(new));
    let options = CompileOptions::default();
    let (old_table, new_table) =
        (compile(&old.policy, &options).unwrap(), compile(&new.policy, &options).unwrap());
    let address = |text: &str| text.parse::<std::net::IpAddr>().unwrap().into();
    let seen = seen.iter().map(|(source, destination, key)| Seen {
        source: address(source),
        destination: address(destination),
        service: dataplane::policy::ServiceKey::from_value(*key).unwrap(),
        flows: 1,
    });
    diff(
        Side { policy: &old.policy, compiled: old_table.named(), staged: false },
        Side { policy: &new.policy, compiled: new_table.named(), staged: false },
        seen,
        limits,
    )
}

/// `deny app=shop -> role=db tcp/5432 (3)` for each change.
fn words(diff: &Diff) -> Vec<String> {
    let line = |change: &super::Change| {
        let becomes = if change.becomes == Becomes::Allow { "allow" } else { "deny" };
        format!(
            "{becomes} {} -> {} {} ({})",
            change.from.join(" | "),
            change.to.join(" | "),
            change.services.join(" "),
            change.pairs
        )
    };
    diff.changes.iter().map(line).collect()
}

#[test]
fn changes_in_label_terms() {
    let add = |rule: &str| format!("{ESTATE}  - {rule}\n");
    for (name, new, expected) in [
        ("nothing", ESTATE.to_owned(), vec![]),
        ("renamed", ESTATE.replace("name: crm,", "name: other,"), vec![]),
        ("a label nobody mentions", ESTATE.replace("uid: a", "uid: z"), vec![]),
        ("a shadowed rule", add("{name: x, from: {app: crm, role: web}, to: {app: crm, role: db}, service: tcp/5433}"), vec![]),
        (
            "a rule goes",
            ESTATE.replace("service: tcp/5432}", "service: tcp/1}"),
            vec![
                "allow app=shop,env=prod,role=web -> app=shop,role=db tcp/1 (1)",
                "deny app=shop,env=prod,role=web -> app=shop,role=db tcp/5432 (1)",
            ],
        ),
        (
            "two rules come that make one row",
            add("{name: x, from: {role: web, env: prod}, to: {role: db}, service: tcp/22}\n  - {name: y, from: {env: dev}, to: {role: db}, service: tcp/22}"),
            vec!["allow role=web -> role=db tcp/22 (6)"],
        ),
        (
            "a deny of everything",
            add("{name: x, from: any, to: any, service: any, action: override-deny}"),
            vec![
                "deny app=crm,role=web -> app=crm,role=db tcp/5432-5433 (1)",
                "deny app=shop,env=prod,role=web -> app=shop,role=db tcp/5432 (1)",
            ],
        ),
        (
            "a workload is relabelled",
            ESTATE.replace("env: dev", "env: prod"),
            vec!["allow app=shop,env=prod,role=web (was env=(other)) -> app=shop,role=db tcp/5432 (1)"],
        ),
        (
            "a workload comes",
            ESTATE.replace("workloads:\n", "workloads:\n  - {name: n, labels: {app: crm, role: web}, addresses: [10.9.9.9]}\n"),
            vec!["allow app=crm,role=web (new) -> app=crm,role=db tcp/5432-5433 (1)"],
        ),
        (
            "a workload goes",
            ESTATE.replace("  - {name: crm-web, labels: {app: crm, role: web, env: prod, uid: c}, addresses: [10.0.0.3]}\n", ""),
            vec!["deny app=crm,env=prod,role=web (removed) -> app=crm tcp/5432-5433 (1)"],
        ),
        (
            "a network may",
            add("{name: x, from: {zone: office}, to: {app: crm}, service: udp}"),
            vec!["allow (network) -> app=crm udp (2)"],
        ),
        (
            "enforcement ends",
            ESTATE.replace("rules:\n", "enforcement: [{select: {app: crm, role: db}, ingress: off}]\nrules:\n"),
            vec!["allow (network) | (unknown) -> app=crm,role=db any (2)"],
        ),
    ] {
        let found = between(ESTATE, &new, &[], Limits::default());
        assert!(found.notes.is_empty(), "{name}: {:?}", found.notes);
        assert_eq!(words(&found), expected, "{name}");
    }
}

#[test]
fn flows_are_counted_by_row() {
    let new = ESTATE.replace("tcp/5432, tcp/5433", "tcp/5433");
    let (web, db, key) = ("10.0.0.3", "10.0.0.4", 6 << 16 | 5432);
    let seen =
        [(web, db, key), (web, db, key), (web, db, key + 1), (db, web, key), ("10.0.0.1", "10.0.0.2", key)];
    let found = between(ESTATE, &new, &seen, Limits::default());
    assert_eq!((found.changes.len(), found.changes[0].flows), (1, 2), "{found:?}");
    assert_eq!((found.totals.flows, found.totals.flows_denied, found.totals.pairs_denied), (5, 2, 1));
    let example = &found.changes[0].example;
    assert_eq!(
        (&*example.source, &*example.destination, &*example.service),
        ("crm-web", "crm-db", "tcp/5432")
    );
    assert_eq!((&*example.old_rule, &*example.new_rule), ("crm", "default/deny"));
    assert_eq!(found.edits.words(), "~rule crm");
}

#[test]
fn what_is_left_out_is_said() {
    let new = format!("{ESTATE}  - {{name: x, from: any, to: any, service: udp/1}}\n");
    let whole = between(ESTATE, &new, &[], Limits::default());
    assert_eq!(whole.changes.len(), 1, "{:?}", words(&whole));
    assert!(whole.notes.is_empty());
    let part = between(ESTATE, &new, &[], Limits { pairs: 10, rows: 1000 });
    assert!(part.notes[0].contains("only 10 of 64 pairs"), "{:?}", part.notes);
    let split = format!(
        "{ESTATE}  - {{name: x, from: {{app: crm}}, to: {{app: shop}}, service: udp/1}}
  - {{name: y, from: {{app: shop}}, to: {{app: crm}}, service: udp/2}}\n"
    );
    let part = between(ESTATE, &split, &[], Limits { rows: 1, ..Limits::default() });
    assert_eq!((part.changes.len(), part.changes_left_out), (1, 1));
    assert!(part.notes[0].contains("1 rows"), "{:?}", part.notes);
    assert_eq!(part.totals.pairs_allowed, 12, "the totals count all of them");
}
