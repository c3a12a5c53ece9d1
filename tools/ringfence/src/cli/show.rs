//! `ringfence status｜flows｜rules｜workloads｜drops`: what the daemon sees, as tables.

use serde_json::{Value, json};

use super::print::{self, count, labels, list, out, table, who, word};
use super::{FlowsArgs, ReadArgs};
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
    for notice in list(&answer["notices"]) {
        text.push_str(&format!("notice: {}\n", word(notice)));
    }
    text.push_str(&wires(&answer));
    text.push_str(&super::proxies::proxies(&answer));
    text.push_str(&workers(&answer));
    out(&text)
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

/// The live flows.
pub(super) fn flows(args: &FlowsArgs) -> Outcome {
    let path = query(
        "/v1/flows",
        &[
            ("limit", Some(args.limit.to_string())),
            ("workload", args.workload.clone()),
            ("address", args.address.map(|address| address.to_string())),
            ("label", args.label.clone()),
            ("port", args.port.map(|port| port.to_string())),
            ("verdict", args.verdict.clone()),
            ("rule", args.rule.clone()),
        ],
    );
    let answer = client::get(&args.read.daemon.socket, &path)?;
    if args.read.json {
        return print::json(&answer);
    }
    let end = |end: &Value| {
        let port = end["port"].as_u64().map_or(String::new(), |port| format!(" {port}"));
        let name = match (who(&end["who"]), labels(&end["labels"])) {
            (name, labels) if labels.is_empty() => name,
            (name, labels) => format!("{name} ({labels})"),
        };
        format!("{}{port}\n{name}", word(&end["address"]))
    };
    let rows = list(&answer["flows"]).iter().map(|flow| {
        vec![
            end(&flow["source"]),
            end(&flow["destination"]),
            format!("{}\n{}", word(&flow["service"]), word(&flow["state"])),
            format!("{}\n{}", word(&flow["verdict"]), word(&flow["rule"])),
            format!("{} s\nepoch {}", flow["age_s"], flow["epoch"]),
            format!("{}\n{}", count(&flow["packets"][0]), count(&flow["packets"][1])),
            format!("{}\n{}", count(&flow["bytes"][0]), count(&flow["bytes"][1])),
        ]
    });
    let header = ["SOURCE", "DESTINATION", "SERVICE", "VERDICT", "AGE", "PACKETS", "BYTES"];
    let mut text = table(&header, rows);
    if text.is_empty() {
        text = "no flows\n".into();
    }
    if answer["more"] == true {
        text.push_str("there are more; narrow the filter or raise --limit\n");
    }
    out(&text)
}

/// The rules with their hits.
pub(super) fn rules(args: &ReadArgs) -> Outcome {
    let answer = client::get(&args.daemon.socket, "/v1/rules")?;
    if args.json {
        return print::json(&answer);
    }
    let rows = list(&answer["rules"]).iter().map(|rule| {
        let place = match &rule["file"] {
            Value::Null => String::new(),
            file => format!("{}:{}", word(file), rule["line"]),
        };
        vec![count(&rule["hits"]), word(&rule["tier"]), word(&rule["name"]), place]
    });
    let gone = answer["removed"].as_object().into_iter().flatten();
    let gone = gone.map(|(name, hits)| vec![count(hits), "(removed)".into(), name.clone(), String::new()]);
    let table = table(&["HITS", "TIER", "RULE", "WRITTEN"], rows.chain(gone));
    out(&format!("{table}decisions: {}\n", count(&answer["decisions"])))
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

/// What was dropped.
pub(super) fn drops(args: &ReadArgs) -> Outcome {
    let answer = client::get(&args.daemon.socket, "/v1/drops")?;
    if args.json {
        return print::json(&answer);
    }
    let some = list(&answer["reasons"]).iter().filter(|reason| reason["count"] != 0);
    let rows =
        some.map(|reason| vec![count(&reason["count"]), word(&reason["reason"]), word(&reason["meaning"])]);
    let mut text = table(&["DROPPED", "REASON", "MEANING"], rows);
    if text.is_empty() {
        return out("nothing was dropped\n");
    }
    let rows = list(&answer["top"]).iter().map(|top| {
        vec![
            count(&top["count"]),
            word(&top["reason"]),
            word(&top["rule"]),
            who(&top["source"]),
            who(&top["destination"]),
            word(&top["service"]),
            format!("{} {}", word(&top["wire"]), word(&top["side"])),
        ]
    });
    let header = ["RECORDED", "REASON", "RULE", "SOURCE", "DESTINATION", "SERVICE", "WIRE"];
    text.push_str(&format!("\n{}", table(&header, rows)));
    let (lost, forgotten) = (&answer["lost"], &answer["forgotten"]);
    if *lost != 0 || *forgotten != 0 {
        text.push_str(&format!(
            "{} drops were not recorded because a queue was full, {} belong to kinds that are too many to list\n",
            count(lost),
            count(forgotten)
        ));
    }
    out(&text)
}
