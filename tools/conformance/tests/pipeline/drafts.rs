//! Drafts are asked beside the policy in force: what they say is what they would do, and it changes no packet.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use conformance::estate::{self, Probe, Size};
use conformance::random::Random;
use control::policy::valid::ValidPolicy;
use control::policy::{CompileOptions, compile};
use dataplane::pipeline::SourceCheck;
use dataplane::policy::PolicyTable;
use dataplane::records::{FlowEvent, Occasion};
use dataplane::verdict::{Answer, DropReason, RuleId, Side, Verdict};
use testkit::Packet;
use testkit::rig::{Fate, Rig, RigOptions};

use crate::{WEB_TO_DB, compiled};

/// The packets of one conversation in order, each with the side it comes from. An answer is only sent if what it
/// answers arrived, as hosts do.
type Conversation = Vec<(Side, Vec<u8>)>;

const IN: Side = Side::Inside;
const OUT: Side = Side::Outside;

/// A conversation about what `probe` asks; none for protocols that need more than a packet builder. `n` makes its
/// ports its own.
fn conversation(n: u16, (source, destination, service): Probe) -> Option<Conversation> {
    if source.is_ipv4() != destination.is_ipv4() || source == destination {
        return None;
    }
    let (protocol, low) = (u8::try_from(service >> 16).ok()?, (service & 0xffff) as u16);
    let own = SocketAddr::new(source, 20_000 + n);
    let other = SocketAddr::new(destination, low);
    let both = |ask: Packet, answer: Packet| {
        let (ask, answer) = (ask.build(), answer.build());
        Some(vec![(IN, ask.clone()), (OUT, answer), (IN, ask)])
    };
    match protocol {
        6 => Some(vec![
            (IN, Packet::tcp(own, other).syn().seq(100).build()),
            (OUT, Packet::tcp(other, own).syn().seq(500).ack(101).build()),
            (IN, Packet::tcp(own, other).seq(101).ack(501).payload(b"ask").build()),
            (OUT, Packet::tcp(other, own).seq(501).ack(104).payload(b"answer").build()),
        ]),
        17 => both(Packet::udp(own, other), Packet::udp(other, own)),
        132 => both(Packet::sctp(own, other), Packet::sctp(other, own)),
        1 | 58 => {
            let (a, b): (IpAddr, IpAddr) = (source, destination);
            both(Packet::echo_request(a, b, n), Packet::echo_reply(b, a, n))
        }
        47 | 89 => both(Packet::ip(source, destination, protocol), Packet::ip(destination, source, protocol)),
        _ => None,
    }
}

/// At most `count` conversations, each a flow of its own.
fn conversations(random: &mut Random, policy: &ValidPolicy, count: u16) -> Vec<Conversation> {
    let mut without_ports = HashSet::new();
    let mut own_flow = |&(source, destination, service): &Probe| {
        let ends = if source < destination { (source, destination) } else { (destination, source) };
        !matches!(service >> 16, 47 | 89) || without_ports.insert((ends, service >> 16))
    };
    let probes = (0..count).map(|n| (n, estate::probe(random, policy)));
    probes.filter(|(_, probe)| own_flow(probe)).filter_map(|(n, probe)| conversation(n, probe)).collect()
}

/// What became of a packet, as far as policy has a say.
fn class(fate: &Fate) -> Option<Answer> {
    match fate {
        Fate::Forwarded(_) => Some(Answer::Allow),
        Fate::Dropped(DropReason::Policy, _) => Some(Answer::Deny),
        Fate::Dropped(DropReason::Rejected, _) => Some(Answer::Reject),
        Fate::Dropped(..) | Fate::Held => None,
    }
}

/// What the policy in force said, potential blocks told apart.
fn answer(event: &FlowEvent) -> Answer {
    match (event.verdict, event.potential) {
        (Verdict::Allow, Some(_)) => Answer::PotentiallyBlocked,
        (Verdict::Allow, None) => Answer::Allow,
        (Verdict::Deny, _) => Answer::Deny,
        (Verdict::Reject, _) => Answer::Reject,
    }
}

/// Everything that was seen of the conversations: each packet's fate and what left, in order.
#[derive(Default)]
struct Seen {
    /// By conversation and step.
    fates: HashMap<(usize, usize), Fate>,
    /// What left, and from which port.
    left: Vec<(Side, Vec<u8>)>,
    /// The last event of each conversation that says what drafts think.
    events: HashMap<usize, FlowEvent>,
}

/// Plays all conversations side by side, step by step. A host whose packet was lost sends it again in the next step;
/// nobody answers what did not come. Before step `at`, `publish` is called.
fn play(rig: &mut Rig, all: &[Conversation], at: usize, publish: impl FnOnce(&Rig)) -> Seen {
    let mut seen = Seen::default();
    let mut publish = Some(publish);
    let mut next: Vec<usize> = vec![0; all.len()];
    for round in 0..5 {
        if round == at {
            publish.take().into_iter().for_each(|publish| publish(rig));
        }
        for (n, packets) in all.iter().enumerate() {
            let Some((side, packet)) = packets.get(next[n]) else { continue };
            let fate = rig.send(*side, packet);
            seen.left.extend_from_slice(rig.left());
            let events = core::iter::from_fn(|| rig.records.next_event());
            if let Some(event) = events.filter(|e| !matches!(e.occasion, Occasion::Ended(_))).last() {
                seen.events.insert(n, event);
            }
            next[n] += usize::from(fate.is_forwarded());
            seen.fates.insert((n, round), fate);
        }
    }
    seen
}

fn table(policy: &ValidPolicy) -> PolicyTable {
    compile(policy, &CompileOptions::default()).expect("a generated policy compiles").table
}

/// An estate and another policy for it.
fn pair(random: &mut Random) -> [ValidPolicy; 2] {
    let size =
        Size { workloads: 2 + random.below(12), networks: 1 + random.below(6), rules: 4 + random.below(24) };
    let mut enforced = estate::generate_whole(random, size);
    let other = estate::generate_whole(random, size);
    for workload in &mut enforced.workloads {
        (workload.wire, workload.macs) = (None, Vec::new());
    }
    let mut draft = ValidPolicy { tiers: other.tiers, enforcement: other.enforcement, ..enforced.clone() };
    for workload in &mut draft.workloads {
        if random.one_in(8) {
            workload.labels.clear();
        }
    }
    [enforced, draft]
}

fn options() -> RigOptions {
    RigOptions { source_check: SourceCheck::Known, ..RigOptions::default() }
}

#[test]
fn a_draft_reports_what_it_would_do_packet_for_packet() {
    let mut compared = HashMap::new();
    for seed in 0..80 {
        let mut random = Random::new(seed);
        let [enforced, draft] = pair(&mut random);
        let all = conversations(&mut random, &enforced, 120);
        // Drafts come with the policy, or while its flows live already.
        let late = seed % 2 == 1;
        let with_drafts = |rig: &Rig| {
            let drafts = vec![(3, Arc::new(table(&enforced))), (7, Arc::new(table(&draft)))];
            rig.publisher.publish_with(table(&enforced), drafts);
        };
        let mut first = Rig::without_policy(&options());
        if late {
            first.publisher.publish(table(&enforced));
        }
        let reported = play(&mut first, &all, usize::from(late), with_drafts);
        let mut second = Rig::new(table(&draft), &options());
        let done = play(&mut second, &all, 9, |_| {});
        let epoch = first.publisher.current().unwrap().epoch;
        for n in 0..all.len() {
            // A flow without a packet since the drafts came says nothing of them.
            let Some(event) = reported.events.get(&n).filter(|event| event.epoch == epoch) else { continue };
            let (own, other) = (event.drafts.of(0), event.drafts.of(1));
            assert_eq!(own, answer(event), "seed {seed}: the enforced policy as its own draft");
            for round in 0..5 {
                let Some(class) = done.fates.get(&(n, round)).and_then(class) else { continue };
                let passes = matches!(other, Answer::Allow | Answer::PotentiallyBlocked);
                let expected = if passes { Answer::Allow } else { other };
                assert_eq!(class, expected, "seed {seed}, conversation {n}, round {round}: {event:?}");
                *compared.entry((answer(event).name(), other.name())).or_insert(0u32) += 1;
            }
            let said = done.events.get(&n).map(answer);
            assert_eq!(said, Some(other), "seed {seed}, conversation {n}");
        }
    }
    assert_eq!(compared.len(), 16, "every answer met every other: {compared:?}");
}

#[test]
fn drafts_change_no_packet_and_no_counter() {
    for seed in 100..130 {
        let mut random = Random::new(seed);
        let [enforced, draft] = pair(&mut random);
        let all = conversations(&mut random, &enforced, 80);
        let run = |drafts: u16| {
            let mut rig = Rig::new(table(&enforced), &options());
            let seen = play(&mut rig, &all, 2, |rig| {
                let drafts = (0..drafts).map(|id| (id, Arc::new(table(&draft)))).collect();
                rig.publisher.publish_with(table(&enforced), drafts);
            });
            let of = &rig.counters;
            let counts =
                [&of.decisions, &of.flow_hits, &of.flow_stale, &of.flow_misses, &of.flows_opened, &of.made];
            let hits: Vec<u64> = (0..rig.publisher.current().unwrap().table.rules())
                .map(|rule| rig.publisher.current().unwrap().hits.of(RuleId(rule)))
                .collect();
            (seen.fates, seen.left, counts.map(|count| count.get()), hits)
        };
        let without = run(0);
        for drafts in [1, 8] {
            assert!(run(drafts) == without, "seed {seed}: {drafts} drafts change something");
        }
    }
}

#[test]
fn a_live_flow_remembers_which_drafts_differ() {
    let nothing = || Arc::new(compiled("rules: []\n").table);
    let all = || Arc::new(compiled(WEB_TO_DB).table);
    let udp = Packet::udp("10.0.0.1:9", "10.0.0.2:9").build();
    let mut rig = Rig::new(compiled(WEB_TO_DB).table, &RigOptions::default());
    let differing = |rig: &Rig| {
        let view = rig.flows.views(rig.now).next().unwrap();
        view.terms.drafts.differing(Answer::Allow)
    };
    assert!(rig.send(IN, &udp).is_forwarded());
    assert_eq!(differing(&rig), 0);
    rig.publisher.publish_with(all(), vec![(1, nothing()), (2, all()), (9, nothing())]);
    assert!(rig.send(IN, &udp).is_forwarded());
    assert_eq!(differing(&rig), 0b101);
    rig.publisher.publish_with(all(), vec![(2, all())]);
    assert!(rig.send(IN, &udp).is_forwarded());
    assert_eq!(differing(&rig), 0);
}
