//! One frame, judged: what kind it is decides who is asked.

use core::fmt;

use crate::address::Address;
use crate::counters::WorkerCounters;
use crate::flow::FlowTable;
use crate::headers::{Headers, Icmp, IcmpBody, Ip, Network, Transport};
use crate::policy::{ServiceKey, Snapshot};
use crate::verdict::{Decision, DropReason, RuleId, Verdict};

use super::flows::Lookup;
use super::{Arrival, SourceCheck};

/// Why a frame is lost, and the rule or default where policy said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) reason: DropReason,
    pub(super) rule: Option<RuleId>,
}

impl Loss {
    pub(super) const fn of(reason: DropReason) -> Self {
        Self { reason, rule: None }
    }

    pub(super) const fn by(reason: DropReason, rule: RuleId) -> Self {
        Self { reason, rule: Some(rule) }
    }
}

/// Everything a frame is judged with: one policy, one moment, one arrival.
pub(super) struct Judge<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) flows: &'a FlowTable,
    pub(super) counters: &'a WorkerCounters,
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
        self.check_source(&headers.source_mac, ip)?;
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
            Some(lookup) => self.flow(ip, lookup, bytes),
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
        let decision = self.decide(ip.source, ip.destination, service);
        match decision.verdict {
            Verdict::Allow => Ok(()),
            Verdict::Deny | Verdict::Reject => Err(Loss::by(DropReason::Policy, decision.rule)),
        }
    }

    /// Asks policy, and counts the answer under its rule.
    pub(super) fn decide(&self, source: Address, destination: Address, service: ServiceKey) -> Decision {
        let table = &self.snapshot.table;
        let decision = table.decide(table.resolve(source), table.resolve(destination), service);
        self.counters.decisions.add(1);
        self.snapshot.hits.count(self.worker, decision.rule);
        if decision.potential.is_some() {
            self.counters.potentially_blocked.add(1);
        }
        decision
    }
}

impl fmt::Debug for Judge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge").field("arrival", &self.arrival).finish_non_exhaustive()
    }
}
