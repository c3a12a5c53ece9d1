use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::policy::{SourceFile, load_texts};

const TCP: u32 = 6 << 16;

fn policy(text: &str) -> ValidPolicy {
    let files = [SourceFile { name: "p".into(), text: format!("ringfence: 1\n{text}") }];
    load_texts(&files).unwrap_or_else(|faults| panic!("{faults}")).policy
}

fn seen(source: &str, destination: &str, service: u32) -> Observation {
    let address = |text: &str| Address::from(text.parse::<std::net::IpAddr>().unwrap());
    let (source, destination) = (address(source), address(destination));
    Observation { source, destination, service, flows: 10, allowed: false, needed: true }
}

fn terms(tightness: Tightness) -> Terms {
    let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Terms { tightness, keys: own(&["app", "role", "env"]), tier: own(&["role"]) }
}

/// `from -> to services (flows, tuples, unseen)`.
fn lines(plan: &Plan) -> Vec<String> {
    let one = |rule: &Proposed| {
        let services: Vec<String> = rule.services.iter().map(ToString::to_string).collect();
        let (from, to) = (&rule.from, &rule.to);
        format!("{from} -> {to} {} ({}, {}, {})", services.join(" "), rule.flows, rule.allows, rule.unseen)
    };
    let mut lines: Vec<String> = plan.rules.iter().map(one).collect();
    lines.sort();
    lines
}

const ESTATE: &str = "
workloads:
  - {name: web-1, labels: {app: shop, role: web, env: prod}, addresses: [10.0.0.1]}
  - {name: web-2, labels: {app: shop, role: web, env: prod}, addresses: [10.0.0.2]}
  - {name: batch, labels: {app: shop, role: batch, env: prod}, addresses: [10.0.0.3]}
  - {name: db, labels: {app: [shop, crm], role: db, env: prod}, addresses: [10.0.0.4]}
  - {name: crm, labels: {app: crm, role: web, env: prod}, addresses: [10.0.0.5]}
  - {name: dev, labels: {app: shop, role: web, env: dev}, addresses: [10.0.0.6]}
  - {name: bare, labels: {app: shop}, addresses: [10.0.0.7]}
  - {name: odd, labels: {zone: x}, addresses: [10.0.0.8]}
  - {name: fresh, addresses: [10.0.0.9]}
networks:
  - {name: office, cidrs: [192.0.2.0/24], labels: {zone: office}}
";

#[test]
fn each_tightness_has_its_selectors() {
    let policy = policy(ESTATE);
    let observed = [
        seen("10.0.0.1", "10.0.0.4", TCP | 5432),
        seen("10.0.0.2", "10.0.0.4", TCP | 5432),
        seen("10.0.0.1", "10.0.0.4", TCP | 5433),
        seen("10.0.0.3", "10.0.0.4", TCP | 5432),
        seen("10.0.0.5", "10.0.0.4", TCP | 5432),
        seen("10.0.0.1", "10.0.0.2", TCP | 80),
    ];
    let db = |app: &str| format!("{{app: {app}, role: db, env: prod}}");
    let web = "{app: shop, role: web, env: prod}";
    for (tightness, expected) in [
        (
            Tightness::Workload,
            vec![
                "{workload: [batch, crm, web-2]} -> {workload: db} tcp/5432 (30, 3, 0)".to_owned(),
                "{workload: web-1} -> {workload: db} tcp/5432-5433 (20, 2, 0)".into(),
                "{workload: web-1} -> {workload: web-2} tcp/80 (10, 1, 0)".into(),
            ],
        ),
        (
            Tightness::Tier,
            vec![
                format!("{{app: crm, role: web, env: prod}} -> {} tcp/5432 (10, 1, 0)", db("crm")),
                format!("{{app: shop, role: batch, env: prod}} -> {} tcp/5432 (10, 1, 0)", db("shop")),
                format!("{web} -> {} tcp/5432-5433 (30, 4, 1)", db("shop")),
                format!("{web} -> {web} tcp/80 (10, 2, 1)"),
            ],
        ),
    ] {
        let plan = propose(&policy, &observed, &terms(tightness));
        assert_eq!(lines(&plan), expected, "{tightness:?}");
        assert!(plan.exact && plan.refused.is_empty());
    }
    // Two rules would do, and of the many pairs of two these leave the fewest unseen: what stays in the shop is one
    // rule of which the database's own values are part.
    let app = propose(&policy, &observed, &terms(Tightness::App));
    assert_eq!(app.rules.len(), 2, "{:?}", lines(&app));
    assert!(app.exact);
    let wide = propose(&policy, &observed, &terms(Tightness::Wide));
    assert_eq!(wide.rules.len(), 2, "{:?}", lines(&wide));
}

#[test]
fn what_has_no_labels_is_named_or_refused() {
    let policy = policy(ESTATE);
    let mut observed = vec![
        seen("10.0.0.9", "10.0.0.4", TCP | 5432),
        seen("10.0.0.8", "10.0.0.4", TCP | 5432),
        seen("10.0.0.7", "10.0.0.1", TCP | 80),
        seen("192.0.2.7", "10.0.0.1", TCP | 22),
        seen("203.0.113.1", "10.0.0.1", TCP | 443),
        seen("203.0.113.2", "10.0.0.2", TCP | 443),
        seen("10.0.0.1", "2001:db8::1", TCP | 443),
    ];
    let plan = propose(&policy, &observed, &terms(Tightness::Tier));
    let expected = [
        "{app: shop, env: {exists: false}} -> {app: shop, role: web, env: prod} tcp/80 (10, 2, 1)",
        "{app: shop, role: web, env: prod} -> {network: seen-2001-db8-64, workload: {exists: false}} tcp/443 (10, 2, 1)",
        "{network: office, workload: {exists: false}} -> {app: shop, role: web, env: prod} tcp/22 (10, 2, 1)",
        "{network: seen-203.0.113.0-24, workload: {exists: false}} -> {app: shop, role: web, env: prod} tcp/443 \
         (20, 2, 0)",
        "{workload: odd} -> {app: shop, role: db, env: prod} tcp/5432 (10, 1, 0)",
    ];
    assert_eq!(lines(&plan), expected);
    assert_eq!(plan.networks[0], ("seen-2001-db8-64".into(), "2001:db8::/64".into()));
    assert_eq!(plan.refused.len(), 1);
    assert!(plan.refused[0].why.contains("quarantine"));
    // Too many to be named: anywhere.
    observed.extend((0..20).map(|at| seen(&format!("198.51.{at}.1"), "10.0.0.1", TCP | 443)));
    let plan = propose(&policy, &observed, &terms(Tightness::Tier));
    assert!(
        lines(&plan).iter().any(|line| line.starts_with("no-workload -> {app: shop, role: web")),
        "{plan:#?}"
    );
    assert_eq!(plan.networks.len(), 1);
}

#[test]
fn what_assertions_forbid_is_left_closed() {
    let never = "
assertions:
  - never: {name: no-dev, from: {env: dev}, to: {env: prod}, service: tcp}
  - never: {name: not-batch, from: {role: batch}, to: {role: web}}
";
    let policy = policy(&format!("{ESTATE}{never}"));
    let observed = [
        seen("10.0.0.6", "10.0.0.4", TCP | 5432),
        seen("10.0.0.6", "10.0.0.4", 17 << 16 | 53),
        seen("10.0.0.1", "10.0.0.2", TCP | 80),
        seen("10.0.0.3", "10.0.0.4", TCP | 80),
    ];
    for tightness in Tightness::ALL {
        let plan = propose(&policy, &observed, &terms(tightness));
        assert_eq!(plan.refused.len(), 1, "{tightness:?} {:?}", plan.refused);
        assert!(plan.refused[0].why.contains("no-dev"), "{:?}", plan.refused);
        for rule in &plan.rules {
            let (from, to) = (rule.from.to_string(), rule.to.to_string());
            let web = to.contains("role: web") || !to.contains("role");
            let batch =
                from.contains("role: batch") || from.contains("workload: batch") || !from.contains("role");
            assert!(tightness == Tightness::Workload || !(batch && web), "{tightness:?} {from} {to}");
        }
    }
}

#[test]
fn listeners_count_with_their_labels() {
    let policy = policy(
        "
workloads:
  - {name: a, labels: {app: a}, addresses: [10.0.0.1]}
  - name: b
    labels: {app: b}
    addresses: [10.0.0.2]
    listeners: [{name: q, service: tcp/9000-9010, labels: {app: queue}}]
",
    );
    let observed = [seen("10.0.0.1", "10.0.0.2", TCP | 9001), seen("10.0.0.1", "10.0.0.2", TCP | 80)];
    let plan = propose(&policy, &observed, &terms(Tightness::Tier));
    let expected = ["{app: a} -> {app: b} tcp/80 (10, 1, 0)", "{app: a} -> {app: queue} tcp/9001 (10, 1, 0)"];
    assert_eq!(lines(&plan), expected);
}

mod exhaustive;
