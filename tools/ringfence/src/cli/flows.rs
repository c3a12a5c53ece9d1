//! `ringfence flows`: the live flows, or flows as they begin and end.

use serde_json::Value;

use super::FlowsArgs;
use super::print::{self, Tone, count, labels, list, out, toned, who, word};
use super::{follow, hint, view_args::FlowOrder};
use crate::client::{self, query};
use crate::outcome::Outcome;

/// Flows listed unless told otherwise.
const LIMIT: u32 = 100;

/// The live flows.
pub(super) fn flows(args: &FlowsArgs) -> Outcome {
    if args.follow {
        return follow::follow(args);
    }
    let mut parameters = args.filter.parameters(Some(LIMIT));
    let order = args.sort.map(|order| match order {
        FlowOrder::Bytes => "bytes",
        FlowOrder::Packets => "packets",
        FlowOrder::Age => "age",
    });
    parameters.push(("sort", order.map(str::to_owned)));
    let answer = client::get(&args.read.daemon.socket, &query("/v1/flows", &parameters))?;
    if args.read.json {
        return print::json(&answer);
    }
    let mut text = table(&answer);
    if list(&answer["flows"]).is_empty() {
        text.push_str(&hint::rule(&args.read.daemon.socket, args.filter.rule.as_deref()));
    }
    out(&text)
}

fn table(answer: &Value) -> String {
    let end = |end: &Value| {
        let port = end["port"].as_u64().map_or(String::new(), |port| format!(" {port}"));
        let name = match (who(&end["who"]), labels(&end["labels"])) {
            (name, labels) if labels.is_empty() => name,
            (name, labels) => format!("{name} ({labels})"),
        };
        Tone::Plain.of(format!("{}{port}\n{name}", word(&end["address"])))
    };
    let plain = |text: String| Tone::Plain.of(text);
    let rows = list(&answer["flows"]).iter().map(|flow| {
        let potential = word(&flow["potential"]);
        let observed =
            if potential.is_empty() { String::new() } else { format!("\nbut for observe: {potential}") };
        vec![
            end(&flow["source"]),
            end(&flow["destination"]),
            plain(format!("{}\n{}", word(&flow["service"]), word(&flow["state"]))),
            Tone::of_verdict(&flow["verdict"], &flow["potential"]).of(format!(
                "{}\n{}{observed}",
                word(&flow["verdict"]),
                word(&flow["rule"])
            )),
            plain(format!("{} s\nepoch {}", flow["age_s"], flow["epoch"])),
            plain(format!("{}\n{}", count(&flow["packets"][0]), count(&flow["packets"][1]))),
            plain(format!("{}\n{}", count(&flow["bytes"][0]), count(&flow["bytes"][1]))),
        ]
    });
    let header = ["SOURCE", "DESTINATION", "SERVICE", "VERDICT", "AGE", "PACKETS", "BYTES"];
    let mut text = toned(&header, rows);
    if text.is_empty() {
        text = "no flows\n".into();
    }
    if answer["more"] == true {
        text.push_str("there are more; narrow the filter or raise --limit\n");
    }
    text
}
