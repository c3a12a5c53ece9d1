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

/// The least (rules, unseen tuples) by trying every set of pairs of selectors, with nothing of the machinery above.
fn exhaustive(
    workloads: &[[Vec<&'static str>; 2]],
    flows: &BTreeSet<(usize, usize, u32)>,
    asks: [bool; 2],
) -> (usize, u64) {
    type Asked = [Option<&'static str>; 2];
    let selectors = |at: usize| -> Vec<Asked> {
        let one = |key: usize| -> Vec<Option<&'static str>> {
            let held = workloads[at][key].iter().map(|value| Some(*value));
            held.chain((!asks[key]).then_some(None)).collect()
        };
        one(0).into_iter().flat_map(|a| one(1).into_iter().map(move |b| [a, b])).collect()
    };
    let matches = |at: usize, asked: &Asked| {
        (0..2).all(|key| asked[key].is_none_or(|value| workloads[at][key].contains(&value)))
    };
    let mut pairs: BTreeSet<(Asked, Asked)> = BTreeSet::new();
    for (from, to, _) in flows {
        pairs.extend(selectors(*from).iter().flat_map(|a| selectors(*to).into_iter().map(move |b| (*a, b))));
    }
    let pairs: Vec<(Asked, Asked)> = pairs.into_iter().collect();
    let services: BTreeSet<u32> = flows.iter().map(|flow| flow.2).collect();
    let within = |(from, to): &(Asked, Asked)| -> BTreeSet<(usize, usize)> {
        let all = (0..workloads.len()).flat_map(|a| (0..workloads.len()).map(move |b| (a, b)));
        all.filter(|(a, b)| a != b && matches(*a, from) && matches(*b, to)).collect()
    };
    let areas: Vec<BTreeSet<(usize, usize)>> = pairs.iter().map(within).collect();
    let wanted =
        |service: u32| flows.iter().filter(move |flow| flow.2 == service).map(|flow| (flow.0, flow.1));
    // What a set of pairs costs, if it covers everything: for each service the cheapest of its subsets that do.
    let cost = |set: &[usize]| -> Option<u64> {
        services
            .iter()
            .map(|service| {
                (1u32..1 << set.len())
                    .filter_map(|some| {
                        let used: Vec<usize> =
                            (0..set.len()).filter(|bit| some >> bit & 1 == 1).map(|bit| set[bit]).collect();
                        let covered = |flow: (usize, usize)| used.iter().any(|at| areas[*at].contains(&flow));
                        let unseen = |at: &usize| {
                            areas[*at].iter().filter(|(a, b)| !flows.contains(&(*a, *b, *service))).count()
                                as u64
                        };
                        wanted(*service).all(covered).then(|| used.iter().map(unseen).sum::<u64>())
                    })
                    .min()
            })
            .sum()
    };
    for size in 0..=flows.len() {
        let mut best = None;
        let mut set: Vec<usize> = (0..size).collect();
        while size <= pairs.len() {
            if let Some(cost) = cost(&set) {
                best = Some(best.map_or(cost, |least: u64| least.min(cost)));
            }
            let Some(at) = (0..size).rev().find(|at| set[*at] < pairs.len() - size + at) else { break };
            set[at] += 1;
            for next in at + 1..size {
                set[next] = set[next - 1] + 1;
            }
        }
        if let Some(best) = best {
            return (size, best);
        }
    }
    unreachable!("every flow has a pair of its own")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn small_estates_are_solved_as_well_as_can_be(
        labels in proptest::collection::vec((1u8..8, 1u8..4), 2..6),
        picked in proptest::collection::vec((0usize..6, 0usize..6, 0u32..2), 1..6),
        tightness in proptest::sample::select(vec![Tightness::Tier, Tightness::App]),
    ) {
        let some = |mask: u8, words: &[&'static str]| -> Vec<&'static str> {
            (0..words.len()).filter(|bit| mask >> bit & 1 == 1).map(|bit| words[bit]).collect()
        };
        let workloads: Vec<[Vec<&'static str>; 2]> =
            labels.iter().map(|(a, b)| [some(*a, &["x", "y", "z"]), some(*b, &["web", "db"])]).collect();
        let mut text = String::from("workloads:\n");
        for (at, [app, role]) in workloads.iter().enumerate() {
            let (app, role) = (app.join(", "), role.join(", "));
            text += &format!("  - {{name: w{at}, labels: {{app: [{app}], role: [{role}]}}, addresses: [10.0.0.{at}]}}\n");
        }
        let policy = policy(&text);
        let flows: BTreeSet<(usize, usize, u32)> = picked
            .into_iter()
            .map(|(a, b, service)| (a % workloads.len(), b % workloads.len(), TCP | (80 + 100 * service)))
            .filter(|(a, b, _)| a != b)
            .collect();
        let observed: Vec<Observation> =
            flows.iter().map(|(a, b, service)| seen(&format!("10.0.0.{a}"), &format!("10.0.0.{b}"), *service)).collect();
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let terms = Terms { tightness, keys: own(&["app", "role"]), tier: own(&["role"]) };
        let plan = propose(&policy, &observed, &terms);
        prop_assert!(plan.exact && plan.refused.is_empty());
        let found = (plan.rules.len(), plan.rules.iter().map(|rule| rule.unseen).sum::<u64>());
        let best = exhaustive(&workloads, &flows, [true, tightness == Tightness::Tier]);
        prop_assert_eq!(found, best, "{:?}\n{}", lines(&plan), text);
    }
}
