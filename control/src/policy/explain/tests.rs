use dataplane::policy::ServiceKey;

use super::{ExplainError, Explanation, explain};
use crate::policy::compile::{CompileOptions, Compiled, compile};
use crate::policy::service::parse_one;
use crate::policy::valid::ValidPolicy;
use crate::policy::{SourceFile, load_texts};

const POLICY: &str = "
ringfence: 1
workloads:
  - {name: web, labels: {app: shop, role: web}, addresses: [10.1.0.1, 'fd00::1']}
  - {name: db, labels: {app: shop, role: db, loc: own}, addresses: [10.2.0.1, 'fd00::2']}
  - {name: legacy, labels: {app: legacy}, addresses: ['fd00::3']}
  - {name: fresh, addresses: [10.1.0.9]}
  - {name: watched, labels: {app: watched}, addresses: [10.1.0.5]}
  - {name: open, labels: {app: open}, addresses: [10.1.0.6]}
networks:
  - {name: campus, cidrs: [10.0.0.0/8], labels: {loc: zurich, env: prod}}
  - {name: lab, cidrs: [10.2.0.0/16], labels: {env: dev}}
rules:
  - {name: shop, from: {role: web}, to: {role: db}, service: tcp/5432}
  - {name: zurich, from: {loc: zurich}, to: any, service: 'tcp/5000-6000'}
  - {name: not-to-dev, from: any, to: {env: dev}, service: tcp/23, action: override-deny}
  - {name: telnet, from: any, to: any, service: tcp/23}
  - {name: trial, from: any, to: any, service: tcp/7000, staged: true}
  - {name: late, from: {role: web}, to: any, service: tcp/8000-8001, on_revoke: drain 2m}
tiers:
  - name: platform
    order: 500
    rules:
      - {name: ask-others, from: {app: shop}, to: any, service: tcp/8000, action: pass}
      - {name: refuse, priority: 1, from: any, to: any, service: tcp/8000-8001, action: reject}
enforcement:
  - {select: {app: watched}, ingress: observe, egress: observe}
  - {select: {app: open}, ingress: 'off', egress: 'off'}
";

fn estate() -> (ValidPolicy, Compiled) {
    let file = SourceFile { name: "policy.yaml".to_owned(), text: POLICY.to_owned() };
    let policy = match load_texts(&[file]) {
        Ok(loaded) => loaded.policy,
        Err(diagnostics) => panic!("{}", diagnostics.render(false)),
    };
    let compiled = compile(&policy, &CompileOptions::default()).unwrap();
    (policy, compiled)
}

fn ask(source: &str, destination: &str, service: &str) -> Result<Explanation, ExplainError> {
    let (policy, compiled) = estate();
    let key = ServiceKey::from_value(parse_one(service).unwrap()).unwrap();
    explain(&policy, compiled.named(), source, destination, key)
}

#[test]
fn verdict_rule_reason_gate_and_tier() {
    for (source, destination, service, expected) in [
        ("web", "db", "tcp/5432", ["allow", "shop", "allowed by rule", "ingress", "application"]),
        ("web", "db", "tcp/80", ["deny", "default/deny", "default/deny", "egress", "default"]),
        ("web", "db", "tcp/23", ["deny", "not-to-dev", "policy", "egress", "override"]),
        ("web", "10.1.0.1", "tcp/23", ["allow", "telnet", "allowed by rule", "ingress", "application"]),
        (
            "fresh",
            "web",
            "tcp/5432",
            ["deny", "default/quarantine", "default/quarantine", "egress", "default"],
        ),
        (
            "web",
            "fresh",
            "udp/53",
            ["allow", "infrastructure/dns", "allowed by rule", "ingress", "infrastructure"],
        ),
        (
            "192.0.2.1",
            "192.0.2.2",
            "tcp/80",
            ["deny", "default/unmanaged", "default/unmanaged", "egress", "default"],
        ),
        ("192.0.2.1", "web", "tcp/80", ["deny", "default/deny", "default/deny", "ingress", "default"]),
        ("open", "open", "tcp/80", ["allow", "default/off", "default/off", "ingress", "default"]),
        ("web", "open", "tcp/5001", ["allow", "zurich", "allowed by rule", "egress", "application"]),
    ] {
        let told = ask(source, destination, service).unwrap();
        let got = [told.verdict, &told.rule, &told.reason, told.gate, &told.tier];
        assert_eq!(got, expected, "{source} {destination} {service}");
    }
}

#[test]
fn labels_name_their_origin() {
    let told = ask("web", "db", "tcp/5432").unwrap();
    let label = |end: &super::EndView, key: &str| -> Vec<(String, String)> {
        end.labels[key].iter().map(|label| (label.value.clone(), label.origin.clone())).collect()
    };
    let pair = |value: &str, origin: &str| vec![(value.to_owned(), origin.to_owned())];
    assert_eq!(label(&told.source, "env"), pair("prod", "campus"));
    assert_eq!(label(&told.source, "role"), pair("web", "own"));
    assert_eq!(label(&told.destination, "env"), pair("dev", "lab"), "the narrower network");
    assert_eq!(label(&told.destination, "loc"), pair("own", "own"), "an own value hides the network's");
    assert_eq!(told.destination.networks, ["lab", "campus"], "narrowest first");
    assert_eq!(told.source.workload.as_deref(), Some("web"));
    assert_eq!(told.service, "tcp/5432");
    assert_eq!(told.written.as_deref(), Some("policy.yaml:14:12"), "the rule's name");
}

#[test]
fn each_loser_says_why() {
    let lost = |source, destination, service, rule: &str| {
        let told = ask(source, destination, service).unwrap();
        told.candidates.into_iter().find(|candidate| candidate.rule == rule).map(|candidate| candidate.lost)
    };
    for (source, destination, service, rule, expected) in [
        ("web", "db", "tcp/80", "shop", Some("it covers tcp/5432 only")),
        (
            "web",
            "db",
            "tcp/5432",
            "zurich",
            Some("`shop` comes first at the egress gate; `shop` comes first at the ingress gate"),
        ),
        ("web", "db", "tcp/5432", "shop", None),
        ("db", "web", "tcp/5432", "shop", None),
        (
            "fresh",
            "web",
            "tcp/5432",
            "zurich",
            Some(
                "the egress gate is in quarantine, where only infrastructure rules count; it opens the ingress \
                 gate, but the egress gate decides",
            ),
        ),
        ("open", "web", "tcp/23", "not-to-dev", Some("the destination does not meet `env: dev`")),
        ("open", "db", "tcp/5432", "shop", Some("the source does not meet `role: web`")),
        ("open", "web", "tcp/5432", "shop", None),
        ("web", "db", "tcp/7000", "trial", Some("it is staged: it is recorded and decides nothing")),
        (
            "web",
            "db",
            "tcp/8000",
            "ask-others",
            Some(
                "it passes the egress gate on to the tiers after `platform`; it passes the ingress gate on to the tiers \
                 after `platform`",
            ),
        ),
    ] {
        assert_eq!(
            lost(source, destination, service, rule).as_deref(),
            expected,
            "{source} {service} {rule}"
        );
    }
}

#[test]
fn observe_passes_and_says_what_it_would_do() {
    let told = ask("watched", "open", "tcp/80").unwrap();
    assert_eq!((told.verdict, told.potential.as_deref()), ("allow", Some("default/deny")));
    assert_eq!((told.source.mode, told.destination.mode), ("observe", "off"));
}

#[test]
fn ends_are_addresses_or_workloads_of_one_family() {
    let told = ask("web", "legacy", "tcp/80").unwrap();
    assert_eq!(told.source.address.to_string(), "fd00::1", "the family that both have");
    assert_eq!(ask("::ffff:10.1.0.1", "db", "tcp/80").unwrap().source.workload.as_deref(), Some("web"));
    assert_eq!(ask("nobody", "db", "tcp/80"), Err(ExplainError::Unknown("nobody".to_owned())));
    let family = ExplainError::Family { source: "fresh".to_owned(), destination: "legacy".to_owned() };
    assert_eq!(ask("fresh", "legacy", "tcp/80"), Err(family));
}

#[test]
fn a_table_of_another_policy_is_told() {
    let (policy, compiled) = estate();
    let mut other = policy.clone();
    other.tiers.iter_mut().for_each(|tier| tier.rules.retain(|rule| rule.name != "shop"));
    let key = ServiceKey::from_value(parse_one("tcp/5432").unwrap()).unwrap();
    let error = explain(&other, compiled.named(), "web", "db", key).unwrap_err();
    let expected = ExplainError::Disagreement {
        table: "allow by shop".to_owned(),
        policy: "allow by zurich".to_owned(),
    };
    assert_eq!(error, expected);
}

#[test]
fn both_gates_are_told_tier_by_tier() {
    let told = ask("web", "db", "tcp/8000").unwrap();
    assert_eq!((told.verdict, told.on_revoke.as_deref()), ("allow", Some("drain 120s")));
    let trail = |at: usize| -> Vec<(String, &'static str, Option<String>)> {
        told.gates[at].tiers.iter().map(|one| (one.tier.clone(), one.outcome, one.rule.clone())).collect()
    };
    let row = |tier: &str, outcome, rule: Option<&str>| (tier.to_owned(), outcome, rule.map(str::to_owned));
    let expected = [
        row("infrastructure", "no rule matches", None),
        row("platform", "pass", Some("ask-others")),
        row("override", "no rule matches", None),
        row("application", "allow", Some("late")),
        row("boundary", "not asked", None),
    ];
    assert_eq!((trail(0), trail(1)), (expected.to_vec(), expected.to_vec()));

    let told = ask("web", "open", "tcp/8001").unwrap();
    let gates: Vec<_> =
        told.gates.iter().map(|gate| (gate.gate, gate.mode, gate.verdict, gate.rule.as_str())).collect();
    assert_eq!(told.verdict, "reject");
    assert_eq!(gates, [("egress", "full", "reject", "refuse"), ("ingress", "off", "allow", "default/off")]);
    assert!(told.gates[1].tiers.iter().all(|tier| tier.outcome == "not asked"));
    let fresh = ask("fresh", "web", "tcp/5432").unwrap();
    assert_eq!(fresh.gates[0].tiers[3].outcome, "does not count in quarantine");
}

#[test]
fn the_smallest_change_is_told_with_what_else_it_opens() {
    for (source, destination, service, edits, verdict, opens) in [
        (
            "web",
            "db",
            "tcp/80",
            &[
                "add to `rules`: `{name: explain/allow, from: {workload: web}, to: {workload: db}, service: tcp/80}`",
            ][..],
            "allow",
            Some(0),
        ),
        (
            "web",
            "db",
            "tcp/5432",
            &[
                "add to `rules`: `{name: explain/deny, from: {workload: web}, to: {workload: db}, service: tcp/5432, \
               action: override-deny}`",
            ],
            "deny",
            Some(0),
        ),
        // No allow beats an override-deny, and one label less lets less through than one rule less.
        (
            "web",
            "db",
            "tcp/23",
            &["remove `not-to-dev` and what else is written at policy.yaml:16:12"],
            "allow",
            Some(2),
        ),
        // In quarantine no rule of the user's counts.
        (
            "fresh",
            "web",
            "tcp/5432",
            &["add the label `labelled: true` to the workload `fresh`"],
            "allow",
            Some(6),
        ),
    ] {
        let told = ask(source, destination, service).unwrap();
        let change = told.change.unwrap();
        assert_eq!(
            (change.edits, change.verdict, change.opens),
            (edits.iter().map(|&edit| edit.to_owned()).collect(), verdict, opens),
            "{source} {destination} {service}: {:#?}",
            told.alternatives
        );
    }
}

#[test]
fn serializes_with_stable_fields() {
    let json = serde_json::to_value(ask("web", "db", "tcp/80").unwrap()).unwrap();
    for (pointer, expected) in [
        ("/verdict", "deny"),
        ("/rule", "default/deny"),
        ("/reason", "default/deny"),
        ("/source/address", "10.1.0.1"),
        ("/source/labels/env/0/origin", "campus"),
        ("/destination/workload", "db"),
        ("/candidates/0/lost", "it covers tcp/53, udp/53 only"),
    ] {
        assert_eq!(json.pointer(pointer).and_then(|value| value.as_str()), Some(expected), "{pointer}");
    }
}
