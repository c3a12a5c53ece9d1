//! From what workers told to rules that are staged, and that then cut nothing of it.

use dataplane::address::Address;
use dataplane::clock::Now;
use dataplane::flow::{FlowKey, Orientation};
use dataplane::records::{FlowEvent, Occasion};
use dataplane::verdict::{DraftAnswers, Verdict};

use super::*;
use crate::engine::{EndWanted, Proposal, ProposalTerms};
use crate::policy::propose::{Terms as Asked, Tightness};

const ESTATE: &str = "ringfence: 1
workloads:
  - {name: web-1, labels: {app: shop, role: web, env: prod}, addresses: [10.0.0.1, \"fd00::1\"]}
  - {name: web-2, labels: {app: shop, role: web, env: prod}, addresses: [10.0.0.2]}
  - {name: db, labels: {app: [shop, crm], role: db, env: prod}, addresses: [10.0.0.3, \"fd00::3\"]}
  - {name: crm, labels: {app: crm, role: web, env: prod}, addresses: [10.0.0.4]}
  - {name: dev, labels: {app: shop, role: web, env: dev}, addresses: [10.0.0.5]}
  - {name: fresh, addresses: [10.0.0.6]}
networks:
  - {name: office, cidrs: [192.0.2.0/24], labels: {env: prod}}
rules:
  - {name: known, from: {app: crm}, to: {role: db}, service: tcp/5432}
  - {name: never-telnet, from: any, to: any, service: tcp/23, action: override-deny}
";
const NEVER: &str = "assertions:
  - never: {name: no-dev, from: {env: dev}, to: {role: db}, service: tcp/5432}
";
const OBSERVE: &str = "enforcement: [{select: any, ingress: observe, egress: observe}]\n";

/// One flow as a worker would tell of it, decided by the policy in force.
fn tell(engine: &Engine, worker: &Worker, source: &str, destination: &str, service: (u8, u16)) {
    let address = |text: &str| Address::from(text.parse::<std::net::IpAddr>().unwrap());
    let (first, second) = (address(source), address(destination));
    let now = engine.in_force().unwrap();
    let table = &now.snapshot.table;
    let key = dataplane::policy::ServiceKey::new(service.0, service.1);
    let said = table.decide(table.resolve(first), table.resolve(second), key);
    let clock = Now::read();
    let (protocol, second_port) = service;
    let event = FlowEvent {
        at: clock,
        occasion: if said.verdict == Verdict::Allow { Occasion::Opened } else { Occasion::Denied },
        key: FlowKey { wire: WireId(0), protocol, first, second, first_port: 40_000, second_port },
        initiator: Orientation::FromFirst,
        epoch: now.snapshot.epoch,
        verdict: said.verdict,
        gate: None,
        rule: said.rule,
        potential: said.potential,
        drafts: DraftAnswers::default(),
        packets: [1, 1],
        bytes: [60, 60],
        first_seen: clock.as_millis32(),
        last_seen: clock.as_millis32(),
    };
    worker.records.happened(event, &worker.counters);
}

const TCP: u8 = 6;
const FLOWS: [(&str, &str, (u8, u16)); 13] = [
    ("10.0.0.1", "10.0.0.3", (TCP, 5432)),
    ("fd00::1", "fd00::3", (TCP, 5432)),
    ("10.0.0.2", "10.0.0.3", (TCP, 5432)),
    ("10.0.0.2", "10.0.0.3", (17, 8125)),
    ("10.0.0.4", "10.0.0.3", (TCP, 5432)),
    ("10.0.0.4", "10.0.0.3", (132, 7)),
    ("10.0.0.1", "10.0.0.2", (47, 0)),
    ("10.0.0.1", "10.0.0.3", (TCP, 23)),
    ("10.0.0.5", "10.0.0.3", (TCP, 5432)),
    ("10.0.0.5", "10.0.0.3", (TCP, 80)),
    ("192.0.2.7", "10.0.0.1", (TCP, 443)),
    ("203.0.113.9", "10.0.0.1", (TCP, 443)),
    ("10.0.0.6", "10.0.0.3", (TCP, 80)),
];

fn wanted(tightness: Tightness) -> ProposalTerms {
    let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    ProposalTerms {
        terms: Asked { tightness, keys: own(&["app", "role", "env", "loc"]), tier: own(&["role"]) },
        since: None,
        until: None,
        labels: Vec::new(),
        from: None,
        to: None,
        service: None,
        denied: false,
        all: false,
    }
}

fn started(scratch: &Scratch, policy: &str) -> (Arc<Engine>, Worker) {
    let worker = workers(1).remove(0);
    let files = scratch.write(policy);
    let engine = start_with(&scratch.0, vec![worker.clone()], &files, true).unwrap_or_else(|e| panic!("{e}"));
    (engine, worker)
}

fn proposed(engine: &Engine, wanted: &ProposalTerms) -> Proposal {
    let now = engine.in_force().unwrap();
    let proposal = engine.propose(&now, wanted).unwrap();
    assert_eq!(proposal.refusal, None, "{}", proposal.text);
    proposal
}

/// Stages `rest` with what is proposed, and asks what would become of what was seen.
async fn simulated(engine: &Arc<Engine>, rest: &str, proposal: &Proposal) -> Simulation {
    let files = [("p.yaml", rest), (proposal.name.as_str(), proposal.text.as_str())];
    let files = files.map(|(name, text)| StoredFile { name: name.into(), text: text.into() });
    let draft = engine.stage("next".into(), files.to_vec(), request("why")).await;
    let draft = draft.unwrap_or_else(|error| panic!("{error}\n{}", proposal.text));
    let compiled = Named { table: &draft.table, rules: &draft.rules };
    let side = Side { policy: &draft.policy, compiled, staged: false };
    engine.simulate(&engine.in_force().unwrap(), side)
}

fn why(proposal: &Proposal) -> Vec<&str> {
    let mut words: Vec<&str> = Vec::new();
    for one in &proposal.plan.refused {
        let known = ["never-telnet", "no-dev", "quarantine"];
        words.extend(known.into_iter().filter(|word| one.why.contains(word)));
    }
    words.sort_unstable();
    assert_eq!(words.len(), proposal.plan.refused.len(), "{:?}", proposal.plan.refused);
    words
}

#[tokio::test]
async fn what_is_proposed_passes_every_check_and_cuts_nothing_that_was_seen() {
    for tightness in Tightness::ALL {
        let scratch = Scratch::new();
        let (engine, worker) = started(&scratch, &format!("{ESTATE}{OBSERVE}"));
        FLOWS.iter().for_each(|(from, to, service)| tell(&engine, &worker, from, to, *service));
        let proposal = proposed(&engine, &wanted(tightness));
        assert_eq!((proposal.flows, proposal.already), (13, 1), "{}", proposal.text);
        assert_eq!(why(&proposal), ["never-telnet"], "quarantine was denied, which is not asked for");
        assert!(!proposal.text.contains("tcp/23\n"), "{}", proposal.text);
        // In force without leave to observe, together with the policy that was there.
        let simulation = simulated(&engine, ESTATE, &proposal).await;
        let cut: Vec<&str> = simulation.changes.iter().map(|one| one.new_rule.as_str()).collect();
        assert_eq!((simulation.denied, cut), (1, vec!["never-telnet"]), "{tightness:?}\n{}", proposal.text);
        let unseen: u64 = proposal.plan.rules.iter().map(|rule| rule.unseen).sum();
        assert!(tightness != Tightness::Workload || unseen == 0, "{}", proposal.text);
    }
}

#[tokio::test]
async fn what_was_denied_is_opened_as_far_as_assertions_let_it() {
    for tightness in Tightness::ALL {
        let scratch = Scratch::new();
        let policy = format!("{ESTATE}{NEVER}");
        let (engine, worker) = started(&scratch, &policy);
        FLOWS.iter().for_each(|(from, to, service)| tell(&engine, &worker, from, to, *service));
        let proposal = proposed(&engine, &ProposalTerms { denied: true, ..wanted(tightness) });
        assert_eq!(why(&proposal), ["never-telnet", "no-dev", "quarantine"], "{tightness:?}");
        let simulation = simulated(&engine, &policy, &proposal).await;
        assert_eq!((simulation.denied, simulation.allowed), (0, 9), "{tightness:?}\n{}", proposal.text);
    }
}

#[tokio::test]
async fn flows_are_chosen_by_their_ends_and_by_what_was_said() {
    let scratch = Scratch::new();
    let (engine, worker) = started(&scratch, &format!("{ESTATE}{NEVER}"));
    FLOWS.iter().for_each(|(from, to, service)| tell(&engine, &worker, from, to, *service));
    let label = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
    type Change = Box<dyn Fn(&mut ProposalTerms)>;
    type Sums = (u64, u64, u64, usize);
    let labels = move |key: &'static str, value: &'static str| EndWanted::Labels(label(key, value));
    // What is asked, and the flows, those allowed, those denied, the rules.
    let cases: Vec<(&str, Change, Sums)> = vec![
        ("all was enforced", Box::new(|_| ()), (13, 1, 12, 0)),
        ("denied", Box::new(|w| w.denied = true), (13, 1, 0, 6)),
        ("all", Box::new(|w| w.all = true), (13, 1, 12, 1)),
        ("a label", Box::new(move |w| (w.denied, w.labels) = (true, label("app", "crm"))), (10, 1, 0, 3)),
        ("from", Box::new(move |w| (w.denied, w.from) = (true, Some(labels("env", "dev")))), (2, 0, 0, 1)),
        ("to", Box::new(move |w| (w.denied, w.to) = (true, Some(labels("role", "web")))), (3, 0, 0, 3)),
        (
            "a network",
            Box::new(|w| (w.denied, w.from) = (true, Some(EndWanted::Network("office".into())))),
            (1, 0, 0, 1),
        ),
        ("unknown", Box::new(|w| (w.denied, w.from) = (true, Some(EndWanted::Unknown))), (1, 0, 0, 1)),
        ("unlabelled", Box::new(|w| (w.denied, w.from) = (true, Some(EndWanted::Unlabelled))), (1, 0, 0, 0)),
        ("a service", Box::new(|w| (w.denied, w.service) = (true, "udp".parse().ok())), (1, 0, 0, 1)),
        ("since", Box::new(|w| w.since = Some(Timestamp::MAX)), (0, 0, 0, 0)),
    ];
    for (what, change, expected) in cases {
        let mut asked = wanted(Tightness::Tier);
        change(&mut asked);
        let found = proposed(&engine, &asked);
        let sums = (found.flows, found.already, found.denied, found.plan.rules.len());
        assert_eq!(sums, expected, "{what}\n{}", found.text);
    }
}
