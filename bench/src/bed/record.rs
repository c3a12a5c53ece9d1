//! What is kept of a run: every trial, the ratios, and where they come from.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Serialize;

use super::BedError;
use super::candidate::Candidate;
use super::statistics::{Ratio, median, ratio};
use super::trial::{Shape, Trial};

/// A canary that differs by more than this share within a round voids it.
pub const CANARY_TOLERANCE: f64 = 0.03;
/// As does a hypervisor that took more than this share of a CPU.
pub const STEAL_TOLERANCE: f64 = 0.01;

/// All candidates once, in random order.
#[derive(Clone, Debug, Serialize)]
pub struct Round {
    /// In the order they ran.
    pub trials: Vec<Trial>,
    /// The slowest canary against the fastest on the same CPU, minus 1; the worse of both CPUs.
    pub canary_spread: f64,
    /// Why the round does not count; none if it does.
    pub void: Option<String>,
}

impl Round {
    /// Judges whether the machine was quiet during `trials`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "milliseconds in nanoseconds")]
    pub fn of(trials: Vec<Trial>) -> Self {
        let spread = |cpu: usize| {
            let times =
                || trials.iter().flat_map(|trial| trial.canary.iter().map(move |pair| pair[cpu] as f64));
            times().fold(0.0, f64::max) / times().fold(f64::MAX, f64::min) - 1.0
        };
        let canary_spread = spread(0).max(spread(1));
        let steal = trials.iter().map(|trial| trial.steal).fold(0.0, f64::max);
        let void = if canary_spread > CANARY_TOLERANCE {
            Some(format!("canaries differ by {:.1} %", canary_spread * 100.0))
        } else if steal > STEAL_TOLERANCE {
            Some(format!("{:.1} % of a CPU was stolen", steal * 100.0))
        } else {
            None
        };
        Self { trials, canary_spread, void }
    }

    /// The rate of `candidate` in this round.
    #[must_use]
    pub fn rate(&self, candidate: Candidate) -> Option<f64> {
        self.trials.iter().find(|trial| trial.candidate == candidate).map(|trial| trial.rate)
    }
}

/// One run of the comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Where and from what.
    pub provenance: BTreeMap<&'static str, String>,
    /// What was sent.
    pub shape: Shape,
    /// Which rounds the ratios are made of: `quiet`, or `all` if too few were quiet.
    pub basis: &'static str,
    /// Median rate of each candidate, packets a second.
    pub rates: BTreeMap<&'static str, f64>,
    /// The first candidate's rate by each other's, per round.
    pub ratios: BTreeMap<String, Ratio>,
    /// Everything.
    pub rounds: Vec<Round>,
}

impl Record {
    /// Sums up `rounds`: the ratios are those of `candidates[0]` to each other one. Void rounds are left out, unless
    /// fewer than half are quiet; then all count, and the record says so.
    #[must_use]
    pub fn of(shape: Shape, candidates: &[Candidate], rounds: Vec<Round>) -> Self {
        let quiet: Vec<&Round> = rounds.iter().filter(|round| round.void.is_none()).collect();
        let (basis, used) =
            if quiet.len() * 2 >= rounds.len() { ("quiet", quiet) } else { ("all", rounds.iter().collect()) };
        let rates_of = |who: Candidate| used.iter().filter_map(|round| round.rate(who)).collect::<Vec<_>>();
        let rates = candidates.iter().map(|&who| (who.name(), median(&rates_of(who)))).collect();
        let mut ratios = BTreeMap::new();
        if let Some((&first, others)) = candidates.split_first() {
            for &other in others {
                let pairs = rates_of(first).into_iter().zip(rates_of(other));
                let per_round: Vec<f64> = pairs.map(|(ours, theirs)| ours / theirs).collect();
                if let Some(ratio) = ratio(&per_round) {
                    ratios.insert(format!("{} / {}", first.name(), other.name()), ratio);
                }
            }
        }
        Self { provenance: provenance(), shape, basis, rates, ratios, rounds }
    }

    /// Writes the record as JSON.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), BedError> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(fs::write(path, serde_json::to_string_pretty(self)? + "\n")?)
    }
}

/// Commit, kernel, CPU, tool versions and the command line: without them a figure is an anecdote.
fn provenance() -> BTreeMap<&'static str, String> {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned())
    };
    let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = file("/proc/cpuinfo").lines().find_map(|line| {
        line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim().to_owned())
    });
    let cpus = file("/proc/cpuinfo").lines().filter(|line| line.starts_with("processor")).count();
    let changed = said("git", &["status", "--porcelain", "--untracked-files=no"]).is_some();
    let commit = said("git", &["rev-parse", "HEAD"]).unwrap_or_default();
    let mut command: Vec<String> = std::env::args().skip(1).collect();
    command.insert(0, "cargo run --release -p bench --bin lab --".into());
    BTreeMap::from([
        ("date", jiff::Zoned::now().strftime("%Y-%m-%d %H:%M %:z").to_string()),
        ("commit", if changed { format!("{commit} with changes") } else { commit }),
        ("kernel", file("/proc/sys/kernel/osrelease").trim().to_owned()),
        ("cpu", format!("{} x {cpus}", cpu.unwrap_or_default())),
        ("nft", said("nft", &["--version"]).unwrap_or_default()),
        ("ip", said("ip", &["-V"]).unwrap_or_default()),
        ("command", command.join(" ")),
    ])
}
