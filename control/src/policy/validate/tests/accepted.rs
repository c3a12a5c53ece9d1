//! What good policies mean: a policy with every form, and what may differ in writing but not in meaning.

use super::load;
use crate::policy::valid::{Action, Mode, Requirement, ServiceRange};
use crate::policy::{SourceFile, load_texts};

const EVERY_FORM: &str = r#"
ringfence: "1"
workloads:
  - name: shop/db
    labels: {role: db, app: [shop, crm], version: 1.10, on: off, example.org/tier: null-0}
    addresses: [10.0.0.5, "fd00::5"]
    macs: ["02:00:00:00:00:05", 02-00-00-00-00-06]
    wire: db
  - {name: web, labels: {role: web}, addresses: 10.0.0.6}
networks: [{name: office, cidrs: ["2001:db8::/32", 192.168.0.0/16, 0.0.0.0/0], labels: {zone: office}}]
services: [{name: web, ports: [tcp/443, tcp/80, tcp/444]}]
rules:
  - {name: plain, from: {role: web}, to: {role: db, app: shop}, service: [web, tcp/445]}
  - {name: names, from: {workload: [web, shop/db]}, to: {network: office}, service: any, action: deny}
  - {name: tests, from: [{zone: {not: [x, office]}}, {role: {exists: true}, app: {exists: false}}],
     to: any-workload, service: udp/53, action: override-deny}
enforcement: [{select: any, ingress: observe}, {select: {role: web}, ingress: full, egress: off}]
infrastructure: {dhcp: false, igmp: "false"}
ether_types: [lldp, 0x88cc, 0x0842]
"#;

#[test]
fn every_form_means_what_it_says() {
    let loaded = load(EVERY_FORM).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let policy = &loaded.policy;
    let db = &policy.workloads[0];
    assert_eq!((db.name.as_str(), db.origin.line, db.origin.column), ("shop/db", 4, 11));
    let label = |key: &str| db.labels[key].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(label("app"), ["crm", "shop"]);
    assert_eq!((label("version"), label("on")), (vec!["1.10"], vec!["off"]));
    assert_eq!(db.macs, [[2, 0, 0, 0, 0, 5], [2, 0, 0, 0, 0, 6]]);
    assert_eq!(db.wire.as_deref(), Some("db"));
    assert_eq!(policy.networks[0].prefixes.len(), 3);

    let shape: Vec<(&str, Vec<&str>)> = policy
        .tiers
        .iter()
        .map(|tier| (tier.name.as_str(), tier.rules.iter().map(|rule| rule.name.as_str()).collect()))
        .collect();
    let infrastructure =
        vec!["infrastructure/dns", "infrastructure/ntp", "infrastructure/neighbour-discovery"];
    let expected = [
        ("infrastructure", infrastructure),
        ("override", vec!["tests"]),
        ("application", vec!["plain"]),
        ("boundary", vec!["names"]),
    ];
    assert_eq!(shape, expected);

    let plain = &policy.tiers[2].rules[0];
    assert_eq!(
        plain.services,
        [
            ServiceRange { first: 0x06_0050, last: 0x06_0050 },
            ServiceRange { first: 0x06_01bb, last: 0x06_01bd }
        ]
    );
    assert_eq!((plain.action, plain.gates.egress, plain.gates.ingress), (Action::Allow, true, true));
    assert_eq!(plain.to[0].to_string(), "{app: shop, role: db}");

    let tests = &policy.tiers[1].rules[0];
    assert_eq!(tests.to[0].requirements, [Requirement::AnyWorkload]);
    let shown: Vec<_> = tests.from.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["{zone: {not: [office, x]}}", "{role: {exists: true}, app: {exists: false}}"]);

    let modes: Vec<_> = policy.enforcement.iter().map(|one| (one.ingress, one.egress)).collect();
    assert_eq!(modes, [(Some(Mode::Observe), None), (Some(Mode::Full), Some(Mode::Off))]);
    assert_eq!(policy.ether_types, [0x0842, 0x88cc]);
}

#[test]
fn json_is_read_too() {
    let text = "{\n\t\"ringfence\": 1,\n\t\"workloads\": [\n\t\t{\"name\": \"a\", \"addresses\": [\"10.0.0.1\"]}\n\t]\n}\n";
    let loaded = load(text).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.policy.workloads.len(), 1);
}

#[test]
fn the_hash_knows_meaning_from_writing() {
    let one = "ringfence: 1\nworkloads: [{name: a, labels: {k: [x, y]}, addresses: [10.0.0.1, 10.0.0.2]}, \
               {name: b, labels: {k: z}, addresses: 10.0.0.3}]\n";
    let rules = "ringfence: 1\nrules: [{name: p, from: {k: x}, to: {k: z}, service: [tcp/1, tcp/2]}, \
                 {name: q, from: any, to: {k: [y, z]}, service: any, action: deny}]\n";
    let hash = |texts: &[&str]| {
        let files: Vec<_> =
            texts.iter().map(|text| SourceFile { name: "x".to_owned(), text: (*text).to_owned() }).collect();
        load_texts(&files).unwrap_or_else(|errors| panic!("{errors}")).hash()
    };
    let first = hash(&[one, rules]);
    let same = [
        vec![rules.to_owned(), one.to_owned()],
        vec![format!("{one}---\n{rules}")],
        vec![one.replace("[x, y]", "[y, x]"), rules.replace("[tcp/1, tcp/2]", "tcp/1-2")],
        vec![one.replace("[10.0.0.1, 10.0.0.2]", "[10.0.0.2, 10.0.0.1]"), format!("# words\n{rules}")],
        vec![one.to_owned(), format!("{rules}infrastructure: {{dns: true}}\n")],
        vec![one.to_owned(), format!("{rules}tests: [{{from: a, to: b, service: tcp/1, expect: deny}}]\n")],
        vec![one.to_owned(), rules.replace("{k: x}", "{matchLabels: {k: x}}")],
    ];
    for texts in &same {
        assert_eq!(hash(&texts.iter().map(String::as_str).collect::<Vec<_>>()), first, "{texts:?}");
    }
    let other = [
        (one.replace("k: z", "k: w"), rules.replace('z', "w")),
        (one.replace("10.0.0.3", "10.0.0.4"), rules.to_owned()),
        (one.to_owned(), rules.replace("tcp/2", "tcp/3")),
        (one.to_owned(), rules.replace("action: deny", "action: override-deny")),
        (one.to_owned(), rules.replace("name: p", "name: pp")),
        (one.to_owned(), format!("{rules}infrastructure: {{dns: false}}\n")),
        (one.to_owned(), format!("{rules}ether_types: lldp\n")),
        (one.to_owned(), format!("{rules}enforcement: [{{select: any, egress: off}}]\n")),
        (one.to_owned(), rules.replace("service: any", "service: any, same: k")),
        (one.to_owned(), rules.replace("service: any", "service: any, staged: true")),
        (one.to_owned(), rules.replace("service: [", "on_revoke: keep, service: [")),
        (one.to_owned(), rules.replace("action: deny", "action: reject")),
        (one.to_owned(), format!("{rules}tiers: [{{name: t, order: 5, rules: []}}]\n")),
        (one.to_owned(), format!("{rules}ringfences: [{{name: f, scope: {{k: x}}}}]\n")),
        (
            one.to_owned(),
            format!("{rules}assertions: [{{never: {{name: a, from: {{k: x}}, to: {{k: w}}}}}}]\n"),
        ),
        (
            one.replace("10.0.0.3}", "10.0.0.3, listeners: [{name: l, service: tcp/1, labels: {k: v}}]}"),
            rules.to_owned(),
        ),
    ];
    for (inventory, rules) in &other {
        assert_ne!(hash(&[inventory, rules]), first, "{inventory}{rules}");
    }
}
