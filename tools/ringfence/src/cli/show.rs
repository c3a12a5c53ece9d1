//! `ringfence status｜workloads`: what the daemon is doing, and for whom.

use serde_json::{Value, json};

use super::ReadArgs;
use super::print::{self, count, labels, list, out, table, word};
use crate::client::{self, query};
use crate::outcome::Outcome;

/// What the daemon is doing.
pub(super) fn status(args: &ReadArgs) -> Outcome {
    let answer = client::get(&args.daemon.socket, "/v1/status")?;
    if args.json {
        return print::json(&answer);
    }
    let mut text = format!(
        "ringfence {}, process {}, up {} s\n",
        word(&answer["version"]),
        answer["pid"],
        answer["uptime_s"]
    );
    let policy = &answer["policy"];
    if policy.is_null() {
        text.push_str("policy: none, everything is dropped\n");
    } else {
        text.push_str(&format!(
            "policy: epoch {}, {} rules, {} workloads, hash {}{}\n",
            policy["epoch"],
            policy["rules"],
            policy["workloads"],
            word(&policy["policy_hash"]).chars().take(12).collect::<String>(),
            if policy["taken"] == true { "" } else { "; not taken by every worker yet" },
        ));
    }
    let waits = &answer["awaiting"];
    if !waits.is_null() {
        text.push_str(&format!(
            "waits to be confirmed: {} s left, then epoch {} comes back\n",
            waits["left_ms"].as_u64().unwrap_or(0).div_ceil(1000),
            waits["revert_to"]
        ));
    }
    for draft in list(&answer["drafts"]) {
        text.push_str(&format!(
            "draft {}: {} decisions, hash {}\n",
            word(&draft["name"]),
            count(&draft["decisions"]),
            word(&draft["policy_hash"]).chars().take(12).collect::<String>()
        ));
    }
    if let Some(page) = answer["page"].as_str() {
        text.push_str(&format!("page: {page} (`ringfence page` signs a browser in)\n"));
    }
    for notice in list(&answer["notices"]) {
        text.push_str(&format!("notice: {}\n", word(notice)));
    }
    text.push_str(&wires(&answer));
    text.push_str(&super::proxies::proxies(&answer));
    text.push_str(&workers(&answer));
    text.push_str(&exporters(&answer));
    out(&text)
}

fn exporters(answer: &Value) -> String {
    let rows = list(&answer["exporters"]).iter().map(|one| {
        let counts = ["sent", "lost", "waiting"].map(|key| count(&one[key]));
        let mut row = vec![word(&one["name"]), word(&one["target"])];
        row.extend(counts);
        row.push(word(&one["error"]));
        row
    });
    let table = table(&["EXPORTER", "TO", "SENT", "LOST", "WAITING", "TROUBLE"], rows);
    if table.is_empty() { table } else { format!("\n{table}") }
}

fn wires(answer: &Value) -> String {
    let port = |port: &Value| {
        format!("{} {} {}", word(&port["interface"]), word(&port["mode"]), word(&port["state"]))
    };
    let rows = list(&answer["wires"]).iter().map(|wire| {
        let lost: u64 = [&wire["inside"], &wire["outside"]]
            .iter()
            .flat_map(|port| [&port["lost_before_worker"], &port["lost_by_device"]])
            .filter_map(|n| n.as_u64())
            .sum();
        let alive = format!("{}/{}", wire["workers_alive"], wire["workers"]);
        vec![word(&wire["name"]), port(&wire["inside"]), port(&wire["outside"]), alive, count(&json!(lost))]
    });
    let table = table(&["WIRE", "INSIDE", "OUTSIDE", "WORKERS", "LOST IN KERNEL"], rows);
    if table.is_empty() { "wires: none\n".into() } else { format!("\n{table}") }
}

fn workers(answer: &Value) -> String {
    let row = |name: String, epoch: &Value, of: &Value| {
        let counts = ["received", "forwarded", "dropped", "decisions", "flow_hits", "flow_misses"];
        let mut row = vec![name, word(epoch)];
        row.extend(counts.map(|key| count(&of[key])));
        row
    };
    let each = list(&answer["workers"]).iter();
    let rows = each.map(|worker| {
        let name = format!("{} {}/{}", worker["number"], word(&worker["wire"]), worker["queue"]);
        row(name, &worker["epoch"], &worker["counts"])
    });
    let all = row("all".into(), &Value::Null, &answer["totals"]);
    let some = !list(&answer["workers"]).is_empty();
    let header = ["WORKER", "EPOCH", "RECEIVED", "FORWARDED", "DROPPED", "DECISIONS", "HITS", "MISSES"];
    let table = table(&header, rows.chain(some.then_some(all)));
    if table.is_empty() { table } else { format!("\n{table}") }
}

/// The workloads, all pages.
pub(super) fn workloads(args: &ReadArgs) -> Outcome {
    let (mut all, mut after, mut epoch) = (Vec::new(), None, Value::Null);
    loop {
        let page = query("/v1/workloads", &[("limit", Some("10000".into())), ("after", after)]);
        let mut answer = client::get(&args.daemon.socket, &page)?;
        if !all.is_empty() && answer["epoch"] != epoch {
            // A publish between two pages: begin again with the new policy.
            (all, after) = (Vec::new(), None);
            continue;
        }
        epoch = answer["epoch"].take();
        if let Value::Array(page) = answer["workloads"].take() {
            all.extend(page);
        }
        after = answer["next"].as_u64().map(|next| next.to_string());
        if after.is_none() {
            break;
        }
    }
    if args.json {
        return print::json(&json!({"epoch": epoch, "workloads": all}));
    }
    let rows = all.iter().map(|one| {
        let labels = if one["quarantine"] == true { "(quarantine)".into() } else { labels(&one["labels"]) };
        let addresses: Vec<String> = list(&one["addresses"]).iter().map(word).collect();
        vec![word(&one["name"]), labels, addresses.join(" "), word(&one["wire"])]
    });
    let table = table(&["WORKLOAD", "LABELS", "ADDRESSES", "WIRE"], rows);
    out(if table.is_empty() { "no workloads\n" } else { &table })
}
