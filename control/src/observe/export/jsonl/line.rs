//! One event as one JSON object. `config/exports.md` describes every key.

use dataplane::records::Occasion;
use dataplane::verdict::{DropReason, Gate, Verdict};
use jiff::Timestamp;
use serde::Serialize;

use crate::observe::export::told::{End, Event, occasion_name};
use crate::observe::names::{Who, service_name};
use crate::policy::valid::Labels;

/// A line, in the order of its keys.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    at: Timestamp,
    event: &'static str,
    wire: &'a str,
    service: String,
    source: LineEnd<'a>,
    destination: LineEnd<'a>,
    verdict: &'static str,
    reason: Option<&'static str>,
    gate: Option<&'static str>,
    rule: &'a str,
    tier: &'a str,
    potential: Option<&'a str>,
    epoch: u32,
    policy_hash: &'a str,
    packets: [u64; 2],
    bytes: [u64; 2],
    first_seen: Timestamp,
    last_seen: Timestamp,
    outcome: Option<&'static str>,
}

/// One end of a flow.
#[derive(Debug, Serialize)]
struct LineEnd<'a> {
    address: std::net::IpAddr,
    port: Option<u16>,
    kind: &'static str,
    name: Option<&'a str>,
    labels: Option<&'a Labels>,
}

impl<'a> Line<'a> {
    pub(super) fn new(event: &'a Event<'a>) -> Self {
        let told = event.told;
        let outcome = match told.event.occasion {
            Occasion::Ended(ending) => Some(ending.name()),
            Occasion::Opened | Occasion::Redecided | Occasion::Updated | Occasion::Denied => None,
        };
        Self {
            at: told.at,
            event: occasion_name(told.event.occasion),
            wire: event.wire,
            service: service_name(event.service),
            source: LineEnd::new(&event.source),
            destination: LineEnd::new(&event.destination),
            verdict: told.event.verdict.name(),
            reason: reason(told.event.occasion, told.event.verdict).map(DropReason::name),
            gate: told.event.gate.map(Gate::name),
            rule: &told.rule,
            tier: &told.tier,
            potential: told.potential.as_deref(),
            epoch: told.event.epoch.0,
            policy_hash: &told.policy_hash,
            packets: event.packets,
            bytes: event.bytes,
            first_seen: told.first_seen,
            last_seen: told.last_seen,
            outcome,
        }
    }
}

/// Why its packets are dropped, if they are: as [`DropReason`] counts them.
const fn reason(occasion: Occasion, verdict: Verdict) -> Option<DropReason> {
    use dataplane::records::Ending;
    match (occasion, verdict) {
        (Occasion::Ended(Ending::Cut), _) | (Occasion::Redecided, Verdict::Deny | Verdict::Reject) => {
            Some(DropReason::Revoked)
        }
        (Occasion::Denied, Verdict::Reject) => Some(DropReason::Rejected),
        (Occasion::Denied, Verdict::Deny) => Some(DropReason::Policy),
        _ => None,
    }
}

impl<'a> LineEnd<'a> {
    fn new(end: &'a End<'a>) -> Self {
        let (kind, name) = match &end.who {
            Who::Workload(name) => ("workload", Some(name.as_str())),
            Who::Network(name) => ("network", Some(name.as_str())),
            Who::Unknown => ("unknown", None),
        };
        Self { address: end.address, port: end.port, kind, name, labels: end.labels }
    }
}
