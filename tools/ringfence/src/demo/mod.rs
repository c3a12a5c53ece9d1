//! `ringfence demo`: two segments of namespaces, the sample policy, real traffic.

mod acts;
mod config;
mod daemon;
mod error;
mod interrupt;
mod policy;
mod preflight;
mod question;
mod report;
mod serve;
mod stage;
#[cfg(test)]
mod tests;
mod topology;
mod traffic;

use std::path::{Path, PathBuf};

use lab::LabLock;

use self::config::Folder;
use self::daemon::Daemon;
use self::error::DemoError;
pub(crate) use self::interrupt::Interrupt;
use self::report::Report;
use self::stage::Stage;
use self::topology::{Network, PREFIX};
use crate::outcome::{Failure, Outcome};

/// Guards the names of the demo's namespaces, and its folder.
const LOCK: &str = "/run/rf-demo.lock";
/// Where the demo's daemon has its files.
const FOLDER: &str = "/run/rf-demo";

/// Arguments of `ringfence demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Exit with status 1 if any expectation fails.
    #[arg(long)]
    pub(crate) check: bool,
    /// Leave the lab up, with the daemon, its socket and some traffic, until interrupted.
    #[arg(long)]
    pub(crate) serve: bool,
    /// Print one JSON object for each expectation.
    #[arg(long, conflicts_with = "serve")]
    pub(crate) json: bool,
    /// Enforce this policy instead of the demo's own; the expectations stay the same.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
}

/// Runs the demo.
pub(crate) fn run(args: &Args) -> Outcome {
    match perform(args) {
        Ok(true) => Ok(()),
        Ok(false) if args.check => Err(Failure::Told),
        Ok(false) => Ok(()),
        Err(error) => Err(Failure::failed(error)),
    }
}

/// Whether every expectation held.
fn perform(args: &Args) -> Result<bool, DemoError> {
    preflight::check()?;
    let text = match &args.policy {
        Some(path) => {
            std::fs::read_to_string(path).map_err(|error| DemoError::Policy(path.clone(), error))?
        }
        None => policy::TEXT.to_owned(),
    };
    // Dropped in reverse order: the daemon ends, then the network goes, then the folder, and the lock last.
    let _lock = LabLock::acquire(Path::new(LOCK))?;
    let interrupt = Interrupt::listen().map_err(|error| DemoError::Io("listen for signals", error))?;
    let report = Report::new(args.json);
    let leftovers = lab::remove_leftovers(PREFIX)?;
    if !leftovers.is_empty() {
        report.say(&format!("Removed what an earlier run left behind: {}.", leftovers.join(", ")));
    }
    report.draw(&topology::picture());
    let no_proxy = preflight::no_proxy();
    if let Some(why) = &no_proxy {
        report.say(&format!("Without its act with proxies, because none can be had here: {why}."));
    }
    let folder = Folder::create(Path::new(FOLDER), args.serve, no_proxy.is_none());
    let folder = folder.map_err(|error| DemoError::Io("make the demo's folder", error))?;
    let network = Network::build(PREFIX)?;
    let mut stage = Stage::set(&network, report, interrupt)?;
    let mut daemon = Daemon::launch(&network, &folder, stage.interrupt.clone(), &text)?;
    play(&mut stage, &mut daemon, &text, no_proxy.is_none())?;
    if args.serve {
        let held = stage.report.finish();
        // Somebody's own policy is left as it is.
        let observed = args.policy.is_none().then(|| policy::observing(&text));
        serve::serve(&stage, &folder, &daemon, observed.as_deref())?;
        return Ok(held);
    }
    acts::crash::stop(&mut stage, &mut daemon)?;
    Ok(stage.report.finish())
}

fn play(stage: &mut Stage<'_>, daemon: &mut Daemon<'_>, text: &str, proxies: bool) -> Result<(), DemoError> {
    stage.report.header();
    acts::labels::allowed(stage, daemon)?;
    acts::labels::denied(stage, daemon)?;
    acts::spoof::forged(stage, daemon)?;
    acts::spoof::taken(stage, daemon)?;
    acts::change::cut(stage, daemon, text)?;
    if proxies {
        acts::proxy::proxied(stage, daemon, text)?;
    }
    acts::load::publishes(stage, daemon, text)?;
    acts::change::refused(stage, daemon, text)?;
    acts::crash::crash(stage, daemon, text)
}
