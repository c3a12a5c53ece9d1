//! `ringfence replay`: a capture through the very packet path.

use std::path::PathBuf;

use crate::outcome::{Failure, Outcome};

/// Arguments of `ringfence replay`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Policy file or directory; may be repeated.
    #[arg(long, value_name = "PATH", required = true)]
    pub(crate) policy: Vec<PathBuf>,
    /// Addresses behind the inside port; may be repeated [default: those of the policy's workloads].
    #[arg(long, value_name = "CIDR")]
    pub(crate) inside: Vec<String>,
    /// A pcap or pcapng file.
    pub(crate) capture: PathBuf,
}

/// Runs the capture.
pub(crate) fn run(args: &Args) -> Outcome {
    Err(Failure::failed(format_args!("cannot replay {} yet", args.capture.display())))
}
