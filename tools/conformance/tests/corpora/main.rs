//! Policies of other systems, where their authors or tools say what they mean: does ringfence say the same?
//!
//! The corpora stand beside the checkout, in `../shared/corpora/policies`. Every question is put to the compiled table
//! and to the oracle; the counts become the table in the README.

#![allow(clippy::panic, reason = "a test that cannot go on says why")]

mod estate;
mod np_guard;
mod pokes;
mod tally;

use std::path::{Path, PathBuf};

use tally::Tally;

/// Where the corpora are.
fn corpora() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora/policies");
    assert!(
        folder.is_dir(),
        "this test needs the policy corpora beside the checkout, in ../shared/corpora/policies: {} is not there",
        folder.display()
    );
    folder
}

#[test]
fn what_is_imported_means_what_it_meant() {
    let corpora = corpora();
    let tallies: Vec<Tally> =
        vec![np_guard::tally(&corpora.join("np-guard")), pokes::tally(&corpora.join("network-policy-api"))];
    let table = tally::table(&tallies);
    println!("{table}");
    let disagreements: Vec<&String> = tallies.iter().flat_map(|tally| &tally.disagree).collect();
    for one in disagreements.iter().take(60) {
        println!("{one}");
    }
    assert!(disagreements.is_empty(), "{} cases disagree", disagreements.len());
    assert!(
        tally::is_in_readme(&table),
        "the README's table is not this one: run this test with UPDATE_README=1"
    );
}
