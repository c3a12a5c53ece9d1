//! `cargo run --release -p bench --bin lab`: ringfence beside its peers, on the same veth cables in one run.
//!
//! Needs root, `ip` and `bridge` (iproute2), `ethtool` and `nft`. Everything it makes is in three network namespaces
//! of its own, which it removes.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, exit};

use bench::bed::candidate::Candidate;
use bench::bed::record::{Record, Round};
use bench::bed::traffic::{Plan, carry_out};
use bench::bed::trial::{self, Shape};
use bench::bed::{Bed, BedError};
use bench::measure::statistics::Random;
use clap::{Parser, Subcommand, ValueEnum as _};
use lab::{LabLock, missing, remove_leftovers};

const PREFIX: &str = "rf-bench-";

/// Compares ringfence with its peers on veth cables: rates as ratios, from one run.
#[derive(Debug, Parser)]
#[command(name = "lab")]
struct Arguments {
    #[command(subcommand)]
    inner: Option<Inner>,
    /// Rounds; in each, every candidate runs once, in random order.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Seconds each candidate is measured, after half a second of warm-up.
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
    /// Established flows.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    flows: u32,
    /// Length of a frame, bytes, without checksum.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(60..=1514))]
    bytes: u16,
    /// TCP acknowledgements after a handshake, instead of UDP.
    #[arg(long)]
    tcp: bool,
    /// Rules of the candidates that judge.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(100..=10_000))]
    rules: u32,
    /// Candidates; the ratios are of the first to each other one. All, if not given.
    #[arg(long, value_delimiter = ',')]
    candidates: Vec<Candidate>,
    /// Writes the record with every trial to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Inner {
    /// The generator's own process; not for people.
    #[command(hide = true)]
    Traffic {
        /// What to do, as JSON.
        plan: String,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ran = match &arguments.inner {
        Some(Inner::Traffic { plan }) => generate(plan),
        None => compare(&arguments),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error}");
            ExitCode::FAILURE
        }
    }
}

fn generate(plan: &str) -> Result<(), BedError> {
    let plan: Plan = serde_json::from_str(plan)?;
    println!("{}", serde_json::to_string(&carry_out(&plan)?)?);
    // Not a return: the generator's thread is still in the kernel, and only the end of the process stops it.
    exit(0);
}

fn compare(arguments: &Arguments) -> Result<(), BedError> {
    if let Some(missing) = missing() {
        return Err(missing.into());
    }
    let _lock = LabLock::acquire(Path::new("/run/ringfence-bench.lock"))?;
    remove_leftovers(PREFIX)?;
    let candidates = if arguments.candidates.is_empty() {
        Candidate::value_variants().to_vec()
    } else {
        arguments.candidates.clone()
    };
    let shape = Shape {
        flows: arguments.flows,
        bytes: arguments.bytes,
        tcp: arguments.tcp,
        rules: arguments.rules,
        warm_up: 500,
        measured: milliseconds(arguments.seconds),
    };
    let bed = Bed::build(PREFIX)?;
    let mut random = Random(0);
    let mut rounds = Vec::new();
    for number in 1..=arguments.rounds {
        let mut order = candidates.clone();
        random.shuffle(&mut order);
        let trials = order.iter().map(|&candidate| trial::run(&bed, candidate, &shape));
        let round = Round::of(trials.collect::<Result<_, _>>()?);
        print_round(number, &round, &candidates);
        rounds.push(round);
    }
    let record = Record::of(shape, &candidates, rounds);
    print_record(&record);
    if let Some(path) = &arguments.json {
        record.write(path)?;
        println!("\nevery trial: {}", path.display());
    }
    Ok(())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a minute")]
fn milliseconds(seconds: f64) -> u64 {
    (seconds.clamp(0.1, 60.0) * 1000.0) as u64
}

fn print_round(number: u32, round: &Round, candidates: &[Candidate]) {
    let rate = |who: &Candidate| round.rate(*who).unwrap_or(0.0) / 1e6;
    let rates: Vec<String> =
        candidates.iter().map(|who| format!("{} {:.3}", who.name(), rate(who))).collect();
    let void = round.void.as_deref().map(|why| format!("  void: {why}")).unwrap_or_default();
    println!("round {number:>2}  Mpps: {}{void}", rates.join("  "));
    for trial in round.trials.iter().filter(|trial| trial.counts.lost > 0 || !trial.drops.is_empty()) {
        println!("          {}: lost {} {:?}", trial.candidate.name(), trial.counts.lost, trial.drops);
    }
}

fn print_record(record: &Record) {
    let void = record.rounds.iter().filter(|round| round.void.is_some()).count();
    println!("\n{} rounds, {void} void; figures are of the {} ones", record.rounds.len(), record.basis);
    for (what, value) in &record.provenance {
        println!("  {what:<8} {value}");
    }
    println!("\n  {:<12} {:>8}", "candidate", "Mpps");
    for (name, rate) in &record.rates {
        println!("  {name:<12} {:>8.3}", rate / 1e6);
    }
    println!("\n  {:<26} {:>7}  95 % interval", "ratio", "median");
    for (name, ratio) in &record.ratios {
        println!("  {name:<26} {:>7.3}  {:.3} to {:.3}", ratio.median, ratio.low, ratio.high);
    }
}
