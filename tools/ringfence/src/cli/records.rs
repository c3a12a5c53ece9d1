//! `ringfence records`: the flows there were, and how much of what happened that is.

use serde_json::Value;

use super::FlowsArgs;
use super::print::{self, count, list, out, table, who, word};
use crate::client::{self, query};
use crate::outcome::Outcome;

/// The flow records that match.
pub(super) fn records(args: &FlowsArgs) -> Outcome {
    let path = query(
        "/v1/records",
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
    let end = |end: &Value| format!("{}\n{}", word(&end["address"]), who(&end["who"]));
    let rows = list(&answer["records"]).iter().map(|one| {
        let verdict = match &one["potential"] {
            Value::Null => word(&one["verdict"]),
            potential => format!("{}, but for observe: {}", word(&one["verdict"]), word(potential)),
        };
        vec![
            end(&one["source"]),
            end(&one["destination"]),
            word(&one["service"]),
            format!("{verdict}\n{}", word(&one["rule"])),
            count(&one["flows"]),
            format!("{}\n{}", count(&one["packets"]), count(&one["bytes"])),
            format!("{}\n{}", word(&one["first_seen"]), word(&one["last_seen"])),
        ]
    });
    let header =
        ["SOURCE", "DESTINATION", "SERVICE", "VERDICT", "FLOWS", "PACKETS\nBYTES", "FIRST SEEN\nLAST SEEN"];
    let mut text = table(&header, rows);
    if text.is_empty() {
        text = "no records\n".into();
    }
    if answer["more"] == true {
        text.push_str("there are more; narrow the filter or raise --limit\n");
    }
    text.push_str(&completeness(&answer["completeness"]));
    out(&text)
}

/// How much of what happened is in an answer.
pub(super) fn completeness(known: &Value) -> String {
    let (from, to) = (word(&known["from"]), word(&known["to"]));
    if known["complete"] == true {
        return format!("complete from {from} to {to}\n");
    }
    format!(
        "not complete from {from} to {to}: {} events were missed, and the daemon was down {} times\n",
        count(&known["missed"]),
        count(&known["gaps"])
    )
}
