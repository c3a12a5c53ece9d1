//! `ringfence run`: the daemon in the foreground.

use control::config::Config;
use control::daemon::{self, Options};

use super::{RunArgs, print};
use crate::allocator;
use crate::outcome::{Failure, Outcome};

/// Reads the configuration and runs until it is told to stop.
pub(super) fn run(args: &RunArgs) -> Outcome {
    let config = Config::load(&args.config).map_err(|faults| {
        eprint!("{}", faults.render(print::color()));
        Failure::Told
    })?;
    // RUST_LOG chooses what is logged, as for other programs of this kind; without it, what an operator needs.
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(print::color())
        .with_target(false)
        .init();
    let options = Options {
        policy_from_config: args.policy_from_config,
        take_over: args.take_over,
        give_back: Some(allocator::give_back),
    };
    daemon::run(config, options).map_err(Failure::failed)
}
