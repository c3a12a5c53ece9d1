//! What is kept of a run: every trial, the ratios, and where they come from.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::BedError;
use super::candidate::Candidate;
use super::trial::{Shape, Trial};
use crate::measure::provenance;
use crate::measure::quiet::{Judged, basis, judge};
use crate::measure::statistics::{Ratio, median, ratio};

/// Tools whose versions a record names, with the arguments that make them tell.
const TOOLS: &[(&str, &str, &[&str])] = &[("nft", "nft", &["--version"]), ("ip", "ip", &["-V"])];

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
    pub fn of(trials: Vec<Trial>) -> Self {
        let seen: Vec<_> = trials.iter().map(|trial| (trial.canary, trial.steal)).collect();
        let Judged { spread: canary_spread, void } = judge(&seen);
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
        let (basis, used) = basis(&rounds, |round| round.void.is_some());
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
        Self { provenance: provenance::provenance("lab", TOOLS), shape, basis, rates, ratios, rounds }
    }

    /// Writes the record as JSON.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), BedError> {
        provenance::write(self, path)
    }
}
