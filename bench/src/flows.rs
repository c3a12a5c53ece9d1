//! Flows to fill tables and batches with: numbered, distinct, scattered.

use core::net::{IpAddr, SocketAddr};

use dataplane::address::Address;
use dataplane::flow::{FlowKey, FlowTable, NewFlow, Orientation};
use dataplane::headers::{Ip, Ports, Transport, protocol};
use dataplane::verdict::{DraftAnswers, Epoch, OnRevoke, RuleId, Terms, WireId};

use crate::estate;

/// The two ends of flow `n` in the estate of so many `workloads` and `rules`, at most 10,000: the initiator and the
/// responder of an exact rule, which allows it. All flows of one rule differ.
#[must_use]
pub fn ends(n: u32, workloads: u32, rules: u32) -> (u32, u16, u32, u16) {
    let rule = (0..).map(|step| (n + step) % rules).find(|&rule| estate::is_exact(rule)).unwrap_or(0);
    let spoken = estate::spoken(rule, workloads);
    let rest = n / rules;
    let (from, to) = (estate::member(spoken.from, rest), estate::member(spoken.to, rest / 5));
    let port = 1024 + (n % 6) * 10_000 + rest / 25 % 10_000;
    (from, u16::try_from(port).unwrap_or(u16::MAX), to, spoken.port)
}

/// [`ends`] as IPv4 sockets.
#[must_use]
pub fn sockets(n: u32, workloads: u32, rules: u32) -> (SocketAddr, SocketAddr) {
    let (from, from_port, to, to_port) = ends(n, workloads, rules);
    let socket = |host, port| SocketAddr::new(IpAddr::V4(estate::v4(host)), port);
    (socket(from, from_port), socket(to, to_port))
}

/// [`ends`] as IPv6 sockets.
#[must_use]
pub fn sockets_v6(n: u32, workloads: u32, rules: u32) -> (SocketAddr, SocketAddr) {
    let (from, from_port, to, to_port) = ends(n, workloads, rules);
    let socket = |host, port| SocketAddr::new(IpAddr::V6(estate::v6(host)), port);
    (socket(from, from_port), socket(to, to_port))
}

/// The key of a UDP flow, and which end its first packet comes from.
///
/// # Panics
/// Never: UDP always makes a flow.
#[must_use]
#[expect(clippy::expect_used, reason = "UDP always makes a flow")]
pub fn key(from: SocketAddr, to: SocketAddr) -> (FlowKey, Orientation) {
    let ip = Ip {
        source: Address::from(from.ip()),
        destination: Address::from(to.ip()),
        protocol: protocol::UDP,
        hop_limit: 64,
        network_offset: 14,
        transport_offset: 34,
        end: 60,
        fragment: None,
        transport: Transport::Udp(Ports { source: from.port(), destination: to.port() }),
    };
    FlowKey::of(WireId(0), &ip).expect("UDP always makes a flow")
}

/// A new flow of this initiator, as policy would have allowed it.
#[must_use]
pub const fn allowed(initiator: Orientation) -> NewFlow {
    NewFlow {
        initiator,
        sender: initiator,
        connection: None,
        epoch: Epoch(1),
        rule: RuleId::FIRST,
        potential: None,
        terms: Terms { on_revoke: OnRevoke::Cut, drafts: DraftAnswers::from_bits(0) },
        bytes: 60,
    }
}

/// A table with room for twice `flows`.
///
/// # Panics
/// If there is no memory.
#[must_use]
#[expect(clippy::expect_used, reason = "a bench without memory has nothing to measure")]
pub fn table(flows: u32) -> FlowTable {
    FlowTable::new((flows as usize * 2).next_power_of_two()).expect("memory for the flow table")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::sockets;

    #[test]
    fn flows_differ() {
        for (workloads, rules) in [(100, 100), (10_000, 1000)] {
            let distinct: HashSet<_> = (0..50_000).map(|n| sockets(n, workloads, rules)).collect();
            assert_eq!(distinct.len(), 50_000, "{workloads} workloads, {rules} rules");
        }
    }
}
