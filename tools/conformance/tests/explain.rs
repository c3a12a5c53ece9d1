//! What `explain` proposes does flip the verdict: applied to the policy, and asked of the oracle.

use std::sync::Arc;

use conformance::estate::{self, Size};
use conformance::oracle;
use conformance::random::Random;
use control::policy::explain::Matching;
use control::policy::valid::ValidPolicy;
use control::policy::{CompileOptions, compile, explain};
use dataplane::policy::ServiceKey;

/// Every change told for `count` random flows of `policy`, made and asked about; returns how many there were.
fn all_flip(policy: &ValidPolicy, random: &mut Random, count: usize) -> usize {
    let compiled = compile(policy, &CompileOptions::default()).expect("a generated policy compiles");
    let mut tried = 0;
    for _ in 0..count {
        let (source, destination, service) = estate::probe(random, policy);
        if source.is_ipv4() != destination.is_ipv4() {
            continue;
        }
        let key = ServiceKey::from_value(service).expect("probes stay inside the service space");
        let told = explain(policy, compiled.named(), &source.to_string(), &destination.to_string(), key)
            .expect("table and policy agree");
        let before = oracle::decide(policy, source, destination, service);
        assert!(told.change.is_some(), "{source} {destination} {service:#x}: nothing flips {before:?}");
        let counted =
            |opens: Option<u64>, closes: Option<u64>| opens.zip(closes).map_or(u64::MAX, |(a, b)| a + b);
        let mut last = (0, 0);
        for change in told.change.iter().chain(&told.alternatives) {
            let after = oracle::decide(&change.apply(policy), source, destination, service);
            assert_ne!(
                after.verdict.is_allow(),
                before.verdict.is_allow(),
                "{change:?}: {before:?}, {after:?}"
            );
            assert_eq!(change.verdict, after.verdict.name(), "{change:?}");
            let rank = (change.edits.len(), counted(change.opens, change.closes));
            assert!(rank >= last, "the smallest first: {told:#?}");
            last = rank;
            tried += 1;
        }
    }
    tried
}

#[test]
fn every_change_flips_the_verdict() {
    let mut tried = 0;
    for seed in 0..60 {
        let mut random = Random::new(9000 + seed);
        let size =
            Size { workloads: 1 + random.below(15), networks: 1 + random.below(8), rules: random.below(30) };
        let policy = estate::generate_whole(&mut random, size);
        tried += all_flip(&policy, &mut random, 60);
    }
    assert!(tried > 5_000, "{tried}");
}

/// What a change opens and closes beside the flow asked about is what the oracle counts over all pairs.
#[test]
fn what_else_it_opens_is_counted_right() {
    let mut counted = 0;
    for seed in 0..40 {
        let mut random = Random::new(9500 + seed);
        let policy = estate::generate_whole(&mut random, Size { workloads: 8, networks: 4, rules: 20 });
        let compiled = compile(&policy, &CompileOptions::default()).expect("a generated policy compiles");
        let pairs: Vec<_> = (0..64).map(|at| (at / 8, at % 8)).filter(|(from, to)| from != to).collect();
        let (from, to) = *random.pick(&pairs);
        let allowed = |policy: &ValidPolicy, service: u32| -> Vec<Option<bool>> {
            let address = |(from, to): &(usize, usize)| {
                let (from, to) = (&policy.workloads[*from].addresses, &policy.workloads[*to].addresses);
                from.iter().find_map(|a| Some((*a, *to.iter().find(|b| a.is_ipv4() == b.is_ipv4())?)))
            };
            let decide = |(from, to)| oracle::decide(policy, from, to, service).verdict.is_allow();
            pairs.iter().map(|pair| address(pair).map(decide)).collect()
        };
        let (_, _, service) = estate::probe(&mut random, &policy);
        let key = ServiceKey::from_value(service).unwrap();
        let names = [from, to].map(|at| policy.workloads[at].name.clone());
        let Ok(told) = explain(&policy, compiled.named(), &names[0], &names[1], key) else { continue };
        let before = allowed(&policy, service);
        for change in told.change.iter().chain(&told.alternatives) {
            let (Some(opens), Some(closes)) = (change.opens, change.closes) else { continue };
            let after = allowed(&change.apply(&policy), service);
            let others =
                || pairs.iter().zip(before.iter().zip(&after)).filter(|(pair, _)| **pair != (from, to));
            let count = |was: bool, is: bool| {
                others().filter(|(_, (before, after))| (**before, **after) == (Some(was), Some(is))).count()
                    as u64
            };
            assert_eq!((opens, closes), (count(false, true), count(true, false)), "seed {seed}: {change:?}");
            counted += 1;
        }
    }
    assert!(counted > 60, "{counted}");
}

/// The rules that match a flow, remembered by class, are those that the oracle finds for these very addresses.
#[test]
fn every_rule_that_matches_is_found_whichever_decides() {
    let (mut asked, mut found) = (0, 0);
    for seed in 0..60 {
        let mut random = Random::new(9900 + seed);
        let size =
            Size { workloads: 1 + random.below(20), networks: 1 + random.below(8), rules: random.below(40) };
        let policy = Arc::new(estate::generate_whole(&mut random, size));
        let compiled = compile(&policy, &CompileOptions::default()).expect("a generated policy compiles");
        let mut matching = Matching::new(Arc::clone(&policy), Arc::new(compiled.table));
        let rules: Vec<_> = policy.tiers.iter().flat_map(|tier| &tier.rules).collect();
        for _ in 0..200 {
            let (source, destination, service) = estate::probe(&mut random, &policy);
            if source.is_ipv4() != destination.is_ipv4() {
                continue;
            }
            matching.limit(u64::MAX);
            let told = matching.rules(source, destination, service).expect("there is no limit");
            let told: Vec<&str> = told.iter().map(|at| matching.name(*at)).collect();
            let matched = |rule: &&&control::policy::valid::Rule| {
                !rule.staged
                    && (rule.gates.egress || rule.gates.ingress)
                    && oracle::is_matched(&policy, rule, source, destination, service)
            };
            let expected: Vec<&str> = rules.iter().filter(matched).map(|rule| rule.name.as_str()).collect();
            assert_eq!(told, expected, "seed {seed}: {source} {destination} {service:#x}");
            asked += 1;
            found += told.len();
        }
    }
    assert!(asked > 3000 && found > asked, "{asked} asked, {found} found");
}
