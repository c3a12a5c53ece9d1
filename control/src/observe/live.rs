//! A live flow in the policy's words: who opened it, to whom, for what.

use dataplane::address::Address;
use dataplane::flow::{FlowView, Orientation};
use dataplane::headers::protocol;

/// Initiator, responder, and the point of the service space that policy was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Who opened it.
    pub source: Address,
    /// To whom.
    pub destination: Address,
    /// `protocol << 16 | port`; see [`dataplane::flow::FlowKey`] for ICMP.
    pub service: u32,
    /// The initiator's port and the responder's, for protocols that have them.
    pub ports: [Option<u16>; 2],
}

impl Ends {
    /// Of a flow.
    #[must_use]
    pub fn of(view: &FlowView) -> Self {
        let key = &view.key;
        let ((source, source_port), (destination, destination_port)) = match view.initiator {
            Orientation::FromFirst => ((key.first, key.first_port), (key.second, key.second_port)),
            Orientation::FromSecond => ((key.second, key.second_port), (key.first, key.first_port)),
        };
        let has_ports = matches!(key.protocol, protocol::TCP | protocol::UDP | protocol::SCTP);
        let low = match (key.protocol, key.second_port) {
            // Not a query: type and code are in the first port.
            (protocol::ICMP | protocol::ICMPV6, 256..) => key.first_port,
            (protocol::ICMP | protocol::ICMPV6, kind) => kind << 8,
            _ if has_ports => destination_port,
            _ => 0,
        };
        Self {
            source,
            destination,
            service: u32::from(key.protocol) << 16 | u32::from(low),
            ports: [source_port, destination_port].map(|port| has_ports.then_some(port)),
        }
    }
}
