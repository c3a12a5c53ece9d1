//! Drafts and confirmation, over restarts and with two who act at once.

use super::*;
use crate::store::Event;

fn terms(confirm_within: Duration) -> Terms {
    Terms { confirm_within: Some(confirm_within), ..Terms::default() }
}

const HOUR: Duration = Duration::from_secs(3600);
/// So short that it is over when the publish returns.
const AT_ONCE: Duration = Duration::ZERO;

async fn publish_within(
    engine: &Arc<Engine>,
    rule: &str,
    within: Duration,
) -> Result<Published, PublishError> {
    engine.publish(files(&policy(rule)), request(rule), terms(within)).await
}

async fn stage(engine: &Arc<Engine>, name: &str, rule: &str) -> Result<Arc<Draft>, PublishError> {
    engine.stage(name.into(), files(&policy(rule)), request("why")).await
}

fn names(engine: &Engine) -> Vec<String> {
    engine.drafts().iter().map(|draft| draft.meta.name.clone()).collect()
}

fn publications(engine: &Engine) -> Vec<(u32, Publication, Option<u32>)> {
    engine.history().iter().map(|meta| (meta.epoch, meta.publication, meta.rolled_back_to)).collect()
}

#[tokio::test]
async fn drafts_stand_beside_the_policy_and_survive_a_restart() {
    let scratch = Scratch::new();
    let engine = start(&scratch, &[]);
    stage(&engine, "early", "early").await.unwrap();
    assert!(engine.in_force().is_none(), "a draft puts nothing in force");
    publish(&engine, "good").await.unwrap();
    stage(&engine, "next", "next").await.unwrap();
    stage(&engine, "next", "later").await.unwrap();
    let now = engine.in_force().unwrap();
    assert_eq!(now.snapshot.drafts.len(), 2);
    assert_eq!(
        (now.meta.epoch, now.snapshot.epoch.0),
        (1, 3),
        "every change of the drafts is an epoch of the table"
    );
    assert_eq!(now.rules.last().unwrap().name, engine.in_force().unwrap().rules.last().unwrap().name);
    drop((engine, now));

    let engine = start(&scratch, &[]);
    assert_eq!(names(&engine), ["early", "next"]);
    let now = engine.in_force().unwrap();
    assert_eq!((now.meta.epoch, now.snapshot.epoch.0), (1, 3), "the epoch goes on, it does not come again");
    assert!(engine.draft("next").unwrap().rules.iter().any(|rule| &*rule.name == "later"));
    engine.unstage("next".into(), 0).await.unwrap();
    assert!(matches!(engine.unstage("next".into(), 0).await, Err(PublishError::NoDraft(_))));
    assert_eq!(publish(&engine, "two").await.unwrap().epoch, 5);
    assert_eq!(engine.in_force().unwrap().snapshot.drafts.len(), 1, "a publish keeps the drafts");
    drop(engine);
    assert_eq!(names(&start(&scratch, &[])), ["early"]);
}

#[tokio::test]
async fn bad_drafts_change_nothing() {
    let scratch = Scratch::new();
    let engine = start(&scratch, &[]);
    publish(&engine, "good").await.unwrap();
    for name in ["", "../x", "A", "-a", "staged", "a/b", &"a".repeat(64), "ü", "."] {
        assert!(matches!(stage(&engine, name, "x").await, Err(PublishError::DraftName(_))), "{name}");
    }
    let refused = engine.stage("d".into(), files("ringfence: 1\nwhat: []\n"), request("")).await;
    assert!(matches!(refused, Err(PublishError::Refused(_))));
    for n in 0..8 {
        stage(&engine, &format!("d{n}"), "x").await.unwrap();
    }
    assert!(matches!(stage(&engine, "d8", "x").await, Err(PublishError::TooManyDrafts)));
    stage(&engine, "d7", "replaced").await.unwrap();
    assert_eq!(in_force(&engine), Some((1, "good".into())));
    // A draft on disk that is not whole is passed over, and the others are taken.
    drop(engine);
    let path = scratch.0.join("state/drafts/d3.draft");
    let whole = fs::read(&path).unwrap();
    for cut in (0..whole.len()).step_by(29) {
        fs::write(&path, &whole[..cut]).unwrap();
        let engine = start(&scratch, &[]);
        assert_eq!((names(&engine).len(), in_force(&engine)), (7, Some((1, "good".into()))), "{cut} bytes");
        assert!(engine.notices()[0].contains("draft"), "{:?}", engine.notices());
    }
}

#[tokio::test]
async fn what_a_draft_would_decide_is_counted_exactly() {
    let scratch = Scratch::new();
    let engine = start_with(&scratch.0, workers(1), &[], false).unwrap();
    publish(&engine, "good").await.unwrap();
    let draft = stage(&engine, "next", "next").await.unwrap();
    let mut reader = engine.publisher().reader(0);
    let mut expected = 0;
    for other in ["a", "b", "c"] {
        let snapshot = reader.read().unwrap();
        let beside = snapshot.drafts.iter().find(|one| one.id == draft.id).unwrap();
        for id in 0..beside.table.rules() {
            beside.hits.count(0, RuleId(id));
            expected += 1;
        }
        // A change of the drafts is a new snapshot: the counts of the old one go on.
        stage(&engine, other, other).await.unwrap();
        assert_eq!(engine.draft_hits(&draft).iter().map(|(_, count)| count).sum::<u64>(), expected);
    }
    drop(reader);
    engine.tick();
    assert_eq!(engine.draft_hits(&draft).iter().map(|(_, count)| count).sum::<u64>(), expected);
    stage(&engine, "next", "again").await.unwrap();
    assert!(engine.draft_hits(&engine.draft("next").unwrap()).is_empty(), "staged anew, counted anew");
}

#[tokio::test]
async fn an_unconfirmed_policy_gives_way() {
    let scratch = Scratch::new();
    let engine = start(&scratch, &[]);
    assert!(matches!(publish_within(&engine, "x", HOUR).await, Err(PublishError::NothingToRevert)));
    publish(&engine, "old").await.unwrap();
    let published = publish_within(&engine, "new", AT_ONCE).await.unwrap();
    assert_eq!(published.confirm.unwrap().revert_to, 1);
    assert_eq!(in_force(&engine), Some((2, "new".into())), "it is in force until then");
    assert!(engine.is_overdue());
    assert!(
        matches!(engine.confirm(None, 0).await, Err(PublishError::NothingToConfirm(Some(_)))),
        "too late"
    );
    assert_eq!(engine.revert_overdue().await.unwrap().unwrap().epoch, 3);
    assert_eq!(in_force(&engine), Some((3, "old".into())));
    assert_eq!(publications(&engine)[0], (3, Publication::Reverted, Some(1)));
    assert!(engine.awaiting().is_none() && !engine.is_overdue());
    assert!(engine.revert_overdue().await.unwrap().is_none(), "once");
    assert!(engine.notices().last().unwrap().contains("not confirmed"), "{:?}", engine.notices());
}

#[tokio::test]
async fn a_confirmed_policy_stays() {
    let scratch = Scratch::new();
    let engine = start(&scratch, &[]);
    publish(&engine, "old").await.unwrap();
    publish_within(&engine, "new", HOUR).await.unwrap();
    let waits = engine.awaiting().unwrap();
    assert_eq!((waits.epoch, waits.revert_to), (2, 1));
    assert!(waits.left_ms > 3_500_000);
    assert!(matches!(publish(&engine, "other").await, Err(PublishError::Unconfirmed(_))));
    assert!(
        matches!(engine.confirm(Some(1), 0).await, Err(PublishError::NothingToConfirm(_))),
        "another epoch"
    );
    assert_eq!(engine.confirm(Some(2), 5).await.unwrap(), 2);
    assert!(matches!(engine.confirm(None, 0).await, Err(PublishError::NothingToConfirm(None))));
    drop(engine);
    let engine = start(&scratch, &[]);
    assert_eq!(in_force(&engine), Some((2, "new".into())));
    assert!(engine.awaiting().is_none(), "the confirmation is on disk");
    publish(&engine, "other").await.unwrap();
}

#[tokio::test]
async fn a_rollback_answers_the_question_too() {
    let scratch = Scratch::new();
    let engine = start(&scratch, &[]);
    publish(&engine, "old").await.unwrap();
    publish_within(&engine, "new", HOUR).await.unwrap();
    engine.rollback(1, 0).await.unwrap();
    assert!(engine.awaiting().is_none());
    assert_eq!(in_force(&engine), Some((3, "old".into())));
}

#[tokio::test]
async fn the_deadline_outlives_the_process() {
    for (name, within, confirmed, expected) in [
        ("over", AT_ONCE, false, (3, "old")),
        ("not over", HOUR, false, (2, "new")),
        ("confirmed in time", HOUR, true, (2, "new")),
    ] {
        let scratch = Scratch::new();
        let engine = start(&scratch, &[]);
        publish(&engine, "old").await.unwrap();
        publish_within(&engine, "new", within).await.unwrap();
        if confirmed {
            engine.confirm(None, 0).await.unwrap();
        }
        drop(engine);
        let engine = start(&scratch, &[]);
        assert_eq!(in_force(&engine), Some((expected.0, expected.1.to_owned())), "{name}");
        assert_eq!(engine.awaiting().is_some(), name == "not over", "{name}");
        drop(engine);
        assert_eq!(
            in_force(&start(&scratch, &[])),
            Some((expected.0, expected.1.to_owned())),
            "{name}, again"
        );
    }
}

#[tokio::test]
async fn what_cannot_come_back_is_said_and_the_policy_stays() {
    let scratch = Scratch::new();
    let engine = start(&scratch, &[]);
    publish(&engine, "old").await.unwrap();
    publish_within(&engine, "new", AT_ONCE).await.unwrap();
    drop(engine);
    fs::write(scratch.record(1), "damaged").unwrap();
    let engine = start(&scratch, &[]);
    assert_eq!(in_force(&engine), Some((2, "new".into())));
    assert!(engine.notices()[0].contains("but stays"), "{:?}", engine.notices());
}

/// A confirmation that was being written when the process died counts in full or not at all.
#[tokio::test]
async fn a_torn_confirmation_is_none() {
    let scratch = Scratch::new();
    let engine = start(&scratch, &[]);
    publish(&engine, "old").await.unwrap();
    publish_within(&engine, "new", HOUR).await.unwrap();
    stage(&engine, "d", "d").await.unwrap();
    engine.confirm(None, 7).await.unwrap();
    drop(engine);
    let journal = scratch.0.join("state/policies/0000000002.journal");
    let whole = fs::read(&journal).unwrap();
    let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for cut in (first..=whole.len()).step_by(7).chain([whole.len() - 1, whole.len()]) {
        fs::write(&journal, &whole[..cut]).unwrap();
        let engine = start(&scratch, &[]);
        assert_eq!(engine.awaiting().is_none(), cut == whole.len(), "{cut} of {} bytes", whole.len());
        assert_eq!(engine.in_force().unwrap().snapshot.epoch.0, 3);
        // What comes next stands after what counts, and the torn rest is gone.
        if cut < whole.len() {
            engine.confirm(None, 8).await.unwrap();
            let entries = lock(&engine.store).journal(2).unwrap();
            assert_eq!(entries.last().map(|entry| (&entry.event, entry.uid)), Some((&Event::Confirmed, 8)));
            assert_eq!(entries.len(), 2);
        }
    }
}

#[tokio::test]
async fn two_who_publish_at_once_do_not_overwrite_each_other() {
    let scratch = Scratch::new();
    let engine = start(&scratch, &[]);
    publish(&engine, "old").await.unwrap();
    let both = ["mine", "yours"].map(|rule| {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move {
            let terms = Terms { if_epoch: Some(1), ..Terms::default() };
            engine.publish(files(&policy(rule)), request(rule), terms).await
        })
    });
    let mut answers = Vec::new();
    for one in both {
        answers.push(one.await.unwrap());
    }
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert!(answers.iter().any(|one| matches!(one, Err(PublishError::Overtaken { named: 1, in_force: 2 }))));
}

#[tokio::test]
async fn history_says_what_was_edited() {
    let scratch = Scratch::new();
    let engine = start(&scratch, &[]);
    publish(&engine, "one").await.unwrap();
    assert_eq!(publish(&engine, "two").await.unwrap().summary, "+rule two, -rule one");
    assert_eq!(engine.history()[0].summary, "+rule two, -rule one");
}
