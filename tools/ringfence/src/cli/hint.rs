//! What may be wrong with a filter that found nothing.

use std::path::Path;

use super::print::{list, word};
use crate::client::{self, query};

/// Rules that are named as what may have been meant.
const NAMED: usize = 5;

/// A line about a rule of this name, if none is in force. Flows of a rule that is gone can still be found.
pub(super) fn rule(socket: &Path, name: Option<&str>) -> String {
    let Some(name) = name else { return String::new() };
    let path = query("/v1/rules", &[("name", Some(name.to_owned())), ("limit", Some(NAMED.to_string()))]);
    // Nothing depends on it.
    let Ok(answer) = client::get(socket, &path) else { return String::new() };
    let names: Vec<String> = list(&answer["rules"]).iter().map(|rule| word(&rule["name"])).collect();
    if names.iter().any(|known| known == name) {
        return String::new();
    }
    match names.as_slice() {
        [] => format!("no rule or default `{name}` is in force; `ringfence rules` lists them\n"),
        names => format!("no rule or default `{name}` is in force, but `{}`\n", names.join("`, `")),
    }
}
