//! The templates of flow records: which fields a flow has, and what stands in them.

use std::net::IpAddr;

use dataplane::records::{Ending, Occasion};
use jiff::Timestamp;

use super::element::{Element, HASH_BYTES, OWN, OwnElement, Space, iana, reverse};
use super::put::{labels_text, put_text};
use crate::observe::export::told::{Event, occasion_name};
use crate::observe::names::Who;

/// The number of the first template; RFC 7011 3.4.1 leaves 256 and above to exporters.
const FIRST: u16 = 256;
/// Bytes of an Ethernet header without tags.
const ETHERNET: u64 = 14;

/// What the transport of a flow has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Ports,
    Icmp,
    Bare,
}

/// What tells templates of flow records apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    v6: bool,
    transport: Transport,
    /// Whether it says how a flow ended.
    ended: bool,
}

impl Shape {
    /// Every shape there is.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let transports = [Transport::Ports, Transport::Icmp, Transport::Bare];
        [false, true].into_iter().flat_map(move |ended| {
            transports.into_iter().flat_map(move |transport| {
                [false, true].into_iter().map(move |v6| Self { v6, transport, ended })
            })
        })
    }

    /// That of an event.
    pub(super) fn of(event: &Event<'_>) -> Self {
        let transport = match (event.icmp(), event.source.port) {
            (Some(_), _) => Transport::Icmp,
            (None, Some(_)) => Transport::Ports,
            (None, None) => Transport::Bare,
        };
        let v6 = event.source.address.is_ipv6() || event.destination.address.is_ipv6();
        Self { v6, transport, ended: is_over(event.told.event.occasion) }
    }

    /// Its template's number: `FIRST + v6 + 2 * transport + 6 * ended`.
    pub(super) const fn id(self) -> u16 {
        FIRST + self.v6 as u16 + 2 * self.transport as u16 + 6 * self.ended as u16
    }

    /// The fields of its records, in their order.
    pub(super) fn fields(self) -> Vec<Element> {
        let mut fields = match self.v6 {
            false => vec![iana(8, 4), iana(12, 4)],
            true => vec![iana(27, 16), iana(28, 16)],
        };
        fields.push(iana(4, 1));
        match (self.transport, self.v6) {
            (Transport::Ports, _) => fields.extend([iana(7, 2), iana(11, 2)]),
            (Transport::Icmp, false) => fields.push(iana(32, 2)),
            (Transport::Icmp, true) => fields.push(iana(139, 2)),
            (Transport::Bare, _) => {}
        }
        // Start and end, octets and packets (less the Ethernet header, and with it) and back, event, flow, direction.
        fields.extend([iana(152, 8), iana(153, 8), iana(1, 8), iana(2, 8), iana(352, 8)]);
        fields.extend([reverse(1, 8), reverse(2, 8), reverse(352, 8)]);
        fields.extend([iana(233, 1), iana(148, 8), iana(239, 1)]);
        if self.ended {
            fields.push(iana(136, 1));
        }
        fields.extend(OWN.iter().filter(|own| self.ended || own.id != ENDING).map(OwnElement::field));
        fields
    }

    /// The most bytes of one of its records.
    #[cfg(test)]
    pub(super) fn longest(self) -> usize {
        let own = |id| OWN.iter().find(|own| own.id == id).map_or(0, |own| usize::from(own.bytes) + 1);
        let length = |field: Element| match field.length {
            super::element::VARIABLE => own(field.id),
            fixed => usize::from(fixed),
        };
        self.fields().into_iter().map(length).sum()
    }
}

/// `ringfenceEnding`, which only flows that ended have.
const ENDING: u16 = 12;

/// Appends what stands in `field` of the record of `event`.
pub(super) fn put(field: Element, event: &Event<'_>, into: &mut Vec<u8>) {
    let told = event.told;
    match (field.space, field.id) {
        (Space::Own, id) => put_own(id, event, into),
        (_, 8 | 27) => put_address(event.source.address, field.length, into),
        (_, 12 | 28) => put_address(event.destination.address, field.length, into),
        (_, 4) => into.push(event.key().protocol),
        (_, 7) => into.extend_from_slice(&event.source.port.unwrap_or(0).to_be_bytes()),
        (_, 11) => into.extend_from_slice(&event.destination.port.unwrap_or(0).to_be_bytes()),
        (_, 32 | 139) => into.extend_from_slice(&event.icmp().unwrap_or(0).to_be_bytes()),
        (_, 152) => into.extend_from_slice(&millis(told.first_seen).to_be_bytes()),
        (_, 153) => into.extend_from_slice(&millis(told.last_seen).to_be_bytes()),
        (space, id @ (1 | 2 | 352)) => {
            let way = usize::from(space == Space::Reverse);
            into.extend_from_slice(&count(id, way, event).to_be_bytes());
        }
        (_, 233) => into.push(firewall_event(told.event.occasion)),
        (_, 148) => into.extend_from_slice(&flow_id(event).to_be_bytes()),
        // The source is who opened the flow (RFC 5103 6.3).
        (_, 239) => into.push(1),
        (_, 136) => into.push(end_reason(told.event.occasion)),
        (_, id) => debug_assert!(false, "element {id} has no value"),
    }
}

/// The counts add up to a flow's total over its records: what opens or decides it again has none.
fn count(id: u16, way: usize, event: &Event<'_>) -> u64 {
    let (packets, bytes) = match event.told.event.occasion {
        Occasion::Opened | Occasion::Redecided => (0, 0),
        Occasion::Updated | Occasion::Ended(_) | Occasion::Denied => (event.packets[way], event.bytes[way]),
    };
    match id {
        1 => bytes.saturating_sub(packets.saturating_mul(ETHERNET)),
        2 => packets,
        _ => bytes,
    }
}

fn put_own(id: u16, event: &Event<'_>, into: &mut Vec<u8>) {
    let told = event.told;
    let name = |who: &Who| match who {
        Who::Workload(name) | Who::Network(name) => name.clone(),
        Who::Unknown => String::new(),
    };
    let owned;
    let text: &str = match id {
        1 => occasion_name(told.event.occasion),
        2 => told.event.verdict.name(),
        3 => told.event.gate.map_or("", dataplane::verdict::Gate::name),
        4 => &told.rule,
        5 => &told.tier,
        6 => told.potential.as_deref().unwrap_or(""),
        11 => event.wire,
        ENDING => match told.event.occasion {
            Occasion::Ended(ending) => ending.name(),
            Occasion::Opened | Occasion::Redecided | Occasion::Updated | Occasion::Denied => "",
        },
        13 => return into.extend_from_slice(&told.event.epoch.0.to_be_bytes()),
        14 => return into.extend_from_slice(&hash_bytes(&told.policy_hash)),
        _ => {
            owned = match id {
                7 => name(&event.source.who),
                8 => labels_text(event.source.labels),
                9 => name(&event.destination.who),
                _ => labels_text(event.destination.labels),
            };
            &owned
        }
    };
    let most = OWN.iter().find(|own| own.id == id).map_or(0, |own| own.bytes);
    put_text(text, most, into);
}

fn put_address(address: IpAddr, length: u16, into: &mut Vec<u8>) {
    match (address, length) {
        (IpAddr::V4(address), 4) => into.extend_from_slice(&address.octets()),
        (IpAddr::V4(address), _) => into.extend_from_slice(&address.to_ipv6_mapped().octets()),
        (IpAddr::V6(address), _) => into.extend_from_slice(&address.octets()),
    }
}

fn millis(at: Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or(0)
}

/// Whether a record of the flow ends here: with the flow, or because it lives for long (RFC 7011 calls both so).
const fn is_over(occasion: Occasion) -> bool {
    matches!(occasion, Occasion::Ended(_) | Occasion::Updated)
}

/// IANA's registry of `firewallEvent`: created, deleted, denied, update.
const fn firewall_event(occasion: Occasion) -> u8 {
    match occasion {
        Occasion::Opened => 1,
        Occasion::Ended(_) => 2,
        Occasion::Denied => 3,
        Occasion::Redecided | Occasion::Updated => 5,
    }
}

/// IANA's registry of `flowEndReason`: idle, active (the flow goes on), end of flow detected, forced end, lack of resources.
const fn end_reason(occasion: Occasion) -> u8 {
    match occasion {
        Occasion::Ended(Ending::TimedOut) => 1,
        Occasion::Updated => 2,
        Occasion::Ended(Ending::Finished | Ending::Reset) => 3,
        Occasion::Ended(Ending::Evicted) => 5,
        // Only what ended has this field.
        Occasion::Ended(Ending::Cut) | Occasion::Opened | Occasion::Redecided | Occasion::Denied => 4,
    }
}

/// The same for every record of one flow, and hardly ever for two: FNV-1a over its key and the time it was opened.
fn flow_id(event: &Event<'_>) -> u64 {
    let key = event.key();
    let mut bytes = Vec::with_capacity(64);
    put_address(key.first.to_ip(), 16, &mut bytes);
    put_address(key.second.to_ip(), 16, &mut bytes);
    for number in [key.first_port, key.second_port, key.wire.0, u16::from(key.protocol)] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.extend_from_slice(&event.told.event.first_seen.to_be_bytes());
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The bytes of a hash in hexadecimal; zeros for anything else.
fn hash_bytes(hexadecimal: &str) -> [u8; HASH_BYTES as usize] {
    let mut bytes = [0; HASH_BYTES as usize];
    if hexadecimal.len() == 2 * bytes.len() && hexadecimal.is_ascii() {
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hexadecimal[2 * at..2 * at + 2], 16).unwrap_or(0);
        }
    }
    bytes
}
