//! `ringfence diff` and `ringfence policy diff`: what a change of policy changes, in label terms.

use control::policy::CompileOptions;
use control::policy::diff::{Limits, Side, diff};
use serde_json::{Value, json};

use super::DiffArgs;
use super::offline::loaded;
use super::print::{self, count, list, out, word};
use crate::outcome::{Failure, Outcome};

/// Words of one side of a row that are shown.
const WORDS_MAX: usize = 4;

/// Compares two policies without a daemon.
pub(super) fn offline(args: &DiffArgs) -> Outcome {
    let (old, new) = (loaded(&args.policy)?, loaded(&args.against)?);
    let compiled =
        |policy| control::policy::compile(policy, &CompileOptions::default()).map_err(Failure::failed);
    let (old_table, new_table) = (compiled(&old.policy)?, compiled(&new.policy)?);
    let limits = Limits { pairs: args.pairs.unwrap_or(Limits::default().pairs), ..Limits::default() };
    let found = diff(
        Side { policy: &old.policy, compiled: old_table.named(), staged: false },
        Side { policy: &new.policy, compiled: new_table.named(), staged: false },
        std::iter::empty(),
        limits,
    );
    let answer = json!(found);
    if args.json { print::json(&answer) } else { out(&told(&answer)) }
}

/// A diff in words.
pub(super) fn told(answer: &Value) -> String {
    let mut text = match word(&answer["summary"]) {
        summary if summary.is_empty() => "nothing was edited\n".to_owned(),
        summary => format!("edited: {summary}\n\n"),
    };
    if list(&answer["changes"]).is_empty() {
        text.push_str("no flow changes\n");
    }
    text.push_str(&rows(&answer["changes"]));
    let (totals, mut sums) = (&answer["totals"], Vec::new());
    for (key, becomes) in [("allowed", "become allowed"), ("denied", "become denied")] {
        let flows = match totals["flows"].as_u64() {
            None | Some(0) => String::new(),
            Some(_) => format!(", {} recorded flows", count(&totals[format!("flows_{key}")])),
        };
        sums.push(format!("{} pairs of workloads{flows} {becomes}", count(&totals[format!("pairs_{key}")])));
    }
    text.push_str(&format!("\n{}\n", sums.join("; ")));
    for note in list(&answer["notes"]) {
        text.push_str(&format!("note: {}\n", word(note)));
    }
    text
}

/// A row for each change.
pub(super) fn rows(changes: &Value) -> String {
    let some = |words: &Value| {
        let all = list(words);
        let mut shown: Vec<String> = all.iter().take(WORDS_MAX).map(word).collect();
        if all.len() > WORDS_MAX {
            shown.push(format!("and {} more", all.len() - WORDS_MAX));
        }
        shown.join(" | ")
    };
    let row = |one: &Value| {
        let example = &one["example"];
        vec![
            if one["becomes"] == "allow" { "+ allow".into() } else { "- deny".into() },
            some(&one["from"]),
            some(&one["to"]),
            some(&one["services"]),
            count(&one["pairs"]),
            count(&one["flows"]),
            format!("{} ⇒ {}", word(&example["old_rule"]), word(&example["new_rule"])),
        ]
    };
    let header = ["BECOMES", "FROM", "TO", "SERVICE", "PAIRS", "FLOWS", "BY"];
    print::table(&header, list(changes).iter().map(row))
}
