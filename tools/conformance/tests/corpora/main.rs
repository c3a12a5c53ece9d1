//! Policies of other systems, where their authors or tools say what they mean: does ringfence say the same?
//!
//! The corpora stand beside the checkout, in `../shared/corpora/policies`. Every question is put to the compiled table
//! and to the oracle; the counts become the table in the README.

#![allow(clippy::panic, reason = "a test that cannot go on says why")]

mod cyclonus;
mod estate;
mod examples;
mod files;
mod meaning;
mod np_guard;
mod pokes;
mod recipes;
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
#[ignore = "needs the policy corpora beside the checkout"]
fn what_is_imported_means_what_it_meant() {
    let corpora = corpora();
    let at = |name: &str| corpora.join(name);
    let tallies: Vec<Tally> = vec![
        np_guard::tally(&at("np-guard")),
        pokes::tally(&at("network-policy-api")),
        recipes::tally(&at("recipes-ahmetb")),
        cyclonus::tally(&at("cyclonus")),
        files::tally("cyclonus, policies", &at("cyclonus/networkpolicies")),
        files::tally("network-policy-api, examples", &at("network-policy-api/cmd")),
        files::tally("microservices-demo", &at("microservices-demo")),
        files::tally("istio-bookinfo", &at("istio-bookinfo")),
        files::tally("cilium-examples", &at("cilium-examples")),
        files::tally("calico", &at("calico")),
    ];
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
