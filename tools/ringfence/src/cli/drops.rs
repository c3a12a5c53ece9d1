//! `ringfence drops`: what was dropped, why, and what would change that.

use jiff::Timestamp;
use serde_json::Value;

use super::DropsArgs;
use super::print::{self, Tone, ago, count, labels, list, out, table, toned, who, word};
use super::{hint, told};
use crate::client::{self, query};
use crate::outcome::Outcome;

/// What was dropped.
pub(super) fn drops(args: &DropsArgs) -> Outcome {
    let answer = client::get(&args.read.daemon.socket, &query("/v1/drops", &args.parameters()))?;
    if args.read.json {
        return print::json(&answer);
    }
    let mut text = text(&answer, Timestamp::now());
    if answer["matching"] == 0 {
        text.push_str(&hint::rule(&args.read.daemon.socket, args.rule.as_deref()));
    }
    out(&text)
}

fn text(answer: &Value, now: Timestamp) -> String {
    let dropped = list(&answer["reasons"]).iter().filter(|reason| reason["count"] != 0);
    let rows = dropped.map(|reason| {
        let meaning = word(&reason["meaning"]);
        let advice = format!("{meaning}\n-> {}", word(&reason["advice"]));
        vec![
            Tone::Plain.of(count(&reason["count"])),
            Tone::Bad.of(word(&reason["reason"])),
            Tone::Plain.of(advice),
        ]
    });
    let mut text = toned(&["DROPPED", "REASON", "MEANING, AND WHAT TO DO"], rows);
    if text.is_empty() {
        return "nothing was dropped\n".into();
    }
    let sections = [rules(answer, now), pairs(answer, now), kinds(answer)];
    for section in sections.into_iter().filter(|section| !section.is_empty()) {
        text.push_str(&format!("\n{section}"));
    }
    for suggestion in list(&answer["suggestions"]) {
        text.push_str(&format!("\n{}", suggested(suggestion)));
    }
    text.push_str(&record(answer));
    text
}

fn rules(answer: &Value, now: Timestamp) -> String {
    let rows = list(&answer["rules"]).iter().filter(|rule| !rule["rule"].is_null());
    let rows = rows.map(|rule| {
        vec![count(&rule["count"]), word(&rule["rule"]), word(&rule["reason"]), ago(&rule["last"], now)]
    });
    table(&["RECORDED", "RULE", "REASON", "LAST"], rows)
}

/// Labels, or what it is called without any.
fn end(end: &Value) -> String {
    match labels(&end["labels"]) {
        none if none.is_empty() => who(&end["who"]),
        labels => labels,
    }
}

fn pairs(answer: &Value, now: Timestamp) -> String {
    let rows = list(&answer["pairs"]).iter().map(|pair| {
        let services = list(&pair["services"]);
        let mut names: Vec<String> = services.iter().map(word).collect();
        match pair["services_in_all"].as_u64() {
            Some(all) if all > services.len() as u64 => {
                names.push(format!("{} more", all - services.len() as u64))
            }
            _ => {}
        }
        let by = match word(&pair["rule"]) {
            none if none.is_empty() => word(&pair["reason"]),
            rule => rule,
        };
        vec![
            count(&pair["count"]),
            end(&pair["source"]),
            end(&pair["destination"]),
            names.join(" "),
            word(&pair["ends"]),
            by,
            ago(&pair["last"], now),
        ]
    });
    table(&["RECORDED", "FROM", "TO", "SERVICES", "PAIRS", "BY", "LAST"], rows)
}

fn kinds(answer: &Value) -> String {
    let rows = list(&answer["top"]).iter().map(|top| {
        let end = |who_is: &Value, address: &Value| match (who(who_is), word(address)) {
            (name, address) if name == "unknown" || name.is_empty() => address,
            (name, _) => name,
        };
        vec![
            count(&top["count"]),
            word(&top["reason"]),
            word(&top["rule"]),
            end(&top["source"], &top["last_source"]),
            end(&top["destination"], &top["last_destination"]),
            word(&top["service"]),
            format!("{} {}", word(&top["wire"]), word(&top["side"])),
        ]
    });
    table(&["RECORDED", "REASON", "RULE", "SOURCE", "DESTINATION", "SERVICE", "WIRE"], rows)
}

fn suggested(one: &Value) -> String {
    let what = format!(
        "{} -> {} {}: dropped {} times",
        word(&one["source"]),
        word(&one["destination"]),
        word(&one["service"]),
        count(&one["count"])
    );
    if one["change"].is_null() {
        return format!("{what}, but {} says {} now\n", word(&one["rule"]), word(&one["verdict"]));
    }
    let mut text = format!(
        "{what}, now by {}\nthe smallest change to {}\n",
        word(&one["rule"]),
        told::change(&one["change"])
    );
    for other in list(&one["alternatives"]) {
        text.push_str(&format!("or to {}\n", told::change(other)));
    }
    text
}

/// How much of what was dropped the lists know.
fn record(answer: &Value) -> String {
    let (lost, forgotten) = (&answer["lost"], &answer["forgotten"]);
    let mut text = format!(
        "\n{} of {} recorded drops are asked for; ",
        count(&answer["matching"]),
        count(&answer["recorded"])
    );
    if *lost == 0 && *forgotten == 0 {
        text.push_str("the record is complete\n");
    } else {
        text.push_str(&format!(
            "{} more were not recorded because a queue was full, {} belong to kinds that are too many to keep apart\n",
            count(lost),
            count(forgotten)
        ));
    }
    text
}
