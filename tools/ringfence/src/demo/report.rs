//! What the demo says: one line for each expectation, for people or as JSON.

use std::io::{IsTerminal as _, Write as _};
use std::time::Instant;

use serde::Serialize;

/// One expectation and what became of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Expectation {
    /// What was tried.
    pub(crate) tried: String,
    /// What should happen.
    pub(crate) expected: String,
    /// What happened.
    pub(crate) happened: String,
    /// The rule or drop reason that decided, as the daemon tells it; empty if no packet was decided.
    pub(crate) decided: String,
    /// Whether what happened is what should.
    pub(crate) holds: bool,
}

/// Prints expectations as they come and keeps count.
#[derive(Debug)]
pub(crate) struct Report {
    json: bool,
    colour: bool,
    utf8: bool,
    marks: [&'static str; 2],
    held: usize,
    failed: usize,
    since: Instant,
}

impl Report {
    /// A report on stdout.
    pub(crate) fn new(json: bool) -> Self {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(|name| std::env::var(name).ok());
        let locale = locale.into_iter().find(|value| !value.is_empty()).unwrap_or_default().to_lowercase();
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let utf8 = locale.contains("utf");
        let marks = if utf8 { ["✔", "✘"] } else { ["ok", "FAILED"] };
        Self { json, colour, utf8, marks, held: 0, failed: 0, since: Instant::now() }
    }

    /// Says something that is no expectation; silent in JSON.
    pub(crate) fn say(&self, text: &str) {
        if !self.json {
            print(text);
        }
    }

    /// Shows a picture, in plain characters where the terminal may know no others.
    pub(crate) fn draw(&self, picture: &str) {
        let plain = |character| match character {
            '─' => '-',
            '═' => '=',
            '│' => '|',
            '┬' | '╪' => '+',
            other => other,
        };
        if self.utf8 {
            self.say(picture);
        } else {
            self.say(&picture.chars().map(plain).collect::<String>());
        }
    }

    /// Announces an act.
    pub(crate) fn act(&self, title: &str) {
        let (bold, plain) = if self.colour { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        self.say(&format!("\n{bold}{title}{plain}"));
    }

    /// Prints one expectation.
    pub(crate) fn expectation(&mut self, one: &Expectation) {
        *(if one.holds { &mut self.held } else { &mut self.failed }) += 1;
        if self.json {
            // These types serialize without fail.
            print(&serde_json::to_string(one).unwrap_or_default());
            return;
        }
        let mark = self.marks[usize::from(!one.holds)];
        let (colour, plain) = match (self.colour, one.holds) {
            (false, _) => ("", ""),
            (true, true) => ("\x1b[32m", "\x1b[0m"),
            (true, false) => ("\x1b[31m", "\x1b[0m"),
        };
        let Expectation { tried, expected, happened, decided, .. } = one;
        print(&format!(
            "  {colour}{mark:<width$}{plain} {}",
            columns(tried, expected, happened, decided),
            width = self.width()
        ));
    }

    fn width(&self) -> usize {
        self.marks[0].chars().count().max(self.marks[1].chars().count())
    }

    /// Prints what the columns are.
    pub(crate) fn header(&self) {
        let heads = columns("tried", "expected", "happened", "decided by");
        self.say(&format!("  {:width$} {heads}", "", width = self.width()));
    }

    /// How many expectations held so far.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// How many did not.
    #[cfg(test)]
    pub(crate) fn failed(&self) -> usize {
        self.failed
    }

    /// Prints the summary. Returns whether every expectation held, and there was one.
    pub(crate) fn finish(&self) -> bool {
        let all = self.held + self.failed;
        let seconds = self.since.elapsed().as_secs_f64();
        self.say(&format!("\n{} of {all} expectations hold, in {seconds:.1} s.", self.held));
        self.failed == 0 && self.held > 0
    }
}

/// What does not fit its column moves the rest of the line, rather than being cut.
fn columns(tried: &str, expected: &str, happened: &str, decided: &str) -> String {
    format!("{tried:<37} {expected:<19} {happened:<34} {decided}").trim_end().to_owned()
}

/// A closed pipe ends no demo half way: the lab must be taken down in order.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
