//! Manifests of which nobody says what they mean: each must load, or be refused for a feature that is named.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use control::policy::diagnostics::{Code, Severity};

use crate::estate::Estate;
use crate::tally::Tally;

/// Files with a fault that the systems which they are written for refuse too.
const FAULTY: &[(&str, &str)] =
    &[("policy-assistant/test/example-policies/anps/anp-list.yaml", "the file writes `Items` for `items`")];

pub(crate) fn tally(name: &'static str, folder: &Path) -> Tally {
    let mut tally = Tally::new(name, "a file: it loads, or what it asks for is refused by name");
    for path in manifests(folder) {
        let shown = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        let Err(faults) = Estate::load(std::slice::from_ref(&path)) else {
            tally.count(None);
            continue;
        };
        if let Some((_, fault)) = FAULTY.iter().find(|(file, _)| *file == shown) {
            tally.skip(*fault, 1);
            continue;
        }
        let errors = || faults.iter().filter(|one| one.severity == Severity::Error);
        match errors().find(|one| one.code != Code::Unsupported) {
            Some(_) => tally.count(Some(format!("{shown}: {faults}"))),
            None => {
                let reasons: BTreeSet<&str> = errors().map(|one| one.message.as_str()).collect();
                tally.skip(format!("refused: {}", reasons.first().copied().unwrap_or_default()), 1);
            }
        }
    }
    tally
}

/// The YAML files below `folder` that hold objects.
fn manifests(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the corpus can be read") {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() {
            found.append(&mut manifests(&path));
        } else if path.extension().is_some_and(|ending| ending == "yaml") {
            found.push(path);
        }
    }
    found.sort();
    found
}
