//! What the language's larger words stand for: every rule they make, as a line.

use super::{BASE, load};
use crate::policy::valid::{
    AssertionKind, Gates, OnRevoke, Rule, Selector, ServiceRange, TestEnd, ValidPolicy, Verdict,
};

fn policy(text: &str) -> ValidPolicy {
    let loaded = load(&format!("ringfence: 1\n{text}\n{BASE}")).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    loaded.policy
}

fn joined<T: ToString>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
}

/// What a rule says beyond the usual, in the order of its fields.
fn line(rule: &Rule) -> String {
    let mut line = format!(
        "{} {} {} -> {} {}",
        rule.name,
        rule.action.name(),
        joined::<Selector>(&rule.from),
        joined::<Selector>(&rule.to),
        joined::<ServiceRange>(&rule.services)
    );
    let mut add = |when: bool, text: String| {
        if when {
            line.push(' ');
            line.push_str(&text);
        }
    };
    add(!rule.same.is_empty(), format!("same:{}", rule.same.join(",")));
    add(rule.gates == Gates { egress: true, ingress: false }, "egress".to_owned());
    add(rule.gates == Gates { egress: false, ingress: true }, "ingress".to_owned());
    match rule.on_revoke {
        OnRevoke::Cut => {}
        OnRevoke::Drain(seconds) => add(true, format!("drain:{seconds}")),
        OnRevoke::Keep => add(true, "keep".to_owned()),
    }
    add(rule.staged, "staged".to_owned());
    line
}

/// The rules that the text makes, each after its tier.
fn lines(text: &str) -> Vec<String> {
    let policy = policy(text);
    let own = policy.tiers.iter().filter(|tier| tier.name != "infrastructure");
    own.flat_map(|tier| tier.rules.iter().map(|rule| format!("{}: {}", tier.name, line(rule)))).collect()
}

#[test]
fn rules_carry_all_they_say() {
    let table = [
        (
            "rules: [{name: r, from: {role: web}, to: {role: db}, service: postgres, same: [env, app], \
             on_revoke: drain 5m, staged: true}]",
            vec!["application: r allow {role: web} -> {role: db} tcp/5432 same:app,env drain:300 staged"],
        ),
        (
            "rules: [{name: r, from: any, to: any, service: any, on_revoke: keep}]",
            vec!["application: r allow any -> any any keep"],
        ),
        (
            "rules: [{name: r, from: {network: {not: office}}, to: no-workload, service: [tcp/1, udp/1]}]",
            vec!["application: r allow {network: {not: office}} -> no-workload tcp/1 | udp/1"],
        ),
        (
            "rules:\n- {name: b, from: any, to: any, service: any, action: deny}\n\
             - {name: c, from: any, to: any, service: any, action: reject}\n\
             - {name: d, from: any, to: any, service: any, action: override-deny}\n\
             - {name: e, from: any, to: any, service: any, action: override-reject}",
            vec![
                "override: e reject any -> any any",
                "override: d deny any -> any any",
                "boundary: c reject any -> any any",
                "boundary: b deny any -> any any",
            ],
        ),
        (
            "rules: [{name: r, from: {matchLabels: {role: web}, matchExpressions: [{key: env, operator: DoesNotExist}, \
             {key: app, operator: NotIn, values: [a, b]}]}, to: {workload: {exists: true}, role: {in: [db], not: x}}, \
             service: any}]",
            vec![
                "application: r allow {role: web, app: {not: [a, b]}, env: {exists: false}} -> \
                 {role: db, matchExpressions: [{key: role, operator: NotIn, values: [x]}], workload: {exists: true}} any",
            ],
        ),
    ];
    for (text, expected) in table {
        let shown = lines(text);
        let same = shown.iter().zip(&expected).all(|(a, b)| canonical(a) == canonical(b));
        assert!(same && shown.len() == expected.len(), "{text}: {shown:#?}");
    }
}

/// The order of requirements in a selector has no meaning.
fn canonical(line: &str) -> Vec<char> {
    let mut letters: Vec<char> = line.chars().collect();
    letters.sort_unstable();
    letters
}

#[test]
fn a_ruleset_adds_its_scope() {
    let scoped = |rules: &str| {
        lines(&format!(
            "workloads: [{{name: x, labels: {{app: [shop, crm], env: prod, role: db}}, addresses: 10.8.0.1}}]\n\
             rulesets: [{{name: shop, scope: {{app: shop}}, {rules}}}]"
        ))
    };
    let table = [
        (
            "rules: [{name: in, from: {env: prod}, to: any, service: postgres}]",
            "application: shop/in allow {app: shop, env: prod} -> {app: shop} tcp/5432",
        ),
        (
            "rules: [{name: in, from: {app: crm}, to: any-workload, service: postgres}]",
            "application: shop/in allow {app: crm, matchExpressions: [{key: app, operator: In, values: [shop]}]} -> \
             {app: shop, workload: {exists: true}} tcp/5432",
        ),
        (
            "rules: [{name: in, from_anywhere: {role: web}, to: {role: db}, service: postgres}]",
            "application: shop/in allow {role: web} -> {app: shop, role: db} tcp/5432",
        ),
        (
            "rules: [{name: out, from: {role: db}, to_anywhere: any, service: postgres}]",
            "application: shop/out allow {app: shop, role: db} -> any tcp/5432",
        ),
        (
            "staged: true, on_revoke: drain 1h, rules: [{name: in, from: any, to: any, service: postgres}]",
            "application: shop/in allow {app: shop} -> {app: shop} tcp/5432 drain:3600 staged",
        ),
        (
            "on_revoke: keep, rules: [{name: in, from: any, to: any, service: postgres, on_revoke: cut}]",
            "application: shop/in allow {app: shop} -> {app: shop} tcp/5432",
        ),
        (
            "on_revoke: keep, rules: [{name: in, from: any, to: any, service: postgres, action: deny, staged: true}]",
            "boundary: shop/in deny {app: shop} -> {app: shop} tcp/5432 staged",
        ),
    ];
    for (rules, expected) in table {
        assert_eq!(scoped(rules), [expected], "{rules}");
    }
}

#[test]
fn a_scope_of_several_selectors_is_added_as_each_of_them() {
    let shown = lines(
        "rulesets: [{name: s, scope: [{role: db}, {zone: office}], rules: [{name: r, from: [{role: web}, {zone: office}], \
         to: any, service: postgres, action: override-reject}]}]",
    );
    let expected = "override: s/r reject {role: db, matchExpressions: [{key: role, operator: In, values: [web]}]} | \
                    {role: db, zone: office} | {role: web, zone: office} | {zone: office} -> \
                    {role: db} | {zone: office} tcp/5432";
    assert_eq!(shown, [expected]);
}

#[test]
fn a_ringfence_allows_inside_and_denies_around() {
    let table = [
        (
            "{name: shop, scope: {role: db}}",
            vec![
                "application: shop/inside allow {role: db} -> {role: db} any",
                "boundary: shop/inbound deny any -> {role: db} any ingress",
                "boundary: shop/outbound deny {role: db} -> any any egress",
            ],
        ),
        (
            "{name: apps, scope: {role: db}, by: [app, env], service: postgres, outside: ignore, on_revoke: keep, \
             staged: true}",
            vec![
                "application: apps/inside allow {role: db} -> {role: db} tcp/5432 same:app,env keep staged",
                "boundary: apps/across deny {role: db} -> {role: db} any staged",
            ],
        ),
    ];
    for (ringfence, expected) in table {
        assert_eq!(lines(&format!("ringfences: [{ringfence}]")), expected);
    }
    let both = lines(
        "ringfences: [{name: a, scope: {role: db}}]\n\
         rules: [{name: z, from: any, to: any, service: any}, {name: y, from: any, to: any, service: any, action: deny}]",
    );
    let names: Vec<_> = both.iter().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(
        names,
        ["z", "a/inside", "y", "a/inbound", "a/outbound"],
        "what somebody wrote is named first"
    );
}

#[test]
fn tiers_stand_in_their_order() {
    let policy = policy(
        "tiers:\n- {name: late, order: 2500, rules: []}\n- {name: first, order: -5, rules: [\
         {name: b, priority: 7, from: any, to: any, service: tcp/1, action: pass, gates: ingress}, \
         {name: c, from: any, to: any, service: tcp/1, action: reject, gates: [egress, ingress]}, \
         {name: a, priority: 7, from: any, to: any, service: tcp/1}]}\n- {name: mid, order: 999, rules: []}",
    );
    let names: Vec<_> = policy.tiers.iter().map(|tier| tier.name.as_str()).collect();
    assert_eq!(names, ["first", "infrastructure", "mid", "override", "application", "late", "boundary"]);
    let rules: Vec<_> = policy.tiers[0].rules.iter().map(line).collect();
    let expected =
        ["c reject any -> any tcp/1", "a allow any -> any tcp/1", "b pass any -> any tcp/1 ingress"];
    assert_eq!(rules, expected);
    assert_eq!(policy.tiers[0].rules.iter().map(|rule| rule.priority).collect::<Vec<_>>(), [0, 7, 7]);
}

#[test]
fn listeners_have_services_and_labels() {
    let policy = policy(
        "workloads: [{name: x, labels: {app: shop}, addresses: 10.8.0.1, listeners: [\
         {name: main, service: [postgres, tcp/5433], labels: {app: [crm, erp]}}, {name: admin, service: tcp/22, labels: {role: admin}}]}]\n\
         rules: [{name: r, from: any, to: {app: crm, role: {not: admin}}, service: any}, \
         {name: s, from: any, to: {app: shop, role: admin}, service: any}]",
    );
    let workload = policy.workloads.iter().find(|one| one.name == "x").unwrap();
    let shown: Vec<_> = workload
        .listeners
        .iter()
        .map(|one| (one.name.as_str(), joined(&one.services), one.labels.len()))
        .collect();
    assert_eq!(shown, [("admin", "tcp/22".to_owned(), 1), ("main", "tcp/5432-5433".to_owned(), 1)]);
    assert_eq!(workload.listeners[1].labels["app"].len(), 2);
}

#[test]
fn assertions_and_tests_are_kept_apart_from_rules() {
    let policy = policy(
        "assertions:\n- never: {name: n, from: {env: dev}, to: {env: prod}, except: [tcp/9997, postgres]}\n\
         - always: {name: a, from: {role: web}, to: {role: db}, service: postgres}\n\
         tests:\n- {from: web, to: db, service: postgres, expect: reject, rule: infrastructure/dns}\n\
         - {name: a sentence about it, from: '::ffff:192.0.2.1', to: db, service: icmp/echo-request, expect: allow}",
    );
    let [always, never] = policy.assertions.as_slice() else { panic!("{:?}", policy.assertions) };
    assert_eq!((always.kind, never.kind), (AssertionKind::Always, AssertionKind::Never));
    assert_eq!(joined(&never.except), "tcp/5432 | tcp/9997");
    assert!(never.services.iter().all(|range| !range.contains(0x06_1538) && !range.contains(0x06_270d)));
    assert!(never.services.iter().any(|range| range.contains(0x06_1539)));
    let [first, second] = policy.tests.as_slice() else { panic!("{:?}", policy.tests) };
    assert_eq!(
        (first.name.as_str(), first.service, first.expect),
        ("web -> db postgres", 0x06_1538, Verdict::Reject)
    );
    assert_eq!(first.rule.as_deref(), Some("infrastructure/dns"));
    assert_eq!((second.name.as_str(), second.service), ("a sentence about it", 0x01_0800));
    assert_eq!(second.source, TestEnd::Address([192, 0, 2, 1].into()));
    assert_eq!(second.destination, TestEnd::Workload("db".to_owned()));
}
