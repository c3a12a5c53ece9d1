//! `ringfence check`: would this policy be published?

use std::path::PathBuf;

use control::policy::{CompileOptions, Diagnostics, compile, load};
use serde_json::{Value, json};

use super::CheckArgs;
use super::offline::loaded;
use super::print::{self, out};
use crate::outcome::{Failure, Outcome};

/// Validates and compiles, compares rules without order, and proves the assertions.
pub(super) fn check(args: &CheckArgs) -> Outcome {
    if args.json {
        return check_json(&args.files);
    }
    let loaded = loaded(&args.files)?;
    let compiled = compile(&loaded.policy, &CompileOptions::default()).map_err(Failure::failed)?;
    let admitted = loaded.admit(&compiled).map_err(|faults| told(&faults))?;
    if !admitted.warnings.is_empty() {
        told(&admitted.warnings);
    }
    let plural = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let proved = match loaded.policy.assertions.len() {
        0 => String::new(),
        count => format!(", {} proved", plural(count, "assertion")),
    };
    out(&format!(
        "ok: {}, {}, {}, {}{proved}; hash {}\n",
        plural(loaded.files.len(), "file"),
        plural(loaded.policy.workloads.len(), "workload"),
        plural(loaded.policy.networks.len(), "network"),
        plural(compiled.stats.rules, "rule"),
        loaded.hash().to_hex()
    ))
}

/// Shows diagnostics on stderr.
fn told(diagnostics: &Diagnostics) -> Failure {
    eprint!("{}", diagnostics.render(print::color()));
    Failure::Told
}

fn check_json(paths: &[PathBuf]) -> Outcome {
    let refused = |diagnostics: Value, error: Option<String>| {
        print::json(&json!({"ok": false, "diagnostics": diagnostics, "error": error}))?;
        Err(Failure::Told)
    };
    let list = |diagnostics: &Diagnostics| json!(diagnostics)["diagnostics"].take();
    let loaded = match load(paths) {
        Ok(loaded) => loaded,
        Err(faults) => return refused(list(&faults), None),
    };
    let compiled = match compile(&loaded.policy, &CompileOptions::default()) {
        Ok(compiled) => compiled,
        Err(error) => return refused(list(&loaded.warnings), Some(error.to_string())),
    };
    match loaded.admit(&compiled) {
        Err(faults) => refused(list(&faults), None),
        Ok(admitted) => print::json(&json!({
            "ok": true,
            "diagnostics": list(&admitted.warnings),
            "workloads": loaded.policy.workloads.len(),
            "networks": loaded.policy.networks.len(),
            "rules": compiled.stats.rules,
            "assertions": loaded.policy.assertions.len(),
            "policy_hash": loaded.hash().to_hex().as_str(),
        })),
    }
}
