//! The compiled table and the oracle agree on verdict, gate, rule and potential.

use conformance::estate::{self, Probe, Size};
use conformance::oracle::{self, Answer};
use conformance::random::Random;
use control::policy::valid::{ValidPolicy, Workload};
use control::policy::{CompileOptions, Compiled, compile, explain, matrix};
use dataplane::address::Address;
use dataplane::policy::ServiceKey;

/// What the compiled table says, in the oracle's words.
fn table_answer(compiled: &Compiled, (source, destination, service): Probe) -> Answer {
    let table = &compiled.table;
    let [source, destination] = [source, destination].map(|address| table.resolve(Address::from(address)));
    let key = ServiceKey::from_value(service).expect("probes stay inside the service space");
    let decision = table.decide(source, destination, key);
    Answer {
        verdict: decision.verdict,
        gate: decision.gate.name(),
        rule: compiled.rule_name(decision.rule).to_owned(),
        potential: decision.potential.map(|rule| compiled.rule_name(rule).to_owned()),
        on_revoke: decision.on_revoke,
    }
}

fn compiled(policy: &ValidPolicy) -> Compiled {
    compile(policy, &CompileOptions::default()).expect("a generated policy compiles")
}

/// The probes on which table and oracle differ.
fn differences(policy: &ValidPolicy, compiled: &Compiled, probes: &[Probe]) -> Vec<String> {
    let differ = |probe: &Probe| {
        let (table, oracle) =
            (table_answer(compiled, *probe), oracle::decide(policy, probe.0, probe.1, probe.2));
        (table != oracle).then(|| format!("{probe:?}: table {table:?}, oracle {oracle:?}"))
    };
    probes.iter().filter_map(differ).collect()
}

#[test]
fn table_agrees_with_oracle_on_100_000_flows() {
    let mut asked = 0;
    let mut names = std::collections::BTreeSet::new();
    for seed in 0..250 {
        let mut random = Random::new(seed);
        let size =
            Size { workloads: 1 + random.below(30), networks: 1 + random.below(12), rules: random.below(40) };
        let policy = estate::generate(&mut random, size);
        let compiled = compiled(&policy);
        let probes: Vec<Probe> = (0..440).map(|_| estate::probe(&mut random, &policy)).collect();
        let differ = differences(&policy, &compiled, &probes);
        assert!(differ.is_empty(), "seed {seed}: {} differ, first {}", differ.len(), differ[0]);
        names.extend(probes.iter().map(|probe| {
            let rule = table_answer(&compiled, *probe).rule;
            if rule.starts_with("default/") { rule } else { "rule".to_owned() }
        }));
        asked += probes.len();
    }
    assert!(asked >= 100_000);
    assert_eq!(names.len(), 7, "the probes meet a rule and every named default: {names:?}");
}

#[test]
fn table_agrees_with_oracle_on_100_000_flows_in_the_whole_language() {
    let mut met = std::collections::BTreeMap::new();
    for seed in 0..250 {
        let mut random = Random::new(90_000 + seed);
        let size =
            Size { workloads: 1 + random.below(30), networks: 1 + random.below(12), rules: random.below(50) };
        let policy = estate::generate_whole(&mut random, size);
        let compiled = compiled(&policy);
        let probes: Vec<Probe> = (0..420).map(|_| estate::probe(&mut random, &policy)).collect();
        let differ = differences(&policy, &compiled, &probes);
        assert!(differ.is_empty(), "seed {seed}: {} differ, first {}", differ.len(), differ[0]);
        for probe in &probes {
            let answer = table_answer(&compiled, *probe);
            let rule = if answer.rule.starts_with("default/") { answer.rule } else { "rule".to_owned() };
            *met.entry((answer.verdict.name(), rule)).or_insert(0) += 1;
        }
    }
    assert!(met.values().sum::<u32>() >= 100_000);
    for kind in ["allow", "deny", "reject"] {
        let named = met.get(&(kind, "rule".to_owned())).copied().unwrap_or(0);
        assert!(named > 500, "{kind} by a rule: {named} of {met:?}");
    }
}

#[test]
fn a_damaged_policy_is_noticed() {
    let (mut noticed, mut tried) = (0, 0);
    for seed in 1000..1030 {
        let mut random = Random::new(seed);
        let policy = estate::generate(&mut random, Size { workloads: 20, networks: 6, rules: 12 });
        let probes: Vec<Probe> = (0..400).map(|_| estate::probe(&mut random, &policy)).collect();
        let named: Vec<String> = probes.iter().map(|p| oracle::decide(&policy, p.0, p.1, p.2).rule).collect();
        let Some(decisive) = named.iter().find(|name| !name.starts_with("default/")) else { continue };
        tried += 1;
        // Compile without a rule that decided at least one of the probes: the comparison must see it.
        let mut damaged = policy.clone();
        for tier in &mut damaged.tiers {
            tier.rules.retain(|rule| rule.name != *decisive);
        }
        noticed += usize::from(!differences(&policy, &compiled(&damaged), &probes).is_empty());
    }
    assert!(tried >= 20, "{tried} policies had a deciding rule");
    assert_eq!(noticed, tried);
}

#[test]
fn labels_that_the_policy_does_not_mention_change_nothing() {
    let mut random = Random::new(7);
    let policy = estate::generate(&mut random, Size { workloads: 40, networks: 6, rules: 30 });
    let mut tagged = policy.clone();
    let mark = |workload: &mut Workload| {
        if !workload.labels.is_empty() {
            workload.labels.insert("uid".to_owned(), [workload.name.clone()].into());
        }
    };
    tagged.workloads.iter_mut().for_each(mark);
    assert_eq!(compiled(&tagged).stats, compiled(&policy).stats);
}

/// A policy large enough that some peer lists are wide; the oracle is slow, so few flows are asked.
#[test]
fn table_agrees_with_oracle_where_rules_are_wide() {
    for seed in 5000..5004 {
        let mut random = Random::new(seed);
        let policy = estate::generate(&mut random, Size { workloads: 400, networks: 30, rules: 200 });
        let compiled = compiled(&policy);
        assert!(compiled.stats.classes > 64, "{:?}", compiled.stats);
        let probes: Vec<Probe> = (0..200).map(|_| estate::probe(&mut random, &policy)).collect();
        let differ = differences(&policy, &compiled, &probes);
        assert!(differ.is_empty(), "seed {seed}: {} differ, first {}", differ.len(), differ[0]);
    }
}

#[test]
fn explain_and_matrix_agree_with_oracle() {
    for seed in 2000..2030 {
        let mut random = Random::new(seed);
        let policy = estate::generate_whole(&mut random, Size { workloads: 12, networks: 6, rules: 25 });
        let compiled = compiled(&policy);
        for _ in 0..60 {
            let (source, destination, service) = estate::probe(&mut random, &policy);
            if source.is_ipv4() != destination.is_ipv4() {
                continue;
            }
            let key = ServiceKey::from_value(service).unwrap();
            let told = explain(&policy, compiled.named(), &source.to_string(), &destination.to_string(), key)
                .unwrap();
            let oracle = oracle::decide(&policy, source, destination, service);
            let told = (told.verdict, told.gate, told.rule, told.potential);
            let oracle = (oracle.verdict.name(), oracle.gate, oracle.rule, oracle.potential);
            assert_eq!(told, oracle, "seed {seed}: {source} {destination} {service:#x}");
        }
        let matrix = matrix(&policy, compiled.named(), ServiceKey::new(6, 443));
        for pair in matrix.pairs().filter(|pair| pair.verdict != "none") {
            let addresses = |name: &str| {
                let workload = policy.workloads.iter().find(|workload| workload.name == name).unwrap();
                let first = |v4: bool| workload.addresses.iter().copied().find(|a| a.is_ipv4() == v4);
                [first(true), first(false)]
            };
            let common = addresses(pair.source).into_iter().zip(addresses(pair.destination));
            let (source, destination) = common.into_iter().find_map(|(s, d)| Some((s?, d?))).unwrap();
            let oracle = oracle::decide(&policy, source, destination, 6 << 16 | 443);
            assert_eq!((pair.verdict, pair.rule), (oracle.verdict.name(), Some(&*oracle.rule)), "{pair:?}");
        }
    }
}
