//! `ringfence import`: other systems' manifests to a native policy.

use control::policy::write;
use serde_json::json;

use super::print::{self, out};
use super::{ImportArgs, offline};
use crate::outcome::{Failure, Outcome};

/// Prints the policy; warnings go to stderr.
pub(super) fn import(args: &ImportArgs) -> Outcome {
    let loaded = offline::loaded(&args.files)?;
    let text = write(&loaded.policy).map_err(Failure::failed)?;
    if args.json {
        let warnings = json!(loaded.warnings)["diagnostics"].take();
        return print::json(&json!({"policy": text, "diagnostics": warnings}));
    }
    if !loaded.warnings.is_empty() {
        eprint!("{}", loaded.warnings.render(print::color()));
    }
    out(&text)
}
