//! Counts of cases, and the table that they become.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What became of the cases of one corpus.
#[derive(Default)]
pub(crate) struct Tally {
    /// The corpus.
    pub(crate) name: &'static str,
    /// What one case of it is.
    pub(crate) case: &'static str,
    /// Cases in which ringfence says what the corpus says.
    pub(crate) agree: usize,
    /// Cases in which it does not.
    pub(crate) disagree: Vec<String>,
    /// Cases that cannot be asked, by reason.
    pub(crate) not_applicable: BTreeMap<String, usize>,
}

impl Tally {
    pub(crate) fn new(name: &'static str, case: &'static str) -> Self {
        Self { name, case, ..Self::default() }
    }

    /// Counts a case: `wrong` says how ringfence differs, if it does.
    pub(crate) fn count(&mut self, wrong: Option<String>) {
        match wrong {
            None => self.agree += 1,
            Some(how) => self.disagree.push(format!("{}: {how}", self.name)),
        }
    }

    pub(crate) fn skip(&mut self, reason: impl Into<String>, cases: usize) {
        *self.not_applicable.entry(reason.into()).or_default() += cases;
    }
}

/// The table, in Markdown.
pub(crate) fn table(tallies: &[Tally]) -> String {
    let mut text = String::from(
        "| corpus | one case is | cases | agree | disagree | not applicable, and why |\n|---|---|---:|---:|---:|---|\n",
    );
    for tally in tallies {
        let skipped: usize = tally.not_applicable.values().sum();
        let reasons: Vec<String> =
            tally.not_applicable.iter().map(|(reason, count)| format!("{count}: {reason}")).collect();
        let (agree, disagree) = (tally.agree, tally.disagree.len());
        text.push_str(&format!(
            "| {} | {} | {} | {agree} | {disagree} | {} |\n",
            tally.name,
            tally.case,
            agree + disagree + skipped,
            if reasons.is_empty() { "-".to_owned() } else { reasons.join("; ") }
        ));
    }
    text
}

const BEGIN: &str = "<!-- conformance: written by `UPDATE_README=1 cargo test -p conformance --test corpora -- --ignored` -->\n";
const END: &str = "<!-- end of conformance -->\n";

/// Whether the README holds `table`; with `UPDATE_README` in the environment, it is put there.
pub(crate) fn is_in_readme(table: &str) -> bool {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let text = fs::read_to_string(&path).expect("the workspace has a README");
    let (before, rest) = text.split_once(BEGIN).expect("the README has a place for the table");
    let (held, after) = rest.split_once(END).expect("the place for the table ends");
    if held != table && std::env::var_os("UPDATE_README").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).expect("the README can be written");
        return true;
    }
    held == table
}
