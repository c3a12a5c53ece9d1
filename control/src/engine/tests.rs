//! Starting, publishing, falling back: the engine without a socket and without wires.

mod canary;
mod folded;
mod follow;
mod inventory;
mod life;
mod propose;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::store::{Limits, Publication};

/// A directory that is removed when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("ringfence-engine-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, text: &str) -> Vec<PathBuf> {
        let path = self.0.join("policy.yaml");
        fs::write(&path, text).unwrap();
        vec![path]
    }

    fn record(&self, epoch: u32) -> PathBuf {
        self.0.join(format!("state/policies/{epoch:010}.policy"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn policy(rule: &str) -> String {
    format!(
        "ringfence: 1
workloads:
  - {{name: web, labels: {{app: shop}}, addresses: [10.0.0.1]}}
  - {{name: db, labels: {{app: shop}}, addresses: [10.0.0.2]}}
rules:
  - {{name: {rule}, from: {{app: shop}}, to: {{app: shop}}, service: tcp/5432}}
"
    )
}

fn workers(number: usize) -> Vec<Worker> {
    let worker = |_| Worker { wire: WireId(0), queue: 0, counters: Arc::default(), records: Arc::default() };
    (0..number).map(worker).collect()
}

fn start_with(
    state: &Path,
    workers: Vec<Worker>,
    policy: &[PathBuf],
    from_config: bool,
) -> Result<Arc<Engine>, StartError> {
    let (store, damage) = Store::open(&state.join("state"), Limits::default()).unwrap();
    drop(damage);
    let parts = Parts {
        workers,
        proxies: Vec::new(),
        wires: vec!["w".into()],
        store,
        flows: None,
        timeout: Duration::from_millis(50),
        wake: Box::new(|| ()),
    };
    Engine::start(parts, policy, from_config)
}

fn start(scratch: &Scratch, policy: &[PathBuf]) -> Arc<Engine> {
    start_with(&scratch.0, Vec::new(), policy, false).unwrap_or_else(|error| panic!("{error}"))
}

fn request(message: &str) -> Author {
    Author { publication: Publication::Request, uid: 7, message: message.into(), rolled_back_to: None }
}

fn files(text: &str) -> Vec<StoredFile> {
    vec![StoredFile { name: "p.yaml".into(), text: text.into() }]
}

/// The epoch in force and the name of its first rule of the application tier.
fn in_force(engine: &Engine) -> Option<(u32, String)> {
    let now = engine.in_force()?;
    let rule = now.rules.iter().find(|rule| &*rule.tier == "application").unwrap();
    assert!(now.snapshot.epoch.0 >= now.meta.epoch, "drafts bring epochs of the table");
    Some((now.meta.epoch, rule.name.to_string()))
}

async fn publish(engine: &Arc<Engine>, rule: &str) -> Result<Published, PublishError> {
    engine.publish(files(&policy(rule)), request(rule), Terms::default()).await
}

#[tokio::test]
async fn the_last_published_policy_outlives_the_process() {
    let scratch = Scratch::new();
    let config = scratch.write(&policy("from-config"));
    let engine = start(&scratch, &config);
    assert_eq!(in_force(&engine), Some((1, "from-config".into())));
    assert_eq!(publish(&engine, "published").await.unwrap().epoch, 2);
    drop(engine);

    let engine = start(&scratch, &config);
    assert_eq!(in_force(&engine), Some((2, "published".into())), "the configuration does not come back");
    assert!(engine.notices().is_empty(), "its files did not change: {:?}", engine.notices());
    drop(engine);

    let config = scratch.write(&policy("edited"));
    let engine = start(&scratch, &config);
    assert_eq!(in_force(&engine), Some((2, "published".into())));
    assert!(engine.notices()[0].contains("differ from what was last published"), "{:?}", engine.notices());
    drop(engine);

    let engine = start_with(&scratch.0, Vec::new(), &config, true).unwrap();
    assert_eq!(in_force(&engine), Some((3, "edited".into())), "unless that is demanded");
    let history: Vec<_> = engine.history().iter().map(|m| (m.epoch, m.publication)).collect();
    let expected = [(3, Publication::Config), (2, Publication::Request), (1, Publication::Config)];
    assert_eq!(history, expected);
}

#[test]
fn without_any_policy_nothing_is_published() {
    let scratch = Scratch::new();
    let engine = start(&scratch, &[]);
    assert!(engine.in_force().is_none());
    assert!(engine.publisher().current().is_none(), "so the workers drop every frame as no_policy");
    assert!(engine.notices()[0].contains("everything is dropped"));
}

#[test]
fn a_bad_first_policy_is_no_start_but_a_good_old_one_is() {
    let scratch = Scratch::new();
    let bad = scratch.write("ringfence: 1\nrules: [{name: x}]\n");
    assert!(matches!(start_with(&scratch.0, Vec::new(), &bad, false), Err(StartError::Refused(_))));
    assert!(!scratch.record(1).exists(), "nothing was stored");
    start(&scratch, &scratch.write(&policy("good")));
    let bad = scratch.write("ringfence: 1\nrules: [{name: x}]\n");
    assert_eq!(in_force(&start(&scratch, &bad)), Some((1, "good".into())));
    assert!(matches!(start_with(&scratch.0, Vec::new(), &bad, true), Err(StartError::Refused(_))));
}

#[tokio::test]
async fn a_damaged_record_gives_way_to_the_one_before_under_a_new_epoch() {
    let scratch = Scratch::new();
    let engine = start(&scratch, &[]);
    publish(&engine, "old").await.unwrap();
    publish(&engine, "new").await.unwrap();
    drop(engine);
    let mut bytes = fs::read(scratch.record(2)).unwrap();
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    fs::write(scratch.record(2), bytes).unwrap();

    let engine = start(&scratch, &[]);
    assert_eq!(in_force(&engine), Some((3, "old".into())), "epoch 2 named another policy");
    assert!(engine.notices()[0].contains("epoch 2 is passed over"), "{:?}", engine.notices());
    let newest = engine.history()[0].clone();
    assert_eq!((newest.publication, newest.rolled_back_to), (Publication::Restored, Some(1)));
    drop(engine);
    assert_eq!(in_force(&start(&scratch, &[])), Some((3, "old".into())));
}

#[tokio::test]
async fn a_refused_policy_changes_nothing() {
    let scratch = Scratch::new();
    let engine = start(&scratch, &[]);
    publish(&engine, "good").await.unwrap();
    for text in ["", "x", "ringfence: 1\nrules: [{name: x}]\n", "ringfence: 1\nwhat: []\n"] {
        let refused = engine.publish(files(text), request(""), Terms::default()).await;
        assert!(matches!(refused, Err(PublishError::Refused(Refusal::Invalid(_)))), "{text:?}: {refused:?}");
    }
    assert!(matches!(
        engine.publish(Vec::new(), request(""), Terms::default()).await,
        Err(PublishError::Refused(_))
    ));
    assert_eq!(in_force(&engine), Some((1, "good".into())));
    assert_eq!(fs::read_dir(scratch.0.join("state/policies")).unwrap().count(), 1);
}

#[tokio::test]
async fn what_cannot_be_stored_is_not_published() {
    let scratch = Scratch::new();
    let engine = start(&scratch, &[]);
    publish(&engine, "good").await.unwrap();
    // A directory in the way of the next record's temporary file fails the write even for root.
    fs::create_dir(scratch.record(2).with_extension("new")).unwrap();
    let refused = publish(&engine, "lost").await;
    assert!(matches!(refused, Err(PublishError::Store(_))), "{refused:?}");
    assert_eq!(in_force(&engine), Some((1, "good".into())));
    assert_eq!(engine.publisher().current().unwrap().epoch, Epoch(1));
}

#[tokio::test]
async fn rollback_publishes_again() {
    let scratch = Scratch::new();
    let engine = start(&scratch, &[]);
    publish(&engine, "one").await.unwrap();
    publish(&engine, "two").await.unwrap();
    assert_eq!(engine.rollback(1, 9).await.unwrap().epoch, 3);
    assert_eq!(in_force(&engine), Some((3, "one".into())));
    let newest = &engine.history()[0];
    assert_eq!((newest.rolled_back_to, newest.uid, newest.message.as_str()), (Some(1), 9, "one"));
    let missing = engine.rollback(44, 0).await;
    assert!(matches!(missing, Err(PublishError::Store(crate::store::StoreError::NoRecord { .. }))));
}

#[tokio::test]
async fn concurrent_publishes_take_turns() {
    let scratch = Scratch::new();
    let engine = start(&scratch, &[]);
    let names: Vec<String> = (0..20).map(|n| format!("rule-{n}")).collect();
    let tasks: Vec<_> = names
        .iter()
        .map(|name| {
            let (engine, name) = (Arc::clone(&engine), name.clone());
            tokio::spawn(async move { (publish(&engine, &name).await.unwrap().epoch, name) })
        })
        .collect();
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.unwrap());
    }
    done.sort();
    assert_eq!(done.iter().map(|(epoch, _)| *epoch).collect::<Vec<_>>(), (1..=20).collect::<Vec<u32>>());
    assert_eq!(in_force(&engine), done.last().cloned());
    let messages: Vec<String> = engine.history().into_iter().rev().map(|m| m.message).collect();
    assert_eq!(messages, done.into_iter().map(|(_, name)| name).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_publish_waits_for_every_worker_that_reads() {
    let scratch = Scratch::new();
    let engine = start_with(&scratch.0, workers(2), &[], false).unwrap();
    let (mut first, mut second) = (engine.publisher().reader(0), engine.publisher().reader(1));
    publish(&engine, "one").await.unwrap();
    first.read();
    second.read();
    // The second worker stops looking: the policy is in force, and the answer names the worker.
    let task = {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move { publish(&engine, "two").await })
    };
    while engine.in_force().unwrap().meta.epoch < 2 {
        tokio::task::yield_now().await;
    }
    first.read();
    match task.await.unwrap() {
        Err(PublishError::NotTaken { epoch: 2, workers, .. }) => assert_eq!(workers, [1]),
        other => panic!("{other:?}"),
    }
    assert_eq!(in_force(&engine), Some((2, "two".into())));
    second.park();
    assert!(publish(&engine, "three").await.is_err(), "now the first does not look");
    drop(first);
    assert_eq!(publish(&engine, "four").await.unwrap().epoch, 4, "a worker that ended holds nothing up");
}

#[tokio::test]
async fn hits_survive_publishes_exactly() {
    let scratch = Scratch::new();
    let engine = start_with(&scratch.0, workers(1), &[], false).unwrap();
    let mut reader = engine.publisher().reader(0);
    let mut decisions = 0;
    for rule in ["a", "b", "a", "c"] {
        let task = {
            let (engine, rule) = (Arc::clone(&engine), rule.to_owned());
            tokio::spawn(async move { publish(&engine, &rule).await.unwrap() })
        };
        while !task.is_finished() {
            reader.read();
            tokio::task::yield_now().await;
        }
        let snapshot = reader.read().unwrap();
        for id in 0..snapshot.table.rules() {
            for _ in 0..=id {
                snapshot.hits.count(0, RuleId(id));
                decisions += 1;
            }
        }
    }
    let by_name = engine.with_hits(Hits::by_name);
    assert_eq!(by_name.values().sum::<u64>(), decisions, "hits + defaults = decisions");
    let last = engine.in_force().unwrap();
    let id = last.rules.iter().position(|rule| &*rule.name == "c").unwrap() as u64;
    assert_eq!(by_name["c"], id + 1);
    assert_eq!(by_name["a"], 2 * by_name["b"], "published twice, counted under one name");
    assert_eq!(by_name["default/deny"], 4);
}
