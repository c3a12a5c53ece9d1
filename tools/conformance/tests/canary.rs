//! Two policies in one table decide each gate as the policy of its endpoint does.

use std::net::IpAddr;

use conformance::estate::{self, Size};
use conformance::oracle;
use conformance::random::Random;
use control::policy::canary::{CanaryError, KEY, merge};
use control::policy::valid::{Requirement, Selector, ValidPolicy};
use control::policy::{CompileOptions, compile};
use dataplane::address::Address;
use dataplane::policy::ServiceKey;

/// Two policies over one inventory.
fn pair(seed: u64) -> (ValidPolicy, ValidPolicy) {
    let mut random = Random::new(seed);
    let size =
        Size { workloads: 4 + random.below(20), networks: 1 + random.below(8), rules: 4 + random.below(30) };
    let stable = estate::generate_whole(&mut random, size);
    let other = estate::generate_whole(&mut random, size);
    let (workloads, networks) = (stable.workloads.clone(), stable.networks.clone());
    let mut candidate = ValidPolicy { workloads, networks, ether_types: stable.ether_types.clone(), ..other };
    // Some rules are the same in both, as they are when somebody edits a policy.
    for (old, new) in stable.tiers.iter().zip(&mut candidate.tiers).filter(|(old, new)| old.name == new.name)
    {
        let kept =
            old.rules.iter().step_by(2).filter(|rule| new.rules.iter().all(|one| one.name != rule.name));
        let kept: Vec<_> = kept.cloned().collect();
        // First, as in the merged tier: rules of equal priority have no order that a policy could count on.
        new.rules.splice(0..0, kept);
        new.rules.sort_by_key(|rule| rule.priority);
    }
    (stable, candidate)
}

#[test]
fn every_gate_is_decided_by_the_policy_of_its_endpoint() {
    let (mut asked, mut between, mut differ) = (0, 0, 0);
    for seed in 0..160 {
        let (stable, candidate) = pair(seed);
        let names: Vec<String> = stable.workloads.iter().step_by(2).map(|one| one.name.clone()).collect();
        let select = [Selector { requirements: vec![Requirement::Workload(names)] }];
        let merged = match merge(&stable, &candidate, &select) {
            Ok(merged) => merged.policy,
            Err(CanaryError::TierOrder(_) | CanaryError::Nobody) => continue,
            Err(error) => panic!("seed {seed}: {error}"),
        };
        let compiled = compile(&merged, &CompileOptions::default()).expect("it compiles");
        let is_canary = |address: IpAddr| {
            let owner = merged.workloads.iter().find(|one| one.addresses.contains(&address));
            owner.is_some_and(|one| one.labels.contains_key(KEY))
        };
        let mut random = Random::new(seed);
        for _ in 0..400 {
            let (source, destination, service) = estate::probe(&mut random, &stable);
            let of = |address| if is_canary(address) { &candidate } else { &stable };
            let expected =
                oracle::decide_between([of(source), of(destination)], source, destination, service);
            let resolve = |address: IpAddr| compiled.table.resolve(Address::from(address));
            let key = ServiceKey::from_value(service).expect("probes stay inside the service space");
            let decision = compiled.table.decide(resolve(source), resolve(destination), key);
            assert_eq!(
                (decision.verdict, decision.gate.name()),
                (expected.verdict, expected.gate),
                "seed {seed}: {source} to {destination}, {service:#x}: {expected:?}"
            );
            asked += 1;
            between += usize::from(is_canary(source) != is_canary(destination));
            let old = oracle::decide(&stable, source, destination, service);
            differ += usize::from(old.verdict != expected.verdict);
        }
    }
    assert!(
        asked > 20_000 && between > 2_000 && differ > 1_000,
        "{asked} asked, {between} between, {differ} differ"
    );
}

#[test]
fn what_cannot_stand_beside_the_stable_policy_is_refused() {
    let (stable, mut candidate) = pair(3);
    let nobody = [Selector { requirements: vec![Requirement::In("no-such-key".into(), vec!["x".into()])] }];
    let everyone = [Selector { requirements: vec![Requirement::AnyWorkload] }];
    assert_eq!(merge(&stable, &stable, &nobody).unwrap_err(), CanaryError::Nobody);
    candidate.workloads[0].labels.insert("role".into(), ["changed".to_owned()].into());
    let name = candidate.workloads[0].name.clone();
    let refused = CanaryError::Inventory { what: "workload", name: name.clone() };
    assert_eq!(merge(&stable, &candidate, &everyone).unwrap_err(), refused);
    candidate.workloads.remove(0);
    assert_eq!(merge(&stable, &candidate, &everyone).unwrap_err(), refused);
    let mut other = stable.clone();
    other.ether_types.push(0x88cc);
    assert_eq!(merge(&stable, &other, &everyone).unwrap_err(), CanaryError::EtherTypes);
}
