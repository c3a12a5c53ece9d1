//! The analysis of a policy finds what brute force with the oracle finds.

use conformance::estate::{self, Size};
use conformance::random::Random;
use conformance::{everything, oracle};
use control::policy::analysis::Standing;
use control::policy::diagnostics::{Code, Severity};
use control::policy::valid::{Action, AssertionKind, INFRASTRUCTURE, Rule, ServiceRange, ValidPolicy};
use control::policy::{CompileOptions, Diagnostics, admit, compile};

fn admitted(policy: &ValidPolicy) -> Result<control::policy::Admitted, Diagnostics> {
    let compiled = compile(policy, &CompileOptions::default()).expect("a generated policy compiles");
    admit(policy, &compiled)
}

/// The messages of the errors with this code.
fn errors(result: &Result<control::policy::Admitted, Diagnostics>, code: Code) -> Vec<String> {
    let list = result.as_ref().err().into_iter().flatten();
    list.filter(|one| one.severity == Severity::Error && one.code == code)
        .map(|one| one.message.clone())
        .collect()
}

fn speak_together(one: &Rule, other: &Rule) -> bool {
    one.gates.egress && other.gates.egress || one.gates.ingress && other.gates.ingress
}

/// Whether two rules without order between them disagree about a flow.
fn disagree(policy: &ValidPolicy) -> bool {
    let flows = everything::flows(policy);
    policy.tiers.iter().any(|tier| {
        let rules = tier.rules.iter().enumerate();
        let pairs = rules.flat_map(|(at, one)| tier.rules[..at].iter().map(move |other| (one, other)));
        let unordered = |(one, other): &(&Rule, &Rule)| {
            one.priority == other.priority && one.action != other.action && speak_together(one, other)
        };
        pairs.filter(unordered).any(|(one, other)| {
            flows.iter().any(|flow| {
                let is = |rule| oracle::is_matched(policy, rule, flow.0, flow.1, flow.2);
                is(one) && is(other)
            })
        })
    })
}

#[test]
fn conflicts_are_those_that_brute_force_finds() {
    let (mut refused, mut passed) = (0, 0);
    for seed in 0..100 {
        let mut random = Random::new(seed);
        let size =
            Size { workloads: 1 + random.below(5), networks: random.below(3), rules: 2 + random.below(16) };
        let mut policy = estate::generate_whole(&mut random, size);
        if random.one_in(2) {
            // Few actions in one tier of the language: some of these policies bring more together.
            policy.tiers.iter_mut().flat_map(|tier| &mut tier.rules).for_each(|rule| {
                rule.action = *random.pick(&[Action::Allow, Action::Deny, Action::Reject, Action::Pass]);
                rule.priority = 0;
            });
        }
        let found = errors(&admitted(&policy), Code::Conflict);
        assert_eq!(!found.is_empty(), disagree(&policy), "seed {seed}: {found:?}");
        if found.is_empty() { passed += 1 } else { refused += 1 }
    }
    assert!(refused > 20 && passed > 20, "{refused} refused, {passed} passed");
}

/// Gives every rule a priority of its own, so that nothing conflicts.
fn ordered(policy: &mut ValidPolicy) {
    for tier in &mut policy.tiers {
        for (at, rule) in (0..).zip(&mut tier.rules) {
            rule.priority = at;
        }
    }
}

#[test]
fn assertions_hold_where_brute_force_finds_no_violation() {
    let (mut held, mut broken) = ([0; 2], [0; 2]);
    for seed in 0..60 {
        let mut random = Random::new(10_000 + seed);
        let size =
            Size { workloads: 1 + random.below(5), networks: random.below(3), rules: random.below(10) };
        let mut policy = estate::generate_whole(&mut random, size);
        ordered(&mut policy);
        policy.assertions = estate::assertions(&mut random, &policy, 12);
        let flows = everything::flows(&policy);
        let answers: Vec<oracle::Answer> =
            flows.iter().map(|flow| oracle::decide(&policy, flow.0, flow.1, flow.2)).collect();
        let built_in = policy.tiers.iter().filter(|tier| tier.name == INFRASTRUCTURE);
        let infrastructure: Vec<&str> =
            built_in.flat_map(|tier| tier.rules.iter().map(|rule| rule.name.as_str())).collect();
        let result = admitted(&policy);
        let found = errors(&result, Code::Assertion);
        assert!(errors(&result, Code::Limit).is_empty(), "seed {seed}: everything is proved");
        for assertion in &policy.assertions {
            let speaks_of = Rule {
                from: assertion.from.clone(),
                to: assertion.to.clone(),
                services: assertion.services.clone(),
                ..Rule::default()
            };
            let never = assertion.kind == AssertionKind::Never;
            let about_any = never && assertion.services == [ServiceRange::ANY];
            let violates = |(flow, answer): (&estate::Probe, &oracle::Answer)| {
                let spared = about_any && infrastructure.contains(&answer.rule.as_str());
                answer.verdict.is_allow() == never
                    && !spared
                    && oracle::is_matched(&policy, &speaks_of, flow.0, flow.1, flow.2)
            };
            let expected = flows.iter().zip(&answers).any(violates);
            let told =
                found.iter().filter(|message| message.contains(&format!("`{}`", assertion.name))).count();
            assert_eq!(told, usize::from(expected), "seed {seed}: {assertion:?}\n{found:#?}");
            if expected { broken[usize::from(never)] += 1 } else { held[usize::from(never)] += 1 }
        }
    }
    assert!(held.iter().chain(&broken).all(|count| *count > 50), "{held:?} held, {broken:?} broken");
}

/// Whether `one`, rule `at` of tier `tier`, decides a flow at a gate, or passes it on.
fn is_live(policy: &ValidPolicy, flows: &[estate::Probe], tier: usize, at: usize) -> bool {
    let one = &policy.tiers[tier].rules[at];
    let gates = [(one.gates.egress, true), (one.gates.ingress, false)];
    let speaks = |rule: &Rule, egress: bool| if egress { rule.gates.egress } else { rule.gates.ingress };
    let reached = |flow: &&estate::Probe, egress: bool| {
        let first = |rules: &[Rule]| {
            let mut counting =
                rules.iter().filter(|rule| speaks(rule, egress) && (one.staged || !rule.staged));
            counting
                .find(|rule| oracle::is_matched(policy, rule, flow.0, flow.1, flow.2))
                .map(|rule| rule.action)
        };
        let passed = |action: Option<Action>| action.is_none_or(|action| action == Action::Pass);
        first(&policy.tiers[tier].rules[..at]).is_none()
            && policy.tiers[..tier].iter().all(|tier| passed(first(&tier.rules)))
    };
    let matched = flows.iter().filter(|flow| oracle::is_matched(policy, one, flow.0, flow.1, flow.2));
    let matched: Vec<_> = matched.collect();
    gates.iter().any(|(speaks, egress)| *speaks && matched.iter().any(|flow| reached(flow, *egress)))
}

#[test]
fn rules_are_shadowed_where_brute_force_finds_nothing_that_they_decide() {
    let (mut live, mut dead, mut by_one, mut by_several) = (0, 0, 0, 0);
    for seed in 0..120 {
        let mut random = Random::new(20_000 + seed);
        let size =
            Size { workloads: 1 + random.below(5), networks: random.below(3), rules: random.below(24) };
        let mut policy = estate::generate_whole(&mut random, size);
        ordered(&mut policy);
        let standings = admitted(&policy).unwrap().standings;
        let flows = everything::flows(&policy);
        let tiers = policy.tiers.iter().enumerate();
        let rules = tiers.flat_map(|(tier, of)| (0..of.rules.len()).map(move |at| (tier, at)));
        for ((tier, at), standing) in rules.zip(&standings) {
            let rule = &policy.tiers[tier].rules[at];
            let matches = flows.iter().any(|flow| oracle::is_matched(&policy, rule, flow.0, flow.1, flow.2));
            let expected = (is_live(&policy, &flows, tier, at), matches);
            match standing {
                Standing::Live => live += 1,
                Standing::Dead => dead += 1,
                Standing::Shadowed(by) if by.len() == 1 => by_one += 1,
                Standing::Shadowed(_) => by_several += 1,
                Standing::NotExamined => panic!("seed {seed}: {} was not examined", rule.name),
            }
            let found = (*standing == Standing::Live, *standing != Standing::Dead);
            assert_eq!(found, expected, "seed {seed}: {rule:?} is {standing:?}");
        }
    }
    let counts = [live, dead, by_one, by_several];
    assert!(counts.iter().all(|count| *count >= 8), "{counts:?}");
}
