//! One frame, judged: what kind it is decides who is asked.

use core::fmt;

use crate::ask::Ask;
use crate::counters::WorkerCounters;
use crate::flow::{FlowHandle, FlowTable};
use crate::headers::{Headers, Icmp, IcmpBody, Ip, Network, Transport};
use crate::policy::{ServiceKey, Snapshot};
use crate::records::Records;
use crate::verdict::{Decision, DropReason, RuleId, Verdict};

use super::flows::Lookup;
use super::{Arrival, SourceCheck};

/// Why a frame is lost, the rule or default where policy said so, and who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) reason: DropReason,
    pub(super) rule: Option<RuleId>,
    pub(super) told: Told,
}

/// Who learns that a frame was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Nobody,
    Sender,
    /// Of a TCP connection; of anything else only the sender.
    BothEnds,
}

impl Loss {
    pub(super) const fn of(reason: DropReason) -> Self {
        Self { reason, rule: None, told: Told::Nobody }
    }

    /// Policy denies what this frame would begin.
    pub(super) const fn denied(decision: &Decision) -> Self {
        let (reason, told) = match decision.verdict {
            Verdict::Reject => (DropReason::Rejected, Told::Sender),
            Verdict::Allow | Verdict::Deny => (DropReason::Policy, Told::Nobody),
        };
        Self { reason, rule: Some(decision.rule), told }
    }

    /// The frame's flow was cut.
    pub(super) fn revoked(handle: &FlowHandle<'_>) -> Self {
        let told = if handle.is_told() { Told::Sender } else { Told::Nobody };
        Self { reason: DropReason::Revoked, rule: Some(handle.rule()), told }
    }

    /// If the sender is told, so is the other end.
    pub(super) const fn told_to_both(self) -> Self {
        match self.told {
            Told::Nobody => self,
            Told::Sender | Told::BothEnds => Self { told: Told::BothEnds, ..self },
        }
    }
}

/// Everything a frame is judged with: one policy, one moment, one arrival.
pub(super) struct Judge<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) flows: &'a FlowTable,
    pub(super) counters: &'a WorkerCounters,
    pub(super) records: &'a Records,
    pub(super) worker: usize,
    pub(super) source_check: SourceCheck,
    /// Whether TCP connections may be picked up mid-stream now.
    pub(super) pickup: bool,
    pub(super) arrival: Arrival,
}

impl Judge<'_> {
    /// Judges a frame. Of a later fragment only the source is judged here.
    pub(super) fn frame(&self, headers: &Headers, lookup: Option<&Lookup>, bytes: u16) -> Result<(), Loss> {
        let ip = match &headers.network {
            Network::Ip(ip) => ip,
            Network::Arp(arp) => return self.arp(headers, arp),
            Network::Other(kind) => return self.ether_type(*kind),
        };
        let mut known = lookup.and_then(|lookup| self.find(lookup));
        match (lookup, &mut known) {
            (Some(lookup), Some(flow)) => {
                self.check_source_of(flow, lookup.sender, &headers.source_mac, ip)?
            }
            _ => self.check_source(&headers.source_mac, ip)?,
        }
        if ip.transport == Transport::Later {
            // Ports are in the datagram's first fragment: the fragment table knows what became of that.
            return Ok(());
        }
        if let Transport::Icmp(Icmp { kind, body, .. }) = ip.transport {
            match body {
                IcmpBody::Error(quoted) => return self.related(ip, &quoted, bytes),
                IcmpBody::Neighbour(nd) => return self.neighbour(headers, ip, kind, &nd),
                IcmpBody::Multicast => return self.stateless(ip),
                IcmpBody::Request(_) | IcmpBody::Reply(_) | IcmpBody::Other => {}
            }
        }
        match lookup {
            Some(lookup) => self.flow(ip, lookup, known, bytes),
            None => self.stateless(ip),
        }
    }

    fn ether_type(&self, kind: u16) -> Result<(), Loss> {
        if self.snapshot.table.passes_ether_type(kind) {
            Ok(())
        } else {
            Err(Loss::of(DropReason::EtherType))
        }
    }

    /// Asks policy about a packet that belongs to no flow and opens none.
    pub(super) fn stateless(&self, ip: &Ip) -> Result<(), Loss> {
        let service = ServiceKey::of(ip.protocol, &ip.transport);
        let (decision, _) = self.ask().decide(ip.source, ip.destination, service);
        match decision.verdict {
            Verdict::Allow => Ok(()),
            Verdict::Deny | Verdict::Reject => Err(Loss::denied(&decision)),
        }
    }

    /// Who asks policy.
    pub(super) const fn ask(&self) -> Ask<'_> {
        Ask { snapshot: self.snapshot, counters: self.counters, worker: self.worker }
    }
}

impl fmt::Debug for Judge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge").field("arrival", &self.arrival).finish_non_exhaustive()
    }
}
