//! Output for people.

use std::io::{IsTerminal, Write};

use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::outcome::{Failure, Outcome};

/// Columns of a table when standard output is no terminal.
const WIDTH: u16 = 100;

/// Whether diagnostics on stderr may have colours: only on a terminal, and never with `NO_COLOR` (no-color.org).
pub(crate) fn color() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty()) && std::io::stderr().is_terminal()
}

/// Whether standard output may have colours: as [`color`].
pub(crate) fn colour_out() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty()) && std::io::stdout().is_terminal()
}

/// What a word's colour says; nothing is said by colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing.
    Plain,
    /// It passes.
    Good,
    /// Somebody should look.
    Warn,
    /// It does not pass, or is missing.
    Bad,
    /// It matters little.
    Dim,
}

impl Tone {
    /// Of a verdict, and of the rule that would have denied.
    pub(crate) fn of_verdict(verdict: &Value, potential: &Value) -> Self {
        match verdict.as_str() {
            Some("allow") if potential.is_null() => Self::Good,
            Some("allow") => Self::Warn,
            _ => Self::Bad,
        }
    }

    const fn color(self) -> Option<(Color, &'static str)> {
        match self {
            Self::Plain => None,
            Self::Good => Some((Color::Green, "32")),
            Self::Warn => Some((Color::Yellow, "33")),
            Self::Bad => Some((Color::Red, "31")),
            Self::Dim => Some((Color::DarkGrey, "90")),
        }
    }

    /// A cell of a table.
    pub(crate) fn of(self, text: String) -> Cell {
        match self.color().filter(|_| colour_out()) {
            Some((color, _)) => Cell::new(text).fg(color),
            None => Cell::new(text),
        }
    }

    /// Text outside of tables.
    pub(crate) fn paint(self, text: &str) -> String {
        match self.color().filter(|_| colour_out()) {
            Some((_, code)) => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            None => text.to_owned(),
        }
    }
}

/// Writes to standard output; a reader that went away (`| head`) is no failure.
pub(crate) fn out(text: &str) -> Outcome {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::failed(error)),
        _ => Ok(()),
    }
}

/// Writes one JSON document, indented.
pub(crate) fn json(value: &impl Serialize) -> Outcome {
    let text = serde_json::to_string_pretty(value).map_err(Failure::failed)?;
    out(&format!("{text}\n"))
}

/// A table without lines that fits the terminal.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    toned(header, rows.into_iter().map(|row| row.into_iter().map(|text| Tone::Plain.of(text)).collect()))
}

/// The same, of cells that may have colours.
pub(crate) fn toned(header: &[&str], rows: impl IntoIterator<Item = Vec<Cell>>) -> String {
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
pub(crate) fn word(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The elements of a JSON array.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// `k=v,k=v2`: labels as filters take them.
pub(crate) fn labels(value: &Value) -> String {
    let pairs = value.as_object().into_iter().flatten();
    let words =
        pairs.flat_map(|(key, values)| list(values).iter().map(move |v| format!("{key}={}", word(v))));
    words.collect::<Vec<_>>().join(",")
}

/// `web-1`, `net:offices` or `unknown`: what an address is called.
pub(crate) fn who(value: &Value) -> String {
    match value["kind"].as_str() {
        Some("workload") => word(&value["name"]),
        Some("network") => format!("net:{}", word(&value["name"])),
        Some(_) => "unknown".into(),
        None => String::new(),
    }
}

/// How long ago a time was: `now`, `12 s`, `5 min`, `3 h`, `4 d`; empty for null.
pub(crate) fn ago(at: &Value, now: Timestamp) -> String {
    let Some(at) = at.as_str().and_then(|text| text.parse::<Timestamp>().ok()) else { return String::new() };
    match now.duration_since(at).as_secs() {
        ..1 => "now".into(),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// A time to the second: `2026-11-22 17:40:11`, of UTC.
pub(crate) fn second(value: &Value) -> String {
    word(value).chars().take(19).collect::<String>().replace('T', " ")
}

/// How much of what happened the flow records hold.
pub(crate) fn completeness(known: &Value) -> String {
    let mut text = whole(known);
    if known["folded"].as_u64().is_some_and(|flows| flows > 0) {
        let flows = count(&known["folded"]);
        text.push_str(&format!(
            "{flows} flows are known by the labels of their ends only, for want of room\n"
        ));
    }
    text
}

fn whole(known: &Value) -> String {
    let (from, to) = (second(&known["from"]), second(&known["to"]));
    if known["complete"] == true {
        return format!("complete from {from} to {to} (UTC)\n");
    }
    format!(
        "not complete from {from} to {to} (UTC): {} events were missed, and the daemon was down {} times\n",
        count(&known["missed"]),
        count(&known["gaps"])
    )
}

/// A count with spaces between thousands.
pub(crate) fn count(value: &Value) -> String {
    thousands(value.as_u64().unwrap_or(0))
}

/// A number with spaces between thousands.
pub(crate) fn thousands(number: u64) -> String {
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
    fn times_are_told_by_their_distance() {
        let now: Timestamp = "2026-11-22T18:00:00Z".parse().unwrap();
        for (at, expected) in [
            (json!("2026-11-22T17:59:59.5Z"), "now"),
            (json!("2026-11-22T18:00:09Z"), "now"),
            (json!("2026-11-22T17:59:00Z"), "60 s"),
            (json!("2026-11-22T17:30:00Z"), "30 min"),
            (json!("2026-11-22T06:00:00Z"), "12 h"),
            (json!("2026-11-01T18:00:00Z"), "21 d"),
            (json!(null), ""),
        ] {
            assert_eq!(ago(&at, now), expected, "{at}");
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
