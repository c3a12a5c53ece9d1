//! A diff says what the oracle says: no change is missed, none is invented, and every one is in a row.

use std::collections::BTreeSet;
use std::net::IpAddr;

use conformance::estate::{Size, generate};
use conformance::oracle;
use conformance::random::Random;
use control::policy::diff::{Becomes, Limits, Seen, Side, diff};
use control::policy::valid::{ValidPolicy, Workload};
use control::policy::{CompileOptions, Compiled, compile};
use dataplane::address::Address;
use dataplane::policy::ServiceKey;

const SIZE: Size = Size { workloads: 8, networks: 4, rules: 14 };
const CASES: u64 = 25;

/// What an operator may do to a policy: some of everything.
fn edited(random: &mut Random, old: &ValidPolicy) -> ValidPolicy {
    let mut new = old.clone();
    let other = generate(random, SIZE);
    for _ in 0..=random.below(3) {
        match random.below(8) {
            0 => new.workloads = mixed(random, &new.workloads, &other.workloads),
            1 => new.networks.clone_from(&other.networks),
            2 => new.enforcement.clone_from(&other.enforcement),
            3 => new.tiers.clone_from(&other.tiers),
            4 => new.tiers.reverse(),
            5 => new.workloads.truncate(random.below(new.workloads.len() + 1)),
            _ => {
                let tier = random.below(new.tiers.len());
                let rules = &mut new.tiers[tier].rules;
                if !rules.is_empty() {
                    let at = random.below(rules.len());
                    if random.one_in(2) {
                        rules.remove(at);
                    } else {
                        rules.rotate_left(at);
                    }
                }
            }
        }
    }
    new
}

/// Some workloads get the labels of others.
fn mixed(random: &mut Random, these: &[Workload], those: &[Workload]) -> Vec<Workload> {
    let relabelled = these.iter().map(|one| match random.one_in(3) {
        true => Workload { labels: random.pick(those).labels.clone(), ..one.clone() },
        false => one.clone(),
    });
    relabelled.collect()
}

/// Every workload's addresses, and edges of every network.
fn addresses(policies: [&ValidPolicy; 2]) -> BTreeSet<IpAddr> {
    let mut all = BTreeSet::from(
        ["203.0.113.1", "2001:db8:ffff::1"].map(|text| text.parse::<IpAddr>().expect("an address")),
    );
    for policy in policies {
        all.extend(policy.workloads.iter().flat_map(|one| &one.addresses));
        all.extend(policy.networks.iter().flat_map(|one| &one.prefixes).map(|prefix| prefix.address));
    }
    all
}

/// Every service at which a rule begins, and the one after it ends.
fn services(policies: [&ValidPolicy; 2]) -> BTreeSet<u32> {
    let rules = policies.into_iter().flat_map(|policy| &policy.tiers).flat_map(|tier| &tier.rules);
    let ranges = rules.flat_map(|rule| &rule.services);
    let keys = ranges.flat_map(|range| [range.first, range.last, range.last + 1]);
    keys.filter(|key| *key <= ServiceKey::MAX).chain([0]).collect()
}

fn compiled(policy: &ValidPolicy) -> Compiled {
    compile(policy, &CompileOptions::default()).expect("small enough")
}

#[test]
fn a_diff_agrees_with_the_oracle() {
    let mut changed = 0;
    for seed in 0..CASES {
        let mut random = Random::new(seed);
        let old = generate(&mut random, SIZE);
        let new = edited(&mut random, &old);
        let (before, after) = (compiled(&old), compiled(&new));
        let (addresses, services) = (addresses([&old, &new]), services([&old, &new]));
        let (mut seen, mut expected) = (Vec::new(), [0, 0]);
        for source in &addresses {
            for destination in addresses.iter().filter(|one| one.is_ipv4() == source.is_ipv4()) {
                for service in &services {
                    let allowed =
                        |policy| oracle::decide(policy, *source, *destination, *service).verdict.is_allow();
                    match (allowed(&old), allowed(&new)) {
                        (false, true) => expected[0] += 1,
                        (true, false) => expected[1] += 1,
                        _ => {}
                    }
                    seen.push(Seen {
                        source: Address::from(*source),
                        destination: Address::from(*destination),
                        service: ServiceKey::from_value(*service).expect("in range"),
                        flows: 1,
                    });
                }
            }
        }
        let all = Limits { rows: usize::MAX, ..Limits::default() };
        let found = diff(
            Side { policy: &old, compiled: before.named(), staged: false },
            Side { policy: &new, compiled: after.named(), staged: false },
            seen.iter().copied(),
            all,
        );
        let rows = |becomes: Becomes| -> u64 {
            found.changes.iter().filter(|row| row.becomes == becomes).map(|row| row.flows).sum()
        };
        assert_eq!([found.totals.flows_allowed, found.totals.flows_denied], expected, "seed {seed}");
        assert_eq!(
            [rows(Becomes::Allow), rows(Becomes::Deny)],
            expected,
            "seed {seed}: not every change is in a row"
        );
        changed += expected[0] + expected[1];
    }
    assert!(changed > 1000, "the estates are odd enough: {changed} flows changed");
}
