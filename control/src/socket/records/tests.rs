use std::time::Duration;

use dataplane::clock::Now;
use dataplane::flow::{FlowKey, Orientation};
use dataplane::records::{Ending, FlowEvent, Occasion};
use dataplane::verdict::{DraftAnswers, Epoch, RuleId, Verdict, WireId};

use super::*;
use crate::engine::{Engine, Parts};
use crate::observe::worker::Worker;
use crate::store::{Limits, Store};

const POLICY: &str = "ringfence: 1
workloads:
  - {name: web, labels: {app: shop}, addresses: [10.0.0.1, \"fd00::1\"]}
  - {name: db, labels: {app: shop, role: db}, addresses: [10.0.0.2, \"fd00::2\"]}
rules:
  - {name: shop-to-db, from: {app: shop}, to: {role: db}, service: tcp/5432}
";

pub(in crate::socket) struct Scratch(std::path::PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Scratch {
    pub(in crate::socket) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringfence-records-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("policy.yaml"), POLICY).unwrap();
        Self(path)
    }

    pub(in crate::socket) fn start(&self, worker: &Worker) -> Arc<Engine> {
        let (store, _) = Store::open(&self.0.join("state"), Limits::default()).unwrap();
        let parts = Parts {
            workers: vec![worker.clone()],
            flows: None,
            proxies: Vec::new(),
            wires: Vec::new(),
            store,
            timeout: Duration::from_millis(50),
            wake: Box::new(|| ()),
        };
        Engine::start(parts, &[self.0.join("policy.yaml")], false).unwrap_or_else(|error| panic!("{error}"))
    }
}

pub(in crate::socket) fn worker() -> Worker {
    Worker { wire: WireId(0), queue: 0, counters: Arc::default(), records: Arc::default() }
}

pub(in crate::socket) fn tell(worker: &Worker, occasion: Occasion, source: &str, port: u16, rule: RuleId) {
    let address = |text: &str| Address::from(text.parse::<std::net::IpAddr>().unwrap());
    let (first, second) =
        (address(source), address(if source.contains(':') { "fd00::2" } else { "10.0.0.2" }));
    let now = Now::read();
    let verdict = if occasion == Occasion::Denied { Verdict::Deny } else { Verdict::Allow };
    let event = FlowEvent {
        at: now,
        occasion,
        key: FlowKey { wire: WireId(0), protocol: 6, first, second, first_port: 40_000, second_port: port },
        initiator: Orientation::FromFirst,
        epoch: Epoch(1),
        verdict,
        gate: None,
        rule,
        potential: None,
        drafts: DraftAnswers::default(),
        packets: [1, 2],
        bytes: [60, 120],
        first_seen: now.as_millis32(),
        last_seen: now.as_millis32(),
    };
    worker.records.happened(event, &worker.counters);
}

/// The id of the rule `shop-to-db`.
pub(in crate::socket) fn own_rule(engine: &Engine) -> RuleId {
    let now = engine.in_force().unwrap();
    let at = now.rules.iter().position(|rule| &*rule.name == "shop-to-db").unwrap();
    RuleId(u32::try_from(at).unwrap())
}

fn ask(engine: &Engine, query: &str) -> Records {
    let filter: Filter = filter_of(query);
    let limit = filter.limit.unwrap_or(100);
    find(engine, &filter.check(&[]).unwrap_or_else(|_| panic!("{query}")), limit)
}

/// A filter as a request would write it.
pub(in crate::socket) fn filter_of(query: &str) -> Filter {
    let uri: axum::http::Uri = format!("/v1/records?{query}").parse().unwrap();
    axum::extract::Query::<Filter>::try_from_uri(&uri).unwrap().0
}

#[test]
fn records_are_found_by_every_filter() {
    let scratch = Scratch::new("filters");
    let worker = worker();
    let engine = scratch.start(&worker);
    let allowed = own_rule(&engine);
    for source in ["10.0.0.1", "fd00::1"] {
        tell(&worker, Occasion::Opened, source, 5432, allowed);
        tell(&worker, Occasion::Ended(Ending::Finished), source, 5432, allowed);
    }
    tell(&worker, Occasion::Denied, "192.0.2.9", 22, RuleId::DEFAULT_DENY);
    for (query, expected) in [
        ("", 3),
        ("workload=web", 2),
        ("workload=nobody", 0),
        ("address=fd00::1", 1),
        ("label=role=db", 3),
        ("label=app=bank", 0),
        ("port=22", 1),
        ("verdict=deny", 1),
        ("verdict=reject", 0),
        ("rule=shop-to-db", 2),
        ("rule=default/deny&port=5432", 0),
        ("limit=2", 2),
    ] {
        let found = ask(&engine, query);
        assert_eq!(found.records.len(), expected, "{query}");
        assert_eq!(found.more, query == "limit=2", "{query}");
        assert!(found.completeness.complete, "{query}");
    }
    let one = &ask(&engine, "address=10.0.0.1").records[0];
    assert_eq!((one.flows, one.packets, one.bytes), (1, 3, 180));
    assert_eq!((&*one.service, one.verdict, &*one.rule), ("tcp/5432", "allow", "shop-to-db"));
}

#[test]
fn records_outlive_the_process_and_say_that_it_was_down() {
    let scratch = Scratch::new("restart");
    let worker = worker();
    let engine = scratch.start(&worker);
    tell(&worker, Occasion::Opened, "10.0.0.1", 5432, own_rule(&engine));
    let before = ask(&engine, "");
    engine.save_records();
    drop(engine);
    let engine = scratch.start(&worker);
    let after = ask(&engine, "");
    assert_eq!(after.records.len(), 1);
    assert_eq!(after.records[0].rule, before.records[0].rule);
    assert_eq!(after.completeness.from, before.completeness.from);
    assert_eq!((after.completeness.gaps, after.completeness.complete), (1, false));
}

#[test]
fn an_overflow_is_counted_to_the_last_event() {
    let scratch = Scratch::new("overflow");
    let worker = worker();
    let engine = scratch.start(&worker);
    let rule = own_rule(&engine);
    let told = dataplane::records::Records::EVENTS as u64 + 1000;
    (0..told).for_each(|_| tell(&worker, Occasion::Opened, "10.0.0.1", 5432, rule));
    let found = ask(&engine, "");
    assert_eq!((found.records[0].flows, found.completeness.missed), (told - 1000, 1000));
    assert_eq!(engine.sum(|counters| &counters.flow_events_lost), 1000);
}
