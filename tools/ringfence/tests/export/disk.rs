//! A disk that is full, for real: the daemon counts what it cannot write, says so, and goes on.

use std::fs;

use lab::skip_unprivileged;
use rustix::process::Signal;

use super::bed::{Bed, json_lines, until};

#[test]
fn a_full_disk_costs_lines_and_nothing_else() {
    if skip_unprivileged() {
        return;
    }
    let bed = Bed::build("disk", "export: {jsonl: {path: logs/flows.jsonl, events: [denied]}}\n");
    fs::create_dir(bed.file("logs")).unwrap();
    // A file system of 256 KiB that only the daemon sees, half of it taken.
    let logs = bed.file("logs").display().to_string();
    let script = format!(
        "mount -t tmpfs -o size=256k ringfence '{logs}' && head -c 128k /dev/zero >'{logs}/ballast' && exec \"$0\" \"$@\""
    );
    let mut daemon = bed.daemon(&["unshare", "-m", "sh", "-c", &script]);
    let seen = format!("/proc/{}/root{logs}", daemon.0.id());

    let jsonl = || bed.exporter("jsonl");
    let refusals = || {
        bed.datagrams("10.78.0.2", 9, 50);
        jsonl()
    };
    let full = until("a full disk", || Some(refusals()).filter(|one| one["error"].is_string()));
    assert!(full["error"].as_str().unwrap().contains("No space left"), "{full}");
    assert!(full["sent"].as_u64().unwrap() > 0, "some fitted: {full}");
    assert!(full["failed"].as_u64().unwrap() > 0, "{full}");
    // A chunk that is small enough may fit in between.
    until("the metric", || {
        refusals();
        bed.get("/metrics", "").1.contains("ringfence_degraded{cause=\"exporter\"} 1").then_some(())
    });

    fs::remove_file(format!("{seen}/ballast")).unwrap();
    let again = until("the next line", || Some(refusals()).filter(|one| one["error"].is_null()));
    assert!(again["sent"].as_u64() > full["sent"].as_u64(), "{again}");
    until("quiet", || (jsonl()["waiting"] == 0).then_some(()));
    let last = jsonl();
    assert_eq!(
        last["offered"].as_u64(),
        Some(last["sent"].as_u64().unwrap() + last["lost"].as_u64().unwrap())
    );
    let lines = json_lines(format!("{seen}/flows.jsonl").as_ref());
    assert_eq!(lines.len() as u64, last["sent"].as_u64().unwrap(), "what is counted as sent is there, whole");
    assert!(lines.iter().all(|line| line["event"] == "denied"));
    assert!(daemon.stop(Signal::TERM).success());
}
