//! `ringfence records`: the flows there were, and how much of what happened that is.

use serde_json::Value;

use super::print::{self, Tone, count, list, out, second, toned, who, word};
use super::{RecordsArgs, hint};
use crate::client::{self, query};
use crate::outcome::Outcome;

/// Records listed unless told otherwise.
const LIMIT: u32 = 100;

/// The flow records that match.
pub(super) fn records(args: &RecordsArgs) -> Outcome {
    let path = query("/v1/records", &args.filter.parameters(Some(LIMIT)));
    let answer = client::get(&args.read.daemon.socket, &path)?;
    if args.read.json {
        return print::json(&answer);
    }
    let plain = |text: String| Tone::Plain.of(text);
    let rows = list(&answer["records"]).iter().map(|one| {
        let verdict = match &one["potential"] {
            Value::Null => word(&one["verdict"]),
            potential => format!("{}, but for observe: {}", word(&one["verdict"]), word(potential)),
        };
        vec![
            plain(end(one, "source")),
            plain(end(one, "destination")),
            plain(word(&one["service"])),
            Tone::of_verdict(&one["verdict"], &one["potential"])
                .of(format!("{verdict}\n{}", word(&one["rule"]))),
            plain(format!("{}{}", count(&one["flows"]), ended(one))),
            plain(format!("{}\n{}", both(&one["sent"]), both(&one["received"]))),
            plain(format!("{}\n{}", second(&one["first_seen"]), second(&one["last_seen"]))),
        ]
    });
    let header = [
        "SOURCE",
        "DESTINATION",
        "SERVICE",
        "VERDICT",
        "FLOWS",
        "SENT\nRECEIVED",
        "FIRST SEEN (UTC)\nLAST SEEN",
    ];
    let mut text = toned(&header, rows);
    if text.is_empty() {
        text = "no records\n".into();
        text.push_str(&hint::rule(&args.read.daemon.socket, args.filter.rule.as_deref()));
    }
    if answer["more"] == true {
        text.push_str("there are more; narrow the filter or raise --limit\n");
    }
    text.push_str(&print::completeness(&answer["completeness"]));
    out(&text)
}

/// An end of a record: its address and whose that is; of a folded record only its labels.
fn end(one: &Value, which: &str) -> String {
    match &one["folded"][which] {
        Value::Null => format!("{}\n{}", word(&one[which]["address"]), who(&one[which]["who"])),
        labels => format!("any with\n{}", word(labels)),
    }
}

/// Packets and bytes.
fn both(counts: &Value) -> String {
    format!("{} / {} B", count(&counts["packets"]), count(&counts["bytes"]))
}

/// How the flows of a record ended, a line for each way, and how long their handshakes took.
fn ended(one: &Value) -> String {
    let mut text = String::new();
    if let Some(outcomes) = one["outcomes"].as_object() {
        for (name, flows) in outcomes.iter().filter(|(_, flows)| flows.as_u64() != Some(0)) {
            text.push_str(&format!("\n{} {}", count(flows), name.replace('_', "-")));
        }
    }
    if let Some(micros) = one["round_trip"]["avg_us"].as_f64() {
        text.push_str(&format!("\nrtt {:.1} ms", micros / 1000.0));
    }
    text
}
