//! Loading: the samples, the schema, and what a load of several files must hold.

use std::path::{Path, PathBuf};

use super::load;
use crate::policy::json_schema;

fn config(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config").join(path)
}

#[test]
fn every_sample_loads_without_a_word() {
    let samples: Vec<_> =
        std::fs::read_dir(config("policies")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(samples.len() >= 3);
    for sample in samples {
        let loaded = load(std::slice::from_ref(&sample)).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
        assert!(!loaded.policy.workloads.is_empty(), "{}", sample.display());
    }
}

/// `UPDATE_SCHEMA=1 cargo test -p control schema` writes the file anew.
#[test]
fn the_committed_schema_is_current() {
    let path = config("policy.schema.json");
    let current = format!("{:#}\n", json_schema());
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == current,
        "config/policy.schema.json is not what the types say; see this test's comment"
    );
}
