use dataplane::clock::Now;
use dataplane::records::{DropRecord, DroppedFlow};
use dataplane::verdict::{Epoch, RuleId, Side, WireId};
use serde_json::{Value, json};

use super::super::records::tests::{Scratch, worker};
use super::*;
use crate::observe::worker::Worker;

/// A drop of a frame from one address to another, if it was IP.
fn drop_one(worker: &Worker, reason: DropReason, ends: Option<(&str, &str)>, service: u32) {
    let address = |text: &str| Address::from(text.parse::<std::net::IpAddr>().unwrap());
    let by_policy = reason == DropReason::Policy;
    let record = DropRecord {
        at: Now::read(),
        wire: WireId(0),
        side: Side::Inside,
        reason,
        epoch: Epoch(1),
        rule: by_policy.then_some(RuleId::DEFAULT_DENY),
        flow: ends.map(|(source, destination)| DroppedFlow {
            source: address(source),
            destination: address(destination),
            service,
        }),
        held: false,
    };
    worker.counters.dropped(reason).add(1);
    worker.records.dropped(record, &worker.counters);
}

fn ask(engine: &Engine, query: &str) -> Value {
    let uri: axum::http::Uri = format!("/v1/drops?{query}").parse().unwrap();
    let query = axum::extract::Query::<Query>::try_from_uri(&uri).unwrap().0;
    let asked = query.check(&[]).unwrap_or_else(|_| panic!("{uri}"));
    serde_json::to_value(answer(engine, &asked)).unwrap()
}

const TCP: u32 = 6 << 16;

fn some_drops(worker: &Worker) {
    for (times, service) in [(5, TCP | 5433), (2, TCP | 22), (1, 17 << 16 | 53)] {
        (0..times)
            .for_each(|_| drop_one(worker, DropReason::Policy, Some(("10.0.0.1", "10.0.0.2")), service));
    }
    drop_one(worker, DropReason::Policy, Some(("fd00::1", "fd00::2")), TCP | 5433);
    drop_one(worker, DropReason::TcpNoFlow, Some(("192.0.2.9", "10.0.0.2")), TCP | 443);
    (0..3).for_each(|_| drop_one(worker, DropReason::EtherType, None, 0));
}

#[test]
fn drops_are_found_by_every_filter() {
    let scratch = Scratch::new("drop-filters");
    let worker = worker();
    let engine = scratch.start(&worker);
    some_drops(&worker);
    for (query, expected) in [
        ("", 13),
        ("reason=policy", 9),
        ("reason=ether_type", 3),
        ("rule=default/deny", 9),
        ("rule=shop-to-db", 0),
        ("workload=web", 9),
        ("label=role=db", 10),
        ("label=role=db,app=bank", 0),
        ("from=unknown", 1),
        ("from=app=shop&to=role=db", 9),
        // Of a kind with several addresses, the last ones count: those of tcp/5433 were IPv6.
        ("to=10.0.0.0/8", 4),
        ("port=5433", 6),
        ("service=udp", 1),
        ("limit=1", 13),
    ] {
        let told = ask(&engine, query);
        assert_eq!(told["matching"], expected, "{query}: {told}");
        assert_eq!((&told["recorded"], &told["lost"]), (&json!(13), &json!(0)), "{query}");
    }
    let refused = Query { reason: Some("polcy".into()), ..Query::default() }.check(&[]).err();
    assert!(format!("{refused:?}").contains("`spoofed_source`"), "{refused:?}");
}

#[test]
fn drops_are_summed_by_rule_and_by_labels() {
    let scratch = Scratch::new("drop-sums");
    let worker = worker();
    let engine = scratch.start(&worker);
    some_drops(&worker);
    let told = ask(&engine, "");
    let rules: Vec<_> =
        told["rules"].as_array().unwrap().iter().map(|r| (&r["rule"], &r["reason"], &r["count"])).collect();
    let (none, deny) = (Value::Null, json!("default/deny"));
    let row = |rule, reason, count| (rule, json!(reason), json!(count));
    let expected = [row(&deny, "policy", 9), row(&none, "ether_type", 3), row(&none, "tcp_no_flow", 1)];
    assert_eq!(rules, expected.each_ref().map(|(rule, reason, count)| (*rule, reason, count)));
    let pair = &told["pairs"][0];
    assert_eq!((&pair["count"], &pair["ends"], &pair["services_in_all"]), (&json!(9), &json!(1), &json!(3)));
    assert_eq!(pair["services"], json!(["tcp/5433", "tcp/22", "udp/53"]));
    assert_eq!(pair["source"], json!({"labels": {"app": ["shop"]}, "who": null}));
    assert_eq!(told["pairs"][1]["source"], json!({"labels": {}, "who": {"kind": "unknown"}}));
    let reasons = told["reasons"].as_array().unwrap();
    let policy = reasons.iter().find(|one| one["reason"] == "policy").unwrap();
    assert!(policy["count"] == 9 && policy["advice"].as_str().unwrap().contains("explain"), "{policy}");
}

#[test]
fn a_suggestion_is_the_smallest_change_and_says_what_else_it_opens() {
    let scratch = Scratch::new("drop-suggest");
    let worker = worker();
    let engine = scratch.start(&worker);
    some_drops(&worker);
    assert_eq!(ask(&engine, "")["suggestions"], json!([]));
    let told = ask(&engine, "suggest=2");
    let suggestions = told["suggestions"].as_array().unwrap();
    let first = &suggestions[0];
    assert_eq!(suggestions.len(), 2, "{told}");
    assert_eq!(
        (&first["source"], &first["destination"], &first["service"], &first["count"]),
        (&json!("web"), &json!("db"), &json!("tcp/5433"), &json!(6)),
    );
    assert_eq!((&first["verdict"], &first["change"]["verdict"]), (&json!("deny"), &json!("allow")));
    assert_eq!((&first["change"]["opens"], &first["change"]["closes"]), (&json!(0), &json!(0)));
    assert!(first["change"]["edits"][0].as_str().unwrap().contains("tcp/5433"), "{first}");
    assert!(!first["alternatives"].as_array().unwrap().is_empty(), "{first}");
    // For somebody unknown, turning enforcement down is no more edits than a rule, and opens the workload to everybody.
    drop_one(&worker, DropReason::Policy, Some(("192.0.2.9", "10.0.0.2")), TCP | 5432);
    let told = ask(&engine, "suggest=1&from=unknown");
    let change = &told["suggestions"][0]["change"];
    assert!(
        change["edits"].to_string().contains("192.0.2.9") && !change.to_string().contains("enforcement"),
        "{told}"
    );
}
