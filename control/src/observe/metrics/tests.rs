//! What is told, and how; `promtool` reads it in the tests of the whole program.

use std::time::Duration;

use super::*;
use crate::engine::Parts;
use crate::observe::worker::Worker;
use crate::socket::view::PortView;
use crate::store::{Limits, Store};

struct Scratch(std::path::PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An engine with so many rules of its own, and what its two workers count.
fn engine(name: &str, rules: usize) -> (Scratch, std::sync::Arc<Engine>) {
    let scratch =
        Scratch(std::env::temp_dir().join(format!("ringfence-metrics-{name}-{}", std::process::id())));
    std::fs::create_dir_all(&scratch.0).unwrap();
    let mut policy = "ringfence: 1
workloads:
  - {name: web, labels: {app: shop}, addresses: [10.0.0.1]}
  - {name: db, labels: {app: shop}, addresses: [10.0.0.2]}
rules:
"
    .to_owned();
    for at in 0..rules {
        policy += &format!(
            "  - {{name: r{at}, from: {{app: shop}}, to: {{app: shop}}, service: tcp/{}}}\n",
            at + 1
        );
    }
    let path = scratch.0.join("policy.yaml");
    std::fs::write(&path, policy).unwrap();
    let worker = |queue| Worker {
        wire: dataplane::verdict::WireId(0),
        queue,
        counters: std::sync::Arc::default(),
        records: std::sync::Arc::default(),
    };
    let (store, _) = Store::open(&scratch.0.join("state"), Limits::default()).unwrap();
    let parts = Parts {
        workers: vec![worker(0), worker(1)],
        wires: vec!["a \"quoted\" wire".into()],
        proxies: Vec::new(),
        store,
        flows: None,
        timeout: Duration::from_millis(50),
        wake: Box::new(|| ()),
    };
    let engine = Engine::start(parts, &[path], false).unwrap_or_else(|error| panic!("{error}"));
    (scratch, engine)
}

fn wire() -> WireView {
    let port = |interface: &str| PortView {
        interface: interface.into(),
        mode: "generic",
        state: "up",
        queues: 1,
        mtu: 1500,
        lost_before_worker: 3,
        lost_by_device: 0,
        fallback_dropped: 0,
        fallback_passed: 0,
    };
    WireView {
        name: "segment-a".into(),
        inside: port("eth1"),
        outside: PortView { state: "down", ..port("eth2") },
        workers_alive: 1,
        workers: 2,
    }
}

#[test]
fn counters_of_all_workers_are_summed_at_the_scrape() {
    let (_scratch, engine) = engine("sums", 2);
    for (n, worker) in (1..).zip(&engine.workers) {
        let inside = worker.counters.side(dataplane::verdict::Side::Inside);
        inside.received.add(10 * n);
        worker.counters.dropped(dataplane::verdict::DropReason::Policy).add(n);
    }
    let text = Metrics::gather(&engine, &[wire()], &[]).write(Format::Prometheus).unwrap();
    for line in [
        "ringfence_received_frames_total{wire=\"a \\\"quoted\\\" wire\",side=\"inside\"} 30",
        "ringfence_dropped_frames_total{reason=\"policy\"} 3",
        "ringfence_dropped_frames_total{reason=\"port_down\"} 0",
        "ringfence_port_up{wire=\"segment-a\",side=\"outside\"} 0",
        "ringfence_port_lost_before_worker_frames_total{wire=\"segment-a\",side=\"inside\"} 3",
        "ringfence_degraded{cause=\"port_down\"} 1",
        "ringfence_degraded{cause=\"worker_dead\"} 1",
        "ringfence_degraded{cause=\"no_policy\"} 0",
        "ringfence_policy_epoch 1",
        "ringfence_rule_hits_total{rule=\"r1\"} 0",
        "ringfence_rule_hits_total{rule=\"default/deny\"} 0",
        "# TYPE ringfence_received_frames_total counter",
        "# TYPE ringfence_policy_epoch gauge",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    let start = text.lines().find_map(|line| line.strip_prefix("process_start_time_seconds ")).unwrap();
    let start: f64 = start.parse().unwrap();
    let now = jiff::Timestamp::now().as_second() as f64;
    assert!((now - 86_400.0..=now + 2.0).contains(&start), "{start} {now}");
    let open = Metrics::gather(&engine, &[wire()], &[]).write(Format::OpenMetrics).unwrap();
    assert!(open.ends_with("# EOF\n") && open.contains("# TYPE ringfence_received_frames counter"), "{open}");
}

#[test]
fn rules_beyond_the_limit_are_counted_together() {
    let (_scratch, engine) = engine("rules", RULES_MAX + 50);
    let now = engine.in_force().unwrap();
    let id = |name: &str| now.rules.iter().position(|rule| &*rule.name == name).unwrap();
    for (name, count) in [("r0", 5u32), ("r998", 7), ("r999", 2), ("default/deny", 11)] {
        let id = dataplane::verdict::RuleId(id(name).try_into().unwrap());
        (0..count).for_each(|_| now.snapshot.hits.count(1, id));
    }
    let metrics = Metrics::gather(&engine, &[], &[]);
    let family = metrics.families().iter().find(|family| family.series() == "ringfence_rule_hits_total");
    let defaults = now.rules.iter().filter(|rule| &*rule.tier == "default").count();
    assert_eq!(family.unwrap().len(), RULES_MAX + defaults + 1);
    let text = metrics.write(Format::Prometheus).unwrap();
    for (rule, count) in [("r0", 5), ("default/deny", 11), ("(other)", 9)] {
        let line = format!("ringfence_rule_hits_total{{rule=\"{rule}\"}} {count}");
        assert!(
            text.lines().any(|found| found == line),
            "{line}: {:?}",
            text.lines().filter(|line| line.contains("=\"(other")).collect::<Vec<_>>()
        );
    }
    assert!(!text.contains("r999"));
}

#[test]
fn a_scraper_gets_the_format_it_asks_for() {
    for (accept, format) in [
        ("", Format::Prometheus),
        ("*/*", Format::Prometheus),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Format::Prometheus),
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            Format::OpenMetrics,
        ),
    ] {
        assert_eq!(Format::accepted(accept), format, "{accept}");
    }
}

#[test]
fn every_metric_is_explained() {
    let text = include_str!("../../../../config/exports.md");
    let (_scratch, engine) = engine("explained", 1);
    let metrics = Metrics::gather(&engine, &[wire()], &[]);
    for family in metrics.families() {
        let row = format!("| `{}`", family.series());
        assert!(text.contains(&row), "{} is not in config/exports.md", family.series());
    }
}
