//! Output for people.

use std::io::{IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::Value;

use crate::outcome::{Failure, Outcome};

/// Columns of a table when standard output is no terminal.
const WIDTH: u16 = 100;

/// Whether diagnostics on stderr may have colours: only on a terminal, and never with `NO_COLOR` (no-color.org).
pub(super) fn color() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty()) && std::io::stderr().is_terminal()
}

/// Whether standard output may have colours: as [`color`].
pub(super) fn colour_out() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty()) && std::io::stdout().is_terminal()
}

/// Writes to standard output; a reader that went away (`| head`) is no failure.
pub(super) fn out(text: &str) -> Outcome {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::failed(error)),
        _ => Ok(()),
    }
}

/// Writes one JSON document, indented.
pub(super) fn json(value: &impl Serialize) -> Outcome {
    let text = serde_json::to_string_pretty(value).map_err(Failure::failed)?;
    out(&format!("{text}\n"))
}

/// A table without lines that fits the terminal.
pub(super) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if !table.is_tty() {
        table.set_width(WIDTH);
    }
    table.set_header(header);
    let mut empty = true;
    for row in rows {
        table.add_row(row);
        empty = false;
    }
    if empty { String::new() } else { format!("{}\n", table.trim_fmt()) }
}

/// The text of a JSON word or number; empty for null and for what is not there.
pub(super) fn word(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The elements of a JSON array.
pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// `k=v,k=v2`: labels as filters take them.
pub(super) fn labels(value: &Value) -> String {
    let pairs = value.as_object().into_iter().flatten();
    let words =
        pairs.flat_map(|(key, values)| list(values).iter().map(move |v| format!("{key}={}", word(v))));
    words.collect::<Vec<_>>().join(",")
}

/// `web-1`, `net:offices` or `unknown`: what an address is called.
pub(super) fn who(value: &Value) -> String {
    match value["kind"].as_str() {
        Some("workload") => word(&value["name"]),
        Some("network") => format!("net:{}", word(&value["name"])),
        Some(_) => "unknown".into(),
        None => String::new(),
    }
}

/// A count with spaces between thousands.
pub(super) fn count(value: &Value) -> String {
    thousands(value.as_u64().unwrap_or(0))
}

/// A number with spaces between thousands.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_of_json() {
        for (value, expected) in [(0u64, "0"), (999, "999"), (1000, "1 000"), (1_234_567, "1 234 567")] {
            assert_eq!(count(&json!(value)), expected);
        }
        assert_eq!(labels(&json!({"app": ["a", "b"], "env": ["prod"]})), "app=a,app=b,env=prod");
        for (value, expected) in [
            (json!({"kind": "workload", "name": "web"}), "web"),
            (json!({"kind": "network", "name": "office"}), "net:office"),
            (json!({"kind": "unknown"}), "unknown"),
            (json!(null), ""),
        ] {
            assert_eq!(who(&value), expected);
        }
    }

    #[test]
    fn tables_fit_a_hundred_columns() {
        let long = "word ".repeat(40);
        let text = table(&["A", "B", "C"], [vec![long.clone(), long.clone(), long]]);
        assert!(text.lines().count() > 2 && text.lines().all(|line| line.chars().count() <= 100), "{text}");
        assert_eq!(table(&["A"], []), "");
    }
}
