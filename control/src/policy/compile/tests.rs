use std::collections::BTreeMap;
use std::net::IpAddr;

use dataplane::address::Address;
use dataplane::policy::{Behind, ServiceKey};
use dataplane::verdict::{RuleId, Verdict, WireId};

use super::{
    ApplyError, CompileError, CompileOptions, Compiled, Compiler, Limits, Part, WorkloadChange, compile,
};
use crate::policy::valid::{
    Action, Gates, Labels, Network, Origin, Prefix, Requirement, Rule, Selector, ServiceRange, Tier,
    ValidPolicy, Workload,
};

const TCP_443: ServiceRange = ServiceRange { first: 6 << 16 | 443, last: 6 << 16 | 443 };

fn origin() -> Origin {
    Origin { file: "test".into(), line: 1, column: 1 }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let mut labels = BTreeMap::new();
    for (key, value) in pairs {
        let values: &mut std::collections::BTreeSet<String> = labels.entry((*key).to_owned()).or_default();
        values.insert((*value).to_owned());
    }
    labels
}

fn workload(name: &str, address: &str, pairs: &[(&str, &str)]) -> Workload {
    Workload {
        name: name.to_owned(),
        labels: labels(pairs),
        addresses: vec![address.parse().unwrap()],
        macs: Vec::new(),
        wire: None,
        listeners: Vec::new(),
        origin: origin(),
    }
}

fn network(name: &str, prefixes: &[(&str, u8)], pairs: &[(&str, &str)]) -> Network {
    let prefix = |(address, len): &(&str, u8)| Prefix { address: address.parse().unwrap(), len: *len };
    let prefixes = prefixes.iter().map(prefix).collect();
    Network { name: name.to_owned(), labels: labels(pairs), prefixes, origin: origin() }
}

fn is(key: &str, value: &str) -> Vec<Selector> {
    vec![Selector { requirements: vec![Requirement::In(key.to_owned(), vec![value.to_owned()])] }]
}

fn any() -> Vec<Selector> {
    vec![Selector::default()]
}

fn allow(name: &str, from: Vec<Selector>, to: Vec<Selector>, services: Vec<ServiceRange>) -> Rule {
    let gates = Gates { egress: true, ingress: true };
    Rule {
        name: name.to_owned(),
        from,
        to,
        services,
        action: Action::Allow,
        gates,
        origin: origin(),
        ..Rule::default()
    }
}

fn policy(workloads: Vec<Workload>, networks: Vec<Network>, rules: Vec<Rule>) -> ValidPolicy {
    let tiers = vec![Tier { name: "application".to_owned(), rules }];
    ValidPolicy { workloads, networks, tiers, ..ValidPolicy::default() }
}

fn compiled(policy: &ValidPolicy) -> Compiled {
    compile(policy, &CompileOptions::default()).unwrap()
}

fn rule_of(compiled: &Compiled, source: &str, destination: &str, low: u16) -> (Verdict, String) {
    let resolve = |text: &str| compiled.table.resolve(Address::from(text.parse::<IpAddr>().unwrap()));
    let decision = compiled.table.decide(resolve(source), resolve(destination), ServiceKey::new(6, low));
    (decision.verdict, compiled.rule_name(decision.rule).to_owned())
}

#[test]
fn an_empty_policy_is_a_table() {
    let compiled = compiled(&ValidPolicy::default());
    let (verdict, rule) = rule_of(&compiled, "10.0.0.1", "2001:db8::1", 1);
    assert_eq!((verdict, &*rule), (Verdict::Deny, "default/unmanaged"));
    assert_eq!(compiled.rules.len(), RuleId::FIRST.0 as usize);
}

#[test]
fn own_values_hide_inherited_ones_key_by_key() {
    let prod = [("env", "prod"), ("loc", "zurich")];
    let policy = policy(
        vec![
            workload("inherits", "10.1.0.1", &[("app", "a")]),
            workload("overrides", "10.1.0.2", &[("env", "unmentioned")]),
            workload("target", "10.9.0.1", &[("app", "target")]),
        ],
        vec![
            network("wide", &[("10.0.0.0", 8)], &prod),
            network("narrow", &[("10.1.0.0", 16)], &[("loc", "bern")]),
        ],
        vec![
            allow("prod", is("env", "prod"), is("app", "target"), vec![TCP_443]),
            allow("bern", is("loc", "bern"), is("app", "target"), vec![ServiceRange::ANY]),
        ],
    );
    let compiled = compiled(&policy);
    for (name, source, port, expected) in [
        ("env comes from the wide network", "10.1.0.1", 443, "prod"),
        ("loc comes from the narrow one", "10.1.0.1", 80, "bern"),
        ("an own env hides the inherited one, even if no rule mentions its value", "10.1.0.2", 443, "bern"),
        ("an address of no workload inherits both", "10.1.0.3", 443, "prod"),
        ("the other network's loc does not reach", "10.2.0.3", 80, "default/deny"),
        ("outside of both", "11.0.0.1", 443, "default/deny"),
    ] {
        assert_eq!(rule_of(&compiled, source, "10.9.0.1", port).1, expected, "{name}");
    }
}

#[test]
fn rules_that_share_a_pair_keep_their_order() {
    let rules = vec![
        allow("first", is("app", "a"), any(), vec![ServiceRange { first: 6 << 16 | 10, last: 6 << 16 | 20 }]),
        allow("second", any(), any(), vec![ServiceRange { first: 6 << 16 | 15, last: 6 << 16 | 30 }]),
        allow("third", is("app", "a"), any(), vec![ServiceRange { first: 6 << 16, last: 6 << 16 | 0xffff }]),
    ];
    let policy = policy(
        vec![workload("a", "10.0.0.1", &[("app", "a")]), workload("b", "10.0.0.2", &[("app", "b")])],
        Vec::new(),
        rules,
    );
    let compiled = compiled(&policy);
    for (port, expected) in [
        (9, "third"),
        (10, "first"),
        (20, "first"),
        (21, "second"),
        (30, "second"),
        (31, "third"),
        (0, "third"),
    ] {
        assert_eq!(rule_of(&compiled, "10.0.0.1", "10.0.0.2", port).1, expected, "port {port}");
    }
}

/// Many applications in few environments, each talking to itself.
fn estate(apps: usize) -> ValidPolicy {
    let workload = |n: usize| {
        let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(n).unwrap());
        let (app, env) = (format!("app{}", n / 4), format!("env{}", n % 4));
        workload(&format!("w{n}"), &address.to_string(), &[("app", &app), ("env", &env)])
    };
    let mut rules: Vec<Rule> = (0..apps)
        .map(|n| {
            let app = format!("app{n}");
            allow(&format!("r{n}"), is("app", &app), is("app", &app), vec![TCP_443])
        })
        .collect();
    for n in 0..4 {
        let env = format!("env{n}");
        rules.push(allow(&env, is("env", &env), is("env", &env), vec![ServiceRange { first: 0, last: 9 }]));
    }
    rules.push(allow("any", any(), any(), vec![ServiceRange { first: 17 << 16 | 53, last: 17 << 16 | 53 }]));
    policy((0..apps * 4).map(workload).collect(), Vec::new(), rules)
}

#[test]
fn wide_rules_do_not_multiply_entries() {
    let stats = compiled(&estate(500)).stats;
    assert_eq!(stats.classes, 2001, "every app in every environment, and the unknown class");
    assert_eq!(stats.entries, 500 + 4 + 1, "one entry per rule: {stats:?}");
    assert_eq!(stats.intervals, 500 + 4 + 1);
}

#[test]
fn a_table_beyond_the_limit_is_refused_with_its_size() {
    let policy = estate(500);
    let sized =
        |bytes| compile(&policy, &CompileOptions { limits: Limits { bytes }, ..CompileOptions::default() });
    for (name, limit, part) in [("memberships", 1000, Part::Memberships), ("entries", 30_000, Part::Entries)]
    {
        let error = sized(limit).unwrap_err();
        let CompileError::TooLarge { part: named, bytes, limit: told } = error else {
            panic!("{name}: {error}");
        };
        assert_eq!((named, told), (part, limit), "{name}");
        assert!(bytes > limit, "{name}: {bytes}");
    }
    assert!(sized(1 << 20).is_ok());
}

#[test]
fn intervals_count_against_the_limit() {
    let port = |n: u32| (6 << 16) + n * 2;
    let ports = |n: u32| ServiceRange { first: port(n), last: port(n) };
    let policy =
        policy(Vec::new(), Vec::new(), vec![allow("r", any(), any(), (0..1000).map(ports).collect())]);
    let options = CompileOptions { limits: Limits { bytes: 9000 }, ..CompileOptions::default() };
    let error = compile(&policy, &options).unwrap_err();
    assert_eq!(error, CompileError::TooLarge { part: Part::Intervals, bytes: 16_000, limit: 9000 });
    assert!(error.to_string().contains("service intervals"), "{error}");
}

#[test]
fn wires_are_found_by_name() {
    let mut told = workload("told", "10.0.0.1", &[("app", "a")]);
    told.wire = Some("left".to_owned());
    told.macs = vec![[2, 0, 0, 0, 0, 1]];
    let mut elsewhere = workload("elsewhere", "10.0.0.2", &[("app", "a")]);
    elsewhere.wire = Some("other".to_owned());
    let policy = policy(vec![told, elsewhere, workload("free", "10.0.0.3", &[])], Vec::new(), Vec::new());
    let wires = ["right".to_owned(), "left".to_owned()];
    for (name, wires, expected) in [
        ("a daemon", wires.as_slice(), [Behind::Wire(WireId(1)), Behind::Elsewhere, Behind::NotTold]),
        ("no daemon", &[], [Behind::NotTold; 3]),
    ] {
        let table = compile(&policy, &CompileOptions { wires, ..CompileOptions::default() }).unwrap().table;
        let behind = [1, 2, 3].map(|n| table.binding(table.resolve(Address::v4([10, 0, 0, n]))).behind);
        assert_eq!(behind, expected, "{name}");
        assert_eq!(table.binding(table.resolve(Address::v4([10, 0, 0, 1]))).macs, [[2, 0, 0, 0, 0, 1]]);
    }
}

#[test]
fn an_address_of_two_workloads_is_refused() {
    let twice =
        policy(vec![workload("a", "10.0.0.1", &[]), workload("b", "10.0.0.1", &[])], Vec::new(), Vec::new());
    let error = compile(&twice, &CompileOptions::default()).unwrap_err();
    assert!(error.to_string().contains("10.0.0.1"), "{error}");
}

#[test]
fn a_unique_label_on_each_of_100_000_workloads_costs_nothing() {
    let plain = estate(25_000);
    let mut tagged = plain.clone();
    for workload in &mut tagged.workloads {
        workload.labels.insert("uid".to_owned(), [workload.name.clone()].into());
    }
    let (plain, tagged) = (compiled(&plain).stats, compiled(&tagged).stats);
    assert_eq!(plain.addresses, 100_000);
    assert_eq!((tagged.classes, tagged.bytes), (plain.classes, plain.bytes));
    assert_eq!(tagged, plain);
}

#[test]
fn one_rule_for_5_000_applications_that_talk_to_themselves() {
    let mut estate = estate(5000);
    let same = Rule { same: vec!["app".to_owned()], ..allow("own app", any(), any(), vec![TCP_443]) };
    estate.tiers[0].rules = vec![same];
    let compiled = compiled(&estate);
    assert_eq!((compiled.stats.entries, compiled.stats.intervals), (5000, 1), "{:?}", compiled.stats);
    for (name, source, destination, expected) in [
        ("in one application", "10.0.0.1", "10.0.0.2", "own app"),
        ("across two", "10.0.0.3", "10.0.0.4", "default/deny"),
    ] {
        assert_eq!(rule_of(&compiled, source, destination, 443).1, expected, "{name}");
    }
    let limits = Limits { bytes: 1 << 20 };
    let error = compile(&estate, &CompileOptions { limits, ..CompileOptions::default() }).unwrap_err();
    assert!(matches!(error, CompileError::TooLarge { part: Part::Memberships, .. }), "{error}");
}

#[test]
fn a_change_beyond_the_limit_is_refused_and_leaves_the_table() {
    // Memberships and entries of 500 applications fit; a workload that is in 400 of them at once does not.
    let limits = Limits { bytes: 40_000 };
    let (mut compiler, _) =
        Compiler::new(estate(500), &CompileOptions { limits, ..CompileOptions::default() }).unwrap();
    let before = compiler.table().clone();
    let apps = |range: std::ops::Range<u32>| -> Box<Workload> {
        let mut new = workload("new", "10.9.0.1", &[]);
        let values = range.map(|n| format!("app{n}")).collect();
        new.labels.insert("app".to_owned(), values);
        Box::new(new)
    };
    let error = compiler.apply(WorkloadChange::Put(apps(0..400))).unwrap_err();
    assert!(
        matches!(error, ApplyError::Compile(CompileError::TooLarge { part: Part::Entries, .. })),
        "{error}"
    );
    assert_eq!(compiler.policy().workloads.len(), 2000);
    assert_eq!(compiler.table().workloads(), before.workloads());
    // What does not stay gathers only until it is in the way.
    for n in 0..60 {
        let applied = compiler.apply(WorkloadChange::Put(apps(n..n + 2))).unwrap();
        assert_eq!(applied.table.workloads(), 2001);
    }
}
