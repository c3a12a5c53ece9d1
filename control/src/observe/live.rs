//! A live flow in the policy's words: who opened it, to whom, for what.

use dataplane::address::Address;
use dataplane::flow::{FlowKey, FlowView, Orientation};
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
    /// Of a live flow.
    #[must_use]
    pub fn of(view: &FlowView) -> Self {
        Self::of_key(&view.key, view.initiator)
    }

    /// Of any flow that `initiator` opened.
    #[must_use]
    pub fn of_key(key: &FlowKey, initiator: Orientation) -> Self {
        let ((source, source_port), (destination, destination_port)) = match initiator {
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

/// The port of a point of the service space, for protocols that have ports.
#[must_use]
pub fn port_of(service: u32) -> Option<u16> {
    let protocol = u8::try_from(service >> 16).ok()?;
    let has_ports = matches!(protocol, protocol::TCP | protocol::UDP | protocol::SCTP);
    u16::try_from(service & 0xffff).ok().filter(|_| has_ports)
}

#[cfg(test)]
mod tests {
    use dataplane::verdict::WireId;

    use super::*;

    #[test]
    fn a_flow_is_what_its_initiator_asked_for() {
        use Orientation::{FromFirst, FromSecond};
        // Name, protocol, ports of the key, initiator, service.
        let cases = [
            ("TCP", 6, (40_000, 443), FromFirst, 6 << 16 | 443),
            ("TCP from the second", 6, (443, 40_000), FromSecond, 6 << 16 | 443),
            ("UDP", 17, (53, 40_000), FromSecond, 17 << 16 | 53),
            ("GRE", 47, (0, 0), FromFirst, 47 << 16),
            ("echo", 1, (77, 8), FromFirst, 1 << 16 | 8 << 8),
            ("echo v6", 58, (77, 128), FromFirst, 58 << 16 | 128 << 8),
            ("another ICMP message", 1, (9 << 8 | 16, 256), FromFirst, 1 << 16 | 9 << 8 | 16),
        ];
        for (name, protocol, (first_port, second_port), initiator, expected) in cases {
            let (first, second) = (Address::v4([10, 0, 0, 1]), Address::v4([10, 0, 0, 2]));
            let key = FlowKey { wire: WireId(0), protocol, first, second, first_port, second_port };
            assert_eq!(Ends::of_key(&key, initiator).service, expected, "{name}");
        }
    }
}
