//! A policy on trial for some workloads: in force there, over a restart, promoted or taken back.

use super::inventory::allowed;
use super::*;
use crate::store::StoredFile;

/// `rules` over two workloads of each of two applications.
fn text(rules: &str) -> Vec<StoredFile> {
    let text = format!(
        "ringfence: 1
workloads:
  - {{name: shop-web, labels: {{app: shop, role: web}}, addresses: [10.0.0.1]}}
  - {{name: shop-db, labels: {{app: shop, role: db}}, addresses: [10.0.0.2]}}
  - {{name: crm-web, labels: {{app: crm, role: web}}, addresses: [10.0.1.1]}}
  - {{name: crm-db, labels: {{app: crm, role: db}}, addresses: [10.0.1.2]}}
rules: [{rules}]
"
    );
    vec![StoredFile { name: "policy.yaml".into(), text }]
}

const OPEN: &str = "{name: to-db, from: {role: web}, to: {role: db}, service: tcp/5432, same: [app]}";

fn author() -> Author {
    Author { publication: Publication::Request, uid: 0, message: String::new(), rolled_back_to: None }
}

/// Whether each application's front end may ask its database: shop's, then crm's.
fn open(engine: &Engine) -> [bool; 2] {
    [allowed(engine, "10.0.0.1", "10.0.0.2"), allowed(engine, "10.0.1.1", "10.0.1.2")]
}

async fn publish_files(engine: &Arc<Engine>, files: Vec<StoredFile>) -> Result<Published, PublishError> {
    engine.publish(files, author(), Terms::default()).await
}

#[tokio::test]
async fn a_trial_decides_for_its_workloads_only_until_it_is_promoted_or_taken_back() {
    let scratch = Scratch::new();
    let engine = start(&scratch, &[]);
    assert!(matches!(engine.on_trial("{app: shop}".into(), text("")), Err(PublishError::NothingInForce)));
    publish_files(&engine, text(OPEN)).await.unwrap();
    assert!(matches!(engine.tried(), Err(PublishError::NoCanary)));
    assert_eq!(open(&engine), [true, true]);

    let (files, epoch) = engine.on_trial("{app: shop}".into(), text("")).unwrap();
    assert_eq!(epoch, 1);
    let published = publish_files(&engine, files).await.unwrap();
    assert!(published.summary.starts_with("canary {app: shop} (2 workloads)"), "{}", published.summary);
    assert_eq!(open(&engine), [false, true], "the candidate allows nothing, to the shop");
    let change = InventoryChange::Remove;
    let refused = engine.change_workload("crm-web".into(), change, None, 0).await;
    assert!(matches!(refused, Err(PublishError::CanaryInForce)));

    drop(engine);
    let engine = start(&scratch, &[]);
    assert_eq!(open(&engine), [false, true], "the trial goes on after a restart");

    engine.rollback(1, 0).await.unwrap();
    assert_eq!(open(&engine), [true, true]);
    assert!(engine.tried().is_err(), "no trial is left");

    let (files, _) = engine.on_trial("{app: crm}".into(), text("")).unwrap();
    publish_files(&engine, files).await.unwrap();
    assert_eq!(open(&engine), [true, false]);
    let (files, _) = engine.tried().unwrap();
    publish_files(&engine, files).await.unwrap();
    assert_eq!(open(&engine), [false, false], "promoted");
    assert!(engine.tried().is_err());
}

#[tokio::test]
async fn a_trial_that_cannot_be_leaves_the_policy_in_force() {
    let scratch = Scratch::new();
    let engine = start(&scratch, &[]);
    publish_files(&engine, text(OPEN)).await.unwrap();
    for (select, candidate, expected) in [
        ("{app: nobody}", text(""), "no labelled workload is selected as canary"),
        ("{app", text(""), "(canary selector)"),
        ("{app: shop}\nrules: []", text(""), "(canary selector)"),
        ("{app: shop}", text("{name: x}"), "policy.yaml"),
        ("{app: shop}", vec![StoredFile { name: "a".into(), text: "ringfence: 1\n".into() }], "workload"),
    ] {
        let (files, _) = engine.on_trial(select.to_owned(), candidate).unwrap();
        let error = publish_files(&engine, files).await.unwrap_err();
        assert!(matches!(error, PublishError::Refused(_)), "{select}: {error}");
        assert!(error.to_string().contains(expected), "{select}: {error}");
        assert_eq!(open(&engine), [true, true], "{select}");
    }
}
