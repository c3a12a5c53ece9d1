//! An explanation in words.

use serde_json::Value;

use super::print::{self, word};

/// Columns of a line.
const WIDTH: usize = 100;

/// What `explain` answered.
pub(super) fn explanation(answer: &Value) -> String {
    let mut text = format!(
        "{}: {} -> {} {}\n",
        word(&answer["verdict"]),
        name(&answer["source"]),
        name(&answer["destination"]),
        word(&answer["service"])
    );
    text.push_str(&format!(
        "  decided by {} (tier {}) at the {} gate\n",
        word(&answer["rule"]),
        word(&answer["tier"]),
        word(&answer["gate"]),
    ));
    if !answer["written"].is_null() {
        text.push_str(&format!("  written in {}\n", word(&answer["written"])));
    }
    if !answer["potential"].is_null() {
        text.push_str(&format!("  would be denied by {} if enforced\n", word(&answer["potential"])));
    }
    if let Some(on_revoke) = answer["on_revoke"].as_str().filter(|word| *word != "cut") {
        text.push_str(&format!("  once policy allows it no more: {on_revoke}\n"));
    }
    text.push_str(&end("from", &answer["source"]));
    text.push_str(&end("to", &answer["destination"]));
    print::list(&answer["gates"]).iter().for_each(|one| text.push_str(&gate(one)));
    let rows = print::list(&answer["candidates"])
        .iter()
        .map(|one| vec![word(&one["action"]), word(&one["tier"]), word(&one["rule"]), word(&one["lost"])]);
    let losers = print::table(&["ACTION", "TIER", "OTHER RULES FOR THIS PAIR", "WHY NOT"], rows);
    if !losers.is_empty() {
        text.push_str(&format!("\n{losers}"));
    }
    if let Some(more @ 1..) = answer["candidates_left_out"].as_u64() {
        text.push_str(&format!("and {more} more\n"));
    }
    if !answer["change"].is_null() {
        text.push_str(&format!("\nthe smallest change to {}\n", change(&answer["change"])));
        print::list(&answer["alternatives"])
            .iter()
            .for_each(|one| text.push_str(&format!("or to {}\n", change(one))));
    }
    text
}

/// `egress: allow by shop (full): override -, application allow shop`: the tiers that were asked.
fn gate(gate: &Value) -> String {
    let asked = print::list(&gate["tiers"]).iter().filter(|tier| tier["outcome"] != "not asked");
    let tiers: Vec<String> = asked
        .map(|tier| match word(&tier["rule"]) {
            none if none.is_empty() => format!("{} -", word(&tier["tier"])),
            rule => format!("{} {} by {rule}", word(&tier["tier"]), word(&tier["outcome"])),
        })
        .collect();
    let tiers = if tiers.is_empty() { "no tier is asked".into() } else { tiers.join(", ") };
    format!(
        "  {} gate: {} by {}: {tiers}\n",
        word(&gate["gate"]),
        word(&gate["verdict"]),
        word(&gate["rule"])
    )
}

/// What to do, and what else comes of it.
pub(super) fn change(change: &Value) -> String {
    let edits: Vec<String> = print::list(&change["edits"]).iter().map(|edit| wrapped(&word(edit))).collect();
    let pairs = |count: &Value, what: &str| match count.as_u64() {
        None => format!("may {what} too many other pairs to count"),
        Some(0) => format!("{what}s no other pair"),
        Some(1) => format!("{what}s 1 other pair"),
        Some(count) => format!("{what}s {count} other pairs"),
    };
    let (opens, closes) = (pairs(&change["opens"], "open"), pairs(&change["closes"], "close"));
    format!("{} ({opens}, {closes}):\n{}", word(&change["verdict"]), edits.join("\n"))
}

fn name(end: &Value) -> String {
    let address = word(&end["address"]);
    match word(&end["workload"]) {
        workload if workload.is_empty() => address,
        workload => format!("{workload} ({address})"),
    }
}

fn end(which: &str, end: &Value) -> String {
    let labels: Vec<String> = (end["labels"].as_object().into_iter().flatten())
        .flat_map(|(key, values)| print::list(values).iter().map(move |value| (key, value)))
        .map(|(key, value)| match word(&value["origin"]).as_str() {
            "own" => format!("{key}={}", word(&value["value"])),
            network => format!("{key}={} (from {network})", word(&value["value"])),
        })
        .collect();
    let labels = if labels.is_empty() { "no labels".into() } else { labels.join(", ") };
    let networks: Vec<String> = print::list(&end["networks"]).iter().map(word).collect();
    let networks =
        if networks.is_empty() { String::new() } else { format!("; in networks {}", networks.join(", ")) };
    format!("  {which:4} {}: {labels}; mode {}{networks}\n", name(end), word(&end["mode"]))
}

/// Broken at spaces, where YAML in braces may be broken too, and indented.
fn wrapped(text: &str) -> String {
    let mut lines = vec![" ".to_owned()];
    for word in text.split(' ') {
        let full = lines.last().is_some_and(|line| line.chars().count() + 1 + word.chars().count() > WIDTH);
        if full {
            lines.push("   ".to_owned());
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_edits_are_broken_at_spaces() {
        let text = format!("add {}", "word, ".repeat(40));
        let lines = wrapped(text.trim_end());
        assert!(
            lines.lines().count() > 2 && lines.lines().all(|line| line.chars().count() <= WIDTH),
            "{lines}"
        );
        assert_eq!(lines.split_whitespace().collect::<Vec<_>>().join(" "), text.trim_end());
        assert!(lines.starts_with("  add word,") && lines.contains("\n    word,"), "{lines}");
    }
}
