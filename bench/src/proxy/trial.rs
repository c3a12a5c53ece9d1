//! One candidate, once, in one row; and the check before it that it judges as it should.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde::Serialize;

use super::load::{Outcome, Plan, Serving, Work};
use super::peer::{Candidate, Process};
use super::row::Row;
use super::site;
use crate::measure::canary::sing;
use crate::measure::{CPU_CANDIDATE, MeasureError};

/// What a proxy gets to take leave of the connections of one trial before it is halted.
const LEAVE: Duration = Duration::from_millis(60);
/// Connections and refusals of a check.
const CHECKED: u64 = 50;

/// What a trial saw.
#[derive(Clone, Debug, Serialize)]
pub struct Trial {
    /// Who.
    pub candidate: Candidate,
    /// What the load saw.
    pub outcome: Outcome,
    /// The canary's time before and after, nanoseconds, on each CPU.
    pub canary: [[u64; 2]; 2],
}

/// The plan of `work` for one instance of `candidate`; milliseconds of warm-up, and measured.
#[must_use]
pub fn plan(candidate: Candidate, instance: u16, work: Work, [warm_up, measured]: [u64; 2]) -> Plan {
    let denied = matches!(work, Work::Denied { .. });
    let direct = candidate == Candidate::Direct;
    Plan {
        work,
        target: candidate.target(instance),
        network: if denied { site::DENIED } else { site::ALLOWED },
        servers: if direct { vec![site::beside()] } else { site::servers(instance) },
        serving: if direct { Serving::Beside } else { Serving::Here },
        host: site::ends(),
        warm_up,
        measured,
        limit: None,
    }
}

/// Measures `candidate` in `row`; `process` is its own, halted before and after.
///
/// # Errors
/// If the candidate or the load fails.
pub fn run(
    own: &Path,
    candidate: Candidate,
    process: Option<&mut Process>,
    row: Row,
    milliseconds: [u64; 2],
) -> Result<Trial, MeasureError> {
    let before = sing()?;
    let mut process = process;
    if let Some(process) = process.as_deref_mut() {
        process.go_on()?;
    }
    // An idle CPU of a virtual machine sleeps deeply, and would be measured waking.
    let _awake = if matches!(row.work(), Work::Paced { .. }) { Some(Spinner::start(own)?) } else { None };
    let outcome = load(own, &plan(candidate, 0, row.work(), milliseconds))
        .map_err(|error| named(candidate, process.as_deref(), row, &*error))?;
    if let Some(process) = process {
        sleep(LEAVE);
        process.halt()?;
    }
    Ok(Trial { candidate, outcome, canary: [before, sing()?] })
}

fn named(
    candidate: Candidate,
    process: Option<&Process>,
    row: Row,
    error: &(dyn std::error::Error + Send + Sync),
) -> MeasureError {
    let what = format!("failed in row {}: {error}", row.name());
    process.map_or_else(|| format!("{} {what}", candidate.name()).into(), |process| process.failed(&what))
}

/// A candidate that loses connections or does not judge would be fast for the wrong reason: those of the allowed
/// network must be answered, those of the denied one refused without a back end seeing them.
///
/// # Errors
/// Says what was not so.
pub fn check(own: &Path, candidate: Candidate) -> Result<(), MeasureError> {
    let work = |work| Plan { limit: Some(CHECKED), ..plan(candidate, 0, work, [0, 5_000]) };
    let allowed = load(own, &work(Work::Connects { slots: 4 }))?;
    let name = candidate.name();
    if allowed.completed < CHECKED || allowed.failed > 0 {
        let Outcome { completed, failed, .. } = allowed;
        return Err(
            format!("{name}: {completed} of {CHECKED} allowed clients answered, {failed} failed").into()
        );
    }
    if !candidate.judges() {
        return Ok(());
    }
    // What the load left in the middle may still reach a back end.
    sleep(4 * LEAVE);
    let denied = load(own, &work(Work::Denied { slots: 4 }))?;
    if denied.completed < CHECKED || denied.failed > 0 || denied.accepted > 0 {
        let Outcome { completed, failed, accepted, .. } = denied;
        return Err(format!(
            "{name}: {completed} of {CHECKED} denied clients refused, {failed} otherwise, back ends saw {accepted}"
        )
        .into());
    }
    Ok(())
}

/// Carries a plan out in a process of its own.
///
/// # Errors
/// If it fails; with its own words.
pub fn load(own: &Path, plan: &Plan) -> Result<Outcome, MeasureError> {
    Loading::start(own, plan)?.finish()
}

/// A load at work in a process of its own.
#[derive(Debug)]
pub struct Loading {
    child: Child,
}

impl Loading {
    /// Starts it.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub fn start(own: &Path, plan: &Plan) -> Result<Self, MeasureError> {
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(own)
            .arg("load")
            .arg(serde_json::to_string(plan)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        Ok(Self { child })
    }

    /// Waits until all idle connections are there.
    ///
    /// # Errors
    /// If the load ends before.
    pub fn ready(&mut self) -> Result<(), MeasureError> {
        let output = self.child.stdout.as_mut().ok_or("the load has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        if line.trim() == "ready" { Ok(()) } else { Err("the load ended before it was ready".into()) }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it fails; with its own words.
    pub fn finish(mut self) -> Result<Outcome, MeasureError> {
        if let Some(mut input) = self.child.stdin.take() {
            input.flush()?;
        }
        let ran = self.child.wait_with_output()?;
        if ran.status.success() {
            return Ok(serde_json::from_slice(&ran.stdout)?);
        }
        Err(format!("the load failed: {}", String::from_utf8_lossy(&ran.stderr).trim()).into())
    }
}

/// A process that runs on the candidate's CPU whenever nobody else wants to (`SCHED_IDLE`). Ends when dropped.
struct Spinner(Child);

impl Spinner {
    fn start(own: &Path) -> Result<Self, MeasureError> {
        let cpu = CPU_CANDIDATE.to_string();
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "chrt", "--idle", "0", "taskset", "-c", &cpu])
            .arg(own)
            .arg("spin");
        Ok(Self(command.spawn().map_err(|error| format!("setpriv: {error}"))?))
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
