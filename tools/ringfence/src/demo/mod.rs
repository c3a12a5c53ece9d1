//! `ringfence demo`: two segments of namespaces, the sample policy, real traffic.

use crate::outcome::{Failure, Outcome};

/// Arguments of `ringfence demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Exit with status 1 if any expectation fails.
    #[arg(long)]
    pub(crate) check: bool,
    /// Leave the lab up, with the daemon and its socket, until interrupted.
    #[arg(long)]
    pub(crate) serve: bool,
}

/// Runs the demo.
pub(crate) fn run(_args: &Args) -> Outcome {
    Err(Failure::failed("no demo yet"))
}
