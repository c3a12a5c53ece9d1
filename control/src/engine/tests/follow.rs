//! After another process has taken over: its policy and inventory count here too.

use super::inventory::allowed;
use super::*;

/// As [`in_force`], for a process whose own epochs mean nothing to others any more.
fn followed_policy(engine: &Engine) -> (u32, String) {
    let now = engine.in_force().unwrap();
    let rule = now.rules.iter().find(|rule| &*rule.tier == "application").unwrap();
    (now.meta.epoch, rule.name.to_string())
}

#[tokio::test]
async fn what_the_next_process_publishes_counts_here_until_it_cannot_be_read() {
    let scratch = Scratch::new();
    let old = start(&scratch, &[]);
    publish(&old, "one").await.unwrap();
    let _turn = old.hold().await;
    old.release_store();
    let new = start(&scratch, &[]);
    assert_eq!(in_force(&new), Some((1, "one".into())), "the directory is free");
    let epoch = || old.publisher().current().unwrap().epoch;
    let before = epoch();
    old.follow().unwrap();
    assert_eq!(epoch(), before, "nothing new, nothing published");

    publish(&new, "two").await.unwrap();
    publish(&new, "three").await.unwrap();
    old.follow().unwrap();
    assert_eq!(followed_policy(&old), (3, "three".to_owned()));
    let followed = epoch();
    assert!(followed > before);
    assert!(allowed(&old, "10.0.0.1", "10.0.0.2"));
    let labels = InventoryChange::Label([("app".to_owned(), ["crm".to_owned()].into())].into(), Vec::new());
    new.change_workload("web".into(), labels, None, 3).await.unwrap();
    old.follow().unwrap();
    assert!(!allowed(&old, "10.0.0.1", "10.0.0.2"), "labels count as policy");
    assert!(epoch() > followed);

    // A record that is not whole may be one that is being written; not for ever.
    publish(&new, "four").await.unwrap();
    let whole = fs::read(scratch.record(5)).unwrap();
    fs::write(scratch.record(5), &whole[..whole.len() / 2]).unwrap();
    old.follow().unwrap();
    fs::write(scratch.record(5), whole).unwrap();
    old.follow().unwrap();
    assert_eq!(followed_policy(&old), (5, "four".to_owned()));
    fs::remove_dir_all(scratch.0.join("state/policies")).unwrap();
    let failures = (0..100).take_while(|_| old.follow().is_ok()).count();
    assert!(failures < 100, "what the other one says is not known, and that goes unnoticed");
}
