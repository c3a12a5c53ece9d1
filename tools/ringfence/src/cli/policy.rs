//! `ringfence policy …`: the life cycle, against a running daemon.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::print::{self, list, out, word};
use super::{Candidate, PublishArgs, ReadArgs, RollbackArgs};
use crate::client;
use crate::outcome::{Failure, Outcome};

/// Publishes files or a draft.
pub(super) fn publish(args: &PublishArgs) -> Outcome {
    let mut body = candidate(&args.candidate)?;
    body["message"] = json!(args.message);
    body["require_simulation"] = json!(args.require_simulation);
    for (key, number) in [
        ("if_epoch", args.if_epoch.map(u64::from)),
        ("max_cut", args.max_cut),
        ("confirm_within_ms", args.confirm_within.and_then(|time| u64::try_from(time.as_millis()).ok())),
    ] {
        if let Some(number) = number {
            body[key] = json!(number);
        }
    }
    if let Some(select) = &args.canary {
        body["canary"] = json!(selector(select));
    }
    let answer = client::post(&args.read.daemon.socket, "/v1/policy", &body)?;
    told(&answer, args.read.json)
}

/// A selector as the policy language writes it: `key=value,key=value` is short for it.
fn selector(text: &str) -> String {
    let pairs: Option<Vec<_>> = text.split(',').map(|pair| pair.trim().split_once('=')).collect();
    match pairs {
        Some(pairs) if !text.starts_with('{') => {
            let quoted: Vec<String> =
                pairs.into_iter().map(|(key, value)| format!("{}: {}", json!(key), json!(value))).collect();
            format!("{{{}}}", quoted.join(", "))
        }
        _ => text.to_owned(),
    }
}

/// Puts the policy on trial in force everywhere.
pub(super) fn promote(args: &ReadArgs) -> Outcome {
    told(&client::post(&args.daemon.socket, "/v1/policy/promote", &json!({}))?, args.json)
}

/// A request's policy: the texts of files, or the name of a draft. Files are checked here first, so that a fault shows
/// with colours and without a daemon.
pub(super) fn candidate(args: &Candidate) -> Result<Value, Failure> {
    match &args.draft {
        Some(name) => Ok(json!({"draft": name})),
        None => Ok(json!({"files": sources(&args.files)?})),
    }
}

/// The files' names and texts.
pub(super) fn sources(paths: &[PathBuf]) -> Result<Vec<Value>, Failure> {
    match control::policy::load(paths) {
        Ok(loaded) => Ok(loaded.files.iter().map(|f| json!({"name": f.name, "text": f.text})).collect()),
        Err(faults) => {
            eprint!("{}", faults.render(print::color()));
            Err(Failure::Told)
        }
    }
}

/// Publishes an earlier policy again.
pub(super) fn rollback(args: &RollbackArgs) -> Outcome {
    let answer =
        client::post(&args.read.daemon.socket, "/v1/policy/rollback", &json!({"epoch": args.epoch}))?;
    told(&answer, args.read.json)
}

fn told(answer: &Value, json: bool) -> Outcome {
    if json {
        return print::json(answer);
    }
    for warning in list(&answer["warnings"]["diagnostics"]) {
        eprintln!(
            "warning: {}:{}:{}: {}",
            word(&warning["file"]),
            warning["line"],
            warning["column"],
            word(&warning["message"])
        );
    }
    let workers = match answer["workers"].as_u64() {
        Some(0) => "there are no workers".to_owned(),
        Some(1) => "the worker decides by it".to_owned(),
        _ => format!("all {} workers decide by it", answer["workers"]),
    };
    let edited = match word(&answer["summary"]) {
        summary if summary.is_empty() => String::new(),
        summary => format!("edited: {summary}\n"),
    };
    let waits = match answer["confirm"]["by"].as_str() {
        Some(by) => format!(
            "confirm it by {by}: `ringfence policy confirm`, or epoch {} comes back\n",
            answer["confirm"]["revert_to"]
        ),
        None => String::new(),
    };
    out(&format!(
        "epoch {} is in force: {} rules, {} workloads, compiled in {:.1} ms; {workers}\n{edited}{waits}",
        answer["epoch"],
        answer["rules"],
        answer["workloads"],
        answer["compile_ms"].as_f64().unwrap_or(0.0),
    ))
}

/// Lists what was published.
pub(super) fn history(args: &ReadArgs) -> Outcome {
    let answer = client::get(&args.daemon.socket, "/v1/policy/history")?;
    if args.json {
        return print::json(&answer);
    }
    let in_force = &answer["epoch"];
    let rows = list(&answer["history"]).iter().map(|one| {
        let mark = if one["epoch"] == *in_force { "*" } else { "" };
        let how = match &one["rolled_back_to"] {
            Value::Null => word(&one["publication"]),
            epoch => format!("{} of {epoch}", word(&one["publication"])),
        };
        vec![
            format!("{}{mark}", one["epoch"]),
            word(&one["at"]).chars().take(19).collect::<String>().replace('T', " "),
            word(&one["policy_hash"]).chars().take(12).collect(),
            how,
            word(&one["uid"]),
            word(&one["summary"]),
            word(&one["message"]),
        ]
    });
    let header = ["EPOCH", "TIME (UTC)", "HASH", "HOW", "UID", "EDITED", "MESSAGE"];
    out(&print::table(&header, rows))
}

/// Prints the source in force.
pub(super) fn show(args: &ReadArgs) -> Outcome {
    let answer = client::get(&args.daemon.socket, "/v1/policy")?;
    if args.json {
        return print::json(&answer);
    }
    let mut text = String::new();
    for file in list(&answer["files"]) {
        text.push_str(&format!("# {} (epoch {})\n", word(&file["name"]), answer["epoch"]));
        text.push_str(file["text"].as_str().unwrap_or(""));
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    out(&text)
}
