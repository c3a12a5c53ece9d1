//! What tests of exporters share: a policy, events, and exporters that are told them.

use std::sync::mpsc::{Receiver, Sender, channel};

use dataplane::address::Address;
use dataplane::clock::Now;
use dataplane::flow::{FlowKey, Orientation};
use dataplane::policy::Publisher;
use dataplane::records::{Ending, Occasion};
use dataplane::verdict::{DraftAnswers, Gate, RuleId, Verdict, WireId};

use super::counts::Counts;
use super::thread::Sink;
use super::told::Event;
use super::*;
use crate::observe::names::Names;
use crate::policy::{CompileOptions, SourceFile, compile, load_texts};

const POLICY: &str = "ringfence: 1
workloads:
  - {name: web, labels: {app: shop, role: web}, addresses: [10.0.0.1, \"fd00::1\"]}
  - {name: db, labels: {app: [crm, shop], role: db}, addresses: [10.0.0.2, \"fd00::2\"]}
networks:
  - {name: offices, cidrs: [192.0.2.0/24], labels: {zone: office}}
rules: []
";

/// The hash that events carry.
pub(super) const HASH: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

pub(super) fn scene() -> Scene {
    let files = [SourceFile { name: "p".into(), text: POLICY.into() }];
    let policy = load_texts(&files).unwrap_or_else(|faults| panic!("{faults}")).policy;
    let compiled = compile(&policy, &CompileOptions::default()).unwrap();
    let names = Names::new(&policy);
    let snapshot = Publisher::new(0).publish(compiled.table);
    Scene { names: Arc::new(names), snapshot, policy: Arc::new(policy) }
}

/// An event of a flow from `source` to `destination`; `ports` are those of the key.
pub(super) fn event(occasion: Occasion, protocol: u8, ends: [&str; 2], ports: [u16; 2]) -> FlowEvent {
    let [first, second] = ends.map(|end| Address::from(end.parse::<std::net::IpAddr>().unwrap()));
    let now = Now::read();
    let denied = occasion == Occasion::Denied;
    FlowEvent {
        at: now,
        occasion,
        key: FlowKey {
            wire: WireId(0),
            protocol,
            first,
            second,
            first_port: ports[0],
            second_port: ports[1],
        },
        initiator: Orientation::FromFirst,
        epoch: Epoch(1),
        verdict: if denied { Verdict::Reject } else { Verdict::Allow },
        gate: denied.then_some(Gate::Egress),
        rule: RuleId(9),
        potential: (!denied).then_some(RuleId(7)),
        drafts: DraftAnswers::default(),
        packets: [10, 20],
        bytes: [1_000, 20_000],
        first_seen: now.as_millis32().wrapping_sub(5000),
        last_seen: now.as_millis32(),
    }
}

pub(super) fn words() -> Words {
    Words {
        times: [1_700_000_005_123, 1_700_000_000_456, 1_700_000_004_789]
            .map(|millis| Timestamp::from_millisecond(millis).unwrap()),
        rule: ["shop-to-db".into(), "application".into()],
        potential: Some("default/deny".into()),
    }
}

pub(super) fn told(event: FlowEvent) -> Told {
    let Words { times: [at, first_seen, last_seen], rule: [rule, tier], potential } = words();
    let potential = potential.filter(|_| event.potential.is_some());
    Told { event, at, first_seen, last_seen, rule, tier, potential, policy_hash: HASH.into() }
}

pub(super) fn settings(queue: usize) -> Settings {
    Settings { queue, events: told::OCCASIONS.to_vec() }
}

/// Takes one event whenever it is allowed to.
struct Slow {
    go: Receiver<()>,
    took: Sender<u64>,
    counts: Arc<Counts>,
}

impl Sink for Slow {
    fn take(&mut self, event: &Event<'_>) {
        // Ends when the test does.
        let _ = self.go.recv();
        self.counts.sent(1, 7);
        let _ = self.took.send(event.packets[0]);
    }

    fn flush(&mut self) {}

    fn close(&mut self) {}
}

fn slow(settings: &Settings) -> (Exporters, Sender<()>, Receiver<u64>) {
    let (allow, go) = channel();
    let (took, taken) = channel();
    let counts = Arc::<Counts>::default();
    let sink = Slow { go, took, counts: Arc::clone(&counts) };
    let words = (SceneCell::default(), Arc::from([]));
    let exporter = Exporter::start(("slow", "nowhere".into()), settings, words, counts, sink).unwrap();
    (Exporters { all: vec![exporter], ..Exporters::default() }, allow, taken)
}

#[test]
fn what_an_exporter_is_too_slow_for_is_counted_exactly_and_nobody_waits() {
    let (exporters, allow, taken) = slow(&settings(16));
    let flow = event(Occasion::Opened, 6, ["10.0.0.1", "10.0.0.2"], [40_000, 443]);
    let mut offered = 0u64;
    // One is with the sink, 16 are in the queue, whoever comes later is turned away.
    while exporters.view()[0].queue_full < 100 {
        exporters.tell(&FlowEvent { packets: [offered, 0], ..flow }, words());
        offered += 1;
    }
    let before = exporters.view().remove(0);
    assert_eq!((before.offered, before.sent, before.lost), (offered, 0, 100));
    assert_eq!(before.waiting, offered - 100);
    assert!((16..=17).contains(&before.waiting), "the queue's 16, and one that the sink has: {before:?}");
    (0..before.waiting).for_each(|_| allow.send(()).unwrap());
    let kept: Vec<u64> = (0..before.waiting).map(|_| taken.recv().unwrap()).collect();
    assert!(kept.is_sorted(), "in the order in which they were told: {kept:?}");
    let after = exporters.view().remove(0);
    assert_eq!((after.offered, after.sent, after.lost, after.waiting), (offered, offered - 100, 100, 0));
}

#[test]
fn an_exporter_gets_the_events_it_asked_for() {
    let (exporters, allow, taken) = slow(&Settings { queue: 16, events: vec!["ended", "denied"] });
    let all = [Occasion::Opened, Occasion::Redecided, Occasion::Ended(Ending::Cut), Occasion::Denied];
    for (number, occasion) in (0..).zip(all) {
        let flow = event(occasion, 17, ["10.0.0.1", "10.0.0.2"], [40_000, 53]);
        exporters.tell(&FlowEvent { packets: [number, 0], ..flow }, words());
        allow.send(()).unwrap();
    }
    assert_eq!([taken.recv().unwrap(), taken.recv().unwrap()], [2, 3]);
    assert_eq!(exporters.view()[0].offered, 2);
}

#[test]
fn what_waits_when_the_daemon_stops_is_sent() {
    let (exporters, allow, taken) = slow(&settings(64));
    for number in 0..40 {
        let flow = event(Occasion::Denied, 6, ["10.0.0.1", "10.0.0.2"], [40_000, 443]);
        exporters.tell(&FlowEvent { packets: [number, 0], ..flow }, words());
        allow.send(()).unwrap();
    }
    drop(exporters);
    assert_eq!(taken.iter().collect::<Vec<_>>(), (0..40).collect::<Vec<_>>());
}

#[test]
fn the_policy_hash_is_that_of_the_events_epoch() {
    let mut exporters = slow(&settings(16)).0;
    for (epoch, hash) in [(1, "a"), (2, "a"), (5, "b")] {
        exporters.published(Epoch(epoch), hash, scene());
    }
    let hashes: Vec<_> = exporters.hashes.iter().map(|(epoch, hash)| (epoch.0, &**hash)).collect();
    assert_eq!(hashes, [(1, "a"), (2, "a"), (5, "b")]);
    for epoch in 6..u32::try_from(EPOCHS_MAX).unwrap() + 20 {
        exporters.published(Epoch(epoch), "c", scene_cheap(&exporters));
    }
    assert_eq!(exporters.hashes.len(), EPOCHS_MAX);
}

/// The scene that is there already.
fn scene_cheap(exporters: &Exporters) -> Scene {
    Scene::clone(&exporters.scene.get().unwrap())
}
