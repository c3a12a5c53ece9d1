//! `ringfence page`: the way into the map page.

use serde_json::json;

use super::PageArgs;
use super::print::{self, out, word};
use crate::client;
use crate::outcome::Outcome;

/// Asks for a code and prints the address that holds it.
pub(super) fn page(args: &PageArgs) -> Outcome {
    let body = json!({ "read_only": args.read_only });
    let answer = client::post(&args.read.daemon.socket, "/v1/session/codes", &body)?;
    if args.read.json {
        return print::json(&answer);
    }
    let rights = if answer["may_change"] == true { "read and change" } else { "read" };
    let minutes = answer["expires_s"].as_u64().unwrap_or(0) / 60;
    out(&format!(
        "{}\n\nOpen it in a browser on this host, or here after `ssh -L PORT:127.0.0.1:PORT`. It signs in once, within \
         {minutes} minutes, to {rights}.\n",
        word(&answer["url"])
    ))
}
