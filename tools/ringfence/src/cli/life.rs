//! `ringfence policy stage｜drafts｜drop｜diff｜simulate｜confirm`: a change before it happens.

use std::time::Duration;

use serde_json::{Value, json};

use super::policy::{candidate, sources};
use super::print::{self, count, list, out, second, table, word};
use super::{CandidateArgs, ConfirmArgs, DropArgs, ReadArgs, StageArgs};
use crate::client;
use crate::outcome::Outcome;

/// Rules of a draft that are shown.
const HITS_MAX: usize = 8;

/// `90s`, `10m`, `1h` or `500ms`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("write a number and a unit: 500ms, 90s, 10m or 1h".into()),
    };
    let millis = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    match millis {
        Some(millis @ 1..=604_800_000) => Ok(Duration::from_millis(millis)),
        _ => Err("it must be at least 1ms and at most 168h, which is a week".into()),
    }
}

/// Stages a draft.
pub(super) fn stage(args: &StageArgs) -> Outcome {
    let body = json!({"name": args.name, "files": sources(&args.files)?, "message": args.message});
    let answer = client::post(&args.read.daemon.socket, "/v1/policy/drafts", &body)?;
    if args.read.json {
        return print::json(&answer);
    }
    staged(&answer)
}

/// Says what was staged.
pub(super) fn staged(answer: &Value) -> Outcome {
    out(&format!(
        "draft {} is evaluated beside the policy in force: {} rules, {} workloads, hash {}\n",
        word(&answer["name"]),
        answer["rules"],
        answer["workloads"],
        word(&answer["policy_hash"]).chars().take(12).collect::<String>()
    ))
}

/// Lists the drafts.
pub(super) fn drafts(args: &ReadArgs) -> Outcome {
    let answer = client::get(&args.daemon.socket, "/v1/policy/drafts")?;
    if args.json {
        return print::json(&answer);
    }
    let all = list(&answer["drafts"]);
    if all.is_empty() {
        return out("no drafts\n");
    }
    let rows = all.iter().map(|draft| {
        vec![
            word(&draft["name"]),
            second(&draft["at"]),
            word(&draft["policy_hash"]).chars().take(12).collect(),
            word(&draft["uid"]),
            word(&draft["rules"]),
            word(&draft["workloads"]),
            count(&draft["decisions"]),
            word(&draft["message"]),
        ]
    });
    let header = ["DRAFT", "STAGED (UTC)", "HASH", "UID", "RULES", "WORKLOADS", "DECISIONS", "MESSAGE"];
    let mut text = table(&header, rows);
    for draft in all {
        let hits = list(&draft["hits"]);
        let rows = hits.iter().take(HITS_MAX).map(|hit| vec![word(&hit["rule"]), count(&hit["hits"])]);
        let heading = format!("WOULD DECIDE IN {}", word(&draft["name"]).to_uppercase());
        let rules = table(&[&heading, "HITS"], rows);
        if !rules.is_empty() {
            text.push_str(&format!("\n{rules}"));
        }
        if hits.len() > HITS_MAX {
            text.push_str(&format!("and {} more\n", hits.len() - HITS_MAX));
        }
    }
    out(&text)
}

/// Drops a draft.
pub(super) fn unstage(args: &DropArgs) -> Outcome {
    let path = format!("/v1/policy/drafts/{}", client::escaped(&args.name));
    let answer = client::delete(&args.read.daemon.socket, &path)?;
    if args.read.json { print::json(&answer) } else { out(&format!("draft {} is dropped\n", args.name)) }
}

/// What a policy would change.
pub(super) fn diff(args: &CandidateArgs) -> Outcome {
    let body = candidate(&args.candidate)?;
    let answer = client::post(&args.read.daemon.socket, "/v1/policy/diff", &body)?;
    if args.read.json { print::json(&answer) } else { out(&super::diff::told(&answer)) }
}

/// What a policy would have done.
pub(super) fn simulate(args: &CandidateArgs) -> Outcome {
    let body = candidate(&args.candidate)?;
    let answer = client::post(&args.read.daemon.socket, "/v1/policy/simulate", &body)?;
    if args.read.json { print::json(&answer) } else { out(&told(&answer)) }
}

fn told(answer: &Value) -> String {
    let recorded = &answer["recorded"];
    let missed = match recorded["missed"].as_u64() {
        Some(0) => "nothing is missing".to_owned(),
        _ => format!("{} events are missing", count(&recorded["missed"])),
    };
    let mut text = format!(
        "record: {} flows from {} to {} (UTC), {missed}\n{} would become allowed, {} denied\n",
        count(&recorded["flows"]),
        second(&recorded["from"]),
        second(&recorded["to"]),
        count(&answer["allowed"]),
        count(&answer["denied"]),
    );
    if recorded["folded"].as_u64().is_some_and(|flows| flows > 0) {
        let flows = count(&recorded["folded"]);
        text.push_str(&format!(
            "{flows} of the record are known by labels only, and were decided by one pair of them each\n"
        ));
    }
    let by = |one: &Value| format!("{} ⇒ {}", word(&one["old_rule"]), word(&one["new_rule"]));
    let rows = list(&answer["changes"]).iter().map(|one| {
        let becomes = if one["becomes"] == "allow" { "+ allow" } else { "- deny" };
        vec![
            becomes.into(),
            word(&one["from"]),
            word(&one["to"]),
            word(&one["service"]),
            count(&one["flows"]),
            count(&one["bytes"]),
            by(one),
        ]
    });
    let changes = table(&["BECOMES", "FROM", "TO", "SERVICE", "FLOWS", "BYTES", "BY"], rows);
    if !changes.is_empty() {
        text.push_str(&format!("\n{changes}"));
    }
    text.push_str(&format!(
        "\nlive: {} flows; {} would be cut, {} drained, {} kept\n",
        count(&answer["live"]),
        count(&answer["cut"]),
        count(&answer["drained"]),
        count(&answer["kept"]),
    ));
    let rows = list(&answer["cuts"]).iter().map(|one| {
        vec![
            word(&one["on_revoke"]),
            word(&one["from"]),
            word(&one["to"]),
            word(&one["service"]),
            count(&one["flows"]),
            count(&one["bytes"]),
            format!("{}-{} s", one["age_s"][0], one["age_s"][1]),
            by(one),
        ]
    });
    let cuts = table(&["THEN", "FROM", "TO", "SERVICE", "FLOWS", "BYTES", "AGE", "BY"], rows);
    if !cuts.is_empty() {
        text.push_str(&format!("\n{cuts}"));
    }
    match answer["left_out"].as_u64() {
        None | Some(0) => text,
        Some(more) => format!("{text}{more} rows are left out; the sums count them\n"),
    }
}

/// Keeps the policy in force.
pub(super) fn confirm(args: &ConfirmArgs) -> Outcome {
    let answer = client::post(&args.read.daemon.socket, "/v1/policy/confirm", &json!({"epoch": args.epoch}))?;
    if args.read.json {
        return print::json(&answer);
    }
    out(&format!("epoch {} is confirmed\n", answer["epoch"]))
}

#[cfg(test)]
mod tests {
    use super::time;

    #[test]
    fn times_have_units() {
        for (text, millis) in [
            ("500ms", Some(500)),
            ("90s", Some(90_000)),
            ("10m", Some(600_000)),
            ("168h", Some(604_800_000)),
            ("169h", None),
            ("0s", None),
            ("60", None),
            ("s", None),
            ("", None),
            ("99999999999999999999s", None),
            ("-1s", None),
        ] {
            assert_eq!(time(text).ok().map(|time| time.as_millis()), millis, "{text}");
        }
    }
}
