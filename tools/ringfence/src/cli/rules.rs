//! `ringfence rules`: what each rule decided, when last, and why it may never do.

use jiff::Timestamp;
use serde_json::Value;

use super::RulesArgs;
use super::print::{self, Tone, ago, count, list, out, toned, word};
use super::view_args::RuleOrder;
use crate::client::{self, query};
use crate::outcome::Outcome;

/// Rules that are named as those that shadow one.
const SHADOWS: usize = 3;

/// The rules with their hits.
pub(super) fn rules(args: &RulesArgs) -> Outcome {
    let flag = |set: bool| set.then(|| "true".to_owned());
    let order = match args.sort {
        RuleOrder::Order => "order",
        RuleOrder::Hits => "hits",
        RuleOrder::Last => "last",
        RuleOrder::Name => "name",
    };
    let path = query(
        "/v1/rules",
        &[
            ("unused", flag(args.unused)),
            ("shadowed", flag(args.shadowed)),
            ("tier", args.tier.clone()),
            ("name", args.name.clone()),
            ("sort", Some(order.to_owned())),
            ("limit", args.limit.map(|limit| limit.to_string())),
            ("also", flag(true)),
        ],
    );
    let answer = client::get(&args.read.daemon.socket, &path)?;
    if args.read.json {
        return print::json(&answer);
    }
    let all = !args.unused && !args.shadowed && args.tier.is_none() && args.name.is_none();
    out(&told(&answer, all, Timestamp::now()))
}

/// `all`: whether every rule was asked for, so that removed ones belong to the list.
fn told(answer: &Value, all: bool, now: Timestamp) -> String {
    let plain = |text: String| Tone::Plain.of(text);
    let rows = list(&answer["rules"]).iter().map(|rule| {
        let place = match &rule["file"] {
            Value::Null => String::new(),
            file => format!("{}:{}", word(file), rule["line"]),
        };
        let also = match &rule["also_matches"] {
            Value::Null => String::new(),
            also => count(also),
        };
        let (tone, note) = note(rule, now);
        vec![
            plain(count(&rule["hits"])),
            plain(ago(&rule["last_hit"], now)),
            plain(also),
            plain(word(&rule["tier"])),
            plain(word(&rule["name"])),
            tone.of(note),
            plain(place),
        ]
    });
    let removed = answer["removed"].as_object().into_iter().flatten().filter(|_| all);
    let gone = removed.map(|(name, hits)| {
        let cells = [count(hits), String::new(), String::new(), "(removed)".into(), name.clone()];
        cells.into_iter().chain([String::new(), String::new()]).map(plain).collect()
    });
    let table = toned(&["HITS", "LAST", "ALSO", "TIER", "RULE", "NOTE", "WRITTEN"], rows.chain(gone));
    let mut text = if table.is_empty() { "no such rules\n".into() } else { table };
    if let Some(more @ 1..) = answer["left_out"].as_u64() {
        text.push_str(&format!("and {more} more; raise --limit\n"));
    }
    text.push_str(&format!(
        "decisions: {} in {}\n",
        count(&answer["decisions"]),
        ago(&answer["since"], now).replace("now", "0 s")
    ));
    text.push_str(&also(&answer["also"], &answer["completeness"]));
    text
}

/// What ALSO means, and how much it knows.
fn also(also: &Value, known: &Value) -> String {
    if also.is_null() {
        return String::new();
    }
    let mut text = format!(
        "ALSO: recorded flows that the rule matches and another decided, of {} recorded",
        count(&also["examined"])
    );
    match also["not_examined"].as_u64() {
        None | Some(0) => {}
        Some(_) => {
            text.push_str(&format!(
                "; {} could not be looked at (too much work, or known by labels only)",
                count(&also["not_examined"])
            ));
        }
    }
    text.push('\n');
    text.push_str(&print::completeness(known));
    text
}

/// Why a rule stands out.
fn note(rule: &Value, now: Timestamp) -> (Tone, String) {
    let mut notes = Vec::new();
    let mut tone = Tone::Plain;
    if rule["staged"] == true {
        notes.push("staged".to_owned());
    }
    match rule["standing"].as_str() {
        Some("shadowed") => {
            let by = list(&rule["shadowed_by"]);
            let mut names: Vec<String> = by.iter().take(SHADOWS).map(word).collect();
            if by.len() > SHADOWS {
                names.push("others".into());
            }
            notes.push(format!("shadowed by {}", names.join(", ")));
            tone = Tone::Warn;
        }
        Some("never-matches") if rule["tier"] != "infrastructure" => {
            notes.push("never matches".into());
            tone = Tone::Warn;
        }
        _ => {}
    }
    let recorded = rule["recorded"].as_u64().unwrap_or(0);
    if rule["unused"] == true && notes.is_empty() {
        notes.push(format!("unused, in force {}", ago(&rule["in_force_since"], now)));
        tone = Tone::Dim;
    } else if rule["hits"] == 0 && recorded > 0 {
        let last = ago(&rule["recorded_last"], now);
        notes.push(format!("{} flows recorded before, last seen {last}", count(&rule["recorded"])));
    }
    (tone, notes.join("; "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_stands_out_is_said() {
        let now: Timestamp = "2026-11-22T18:00:00Z".parse().unwrap();
        let rule = |changes: Value| {
            let mut rule = json!({"name": "r", "tier": "application", "hits": 0, "recorded": 0, "staged": false,
                "unused": true, "standing": "live", "in_force_since": "2026-11-22T16:00:00Z"});
            for (key, value) in changes.as_object().unwrap() {
                rule[key] = value.clone();
            }
            note(&rule, now).1
        };
        for (changes, expected) in [
            (json!({}), "unused, in force 2 h"),
            (json!({"unused": false, "hits": 7}), ""),
            (json!({"standing": "shadowed", "shadowed_by": ["a", "b"]}), "shadowed by a, b"),
            (
                json!({"standing": "shadowed", "shadowed_by": ["a", "b", "c", "d"]}),
                "shadowed by a, b, c, others",
            ),
            (json!({"standing": "never-matches"}), "never matches"),
            (json!({"standing": "never-matches", "tier": "infrastructure"}), "unused, in force 2 h"),
            (json!({"staged": true, "unused": false}), "staged"),
            (
                json!({"unused": false, "recorded": 1200, "recorded_last": "2026-11-20T18:00:00Z"}),
                "1 200 flows recorded before, last seen 2 d",
            ),
        ] {
            assert_eq!(rule(changes.clone()), expected, "{changes}");
        }
    }
}
