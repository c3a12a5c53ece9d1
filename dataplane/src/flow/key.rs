//! What makes two packets belong to one flow.

use core::hint::select_unpredictable;

use crate::address::Address;
use crate::headers::{Icmp, IcmpBody, Ip, Quoted, Transport, protocol};
use crate::verdict::WireId;

/// Which of the two ends of a [`FlowKey`] sent a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Orientation {
    /// Sent by [`FlowKey::first`].
    FromFirst,
    /// Sent by [`FlowKey::second`].
    FromSecond,
}

impl Orientation {
    /// The other direction.
    #[must_use]
    pub const fn reverse(self) -> Self {
        match self {
            Self::FromFirst => Self::FromSecond,
            Self::FromSecond => Self::FromFirst,
        }
    }

    /// 0 for [`Orientation::FromFirst`], 1 for [`Orientation::FromSecond`]: indexes arrays kept per direction.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::FromFirst => 0,
            Self::FromSecond => 1,
        }
    }

    pub(super) const fn from_bit(bit: u32) -> Self {
        if bit == 0 { Self::FromFirst } else { Self::FromSecond }
    }
}

/// Identifies a flow: the same value for the packets of both directions.
///
/// TCP, UDP and SCTP: the end with the smaller (address, port) is `first`. Protocols without ports: the same with
/// ports 0. ICMP queries (echo, timestamp) are directional: `first` is the *requester*, `first_port` the id and
/// `second_port` the request's type, so that a request which reuses the id of a query running the other way is a
/// flow of its own and cannot pass as that query's reply (the bypass of GHSA-c66w-hq56-4q97). Any other ICMP
/// message: `first` is the sender, `first_port` is `type << 8 | code`, `second_port` is 256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    /// The wire: the same addresses on two wires are two flows.
    pub wire: WireId,
    /// IP protocol number.
    pub protocol: u8,
    /// The canonical first end.
    pub first: Address,
    /// The other end.
    pub second: Address,
    /// Port of `first`; for ICMP see above.
    pub first_port: u16,
    /// Port of `second`; for ICMP see above.
    pub second_port: u16,
}

/// `second_port` of ICMP messages that are no query: above every type.
const ICMP_NO_QUERY: u16 = 0x100;

impl FlowKey {
    /// The flow a packet belongs to and which end sent it, or `None` for packets that are no flow's own: ICMP
    /// errors (see [`FlowKey::of_quoted`]), neighbour discovery, multicast listener messages, later fragments.
    #[inline(always)]
    #[must_use]
    pub fn of(wire: WireId, ip: &Ip) -> Option<(Self, Orientation)> {
        let ends = Ends { wire, protocol: ip.protocol, source: ip.source, destination: ip.destination };
        match ip.transport {
            Transport::Tcp(tcp) => Some(ends.sorted(tcp.ports.source, tcp.ports.destination)),
            Transport::Udp(ports) | Transport::Sctp(ports) => {
                Some(ends.sorted(ports.source, ports.destination))
            }
            Transport::Icmp(icmp) => of_icmp(ends, &icmp),
            Transport::Other => Some(ends.sorted(0, 0)),
            Transport::Later => None,
        }
    }

    /// The TCP connection that `source` opened to `destination`, and which end of the key that was.
    #[must_use]
    pub fn of_connection(
        wire: WireId,
        (source, source_port): (Address, u16),
        (destination, destination_port): (Address, u16),
    ) -> (Self, Orientation) {
        let ends = Ends { wire, protocol: protocol::TCP, source, destination };
        ends.sorted(source_port, destination_port)
    }

    /// The flow that the packet quoted by an ICMP error belongs to, and the orientation *of the error itself*: an
    /// error travels back to the sender of what it quotes, so it counts as sent by the other end.
    ///
    /// `None` when the quoted packet could not have been a flow's: an ICMP error about an ICMP error
    /// (forbidden by RFC 1122 3.2.2 and RFC 4443 2.4e).
    #[must_use]
    pub fn of_quoted(wire: WireId, quoted: &Quoted) -> Option<(Self, Orientation)> {
        let ends =
            Ends { wire, protocol: quoted.protocol, source: quoted.source, destination: quoted.destination };
        let icmp = matches!(quoted.protocol, protocol::ICMP | protocol::ICMPV6);
        let (key, sent) = if !icmp {
            ends.sorted(quoted.ports.source, quoted.ports.destination)
        } else {
            match query_role(quoted.protocol, quoted.icmp_kind) {
                Role::Request(kind) => ends.requested(quoted.ports.source, kind),
                Role::Reply(kind) => ends.replied(quoted.ports.source, kind),
                Role::Error => return None,
                Role::Other => ends.requested(quoted.ports.destination, ICMP_NO_QUERY),
            }
        };
        Some((key, sent.reverse()))
    }

    /// The key in five words for comparing and storing; the last is never 0.
    #[inline(always)]
    pub(super) fn words(&self) -> [u64; 5] {
        let (first, second) = (halves(self.first), halves(self.second));
        let rest = u64::from(self.first_port) << 48
            | u64::from(self.second_port) << 32
            | u64::from(self.wire.0) << 16
            | u64::from(self.protocol) << 8
            | 1;
        [first.0, first.1, second.0, second.1, rest]
    }

    /// The inverse of [`FlowKey::words`].
    #[expect(clippy::cast_possible_truncation, reason = "takes the fields apart")]
    pub(super) fn from_words(words: [u64; 5]) -> Self {
        let address =
            |upper: u64, lower: u64| Address::from_bits(u128::from(upper) << 64 | u128::from(lower));
        let rest = words[4];
        Self {
            wire: WireId((rest >> 16) as u16),
            protocol: Self::protocol_of(rest),
            first: address(words[0], words[1]),
            second: address(words[2], words[3]),
            first_port: (rest >> 48) as u16,
            second_port: (rest >> 32) as u16,
        }
    }

    /// The protocol in the last of [`FlowKey::words`].
    #[expect(clippy::cast_possible_truncation, reason = "takes the field apart")]
    pub(super) const fn protocol_of(word: u64) -> u8 {
        (word >> 8) as u8
    }

    /// Source and destination address of packets of one orientation.
    #[must_use]
    pub const fn addresses(&self, orientation: Orientation) -> (Address, Address) {
        match orientation {
            Orientation::FromFirst => (self.first, self.second),
            Orientation::FromSecond => (self.second, self.first),
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "each half is taken on purpose")]
fn halves(address: Address) -> (u64, u64) {
    ((address.bits() >> 64) as u64, address.bits() as u64)
}

/// A packet's ends before they are put in order.
#[derive(Clone, Copy)]
struct Ends {
    wire: WireId,
    protocol: u8,
    source: Address,
    destination: Address,
}

impl Ends {
    /// Which end comes first is as good as random, so nothing here branches on it: a wrong guess costs 5 ns.
    #[inline(always)]
    fn sorted(self, source_port: u16, destination_port: u16) -> (FlowKey, Orientation) {
        let Self { wire, protocol, source, destination } = self;
        let swap = (source > destination) | ((source == destination) & (source_port > destination_port));
        let pick = |own, other| select_unpredictable(swap, other, own);
        let pick_port = |own, other| select_unpredictable(swap, other, own);
        let key = FlowKey {
            wire,
            protocol,
            first: pick(source, destination),
            second: pick(destination, source),
            first_port: pick_port(source_port, destination_port),
            second_port: pick_port(destination_port, source_port),
        };
        (key, Orientation::from_bit(u32::from(swap)))
    }

    /// The packet's source is `first`.
    fn requested(self, first_port: u16, second_port: u16) -> (FlowKey, Orientation) {
        let Self { wire, protocol, source: first, destination: second } = self;
        (FlowKey { wire, protocol, first, second, first_port, second_port }, Orientation::FromFirst)
    }

    /// The packet's destination is `first`.
    fn replied(self, first_port: u16, second_port: u16) -> (FlowKey, Orientation) {
        let Self { wire, protocol, source: second, destination: first } = self;
        (FlowKey { wire, protocol, first, second, first_port, second_port }, Orientation::FromSecond)
    }
}

#[inline(never)]
fn of_icmp(ends: Ends, icmp: &Icmp) -> Option<(FlowKey, Orientation)> {
    match icmp.body {
        IcmpBody::Request(id) => Some(ends.requested(id, u16::from(icmp.kind))),
        IcmpBody::Reply(id) => match query_role(ends.protocol, icmp.kind) {
            Role::Reply(kind) => Some(ends.replied(id, kind)),
            _ => None,
        },
        IcmpBody::Other => {
            Some(ends.requested(u16::from(icmp.kind) << 8 | u16::from(icmp.code), ICMP_NO_QUERY))
        }
        IcmpBody::Error(_) | IcmpBody::Neighbour(_) | IcmpBody::Multicast => None,
    }
}

/// What an ICMP type is in a query; both query roles carry the *request's* type.
enum Role {
    Request(u16),
    Reply(u16),
    Error,
    Other,
}

/// Types from the IANA registries: echo 8/0 and timestamp 13/14 in ICMP, echo 128/129 in ICMPv6; errors are 3, 4, 5
/// (redirect), 11, 12 in ICMP and everything below 128 in ICMPv6 (RFC 4443 2.1).
fn query_role(protocol_number: u8, kind: u8) -> Role {
    match (protocol_number, kind) {
        (protocol::ICMP, 8 | 13) | (protocol::ICMPV6, 128) => Role::Request(u16::from(kind)),
        (protocol::ICMP, 0) => Role::Reply(8),
        (protocol::ICMP, 14) => Role::Reply(13),
        (protocol::ICMPV6, 129) => Role::Reply(128),
        (protocol::ICMP, 3..=5 | 11 | 12) | (protocol::ICMPV6, 0..=127) => Role::Error,
        _ => Role::Other,
    }
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
