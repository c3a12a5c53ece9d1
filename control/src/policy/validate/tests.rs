//! Faults: a table of bad files with what must be said about them, and where.

use crate::policy::diagnostics::{Code, Diagnostics};
use crate::policy::{Loaded, SourceFile, load_texts};

fn load(text: &str) -> Result<Loaded, Diagnostics> {
    load_texts(&[SourceFile { name: "policy.yaml".to_owned(), text: text.to_owned() }])
}

#[test]
fn a_typing_error_in_a_field_is_one_error() {
    let errors = load("ringfence: 1\nworkloads:\n  - {name: a, adresses: [10.0.0.1]}\n").unwrap_err();
    let found: Vec<_> = errors.iter().map(|one| (one.code, one.line, one.column)).collect();
    assert_eq!(found, [(Code::UnknownField, 3, 15)]);
}
