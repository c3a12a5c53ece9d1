//! Tables changed one workload at a time decide as tables compiled from nothing do, and as the oracle says.

use conformance::estate::{self, Probe, Size};
use conformance::oracle::{self, Answer};
use conformance::random::Random;
use control::policy::valid::{ValidPolicy, Workload};
use control::policy::{Applied, ApplyError, CompileOptions, Compiled, Compiler, WorkloadChange, compile};
use dataplane::address::Address;
use dataplane::policy::{PolicyTable, ServiceKey};

fn answer(table: &PolicyTable, names: &Compiled, (source, destination, service): Probe) -> Answer {
    let [source, destination] = [source, destination].map(|address| table.resolve(Address::from(address)));
    let key = ServiceKey::from_value(service).expect("probes stay inside the service space");
    let decision = table.decide(source, destination, key);
    Answer {
        verdict: decision.verdict,
        gate: decision.gate.name(),
        rule: names.rule_name(decision.rule).to_owned(),
        potential: decision.potential.map(|rule| names.rule_name(rule).to_owned()),
        on_revoke: decision.on_revoke,
    }
}

/// Compares `table` with the oracle on random flows, and each owner with the policy.
fn check(random: &mut Random, policy: &ValidPolicy, table: &PolicyTable, names: &Compiled, what: &str) {
    for _ in 0..60 {
        let probe = estate::probe(random, policy);
        let expected = oracle::decide(policy, probe.0, probe.1, probe.2);
        assert_eq!(answer(table, names, probe), expected, "{what}: {probe:?}");
    }
    assert_eq!(table.workloads(), policy.workloads.len(), "{what}");
    for (index, workload) in (0..).zip(&policy.workloads) {
        let owners = workload.addresses.iter().map(|address| table.owner(Address::from(*address)));
        assert!(owners.into_iter().all(|owner| owner == Some(index)), "{what}: {}", workload.name);
    }
}

/// A workload of `pool`, or one that is there with the labels and listeners of another, or a name to remove.
fn change(random: &mut Random, policy: &ValidPolicy, pool: &[Workload]) -> WorkloadChange {
    let there = &policy.workloads;
    match random.below(4) {
        0 if !there.is_empty() => WorkloadChange::Remove(random.pick(there).name.clone()),
        1 if !there.is_empty() => {
            let (one, other) = (random.pick(there).clone(), random.pick(pool).clone());
            WorkloadChange::Put(Box::new(Workload {
                labels: other.labels,
                listeners: other.listeners,
                ..one
            }))
        }
        _ => WorkloadChange::Put(Box::new(random.pick(pool).clone())),
    }
}

fn is_refused_rightly(policy: &ValidPolicy, change: &WorkloadChange, error: &ApplyError) -> bool {
    match (change, error) {
        (WorkloadChange::Put(put), ApplyError::AddressTaken { address, owner }) => {
            let owner = policy.workloads.iter().find(|workload| workload.name == *owner);
            put.addresses.contains(address) && owner.is_some_and(|owner| owner.addresses.contains(address))
        }
        (WorkloadChange::Remove(name), ApplyError::NoSuchWorkload(told)) => name == told,
        _ => false,
    }
}

#[test]
fn a_sequence_of_changes_decides_like_the_oracle() {
    let (mut asked, mut entries, mut refused) = (0, 0, 0);
    for seed in 0..60 {
        let mut random = Random::new(70_000 + seed);
        let size =
            Size { workloads: 1 + random.below(30), networks: 1 + random.below(8), rules: random.below(40) };
        let mut policy = estate::generate_whole(&mut random, size);
        // Some workloads are there from the start; all may come, and other values than any there had.
        let mut pool = policy.workloads.clone();
        policy.workloads.truncate(random.below(pool.len() + 1));
        for (n, workload) in pool.iter_mut().enumerate().filter(|(n, _)| n % 5 == 0) {
            workload.labels.insert("app".to_owned(), [format!("v{}", n % 7), "new".to_owned()].into());
        }
        let (mut compiler, names) = Compiler::new(policy, &CompileOptions::default()).expect("it compiles");
        for step in 0..12 {
            let before = compiler.policy().clone();
            let change = change(&mut random, &before, &pool);
            match compiler.apply(change.clone()) {
                Ok(Applied { table, entries: made, .. }) => {
                    entries += made;
                    check(
                        &mut random,
                        compiler.policy(),
                        &table,
                        &names,
                        &format!("seed {seed} step {step}"),
                    );
                    asked += 60;
                }
                Err(error) => {
                    assert!(is_refused_rightly(&before, &change, &error), "{change:?} {error}");
                    refused += 1;
                }
            }
        }
        let fresh = compile(compiler.policy(), &CompileOptions::default()).expect("it compiles");
        check(&mut random, compiler.policy(), &fresh.table, &fresh, "compiled anew");
        for _ in 0..200 {
            let probe = estate::probe(&mut random, compiler.policy());
            assert_eq!(
                answer(compiler.table(), &names, probe),
                answer(&fresh.table, &fresh, probe),
                "{probe:?}"
            );
        }
    }
    assert!(asked > 20_000 && entries > 100, "{asked} asked, {entries} entries made, {refused} refused");
}

#[test]
fn staged_rules_decide_only_where_they_are_asked_for() {
    let (mut differ, mut asked) = (0, 0);
    for seed in 0..60 {
        let mut random = Random::new(80_000 + seed);
        let policy = estate::generate_whole(&mut random, Size { workloads: 20, networks: 6, rules: 30 });
        let staged = CompileOptions { staged: true, ..CompileOptions::default() };
        let [enforced, staged] = [CompileOptions::default(), staged]
            .map(|options| compile(&policy, &options).expect("it compiles"));
        assert_eq!(enforced.rules, staged.rules, "rules have the same ids");
        for _ in 0..300 {
            let probe = estate::probe(&mut random, &policy);
            let told = answer(&staged.table, &staged, probe);
            assert_eq!(
                told,
                oracle::decide_staged(&policy, probe.0, probe.1, probe.2),
                "seed {seed}: {probe:?}"
            );
            differ += usize::from(told != answer(&enforced.table, &enforced, probe));
            asked += 1;
        }
    }
    assert!(differ > asked / 100, "staged rules changed {differ} of {asked} answers");
}
