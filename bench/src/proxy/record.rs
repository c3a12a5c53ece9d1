//! What is kept of a run: every trial, the ratios, and where they come from.

use std::collections::BTreeMap;

use serde::Serialize;

use super::idle::Idle;
use super::peer::Candidate;
use super::row::Row;
use super::trial::Trial;
use crate::measure::quiet::{Judged, basis, judge};
use crate::measure::statistics::{Ratio, median, ratio};

/// All candidates of one row once, in random order.
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
        let seen: Vec<_> = trials.iter().map(|trial| (trial.canary, trial.outcome.steal)).collect();
        let Judged { spread: canary_spread, void } = judge(&seen);
        Self { trials, canary_spread, void }
    }

    /// A figure of `candidate` in this round.
    #[must_use]
    pub fn figure(&self, row: Row, candidate: Candidate, name: &str) -> Option<f64> {
        let trial = self.trials.iter().find(|trial| trial.candidate == candidate)?;
        row.figures(&trial.outcome).get(name).copied()
    }
}

/// A row as its rounds saw it.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Which.
    pub row: Row,
    /// Unit of the figures.
    pub unit: &'static str,
    /// Which rounds the figures are made of: `quiet`, or `all` if too few were quiet.
    pub basis: &'static str,
    /// Median figures of each candidate.
    pub figures: BTreeMap<&'static str, BTreeMap<&'static str, f64>>,
    /// By figure: the first candidate's by each other's, per round. Of a rate more is better, of a latency less.
    pub ratios: BTreeMap<&'static str, BTreeMap<String, Ratio>>,
    /// Of a latency row, by figure: what each candidate adds to `direct`, as a multiple of it.
    pub added: BTreeMap<&'static str, BTreeMap<&'static str, Ratio>>,
    /// What the load could do by itself, by the best rate of a candidate that is a proxy; below 1.5 it is the load that
    /// was measured.
    pub headroom: Option<f64>,
    /// Everything.
    pub rounds: Vec<Round>,
}

impl Summary {
    /// Sums up the rounds of `row`; the ratios are those of `candidates[0]` to each other one.
    #[must_use]
    pub fn of(row: Row, candidates: &[Candidate], rounds: Vec<Round>) -> Self {
        let (basis, used) = basis(&rounds, |round| round.void.is_some());
        let names: Vec<&'static str> = used
            .iter()
            .flat_map(|round| &round.trials)
            .flat_map(|t| row.figures(&t.outcome).into_keys())
            .collect();
        let mut summary = Self {
            row,
            unit: row.unit(),
            basis,
            figures: BTreeMap::new(),
            ratios: BTreeMap::new(),
            added: BTreeMap::new(),
            headroom: None,
            rounds: Vec::new(),
        };
        let pairs = |a: Candidate, b: Candidate, name: &str| -> Vec<(f64, f64)> {
            let both = |round: &&Round| Some((round.figure(row, a, name)?, round.figure(row, b, name)?));
            used.iter().filter_map(both).collect()
        };
        for &name in std::collections::BTreeSet::from_iter(names).iter() {
            for &candidate in candidates {
                let values: Vec<f64> =
                    used.iter().filter_map(|round| round.figure(row, candidate, name)).collect();
                if !values.is_empty() {
                    summary.figures.entry(candidate.name()).or_default().insert(name, median(&values));
                }
                let beside = pairs(candidates[0], candidate, name);
                let per_round: Vec<f64> = beside.iter().map(|(ours, theirs)| ours / theirs).collect();
                if candidate != candidates[0]
                    && let Some(ratio) = ratio(&per_round)
                {
                    let pair = format!("{} / {}", candidates[0].name(), candidate.name());
                    summary.ratios.entry(name).or_default().insert(pair, ratio);
                }
                let direct = pairs(candidate, Candidate::Direct, name);
                let per_round: Vec<f64> = direct.iter().map(|(own, direct)| own / direct - 1.0).collect();
                if row.is_of_time()
                    && candidate.is_proxy()
                    && let Some(ratio) = ratio(&per_round)
                {
                    summary.added.entry(name).or_default().insert(candidate.name(), ratio);
                }
            }
        }
        summary.headroom = summary.measure_headroom(candidates);
        summary.rounds = rounds;
        summary
    }

    fn measure_headroom(&self, candidates: &[Candidate]) -> Option<f64> {
        let rate = |candidate: &Candidate| self.figures.get(candidate.name())?.get("rate").copied();
        let best = candidates.iter().filter(|c| c.is_proxy()).filter_map(rate).reduce(f64::max)?;
        Some(rate(&Candidate::Load)? / best)
    }
}

/// One run of the comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Where and from what.
    pub provenance: BTreeMap<&'static str, String>,
    /// Versions of the candidates.
    pub versions: BTreeMap<&'static str, String>,
    /// Who could not be compared here, and why.
    pub not_compared: BTreeMap<&'static str, String>,
    /// Milliseconds of warm-up, and measured.
    pub milliseconds: [u64; 2],
    /// The rows.
    pub rows: Vec<Summary>,
    /// The cost of idle connections.
    pub idle: Vec<Idle>,
    /// Who could not hold so many, and why.
    pub not_weighed: BTreeMap<&'static str, String>,
}
