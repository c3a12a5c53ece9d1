use dataplane::records::Occasion;
use dataplane::verdict::RuleId;
use serde_json::{Value, json};

use super::super::records::tests::{Scratch, own_rule, tell, worker};
use super::*;
use crate::engine::{Author, Terms};
use crate::observe::worker::Worker;
use crate::store::{Publication, StoredFile};

const RULES: &str = "ringfence: 1
workloads:
  - {name: web, labels: {app: shop}, addresses: [10.0.0.1, \"fd00::1\"]}
  - {name: db, labels: {app: shop, role: db}, addresses: [10.0.0.2, \"fd00::2\"]}
rules:
  - {name: all, from: {app: shop}, to: any, service: tcp}
  - {name: shop-to-db, from: {app: shop}, to: {role: db}, service: tcp/5432}
  - {name: nothing, from: {app: bank}, to: any, service: tcp/1}
  - {name: soon, from: any, to: any, service: tcp/22, staged: true}
";

fn ask(engine: &Engine, query: &str) -> Value {
    let uri: axum::http::Uri = format!("/v1/rules?{query}").parse().unwrap();
    let query = axum::extract::Query::<Query>::try_from_uri(&uri).unwrap().0;
    query.check(engine.in_force().as_deref()).unwrap_or_else(|_| panic!("{uri}"));
    serde_json::to_value(answer(engine, &query)).unwrap()
}

fn publish(engine: &Arc<Engine>, text: &str) {
    let author =
        Author { publication: Publication::Request, uid: 0, message: String::new(), rolled_back_to: None };
    let files = vec![StoredFile { name: "p".into(), text: text.into() }];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime
        .block_on(engine.publish(files, author, Terms::default()))
        .unwrap_or_else(|error| panic!("{error}"));
}

/// A rule of the answer.
fn rule<'a>(answer: &'a Value, name: &str) -> &'a Value {
    answer["rules"].as_array().unwrap().iter().find(|rule| rule["name"] == name).unwrap()
}

/// What a worker does when policy decides.
fn decide(engine: &Engine, worker: &Worker, name: &str, times: u64) {
    let now = engine.in_force().unwrap();
    let id = now.rules.iter().position(|rule| &*rule.name == name).unwrap();
    for _ in 0..times {
        now.snapshot.hits.count(0, RuleId(u32::try_from(id).unwrap()));
        worker.counters.decisions.add(1);
    }
}

/// Hits, of rules in force and of removed ones.
fn sum(answer: &Value) -> u64 {
    let rules = answer["rules"].as_array().unwrap().iter().map(|rule| rule["hits"].as_u64().unwrap());
    let removed = answer["removed"].as_object().unwrap().values().map(|hits| hits.as_u64().unwrap());
    rules.chain(removed).sum()
}

#[test]
fn hits_and_defaults_are_the_decisions_across_publishes() {
    let scratch = Scratch::new("rule-hits");
    let worker = worker();
    let engine = scratch.start(&worker);
    let mut expected = 0;
    for round in 1..5u64 {
        for (name, times) in [("shop-to-db", 2), ("default/deny", 3), ("default/quarantine", round)] {
            decide(&engine, &worker, name, times);
            expected += times;
        }
        let told = ask(&engine, "");
        assert_eq!((sum(&told), &told["decisions"]), (expected, &json!(expected)));
        assert_eq!(rule(&told, "shop-to-db")["hits"], json!(2 * round));
        assert!(rule(&told, "shop-to-db")["last_hit"].is_string(), "{told}");
        publish(&engine, RULES);
    }
    publish(&engine, "ringfence: 1\nrules: []\n");
    let told = ask(&engine, "");
    assert_eq!((sum(&told), &told["removed"]["shop-to-db"]), (expected, &json!(8)));
}

#[test]
fn a_rule_says_whether_it_is_used_shadowed_or_hidden() {
    let scratch = Scratch::new("rule-standing");
    let worker = worker();
    let engine = scratch.start(&worker);
    let own = own_rule(&engine);
    // Decided before the other policy came, and before this process: only the record knows.
    (0..3).for_each(|_| tell(&worker, Occasion::Opened, "10.0.0.1", 5432, own));
    tell(&worker, Occasion::Denied, "192.0.2.9", 5432, RuleId::DEFAULT_DENY);
    tell(&worker, Occasion::Denied, "10.0.0.1", 80, RuleId::DEFAULT_DENY);
    engine.tick();
    publish(&engine, RULES);
    let told = ask(&engine, "also=true");
    let of = |name: &str| {
        let rule = rule(&told, name);
        [&rule["unused"], &rule["standing"], &rule["also_matches"], &rule["recorded"]].map(Clone::clone)
    };
    assert_eq!(of("all"), [json!(true), json!("live"), json!(4), json!(0)], "{told}");
    assert_eq!(of("shop-to-db"), [json!(false), json!("shadowed"), json!(0), json!(3)]);
    assert_eq!(of("nothing"), [json!(true), json!("never-matches"), json!(0), json!(0)]);
    assert_eq!(of("soon"), [json!(false), json!("live"), Value::Null, json!(0)]);
    assert_eq!(of("default/deny"), [json!(false), Value::Null, Value::Null, json!(2)]);
    assert_eq!(rule(&told, "shop-to-db")["shadowed_by"], json!(["all"]));
    assert_eq!(told["also"], json!({"examined": 5, "not_examined": 0}));
    assert_eq!(ask(&engine, "also=true")["rules"], told["rules"], "the same from what is remembered");
    assert_eq!(ask(&engine, "")["also"], Value::Null);
    let since =
        |name: &str| rule(&told, name)["in_force_since"].as_str().unwrap().parse::<Timestamp>().unwrap();
    assert!(since("shop-to-db") < since("all"), "one was in the policy before, too");
}

#[test]
fn rules_are_chosen_and_sorted() {
    let scratch = Scratch::new("rule-filters");
    let worker = worker();
    let engine = scratch.start(&worker);
    publish(&engine, RULES);
    for (name, times) in [("all", 2), ("default/deny", 5), ("nothing", 1)] {
        decide(&engine, &worker, name, times);
    }
    for (query, expected) in [
        ("sort=hits&limit=3", &["default/deny", "all", "nothing"][..]),
        ("sort=name&tier=application", &["all", "nothing", "shop-to-db", "soon"]),
        ("tier=application&unused=true", &["shop-to-db"]),
        ("shadowed=true&tier=application", &["nothing", "shop-to-db"]),
        ("name=-to-", &["shop-to-db"]),
        ("name=default/d&limit=1", &["default/deny"]),
    ] {
        let told = ask(&engine, query);
        let names: Vec<&str> =
            told["rules"].as_array().unwrap().iter().map(|rule| rule["name"].as_str().unwrap()).collect();
        assert_eq!(names, expected, "{query}");
    }
    let refused = Query { tier: Some("aplication".into()), ..Query::default() };
    let message = format!("{:?}", refused.check(engine.in_force().as_deref()));
    assert!(message.contains("`application`") && message.contains("`default`"), "{message}");
}
