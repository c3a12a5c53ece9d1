//! What is said of a contradiction, a broken assertion and an idle rule, and that large policies are no problem.

use super::estate::Estate;
use super::work::Work;
use super::{Admitted, admit, assertions, conflicts, shadows};
use crate::policy::diagnostics::{Code, Diagnostics, Severity};
use crate::policy::valid::{
    Action, Assertion, AssertionKind, Enforcement, Labels, Mode, Network, Origin, Prefix, Requirement, Rule,
    Selector, ServiceRange, Tier, ValidPolicy, Workload,
};
use crate::policy::{CompileOptions, compile};

fn origin(line: u32) -> Origin {
    Origin { file: "policy.yaml".into(), line, column: 3 }
}

fn workload(at: u32, labels: &[(&str, &str)]) -> Workload {
    let mut all = Labels::new();
    for (key, value) in labels {
        all.entry((*key).to_owned()).or_default().insert((*value).to_owned());
    }
    Workload {
        name: format!("w{at}"),
        labels: all,
        addresses: vec![std::net::Ipv4Addr::from_bits(0x0a00_0000 + at).into()],
        macs: Vec::new(),
        wire: None,
        listeners: Vec::new(),
        origin: origin(0),
    }
}

fn is(key: &str, value: &str) -> Vec<Selector> {
    vec![Selector { requirements: vec![Requirement::In(key.to_owned(), vec![value.to_owned()])] }]
}

fn any() -> Vec<Selector> {
    vec![Selector::default()]
}

fn tcp(first: u32, last: u32) -> Vec<ServiceRange> {
    vec![ServiceRange { first: 6 << 16 | first, last: 6 << 16 | last }]
}

fn rule(line: u32, action: Action, from: Vec<Selector>, to: Vec<Selector>, ports: (u32, u32)) -> Rule {
    let services = tcp(ports.0, ports.1);
    Rule { name: format!("r{line}"), from, to, services, action, origin: origin(line), ..Rule::default() }
}

fn policy(rules: Vec<Rule>) -> ValidPolicy {
    let workloads = vec![
        workload(1, &[("app", "shop"), ("role", "web"), ("env", "prod")]),
        workload(2, &[("app", "shop"), ("role", "db"), ("env", "prod")]),
        workload(3, &[("app", "blog"), ("role", "web"), ("env", "dev")]),
    ];
    let office = Network {
        name: "office".to_owned(),
        labels: Labels::new(),
        prefixes: vec![Prefix { address: [192, 168, 0, 0].into(), len: 16 }],
        origin: origin(0),
    };
    let tiers = vec![Tier { name: "application".to_owned(), rules }];
    ValidPolicy { workloads, networks: vec![office], tiers, ..ValidPolicy::default() }
}

fn admitted(policy: &ValidPolicy) -> Result<Admitted, Diagnostics> {
    admit(policy, &compile(policy, &CompileOptions::default()).unwrap())
}

/// Code, line and message of each.
fn told(diagnostics: &Diagnostics) -> Vec<(Code, u32, &str)> {
    diagnostics.iter().map(|one| (one.code, one.line, one.message.as_str())).collect()
}

#[test]
fn a_conflict_is_told_with_a_flow_and_both_places() {
    let rules = vec![
        rule(1, Action::Allow, is("role", "web"), is("role", "db"), (5432, 5432)),
        rule(2, Action::Allow, is("role", "web"), is("role", "db"), (22, 22)),
        rule(3, Action::Deny, is("env", "prod"), any(), (5000, 6000)),
    ];
    let refused = admitted(&policy(rules)).unwrap_err();
    let message = "`r3` (deny) and `r1` (allow) disagree about w1 (10.0.0.1) -> w2 (10.0.0.2) tcp/5432 at the egress \
                   gate, and nothing says which comes first: both are of tier `application`, priority 0";
    assert_eq!(told(&refused), [(Code::Conflict, 3, message)]);
    let related = &refused.iter().next().unwrap().related;
    assert_eq!(related.iter().map(|one| (one.line, one.column)).collect::<Vec<_>>(), [(1, 3)]);
}

#[test]
fn rules_that_cannot_meet_do_not_conflict() {
    let base = rule(1, Action::Allow, is("role", "web"), is("role", "db"), (443, 443));
    let other = || rule(2, Action::Deny, is("env", "prod"), is("role", "db"), (443, 443));
    let egress = crate::policy::valid::Gates { egress: true, ingress: false };
    let ingress = crate::policy::valid::Gates { egress: false, ingress: true };
    let same = || vec!["app".to_owned()];
    for (name, base, other, conflicts) in [
        ("as they are", base.clone(), other(), true),
        ("another priority", base.clone(), Rule { priority: 1, ..other() }, false),
        ("the same action", base.clone(), Rule { action: Action::Allow, ..other() }, false),
        ("other services", base.clone(), Rule { services: tcp(444, 500), ..other() }, false),
        ("no source satisfies both", base.clone(), Rule { from: is("env", "test"), ..other() }, false),
        ("no destination satisfies both", base.clone(), Rule { to: is("role", "web"), ..other() }, false),
        (
            "different gates",
            Rule { gates: egress, ..base.clone() },
            Rule { gates: ingress, ..other() },
            false,
        ),
        ("one gate in common", base.clone(), Rule { gates: ingress, ..other() }, true),
        ("ends that must be alike and are", base.clone(), Rule { same: same(), ..other() }, true),
        (
            "ends that must be alike and are not",
            Rule { from: is("env", "dev"), ..base.clone() },
            Rule { from: is("env", "dev"), same: same(), ..other() },
            false,
        ),
    ] {
        let refused = admitted(&policy(vec![base, other])).is_err();
        assert_eq!(refused, conflicts, "{name}");
    }
}

fn assertion(kind: AssertionKind, from: Vec<Selector>, to: Vec<Selector>) -> Assertion {
    let services = vec![ServiceRange::ANY];
    Assertion { name: "a".to_owned(), kind, from, to, services, except: Vec::new(), origin: origin(9) }
}

/// A policy with one assertion, and how the message ends that says it does not hold.
struct Case {
    name: &'static str,
    rules: Vec<Rule>,
    enforcement: Vec<Enforcement>,
    assertion: Assertion,
    broken: Option<&'static str>,
}

fn case(name: &'static str, rules: Vec<Rule>, assertion: Assertion, broken: Option<&'static str>) -> Case {
    Case { name, rules, enforcement: Vec::new(), assertion, broken }
}

fn cases() -> Vec<Case> {
    use AssertionKind::{Always, Never};
    let web_to_db = || rule(1, Action::Allow, is("role", "web"), is("role", "db"), (5432, 5432));
    let guard = || rule(2, Action::Deny, is("env", "dev"), is("env", "prod"), (0, 0xffff));
    let observe = || Enforcement {
        select: is("env", "prod"),
        ingress: Some(Mode::Observe),
        egress: None,
        origin: origin(0),
    };
    let dev_to_prod = || assertion(Never, is("env", "dev"), is("env", "prod"));
    let stranger = || vec![Selector { requirements: vec![Requirement::NoWorkload] }];
    let on = |ports: (u32, u32), one: Assertion| Assertion { services: tcp(ports.0, ports.1), ..one };
    let shop_to_db = || assertion(Always, is("app", "shop"), is("role", "db"));
    vec![
        case(
            "an allow that nobody thought of",
            vec![web_to_db()],
            dev_to_prod(),
            Some("w3 (10.0.0.3) -> w2 (10.0.0.2) tcp/5432 is allowed by `r1` at the ingress gate"),
        ),
        case("a deny before it", vec![guard(), Rule { priority: 1, ..web_to_db() }], dev_to_prod(), None),
        case("services that are left out", vec![web_to_db()], on((0, 5431), dev_to_prod()), None),
        Case {
            enforcement: vec![observe()],
            ..case(
                "mode observe lets everything in",
                vec![guard()],
                assertion(Never, any(), is("role", "db")),
                Some("is allowed: its gate is in mode `observe`, else `default/deny` would have stopped it"),
            )
        },
        case(
            "strangers count",
            vec![rule(1, Action::Allow, any(), is("role", "db"), (22, 22))],
            assertion(Never, stranger(), is("role", "db")),
            Some("-> w2 (10.0.0.2) tcp/22 is allowed by `r1` at the ingress gate"),
        ),
        case(
            "always, and one service is missing",
            vec![web_to_db()],
            on((5432, 5433), shop_to_db()),
            Some("w1 (10.0.0.1) -> w2 (10.0.0.2) tcp/5433 is stopped by `default/deny` at the egress gate"),
        ),
        case(
            "always, and it holds: a workload does not speak with itself",
            vec![web_to_db()],
            on((5432, 5432), shop_to_db()),
            None,
        ),
    ]
}

#[test]
fn a_broken_assertion_names_the_flow_the_rule_and_the_gate() {
    for Case { name, rules, enforcement, assertion, broken } in cases() {
        let policy = ValidPolicy { enforcement, assertions: vec![assertion], ..policy(rules) };
        let found = admitted(&policy).err();
        let found: Vec<_> = found.iter().flat_map(told).collect();
        match broken {
            None => assert!(found.is_empty(), "{name}: {found:?}"),
            Some(text) => {
                assert!(
                    found.len() == 1 && found[0].0 == Code::Assertion && found[0].1 == 9,
                    "{name}: {found:?}"
                );
                assert!(found[0].2.ends_with(text), "{name}: {}", found[0].2);
            }
        }
    }
}

#[test]
fn an_assertion_that_is_too_much_work_does_not_pass() {
    let policy = ValidPolicy {
        assertions: vec![assertion(AssertionKind::Never, is("env", "dev"), is("env", "prod"))],
        ..policy(Vec::new())
    };
    let compiled = compile(&policy, &CompileOptions::default()).unwrap();
    let asked: Vec<&[Selector]> = policy.assertions.iter().flat_map(|one| [&*one.from, &*one.to]).collect();
    let estate = Estate::new(&policy, &asked).unwrap();
    let lists = [(estate.view.asked[0], estate.view.asked[1])];
    let prove = |steps| assertions::prove(&estate, &compiled, &lists, &mut Work::new(steps));
    assert!(prove(1000).is_empty(), "it holds");
    assert_eq!(
        prove(3).iter().map(|one| (one.code, one.severity)).collect::<Vec<_>>(),
        [(Code::Limit, Severity::Error)]
    );
}

#[test]
fn an_assertion_about_nothing_is_a_warning() {
    let of_nobody = assertion(AssertionKind::Never, is("env", "test"), any());
    let policy = ValidPolicy { assertions: vec![of_nobody], ..policy(Vec::new()) };
    let warnings = admitted(&policy).unwrap().warnings;
    assert_eq!(told(&warnings).iter().map(|one| one.0).collect::<Vec<_>>(), [Code::MatchesNothing]);
}

#[test]
fn idle_rules_are_told_with_those_that_hide_them() {
    let allow = |line, ports| rule(line, Action::Allow, is("role", "web"), is("role", "db"), ports);
    let rules = vec![
        allow(1, (1, 100)),
        allow(2, (101, 200)),
        allow(3, (50, 60)),
        allow(4, (50, 150)),
        allow(5, (50, 250)),
        Rule { same: vec!["role".to_owned()], ..allow(6, (300, 300)) },
    ];
    let policy = policy(rules);
    let warnings = admitted(&policy).unwrap().warnings;
    assert!(warnings.iter().all(|one| one.severity == Severity::Warning));
    let dead = "the rule `r6` can never match: there are no two endpoints of which one is selected by `from`, the other \
                by `to`, and which its other conditions allow";
    assert_eq!(
        told(&warnings),
        [
            (
                Code::Shadowed,
                3,
                "the rule `r3` never decides anything: `r1`, which comes before it, matches all that it matches"
            ),
            (
                Code::Shadowed,
                4,
                "the rule `r4` never decides anything: `r1`, `r2` together, which come before it, match all that it \
                 matches"
            ),
            (Code::NeverMatches, 6, dead),
        ]
    );
}

/// `count` rules, two actions in one tier, from and to `apps` applications of two workloads each.
fn large(count: u32, apps: u32) -> ValidPolicy {
    let app = |at: u32| format!("a{}", at % apps);
    let workloads = (0..2 * apps).map(|at| workload(at, &[("app", &app(at)), ("env", "prod")])).collect();
    let action = |at: u32| if at.is_multiple_of(2) { Action::Deny } else { Action::Reject };
    let rules = (0..count).map(|at| {
        let ports = (1 + at % 30_000, 1 + at % 30_000);
        rule(1 + at, action(at), is("app", &app(at / 2)), is("app", &app(at / 4)), ports)
    });
    let tiers = vec![Tier { name: "override".to_owned(), rules: rules.collect() }];
    ValidPolicy { workloads, tiers, ..ValidPolicy::default() }
}

#[test]
fn ten_thousand_rules_of_two_actions_take_a_bounded_number_of_steps() {
    let policy = large(10_000, 500);
    let estate = Estate::new(&policy, &[]).unwrap();
    let found = conflicts::find(&estate, &mut Work::new(30_000_000));
    assert!(found.list.is_empty(), "{:?}", found.list.first());
    let standings = shadows::standings(&estate, &mut Work::new(2_000_000));
    assert!(!standings.contains(&super::Standing::NotExamined));
}

#[test]
fn work_that_runs_out_is_told() {
    let policy = large(1000, 10);
    let estate = Estate::new(&policy, &[]).unwrap();
    let found = conflicts::find(&estate, &mut Work::new(1000));
    assert_eq!(
        found.list.iter().map(|one| (one.code, one.severity)).collect::<Vec<_>>(),
        [(Code::Limit, Severity::Error)]
    );
    let standings = shadows::standings(&estate, &mut Work::new(1000));
    assert_eq!(standings.last(), Some(&super::Standing::NotExamined));
    let warnings = shadows::warnings(&estate, &standings);
    assert_eq!(warnings.list.last().map(|one| one.code), Some(Code::NotExamined));
}
