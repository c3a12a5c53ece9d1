//! `toPorts` and `icmps`.

use super::super::object::{Object, number, word};
use super::super::ports::{Ports, number_or_name, range, span, whole};
use crate::policy::diagnostics::{Code, Finding, Sink, quote};
use crate::policy::source::Word;
use crate::policy::source::yaml::Node;
use crate::policy::valid::ServiceRange;
use dataplane::headers::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};

/// Protocols that have ports.
const PORTED: [u8; 3] = [TCP, UDP, SCTP];

/// Protocols by name: what a port of them may be is for [`PORTED`] only.
const PROTOCOLS: &[(&str, &[u8])] = &[
    ("ANY", &PORTED),
    ("TCP", &[TCP]),
    ("UDP", &[UDP]),
    ("SCTP", &[SCTP]),
    ("ICMP", &[ICMP]),
    ("ICMPv6", &[ICMPV6]),
    ("VRRP", &[112]),
    ("IGMP", &[2]),
];

/// Types of ICMP by Cilium's names (pkg/policy/api/icmp.go).
const ICMP_TYPES: &[(&str, u32)] = &[
    ("EchoReply", 0),
    ("DestinationUnreachable", 3),
    ("Redirect", 5),
    ("Echo", 8),
    ("EchoRequest", 8),
    ("RouterAdvertisement", 9),
    ("RouterSelection", 10),
    ("TimeExceeded", 11),
    ("ParameterProblem", 12),
    ("Timestamp", 13),
    ("TimestampReply", 14),
    ("Photuris", 40),
    ("ExtendedEchoRequest", 42),
    ("ExtendedEchoReply", 43),
];

/// As [`ICMP_TYPES`], of ICMPv6.
const ICMPV6_TYPES: &[(&str, u32)] = &[
    ("DestinationUnreachable", 1),
    ("PacketTooBig", 2),
    ("TimeExceeded", 3),
    ("ParameterProblem", 4),
    ("EchoRequest", 128),
    ("EchoReply", 129),
    ("MulticastListenerQuery", 130),
    ("MulticastListenerReport", 131),
    ("MulticastListenerDone", 132),
    ("RouterSolicitation", 133),
    ("RouterAdvertisement", 134),
    ("NeighborSolicitation", 135),
    ("NeighborAdvertisement", 136),
    ("RedirectMessage", 137),
    ("RouterRenumbering", 138),
    ("ICMPNodeInformationQuery", 139),
    ("ICMPNodeInformationResponse", 140),
    ("InverseNeighborDiscoverySolicitation", 141),
    ("InverseNeighborDiscoveryAdvertisement", 142),
    ("HomeAgentAddressDiscoveryRequest", 144),
    ("HomeAgentAddressDiscoveryReply", 145),
    ("MobilePrefixSolicitation", 146),
    ("MobilePrefixAdvertisement", 147),
];

/// What an entry speaks: everything unless told.
pub(super) fn read(entry: &mut Object<'_>, sink: &mut Sink<'_>) -> Option<Ports> {
    let before = sink.errors();
    let places = ["toPorts", "icmps"].map(|field| entry.place(field));
    let by_port = entry.list("toPorts", sink);
    let by_type = entry.list("icmps", sink);
    if let (Some(_), Some(_), [_, Some(place)]) = (&by_port, &by_type, places) {
        let text = "an entry has `toPorts` or `icmps`, not both";
        sink.push(Finding::error(Code::BadService, place, text));
    }
    if by_port.is_none() && by_type.is_none() {
        return Some(Ports::any());
    }
    let mut ports = Ports::default();
    for item in by_port.unwrap_or_default() {
        list(item, &mut ports, sink);
    }
    for item in by_type.unwrap_or_default() {
        icmp(item, &mut ports, sink);
    }
    (sink.errors() == before).then_some(ports)
}

fn list(node: Node<'_>, ports: &mut Ports, sink: &mut Sink<'_>) -> Option<()> {
    let mut object = Object::open(node, "a list of ports", sink)?;
    let span = object.span;
    object.refuse(
        "rules",
        "ringfence does not look into what is spoken, and without them more would be allowed",
        sink,
    );
    for field in ["serverNames", "terminatingTLS", "originatingTLS", "listener"] {
        object.refuse(field, "ringfence does not look into what is spoken", sink);
    }
    let items = object.list("ports", sink).unwrap_or_default();
    object.finish(sink);
    if items.is_empty() {
        let text = "a list of ports without a port: leave `toPorts` out to mean every port";
        sink.push(Finding::error(Code::EmptySet, span, text));
    }
    for item in items {
        port(item, ports, sink);
    }
    Some(())
}

fn port(node: Node<'_>, ports: &mut Ports, sink: &mut Sink<'_>) -> Option<()> {
    let mut object = Object::open(node, "a port", sink)?;
    let at = object.span;
    let name = object.word("protocol", sink);
    let written = object.word("port", sink);
    let end = object.word("endPort", sink);
    object.finish(sink);
    let name = name.as_ref();
    let protocols = protocols(name, sink)?;
    let is_zero = written.as_ref().is_none_or(|word| word.value == "0");
    let Some(written) = written.filter(|_| !is_zero) else {
        if let Some(end) = end.filter(|end| end.value != "0") {
            let text = "`endPort` needs a `port` to begin with";
            sink.push(Finding::error(Code::BadService, end.span, text));
        }
        let is_any = name.is_none_or(|name| name.value.eq_ignore_ascii_case("any"));
        if is_any {
            ports.ranges.push(ServiceRange::ANY);
        } else {
            ports.ranges.extend(protocols.iter().map(|protocol| whole(*protocol)));
        }
        return Some(());
    };
    if let Some(name) = name.filter(|_| protocols.iter().any(|one| !PORTED.contains(one))) {
        let text = format!("{} has no ports", quote(&name.value));
        sink.push(Finding::error(Code::BadService, written.span, text));
        return None;
    }
    match number_or_name(&written, sink)? {
        Ok(first) => {
            let last = match end.filter(|end| end.value != "0") {
                Some(end) => number(&end, 1, 65_535, sink)?,
                None => first,
            };
            for protocol in protocols {
                ports.ranges.push(span(*protocol, first, last, at, sink)?);
            }
        }
        Err(name) => ports.named.extend(protocols.iter().map(|protocol| (name.clone(), whole(*protocol)))),
    }
    Some(())
}

fn protocols(word: Option<&Word>, sink: &mut Sink<'_>) -> Option<&'static [u8]> {
    let Some(word) = word else { return Some(&PORTED) };
    let known = PROTOCOLS.iter().find(|(name, _)| name.eq_ignore_ascii_case(&word.value));
    if known.is_none() {
        let text = format!("there is no protocol {} here", quote(&word.value));
        let legal = PROTOCOLS.iter().map(|(name, _)| *name);
        sink.push(Finding::error(Code::UnknownWord, word.span, text).legal(legal));
    }
    known.map(|(_, protocols)| *protocols)
}

fn icmp(node: Node<'_>, ports: &mut Ports, sink: &mut Sink<'_>) -> Option<()> {
    let mut object = Object::open(node, "a list of ICMP types", sink)?;
    let span = object.span;
    let fields = object.list("fields", sink).unwrap_or_default();
    object.finish(sink);
    if fields.is_empty() {
        sink.push(Finding::error(Code::EmptySet, span, "a list of ICMP types without a type"));
    }
    for field in fields {
        let mut field = Object::open(field, "an ICMP type", sink)?;
        let family = field.word("family", sink);
        let kind = field.need("type", sink).and_then(|node| word(node, sink));
        field.finish(sink);
        let kind = kind?;
        let (protocol, types) = match family.as_ref().map(|word| (word.value.as_str(), word.span)) {
            None | Some(("IPv4", _)) => (ICMP, ICMP_TYPES),
            Some(("IPv6", _)) => (ICMPV6, ICMPV6_TYPES),
            Some((other, span)) => {
                let text = format!("there is no family {}", quote(other));
                sink.push(Finding::error(Code::UnknownWord, span, text).legal(["IPv4", "IPv6"]));
                return None;
            }
        };
        let named = types.iter().find(|(name, _)| *name == kind.value).map(|(_, number)| *number);
        let kind = match named {
            Some(number) => number,
            None => number(&kind, 0, 255, sink)?,
        };
        ports.ranges.push(range(protocol, kind << 8, kind << 8 | 0xff));
    }
    Some(())
}
