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
    let end = |end: &Value| plain(format!("{}\n{}", word(&end["address"]), who(&end["who"])));
    let rows = list(&answer["records"]).iter().map(|one| {
        let verdict = match &one["potential"] {
            Value::Null => word(&one["verdict"]),
            potential => format!("{}, but for observe: {}", word(&one["verdict"]), word(potential)),
        };
        vec![
            end(&one["source"]),
            end(&one["destination"]),
            plain(word(&one["service"])),
            Tone::of_verdict(&one["verdict"], &one["potential"])
                .of(format!("{verdict}\n{}", word(&one["rule"]))),
            plain(count(&one["flows"])),
            plain(format!("{}\n{}", count(&one["packets"]), count(&one["bytes"]))),
            plain(format!("{}\n{}", second(&one["first_seen"]), second(&one["last_seen"]))),
        ]
    });
    let header = [
        "SOURCE",
        "DESTINATION",
        "SERVICE",
        "VERDICT",
        "FLOWS",
        "PACKETS\nBYTES",
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
