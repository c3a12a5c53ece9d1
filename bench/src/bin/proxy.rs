//! `cargo run --release -p bench --bin proxy`: ringfence's proxy beside its peers, one proxy core, in one run.
//!
//! Needs root, two CPUs, `ip`, `setpriv`, `taskset` and `chrt` (util-linux). Everything takes place in network namespaces of its own, which are
//! removed again.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bench::measure::provenance::{provenance, write};
use bench::measure::statistics::{Random, Ratio};
use bench::measure::{CPU_CANDIDATE, MeasureError, pin};
use bench::proxy::idle::{self, Idle};
use bench::proxy::peer::{Candidate, Process, Tools};
use bench::proxy::record::{Record, Round, Summary};
use bench::proxy::row::Row;
use bench::proxy::site::{PREFIX, Site};
use bench::proxy::{load, relay, trial};
use clap::{Parser, Subcommand, ValueEnum as _};
use lab::{LabLock, missing, remove_leftovers};

/// Milliseconds before a trial is measured.
const WARM_UP: u64 = 250;

/// Compares ringfence's proxy with its peers: throughput, latency, connections and refusals a second, memory.
#[derive(Debug, Parser)]
#[command(name = "proxy", after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    inner: Option<Inner>,
    /// Rounds of each row; in each, every candidate runs once, in random order.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Seconds each candidate is measured in each row and round, after a quarter second of warm-up.
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// Candidates; the ratios are of the first to each other one. All that can be had, if not given.
    #[arg(long, value_delimiter = ',')]
    candidates: Vec<Candidate>,
    /// Rows. All, if not given.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<Row>,
    /// Idle connections whose memory is weighed, once for each candidate; 0 for none.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    idle: u32,
    /// Puts clients and back ends on a host of their own behind a cable, each host's receiving on its own CPU, in
    /// place of all on loopback.
    #[arg(long)]
    cable: bool,
    /// Writes the record with every trial to this file.
    #[arg(long, alias = "json")]
    out: Option<PathBuf>,
    /// The ringfence binary. The one beside this program, if not given.
    #[arg(long)]
    ringfence: Option<PathBuf>,
    /// Folder with `envoy/bin/envoy` and `bin/sozu`. `peers` in the target folder, if not given.
    #[arg(long)]
    peers: Option<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  cargo build --release && cargo run --release -p bench --bin proxy -- --out record.json
  cargo run --release -p bench --bin proxy -- --rounds 1 --seconds 0.2 --rows bulk-16,connects --idle 0
  cargo run --release -p bench --bin proxy -- --candidates haproxy,nginx,direct,load --rows latency-1b";

#[derive(Debug, Subcommand)]
enum Inner {
    /// The load's own process; not for people.
    #[command(hide = true)]
    Load {
        /// What to do, as JSON.
        plan: String,
    },
    /// A minimal relay.
    #[command(hide = true)]
    Relay {
        /// How.
        way: relay::Way,
        /// Where it listens.
        listen: SocketAddrV4,
        /// Where it connects to, in turn.
        #[arg(required = true)]
        servers: Vec<SocketAddrV4>,
    },
    /// Runs for ever.
    #[command(hide = true)]
    Spin,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ran = match &arguments.inner {
        Some(Inner::Load { plan }) => load::child(plan),
        Some(Inner::Relay { way, listen, servers }) => relay::run(*way, *listen, servers),
        Some(Inner::Spin) => spin(),
        None => compare(&arguments),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("proxy: {error}");
            ExitCode::FAILURE
        }
    }
}

fn spin() -> Result<(), MeasureError> {
    pin(CPU_CANDIDATE)?;
    loop {
        std::hint::spin_loop();
    }
}

fn compare(arguments: &Arguments) -> Result<(), MeasureError> {
    if let Some(missing) = missing() {
        return Err(missing.into());
    }
    let _lock = LabLock::acquire(Path::new("/run/ringfence-bench.lock"))?;
    remove_leftovers(PREFIX)?;
    let open_files = load::raise_open_files()?;
    let own = std::env::current_exe()?;
    let beside = own.parent().ok_or("this program is nowhere")?.to_owned();
    let tools = Tools {
        ringfence: arguments.ringfence.clone().unwrap_or_else(|| beside.join("ringfence")),
        peers: arguments.peers.clone().unwrap_or_else(|| beside.join("../peers")),
        own,
        open_files,
    };
    let folder = std::env::temp_dir().join(format!("{PREFIX}{}", std::process::id()));
    let site = Site::build(arguments.cable)?;
    let ran = site.middle.run(|| Comparison::of(arguments, tools, folder.clone())?.run())?;
    let _ = std::fs::remove_dir_all(&folder);
    let record = ran?;
    if let Some(path) = &arguments.out {
        write(&record, path)?;
        println!("\nevery trial: {}", path.display());
    }
    Ok(())
}

struct Comparison<'a> {
    arguments: &'a Arguments,
    tools: Tools,
    folder: PathBuf,
    candidates: Vec<Candidate>,
    versions: BTreeMap<&'static str, String>,
    not_compared: BTreeMap<&'static str, String>,
    processes: BTreeMap<Candidate, Process>,
    random: Random,
}

impl<'a> Comparison<'a> {
    /// Sees who can be had. Candidates that were asked for by name must be.
    fn of(arguments: &'a Arguments, tools: Tools, folder: PathBuf) -> Result<Self, MeasureError> {
        let asked = !arguments.candidates.is_empty();
        let wanted = if asked { &arguments.candidates[..] } else { Candidate::value_variants() };
        let (mut candidates, mut versions, mut not_compared) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for &candidate in wanted {
            match candidate.version(&tools) {
                Ok(version) => {
                    candidates.push(candidate);
                    versions.extend(version.map(|version| (candidate.name(), version)));
                }
                Err(why) if asked => return Err(why.into()),
                Err(why) => {
                    println!("not compared: {}: {why}", candidate.name());
                    not_compared.insert(candidate.name(), why);
                }
            }
        }
        let (processes, random) = (BTreeMap::new(), Random(0));
        Ok(Self { arguments, tools, folder, candidates, versions, not_compared, processes, random })
    }

    fn run(mut self) -> Result<Record, MeasureError> {
        for &candidate in &self.candidates {
            let process = candidate.start(&self.tools, &self.folder, 0)?;
            trial::check(&self.tools.own, candidate).map_err(|error| {
                process.as_ref().map_or_else(|| error.to_string().into(), |p| p.failed(&error.to_string()))
            })?;
            if let Some(process) = process {
                process.halt()?;
                self.processes.insert(candidate, process);
            }
            println!("{:<15} verdicts as they should be", candidate.name());
        }
        let mut milliseconds = [WARM_UP, milliseconds(self.arguments.seconds)];
        milliseconds[0] = milliseconds[0].min(milliseconds[1]);
        let rows = if self.arguments.rows.is_empty() { Row::value_variants() } else { &self.arguments.rows };
        let mut rounds: Vec<Vec<Round>> = vec![Vec::new(); rows.len()];
        for number in 1..=self.arguments.rounds {
            for (&row, rounds) in rows.iter().zip(&mut rounds) {
                let round = self.round(row, milliseconds)?;
                print_round(number, row, &round);
                rounds.push(round);
            }
        }
        self.processes.clear();
        let rows = rows.iter().zip(rounds).map(|(&row, rounds)| Summary::of(row, &self.candidates, rounds));
        let rows: Vec<Summary> = rows.collect();
        let (idle, not_weighed) = self.weigh();
        let provenance = provenance("proxy", &[]);
        let (versions, not_compared) = (self.versions, self.not_compared);
        let record = Record { provenance, versions, not_compared, milliseconds, rows, idle, not_weighed };
        print_record(&record);
        Ok(record)
    }

    fn round(&mut self, row: Row, milliseconds: [u64; 2]) -> Result<Round, MeasureError> {
        let mut order: Vec<Candidate> = self.candidates.iter().copied().filter(|&c| row.is_for(c)).collect();
        self.random.shuffle(&mut order);
        let mut trials = Vec::new();
        for candidate in order {
            let process = self.processes.get_mut(&candidate);
            trials.push(trial::run(&self.tools.own, candidate, process, row, milliseconds)?);
        }
        Ok(Round::of(trials))
    }

    /// What idle connections cost each candidate, and who could not hold them.
    fn weigh(&self) -> (Vec<Idle>, BTreeMap<&'static str, String>) {
        let connections = self.arguments.idle;
        let candidates = self
            .candidates
            .iter()
            .filter(|c| connections > 0 && !matches!(c, Candidate::Direct | Candidate::RingfenceAccepts));
        let (mut weighed, mut not_weighed) = (Vec::new(), BTreeMap::new());
        for &candidate in candidates {
            match idle::weigh(&self.tools, &self.folder, candidate, connections) {
                Ok(idle) => {
                    println!("idle {:<15} {:>9.0} bytes of its own each", candidate.name(), idle.own);
                    weighed.push(idle);
                }
                Err(error) => {
                    println!("idle {:<15} not weighed: {error}", candidate.name());
                    not_weighed.insert(candidate.name(), error.to_string());
                }
            }
        }
        (weighed, not_weighed)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a minute")]
fn milliseconds(seconds: f64) -> u64 {
    (seconds.clamp(0.05, 60.0) * 1000.0) as u64
}

fn print_round(number: u32, row: Row, round: &Round) {
    let void = round.void.as_deref().map(|why| format!("  void: {why}")).unwrap_or_default();
    println!("round {number:>2}  {} ({}){void}", row.name(), row.unit());
    for trial in &round.trials {
        let figures: Vec<String> =
            row.figures(&trial.outcome).iter().map(|(name, value)| format!("{name} {value:.2}")).collect();
        let [ends, middle] = trial.outcome.busy.map(|share| share * 100.0);
        let mut notes = format!("CPUs {ends:.0} % {middle:.0} %");
        for (what, count) in [("failed", trial.outcome.failed), ("unanswered", trial.outcome.unanswered)] {
            if count > 0 {
                notes += &format!(", {count} {what}");
            }
        }
        println!("          {:<15} {:<26} {notes}", trial.candidate.name(), figures.join("  "));
    }
}

fn print_record(record: &Record) {
    println!();
    for (what, value) in record.provenance.iter().chain(&record.versions).chain(&record.not_compared) {
        println!("  {what:<15} {value}");
    }
    for row in &record.rows {
        let void = row.rounds.iter().filter(|round| round.void.is_some()).count();
        let headroom = row.headroom.map(|by| format!("; headroom of the load {by:.2}")).unwrap_or_default();
        println!(
            "\n{} ({}): {} rounds, {void} void; figures are of the {} ones{headroom}",
            row.row.name(),
            row.unit,
            row.rounds.len(),
            row.basis
        );
        for (candidate, figures) in &row.figures {
            let figures: Vec<String> =
                figures.iter().map(|(name, value)| format!("{name} {value:.2}")).collect();
            println!("  {candidate:<15} {}", figures.join("  "));
        }
        for (name, pairs) in &row.ratios {
            pairs.iter().for_each(|(pair, ratio)| print_ratio(name, pair, ratio));
        }
        for (name, added) in &row.added {
            added.iter().for_each(|(who, ratio)| print_ratio(name, &format!("{who} adds, by direct"), ratio));
        }
    }
    if let Some(first) = record.idle.first() {
        println!("\n{} idle connections in {} processes, bytes each:", first.connections, first.instances);
    }
    for idle in &record.idle {
        let Idle { candidate, own, slab, available, after, .. } = idle;
        println!(
            "  {:<15} own {own:>7.0}  slab {slab:>7.0}  less available {available:>7.0}  in all {} MiB",
            candidate.name(),
            after.proportional >> 20
        );
    }
}

fn print_ratio(figure: &str, what: &str, ratio: &Ratio) {
    println!("  {figure:<5} {what:<34} {:>7.3}  {:.3} to {:.3}", ratio.median, ratio.low, ratio.high);
}
