//! What a flow speaks, as one number.

use crate::headers::Transport;

/// A point in the service space: `protocol << 16 | port`. The low 16 bits are the destination port for TCP, UDP and
/// SCTP, `type << 8 | code` for ICMP and ICMPv6, and 0 for every other protocol. Never above [`ServiceKey::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey(u32);

impl ServiceKey {
    /// The last point of the service space.
    pub const MAX: u32 = 0x00ff_ffff;

    /// From a protocol number (IANA) and the low 16 bits.
    #[must_use]
    pub const fn new(protocol: u8, low: u16) -> Self {
        Self((protocol as u32) << 16 | low as u32)
    }

    /// From the number that [`ServiceKey::value`] gives; `None` above [`ServiceKey::MAX`].
    #[must_use]
    pub const fn from_value(value: u32) -> Option<Self> {
        if value <= Self::MAX { Some(Self(value)) } else { None }
    }

    /// Of a packet that opens a flow. A later fragment has no port: it counts as port 0, so callers judge it by its
    /// datagram's first fragment instead.
    #[must_use]
    pub const fn of(protocol: u8, transport: &Transport) -> Self {
        let low = match transport {
            Transport::Tcp(tcp) => tcp.ports.destination,
            Transport::Udp(ports) | Transport::Sctp(ports) => ports.destination,
            Transport::Icmp(icmp) => (icmp.kind as u16) << 8 | icmp.code as u16,
            Transport::Other | Transport::Later => 0,
        };
        Self::new(protocol, low)
    }

    /// The key as a number.
    #[must_use]
    pub const fn value(self) -> u32 {
        self.0
    }

    /// The protocol number.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the key has 24 bits")]
    pub const fn protocol(self) -> u8 {
        (self.0 >> 16) as u8
    }

    /// The port, or `type << 8 | code`, or 0.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "only the low half is wanted")]
    pub const fn low(self) -> u16 {
        self.0 as u16
    }
}

#[cfg(test)]
mod tests {
    use super::ServiceKey;
    use crate::headers::{Icmp, IcmpBody, Ports, Transport};

    #[test]
    fn key_of_a_transport_header() {
        let ports = Ports { source: 9, destination: 53 };
        let echo = Icmp { kind: 8, code: 0, body: IcmpBody::Request(7) };
        for (name, protocol, transport, expected) in [
            ("udp takes the destination port", 17, Transport::Udp(ports), 17 << 16 | 53),
            ("sctp takes the destination port", 132, Transport::Sctp(ports), 132 << 16 | 53),
            ("icmp takes type and code", 1, Transport::Icmp(echo), 1 << 16 | 8 << 8),
            ("gre has no port", 47, Transport::Other, 47 << 16),
        ] {
            let key = ServiceKey::of(protocol, &transport);
            assert_eq!(key.value(), expected, "{name}");
            assert_eq!(ServiceKey::new(key.protocol(), key.low()), key, "{name}");
            assert_eq!(ServiceKey::from_value(expected), Some(key), "{name}");
        }
        assert_eq!(ServiceKey::from_value(ServiceKey::MAX + 1), None);
    }
}
