//! Changes of the inventory: through the gate, over restarts, into the history.

use serde_json::json;

use super::*;

async fn change(
    engine: &Arc<Engine>,
    name: &str,
    change: InventoryChange,
) -> Result<InventoryChanged, PublishError> {
    engine.change_workload(name.into(), change, None, 3).await
}

fn put(address: &str, app: &str) -> InventoryChange {
    InventoryChange::Put(json!({"addresses": [address], "labels": {"app": app}}))
}

fn relabel(key: &str, value: &str) -> InventoryChange {
    InventoryChange::Label([(key.to_owned(), [value.to_owned()].into())].into(), Vec::new())
}

/// Whether a flow from one address to another is allowed by the table that workers read.
pub(super) fn allowed(engine: &Engine, from: &str, to: &str) -> bool {
    let now = engine.in_force().unwrap();
    may(&now.snapshot.table, from, to)
}

fn may(table: &dataplane::policy::PolicyTable, from: &str, to: &str) -> bool {
    let end = |text: &str| table.resolve(text.parse::<std::net::IpAddr>().unwrap().into());
    let key = dataplane::policy::ServiceKey::new(6, 5432);
    table.decide(end(from), end(to), key).verdict.is_allow()
}

fn workloads(engine: &Engine) -> Vec<String> {
    let mut names: Vec<String> =
        engine.in_force().unwrap().policy.workloads.iter().map(|one| one.name.clone()).collect();
    names.sort();
    names
}

const DB: &str = "10.0.0.2";

#[tokio::test]
async fn a_change_decides_at_once_and_outlives_process_and_publish() {
    let scratch = Scratch::new();
    let engine = start(&scratch, &[]);
    assert!(matches!(change(&engine, "n", put("10.0.0.9", "shop")).await, Err(PublishError::NothingInForce)));
    publish(&engine, "one").await.unwrap();
    let changed = change(&engine, "n", put("10.0.0.9", "shop")).await.unwrap();
    assert_eq!(changed.table_epoch, 2);
    assert!(allowed(&engine, "10.0.0.9", DB));
    change(&engine, "web", relabel("app", "crm")).await.unwrap();
    assert!(!allowed(&engine, "10.0.0.1", DB));
    change(&engine, "n", InventoryChange::Label([].into(), vec!["app".into()])).await.unwrap();
    assert!(!allowed(&engine, "10.0.0.9", DB), "in quarantine");
    change(&engine, "n", put("10.0.0.8", "shop")).await.unwrap();
    assert!(!allowed(&engine, "10.0.0.9", DB) && allowed(&engine, "10.0.0.8", DB), "its address moved");
    drop(engine);

    let engine = start(&scratch, &[]);
    assert_eq!(engine.in_force().unwrap().snapshot.epoch.0, 5, "the epoch goes on");
    assert!(allowed(&engine, "10.0.0.8", DB) && !allowed(&engine, "10.0.0.1", DB));
    publish(&engine, "two").await.unwrap();
    assert!(allowed(&engine, "10.0.0.8", DB) && !allowed(&engine, "10.0.0.1", DB), "a publish keeps it");
    change(&engine, "web", InventoryChange::Remove).await.unwrap();
    engine.rollback(1, 0).await.unwrap();
    assert_eq!(workloads(&engine), ["db", "n"], "going back to a policy does not bring its inventory back");
    drop(engine);
    assert_eq!(workloads(&start(&scratch, &[])), ["db", "n"]);
}

#[tokio::test]
async fn the_past_is_asked_as_it_was() {
    let scratch = Scratch::new();
    let engine = start(&scratch, &[]);
    publish(&engine, "one").await.unwrap();
    change(&engine, "n", put("10.0.0.9", "crm")).await.unwrap();
    change(&engine, "n", relabel("app", "shop")).await.unwrap();
    engine.stage("d".into(), files(&policy("d")), request("")).await.unwrap();
    publish(&engine, "two").await.unwrap();
    change(&engine, "n", InventoryChange::Remove).await.unwrap();
    for round in ["before", "after a restart"] {
        for (epoch, expected, rule) in [
            (1, false, "one"),
            (2, false, "one"),
            (3, true, "one"),
            (4, true, "one"),
            (5, true, "two"),
            (6, false, "two"),
        ] {
            let then = start_or(&engine, epoch);
            assert_eq!(may(&then.table, "10.0.0.9", DB), expected, "epoch {epoch} {round}");
            assert!(then.rules.iter().any(|one| &*one.name == rule), "epoch {epoch} {round}");
        }
    }
    assert!(matches!(engine.policy_of(7), Err(PublishError::Store(_))), "the future");
    assert!(matches!(engine.policy_of(0), Err(PublishError::Store(_))));
}

fn start_or(engine: &Engine, epoch: u32) -> Candidate {
    engine.policy_of(epoch).unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test]
async fn what_is_refused_changes_nothing() {
    let scratch = Scratch::new();
    let engine = start(&scratch, &[]);
    let text = format!(
        "{}assertions:\n  - never: {{name: crm-alone, from: {{role: crm}}, to: any}}\n",
        policy("one")
    );
    engine
        .publish(files(&text), request(""), Terms::default())
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    for (name, workload, what) in [
        ("no such workload", "x", relabel("app", "crm")),
        ("nothing to remove", "x", InventoryChange::Remove),
        ("another's address", "x", put(DB, "shop")),
        ("no address", "x", put("10.0.0", "shop")),
        ("a bad name", "a b", put("10.0.0.9", "shop")),
        ("no field", "x", InventoryChange::Put(json!({"adresses": []}))),
        ("a bad key", "web", relabel("a b", "x")),
        // The rule lets shop speak to shop, and never may anything of role crm speak.
        ("an assertion", "web", relabel("role", "crm")),
    ] {
        let refused = change(&engine, workload, what).await;
        assert!(refused.is_err(), "{name}");
        assert_eq!(engine.in_force().unwrap().snapshot.epoch.0, 1, "{name}");
        assert_eq!(workloads(&engine), ["db", "web"], "{name}");
    }
    match change(&engine, "web", relabel("role", "crm")).await {
        Err(PublishError::Refused(refusal)) => {
            assert!(refusal.to_string().contains("crm-alone"), "{refusal}");
        }
        other => panic!("{other:?}"),
    }
    // And the next good one passes.
    change(&engine, "web", relabel("role", "front")).await.unwrap();
}

/// A change whose entry was being written when the process died has not happened.
#[tokio::test]
async fn a_torn_change_is_none() {
    let scratch = Scratch::new();
    let engine = start(&scratch, &[]);
    publish(&engine, "one").await.unwrap();
    change(&engine, "a", put("10.0.0.8", "shop")).await.unwrap();
    let journal = scratch.0.join("state/policies/0000000001.journal");
    let first = fs::metadata(&journal).unwrap().len();
    change(&engine, "b", put("10.0.0.9", "shop")).await.unwrap();
    drop(engine);
    let whole = fs::read(&journal).unwrap();
    for cut in
        (usize::try_from(first).unwrap()..=whole.len()).step_by(23).chain([whole.len() - 1, whole.len()])
    {
        fs::write(&journal, &whole[..cut]).unwrap();
        let expected: &[&str] =
            if cut == whole.len() { &["a", "b", "db", "web"] } else { &["a", "db", "web"] };
        assert_eq!(workloads(&start(&scratch, &[])), expected, "{cut} of {} bytes", whole.len());
    }
}

#[tokio::test]
async fn policy_and_table_number_workloads_alike_after_any_changes() {
    let scratch = Scratch::new();
    let engine = start(&scratch, &[]);
    publish(&engine, "one").await.unwrap();
    let mut readers = Vec::new();
    for n in 0..60_u32 {
        let name = format!("n{}", n * 7 % 11);
        let is_there = workloads(&engine).contains(&name);
        let what = match n % 3 {
            1 if is_there => relabel("app", ["shop", "crm"][n as usize % 2]),
            2 if is_there => InventoryChange::Remove,
            _ => put(&format!("10.0.1.{}", n * 7 % 11), "shop"),
        };
        change(&engine, &name, what).await.unwrap_or_else(|error| panic!("{n}: {error}"));
        let now = engine.in_force().unwrap();
        for (at, workload) in now.policy.workloads.iter().enumerate() {
            let owner = now.snapshot.table.resolve(workload.addresses[0].into()).owner();
            assert_eq!(owner.map(|owner| owner.index() as usize), Some(at), "{n}: {}", workload.name);
        }
        let text = |policy: &ValidPolicy| {
            let mut all: Vec<_> = policy.workloads.iter().map(overlay::written).collect();
            all.sort_by_key(|one| one["name"].to_string());
            serde_json::to_string(&all).unwrap()
        };
        assert_eq!(
            text(&now.policy),
            text(&start_or(&engine, now.snapshot.epoch.0).policy),
            "{n}: as read anew"
        );
        // Somebody who reads for long must not see the policy change, nor keep others from seeing it.
        if n % 5 == 0 {
            let before = text(&now.policy);
            readers.push((now, before));
        }
        for (reader, before) in &readers {
            assert_eq!(text(&reader.policy), *before, "{n}: under a reader");
        }
    }
}

#[tokio::test]
async fn what_only_an_inventory_can_break_is_proved_at_each_change() {
    let deny = "tiers:
  - name: security
    order: 500
    rules:
      - {name: no, from: {role: crm}, to: {app: shop}, service: tcp/5432, action: deny}
      - {name: yes, from: {app: shop}, to: {app: shop}, service: tcp/5432, action: allow}
";
    let ordered =
        "  - {name: no, from: {role: crm}, to: {app: shop}, service: tcp/5432, action: override-deny}\n";
    let never = "assertions:\n  - never: {name: crm-alone, from: {role: crm}, to: any}\n";
    let opened = "  - {name: ops, from: {role: ops}, to: {app: shop}, service: tcp/22}
assertions:
  - never: {name: no-ops, from: {role: ops}, to: any, service: tcp/22}
";
    let split =
        "assertions:\n  - never: {name: no-shop, from: {app: shop}, to: {app: shop}, except: tcp/5432}\n";
    for (name, more, what, refused) in [
        ("nothing to prove", "", relabel("role", "crm"), false),
        ("rules in an order", ordered, relabel("role", "crm"), false),
        ("rules without order that meet now", deny, relabel("role", "crm"), true),
        ("rules without order that do not meet", deny, relabel("role", "web"), false),
        // No rule names `role`: for the compiler the workload is of the class that it was of.
        ("an assertion, and no new class", never, relabel("role", "crm"), true),
        ("an assertion that holds, and no new class", split, relabel("role", "crm"), false),
        ("an assertion, and a new class", opened, relabel("role", "ops"), true),
        ("an assertion that holds, and a new class", opened, relabel("app", "crm"), false),
    ] {
        let scratch = Scratch::new();
        let engine = start(&scratch, &[]);
        let text = format!("{}{more}", policy("one"));
        let published = engine.publish(files(&text), request(""), Terms::default()).await;
        published.unwrap_or_else(|error| panic!("{name}: {error}"));
        let error = change(&engine, "web", what).await.err().map(|error| error.to_string());
        assert_eq!(error.is_some(), refused, "{name}: {error:?}");
        assert!(error.is_none_or(|error| error.contains("10.0.0.1")), "{name}: with its witness");
    }
}
