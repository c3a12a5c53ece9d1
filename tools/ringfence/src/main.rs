//! `ringfence`: daemon and client in one binary.
//!
//! Exit status of every command: 0 done; 1 refused or failed, with a message on stderr; 2 bad usage.

mod allocator;
mod cli;
mod client;
mod demo;
mod outcome;
mod replay;
mod top;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::run(cli::Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
