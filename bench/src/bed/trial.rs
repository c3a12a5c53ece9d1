//! One candidate, once: set up, flows opened, measured, taken away, with everything that says whether to believe it.

use std::collections::BTreeMap;
use std::env;
use std::process::Command;

use serde::Serialize;

use super::candidate::Candidate;
use super::traffic::{ALLOWED_PORT, Counts, DENIED_PORT, Load, Outcome, Plan, Segment, WINDOW};
use super::{Bed, BedError, CPU_CANDIDATE, CPU_ENDS};
use crate::measure::canary::{jiffies, sing};

/// What a trial sends and for how long.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Shape {
    /// Established flows.
    pub flows: u32,
    /// Length of a frame, bytes, without checksum.
    pub bytes: u16,
    /// TCP segments (bare acknowledgements after a handshake) instead of UDP.
    pub tcp: bool,
    /// Rules of the candidates that judge.
    pub rules: u32,
    /// Milliseconds before measuring.
    pub warm_up: u64,
    /// Milliseconds measured.
    pub measured: u64,
}

/// What a trial saw.
#[derive(Clone, Debug, Serialize)]
pub struct Trial {
    /// Who.
    pub candidate: Candidate,
    /// Frames delivered a second.
    pub rate: f64,
    /// What generator and sink counted while it was measured.
    pub counts: Counts,
    /// Share of the time that the candidate's CPU was busy, opening and warm-up included.
    pub busy: f64,
    /// Share of the time that the hypervisor took, the worse of both CPUs.
    pub steal: f64,
    /// The canary's time before and after, nanoseconds, on each CPU.
    pub canary: [[u64; 2]; 2],
    /// Drops by counter: those of the links, and what the candidate itself counted.
    pub drops: BTreeMap<String, u64>,
}

/// Runs `candidate` once between the links of `bed`.
///
/// # Errors
/// If it cannot be set up, does not deliver the first frame of every flow, or lets through what policy denies.
pub fn run(bed: &Bed, candidate: Candidate, shape: &Shape) -> Result<Trial, BedError> {
    let load = |port| Load {
        flows: shape.flows,
        bytes: shape.bytes,
        tcp: None,
        port,
        routed: candidate.routes(),
        reply: false,
    };
    let mut openings = vec![Load { flows: 100, ..load(DENIED_PORT) }];
    let steady = if shape.tcp {
        let handshake = handshake(&load(ALLOWED_PORT));
        openings.extend(handshake);
        handshake[2]
    } else {
        openings.push(load(ALLOWED_PORT));
        load(ALLOWED_PORT)
    };
    let plan = Plan {
        prefix: bed.prefix.clone(),
        openings,
        load: Some(steady),
        window: WINDOW,
        warm_up: shape.warm_up,
        measured: shape.measured,
    };

    let before = sing()?;
    let running = candidate.start(bed, shape)?;
    let link_drops = bed.link_drops()?;
    let cpus = [jiffies(CPU_ENDS)?, jiffies(CPU_CANDIDATE)?];
    let outcome = carry_out(&plan);
    let [ends, middle] = [jiffies(CPU_ENDS)?.shares(cpus[0]), jiffies(CPU_CANDIDATE)?.shares(cpus[1])];
    let mut drops = bed.link_drops()?;
    drops.retain(|name, count| {
        *count -= link_drops.get(name).copied().unwrap_or(0);
        *count > 0
    });
    drops.extend(running.stop()?);
    let outcome = outcome?;
    check(candidate, &plan, &outcome)?;
    Ok(Trial {
        candidate,
        rate: outcome.rate(),
        counts: outcome.load,
        busy: middle.0,
        steal: ends.1.max(middle.1),
        canary: [before, sing()?],
        drops,
    })
}

/// SYN, SYN with ACK, and the ACK that is then repeated.
fn handshake(load: &Load) -> [Load; 3] {
    let with = |flags, sequence, acknowledgement, reply| Load {
        tcp: Some(Segment { flags, sequence, acknowledgement }),
        reply,
        ..*load
    };
    [with(0x02, 1000, 0, false), with(0x12, 5000, 1001, true), with(0x10, 1001, 5001, false)]
}

/// Runs the generator in a process of its own; see [`super::traffic::carry_out`].
fn carry_out(plan: &Plan) -> Result<Outcome, BedError> {
    let ran = Command::new(env::current_exe()?).arg("traffic").arg(serde_json::to_string(plan)?).output()?;
    if !ran.status.success() {
        return Err(format!("the generator failed: {}", String::from_utf8_lossy(&ran.stderr).trim()).into());
    }
    Ok(serde_json::from_slice(&ran.stdout)?)
}

/// A candidate that loses flows or does not judge would be fast for the wrong reason.
fn check(candidate: Candidate, plan: &Plan, outcome: &Outcome) -> Result<(), BedError> {
    let name = candidate.name();
    for (at, (load, counts)) in plan.openings.iter().zip(&outcome.openings).enumerate() {
        let denied = at == 0;
        let expected = if denied && candidate.judges() { 0 } else { u64::from(load.flows) };
        if counts.delivered != expected {
            return Err(format!(
                "{name}: opening {at} to port {}: {} of {} frames arrived, expected {expected}",
                load.port, counts.delivered, load.flows
            )
            .into());
        }
    }
    if outcome.load.delivered == 0 {
        return Err(format!("{name}: nothing arrived while it was measured").into());
    }
    Ok(())
}
