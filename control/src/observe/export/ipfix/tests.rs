//! What the encoder writes, as an independent decoder reads it.

mod sockets;

use std::collections::BTreeMap;

use dataplane::records::{Ending, FlowEvent, Occasion};
use netflow_parser::NetflowParser;
use netflow_parser::variable_versions::enterprise_registry::EnterpriseFieldDef;
use netflow_parser::variable_versions::field_value::FieldDataType;
use proptest::prelude::*;
use serde_json::Value;

use super::shape::Shape;
use super::*;
use crate::observe::export::tests::{HASH, event, scene, told};
use crate::observe::export::told::Event;

const ENTERPRISE: u32 = 32_473;

/// A record as it was read: field to value.
type Record = BTreeMap<String, String>;

/// Reads messages with a decoder that somebody else wrote, told only the types of ringfence's own elements.
struct Decoder(NetflowParser);

impl Decoder {
    fn new() -> Self {
        let kind = |own: &OwnElement| match own.kind {
            Kind::String => FieldDataType::String,
            Kind::Unsigned32 => FieldDataType::UnsignedDataNumber,
            Kind::OctetArray => FieldDataType::Vec,
        };
        let own: Vec<_> =
            OWN.iter().map(|own| EnterpriseFieldDef::new(ENTERPRISE, own.id, own.name, kind(own))).collect();
        Self(NetflowParser::builder().register_enterprise_fields(own).build().unwrap())
    }

    /// The number of the message, and its records: of flows, and of options.
    fn read(&mut self, bytes: &[u8]) -> (u64, [Vec<Record>; 2]) {
        let parsed = self.0.parse_bytes(bytes);
        assert!(parsed.error.is_none(), "{:?}", parsed.error);
        let packets = serde_json::to_value(parsed.packets).unwrap();
        let message = &packets[0]["IPFix"];
        let mut found = [Vec::new(), Vec::new()];
        for set in message["flowsets"].as_array().unwrap() {
            for (records, body) in found.iter_mut().zip(["Data", "OptionsData"]) {
                records.extend(set["body"][body]["fields"].as_array().into_iter().flatten().map(record));
            }
        }
        (message["header"]["sequence_number"].as_u64().unwrap(), found)
    }
}

fn record(fields: &Value) -> Record {
    let field = |pair: &Value| {
        let (space, name) = pair[0].as_object().unwrap().iter().next().unwrap();
        let name = match space.as_str() {
            "Enterprise" => {
                let own = OWN.iter().find(|own| name["field_number"] == own.id);
                assert_eq!(name["enterprise_number"], ENTERPRISE);
                own.unwrap().name.to_owned()
            }
            _ => name.as_str().unwrap().to_owned(),
        };
        (name, plain(&pair[1]))
    };
    fields.as_array().unwrap().iter().map(field).collect()
}

/// The value without the decoder's names of its types.
fn plain(value: &Value) -> String {
    match value {
        Value::Object(one) if one.len() == 1 => plain(one.values().next().unwrap()),
        Value::String(text) => text.clone(),
        Value::Array(bytes) => bytes.iter().map(|byte| format!("{:02x}", byte.as_u64().unwrap())).collect(),
        other => other.to_string(),
    }
}

/// The one flow record that an event becomes.
fn decoded(event: FlowEvent) -> Record {
    let (scene, told) = (scene(), told(event));
    let mut encoder = Encoder::new(7, ENTERPRISE, 1400);
    encoder.describe(Timestamp::now());
    encoder.flow(&Event::new(&told, Some(&scene), &["segment-a".into()]), Timestamp::now());
    let mut decoder = Decoder::new();
    let messages = encoder.finish(Timestamp::now());
    let mut flows: Vec<Record> =
        messages.iter().flat_map(|message| decoder.read(&message.bytes).1[0].clone()).collect();
    assert_eq!(flows.len(), 1, "{flows:?}");
    flows.remove(0)
}

/// A name, an event, and some fields of what it becomes.
type Case = (&'static str, FlowEvent, &'static [(&'static str, &'static str)]);

/// What stands in the record of a TCP connection over IPv4 that finished.
const FULL: &[(&str, &str)] = &[
    ("SourceIpv4address", "10.0.0.1"),
    ("DestinationIpv4address", "10.0.0.2"),
    ("SourceTransportPort", "40000"),
    ("DestinationTransportPort", "443"),
    ("ProtocolIdentifier", "Tcp"),
    ("FirewallEvent", "FlowDeleted"),
    ("FlowEndReason", "EndOfFlow"),
    ("BiflowDirection", "1"),
    ("PacketDeltaCount", "10"),
    ("OctetDeltaCount", "860"),
    ("Layer2octetDeltaCount", "1000"),
    ("ReversePacketDeltaCount", "20"),
    ("ReverseOctetDeltaCount", "19720"),
    ("ReverseLayer2OctetDeltaCount", "20000"),
    ("ringfenceOccasion", "ended"),
    ("ringfenceEnding", "finished"),
    ("ringfenceVerdict", "allow"),
    ("ringfenceGate", "-"),
    ("ringfenceRule", "shop-to-db"),
    ("ringfenceTier", "application"),
    ("ringfencePotentialRule", "default/deny"),
    ("ringfenceSourceName", "web"),
    ("ringfenceSourceLabels", "app=shop,role=web"),
    ("ringfenceDestinationName", "db"),
    ("ringfenceDestinationLabels", "app=crm,app=shop,role=db"),
    ("ringfenceWire", "segment-a"),
    ("ringfenceEpoch", "1"),
    ("ringfencePolicyHash", HASH),
];

fn cases() -> Vec<Case> {
    let (v4, v6) = (["10.0.0.1", "10.0.0.2"], ["fd00::1", "fd00::2"]);
    let ended = Occasion::Ended;
    let outside = event(Occasion::Denied, 6, ["192.0.2.9", "10.0.0.2"], [1, 22]);
    vec![
        ("TCP over IPv4 that finished", event(ended(Ending::Finished), 6, v4, [40_000, 443]), FULL),
        (
            "UDP over IPv6 that begins",
            event(Occasion::Opened, 17, v6, [40_000, 53]),
            &[
                ("SourceIpv6address", "fd00::1"),
                ("DestinationIpv6address", "fd00::2"),
                ("ProtocolIdentifier", "Udp"),
                ("FirewallEvent", "FlowCreated"),
                ("PacketDeltaCount", "0"),
                ("ReverseOctetDeltaCount", "0"),
                ("ringfenceOccasion", "opened"),
            ],
        ),
        (
            "an echo that is refused",
            event(Occasion::Denied, 1, v4, [77, 8]),
            &[
                ("IcmpTypeCodeIpv4", "2048"),
                ("FirewallEvent", "FlowDenied"),
                ("ringfenceVerdict", "reject"),
                ("ringfenceGate", "egress"),
                ("PacketDeltaCount", "10"),
                ("ringfencePotentialRule", "-"),
            ],
        ),
        (
            "an echo over IPv6 that made room",
            event(ended(Ending::Evicted), 58, v6, [77, 128]),
            &[("IcmpTypeCodeIpv6", "32768"), ("FlowEndReason", "LackOfResources")],
        ),
        (
            "GRE that was silent",
            event(ended(Ending::TimedOut), 47, v4, [0, 0]),
            &[("ProtocolIdentifier", "Gre"), ("FlowEndReason", "IdleTimeout")],
        ),
        (
            "ESP over IPv6 that is decided again",
            event(Occasion::Redecided, 50, v6, [0, 0]),
            &[("ProtocolIdentifier", "Esp"), ("FirewallEvent", "FlowUpdate")],
        ),
        (
            "TCP that lives",
            event(Occasion::Updated, 6, v4, [40_000, 443]),
            &[
                ("FlowEndReason", "ActiveTimeout"),
                ("FirewallEvent", "FlowUpdate"),
                ("PacketDeltaCount", "10"),
                ("ringfenceOccasion", "updated"),
            ],
        ),
        (
            "SCTP that was cut",
            event(ended(Ending::Cut), 132, v4, [5, 6]),
            &[("SourceTransportPort", "5"), ("FlowEndReason", "ForcedEnd"), ("ringfenceEnding", "cut")],
        ),
        (
            "an address in a network",
            outside,
            &[("ringfenceSourceName", "offices"), ("ringfenceSourceLabels", "zone=office")],
        ),
    ]
}

#[test]
fn an_independent_decoder_reads_every_shape() {
    let table = cases();
    let mut wrong = Vec::new();
    for (name, event, expected) in &table {
        let found = decoded(*event);
        for (field, value) in *expected {
            if found.get(*field).map(String::as_str) != Some(*value) {
                wrong.push(format!("{name}: {field} is {:?}, not {value}", found.get(*field)));
            }
        }
        let ends = matches!(event.occasion, Occasion::Updated | Occasion::Ended(_));
        assert_eq!(found.contains_key("FlowEndReason"), ends, "{name}");
        let ports = [6, 17, 132].contains(&event.key.protocol);
        assert_eq!(found.contains_key("SourceTransportPort"), ports, "{name}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}\n{:#?}", decoded(table[0].1));
}

#[test]
fn times_are_those_of_the_flow_and_records_of_one_flow_share_an_id() {
    let of = |occasion| event(occasion, 6, ["10.0.0.1", "10.0.0.2"], [40_000, 443]);
    let begin = of(Occasion::Opened);
    let end = FlowEvent { first_seen: begin.first_seen, ..of(Occasion::Ended(Ending::Reset)) };
    let other = FlowEvent { first_seen: begin.first_seen.wrapping_add(1), ..begin };
    let [begin, end, other] = [begin, end, other].map(decoded);
    assert_eq!(begin["FlowId"], end["FlowId"]);
    assert_ne!(begin["FlowId"], other["FlowId"]);
    assert!(begin["FlowStartMilliseconds"].contains("1700000000"), "{begin:?}");
    assert!(begin["FlowEndMilliseconds"].contains("1700000004"), "{begin:?}");
}

#[test]
fn own_elements_are_described_to_collectors() {
    let mut encoder = Encoder::new(1, 4_711, MESSAGE_BYTES_MIN);
    encoder.describe(Timestamp::now());
    encoder.tell(&Statistics { messages: 1, flows: 2, octets: 3, not_sent: 4 }, Timestamp::now());
    let mut decoder = Decoder::new();
    let messages = encoder.finish(Timestamp::now());
    let options: Vec<Record> =
        messages.iter().flat_map(|message| decoder.read(&message.bytes).1[1].clone()).collect();
    let (types, statistics) = options.split_at(OWN.len());
    for (own, told) in OWN.iter().zip(types) {
        assert_eq!(told["PrivateEnterpriseNumber"], "4711");
        assert_eq!(told["InformationElementId"], own.id.to_string());
        assert_eq!(told["InformationElementDataType"], (own.kind as u8).to_string());
        assert_eq!(told["InformationElementName"], own.name);
        assert_eq!(told["InformationElementDescription"], own.about);
        assert!(own.about.len() <= 254 && own.bytes < 255, "{own:?}");
    }
    let ids: std::collections::BTreeSet<_> = OWN.iter().map(|own| own.id).collect();
    assert_eq!(ids.len(), OWN.len());
    let [statistics] = statistics else { panic!("{statistics:?}") };
    for (field, value) in [
        ("ExportedMessageTotalCount", "1"),
        ("ExportedFlowRecordTotalCount", "2"),
        ("ExportedOctetTotalCount", "3"),
        ("NotSentFlowTotalCount", "4"),
    ] {
        assert_eq!(statistics[field], value, "{field}");
    }
}

#[test]
fn the_longest_record_fits_into_the_shortest_message() {
    for shape in Shape::all() {
        assert!(shape.longest() + 20 <= MESSAGE_BYTES_MIN, "{shape:?}: {}", shape.longest());
    }
    let ids: std::collections::BTreeSet<_> = Shape::all().map(Shape::id).collect();
    assert_eq!((ids.len(), ids.first(), ids.last()), (12, Some(&256), Some(&267)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is written, messages keep their limit and say their length, and their numbers miss no record.
    #[test]
    fn messages_are_whole_and_numbered(
        kinds in prop::collection::vec((0usize..6, 0usize..400, any::<bool>()), 0..200),
        limit in MESSAGE_BYTES_MIN..3000,
    ) {
        let mut encoder = Encoder::new(3, ENTERPRISE, limit);
        let (mut decoder, scene, now) = (Decoder::new(), scene(), Timestamp::now());
        encoder.describe(now);
        for (kind, length, restart) in &kinds {
            let v6 = kind % 2 == 1;
            let ends = if v6 { ["fd00::1", "fd00::2"] } else { ["10.0.0.1", "10.0.0.2"] };
            let occasion = if kind % 3 == 0 { Occasion::Opened } else { Occasion::Ended(Ending::Cut) };
            let protocol = [6, 1, 47, 58, 17, 50][*kind];
            let mut told = told(event(occasion, protocol, ends, [1, 2]));
            told.rule = "ä".repeat(*length).into();
            encoder.flow(&Event::new(&told, Some(&scene), &["w".into()]), now);
            if *restart && *length < 5 {
                encoder.describe(now);
            }
        }
        let (mut sequence, mut flows) = (0, 0);
        for message in encoder.finish(now) {
            prop_assert!(message.bytes.len() <= limit);
            prop_assert_eq!(usize::from(u16::from_be_bytes([message.bytes[2], message.bytes[3]])), message.bytes.len());
            let (number, [data, options]) = decoder.read(&message.bytes);
            prop_assert_eq!(number, sequence);
            prop_assert_eq!(data.len(), message.flows as usize);
            sequence += (data.len() + options.len()) as u64;
            flows += data.len();
        }
        prop_assert_eq!(flows, kinds.len());
    }
}

#[test]
fn every_own_element_is_explained() {
    let text = include_str!("../../../../../config/exports.md");
    for own in OWN {
        let row = format!("| `{}` | {} |", own.name, own.id);
        assert!(text.contains(&row), "{row} is not in config/exports.md");
    }
}
