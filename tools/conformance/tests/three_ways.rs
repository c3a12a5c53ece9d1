//! Packet path, proxy and oracle give the same answer on every TCP connection: verdict, rule, and what mode `observe`
//! let through.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use conformance::estate::{self, Size};
use conformance::oracle;
use conformance::random::Random;
use control::policy::valid::ValidPolicy;
use control::policy::{CompileOptions, Compiled, SourceFile, compile, load_texts};
use dataplane::headers::protocol;
use dataplane::proxy;
use dataplane::records::Occasion;
use dataplane::verdict::{DropReason, Side};
use testkit::Packet;
use testkit::rig::{Fate, Rig, RigOptions};

/// Verdict, rule, and the rule that would have denied.
type Answer = (&'static str, String, Option<String>);

/// A connection: from whom, to whom, to which port.
type Tuple = (IpAddr, IpAddr, u16);

/// What the oracle says.
fn by_oracle(policy: &ValidPolicy, (source, destination, port): Tuple) -> Answer {
    let answer =
        oracle::decide(policy, source, destination, u32::from(protocol::TCP) << 16 | u32::from(port));
    (answer.verdict.name(), answer.rule, answer.potential)
}

/// What a proxy asks at accept.
fn by_proxy(compiled: &Compiled, (source, destination, port): Tuple) -> Answer {
    let decision = proxy::decide(&compiled.table, source.into(), destination.into(), port);
    let named = |rule| compiled.rule_name(rule).to_owned();
    (decision.verdict.name(), named(decision.rule), decision.potential.map(named))
}

/// What becomes of a SYN; none if no such packet can be a connection's.
fn by_packet(rig: &mut Rig, compiled: &Compiled, tuple: Tuple, port: u16) -> Option<Answer> {
    let (source, destination, to) = tuple;
    let (from, to) = (SocketAddr::new(source, port), SocketAddr::new(destination, to));
    // Nothing is behind the rig's wire, so every source may come in from its outside.
    let fate = rig.send(Side::Outside, &Packet::tcp(from, to).syn().build());
    let named = |rule| compiled.rule_name(rule).to_owned();
    let told = std::iter::from_fn(|| rig.records.next_event())
        .filter(|event| matches!(event.occasion, Occasion::Opened | Occasion::Denied));
    let told: Vec<_> = told.collect();
    match fate {
        Fate::Forwarded(_) | Fate::Dropped(DropReason::Policy | DropReason::Rejected, _) => {
            let [event] = told.as_slice() else { panic!("{tuple:?}: {} events", told.len()) };
            if let Fate::Dropped(_, rule) = fate {
                assert_eq!(rule, Some(event.rule), "{tuple:?}: the drop names another rule than the record");
            }
            Some((event.verdict.name(), named(event.rule), event.potential.map(named)))
        }
        // Not a host's address: no socket has it.
        Fate::Dropped(DropReason::IpHeader, _) => None,
        other => panic!("{tuple:?}: {other:?}"),
    }
}

/// Asks all three about every tuple; returns how many answers of each kind there were, and how many had none.
fn compare(policy: &ValidPolicy, tuples: &[Tuple], met: &mut BTreeMap<String, u32>) -> u32 {
    let compiled = compile(policy, &CompileOptions::default()).unwrap();
    let options = RigOptions { flows: 1 << 12, ..RigOptions::default() };
    let mut rig = Rig::new(compile(policy, &CompileOptions::default()).unwrap().table, &options);
    let mut none = 0;
    for (at, tuple) in tuples.iter().enumerate() {
        let oracle = by_oracle(policy, *tuple);
        assert_eq!(by_proxy(&compiled, *tuple), oracle, "the proxy, {tuple:?}");
        // Addresses of two families meet at a proxy, and never in a packet.
        let port = 1024 + u16::try_from(at % 60_000).unwrap();
        if tuple.0.is_ipv4() == tuple.1.is_ipv4() {
            match by_packet(&mut rig, &compiled, *tuple, port) {
                Some(packet) => assert_eq!(packet, oracle, "the packet path, {tuple:?}"),
                None => none += 1,
            }
        } else {
            none += 1;
        }
        let kind = if oracle.1.starts_with("default/") {
            oracle.1.clone()
        } else {
            format!("{} by a rule", oracle.0)
        };
        *met.entry(kind).or_default() += 1;
    }
    none
}

fn tuples(random: &mut Random, policy: &ValidPolicy, number: usize) -> Vec<Tuple> {
    let mut tuples = Vec::new();
    while tuples.len() < number {
        let (source, mut destination, service) = estate::probe(random, policy);
        // Most of them of one family, so that all three can be asked.
        for _ in 0..4 {
            if source.is_ipv4() == destination.is_ipv4() {
                break;
            }
            destination = estate::probe(random, policy).1;
        }
        // A service of another protocol lends its low bits: the ports next to those that rules name come up often.
        tuples.push((source, destination, u16::try_from(service & 0xffff).unwrap()));
    }
    tuples
}

#[test]
fn packet_path_proxy_and_oracle_agree_on_100_000_connections() {
    let (mut asked, mut of_one, mut met) = (0, 0, BTreeMap::new());
    for seed in 0..250 {
        let mut random = Random::new(700_000 + seed);
        let size =
            Size { workloads: 1 + random.below(30), networks: 1 + random.below(12), rules: random.below(45) };
        let policy = if seed % 2 == 0 {
            estate::generate_whole(&mut random, size)
        } else {
            estate::generate(&mut random, size)
        };
        let tuples = tuples(&mut random, &policy, 480);
        of_one += compare(&policy, &tuples, &mut met);
        asked += tuples.len();
    }
    let all_three = u32::try_from(asked).unwrap() - of_one;
    assert!(all_three >= 100_000, "all three were asked {all_three} times of {asked}");
    for kind in
        ["allow by a rule", "deny by a rule", "reject by a rule", "default/deny", "default/quarantine"]
    {
        assert!(met.get(kind).is_some_and(|count| *count > 300), "{kind}: {met:?}");
    }
}

/// The policies of the source tree, with every pair of their addresses and every port that is next to one of theirs.
#[test]
fn they_agree_on_the_example_policies() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/policies");
    let mut policies = 0;
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let file = SourceFile { name: path.display().to_string(), text };
        let policy = load_texts(&[file]).unwrap_or_else(|error| panic!("{error}")).policy;
        let tcp = u32::from(protocol::TCP);
        let all = conformance::everything::flows(&policy).into_iter().filter(|flow| flow.2 >> 16 == tcp);
        let tuples: Vec<Tuple> =
            all.map(|(from, to, service)| (from, to, u16::try_from(service & 0xffff).unwrap())).collect();
        assert!(!tuples.is_empty(), "{}", path.display());
        compare(&policy, &tuples, &mut BTreeMap::new());
        policies += 1;
    }
    assert!(policies >= 15, "{policies}");
}
