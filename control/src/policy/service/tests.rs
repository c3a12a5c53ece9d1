//! Services: what parses to what, and that what is shown parses back.

use proptest::prelude::*;

use super::{ServiceError, normalise, parse_one};
use crate::policy::valid::ServiceRange;

fn range(first: u32, last: u32) -> ServiceRange {
    ServiceRange { first, last }
}

#[test]
fn every_form_parses_to_its_range_and_shows_as_written() {
    let table: &[(&str, u32, u32)] = &[
        ("any", 0, 0xff_ffff),
        ("tcp", 0x06_0000, 0x06_ffff),
        ("tcp/443", 0x06_01bb, 0x06_01bb),
        ("tcp/1-65535", 0x06_0001, 0x06_ffff),
        ("udp/8000-8099", 0x11_1f40, 0x11_1fa3),
        ("sctp/3868", 0x84_0f1c, 0x84_0f1c),
        ("icmp", 0x01_0000, 0x01_ffff),
        ("icmp/echo-request", 0x01_0800, 0x01_08ff),
        ("icmp/fragmentation-needed", 0x01_0304, 0x01_0304),
        ("icmp/3/0-4", 0x01_0300, 0x01_0304),
        ("icmp/40-41", 0x01_2800, 0x01_29ff),
        ("icmp/3/1", 0x01_0301, 0x01_0301),
        ("icmpv6/packet-too-big", 0x3a_0200, 0x3a_02ff),
        ("icmpv6/200", 0x3a_c800, 0x3a_c8ff),
        ("gre", 47 << 16, 47 << 16 | 0xffff),
        ("proto/46", 46 << 16, 46 << 16 | 0xffff),
        ("proto/46-49", 46 << 16, 49 << 16 | 0xffff),
    ];
    for &(text, first, last) in table {
        let parsed: ServiceRange = text.parse().unwrap();
        assert_eq!(parsed, range(first, last), "{text}");
        assert_eq!(parsed.to_string(), text);
    }
    let other_spellings =
        [("proto/6", "tcp"), ("icmp/8", "icmp/echo-request"), ("icmp/3/3", "icmp/port-unreachable")];
    for (text, shown) in other_spellings {
        assert_eq!(text.parse::<ServiceRange>().unwrap().to_string(), shown);
    }
}

#[test]
fn what_is_wrong_is_said() {
    use ServiceError::{IcmpType, NoPorts, NotOne, Number, Port, Protocol, Reversed};
    let text = str::to_owned;
    let table = [
        ("", Protocol(text(""))),
        ("TCP/1", Protocol(text("TCP"))),
        ("tcp/", Port(text(""))),
        ("tcp/0", Port(text("0"))),
        ("tcp/65536", Port(text("65536"))),
        ("tcp/080", Port(text("080"))),
        ("tcp/+80", Port(text("+80"))),
        ("tcp/99999999999", Port(text("99999999999"))),
        ("tcp/0-80", Port(text("0"))),
        ("tcp/90-80", Reversed(text("80-90"))),
        ("tcp/1-2-3", Port(text("2-3"))),
        ("icmp/echo", IcmpType(text("echo"), "icmp")),
        ("icmpv6/", IcmpType(text(""), "icmpv6")),
        ("icmp/256", Number(text("256"))),
        ("icmp/3/256", Number(text("256"))),
        ("icmp/3-4/1", NotOne(text("3-4"))),
        ("icmp/port-unreachable/1", NoPorts(text("icmp/port-unreachable"))),
        ("gre/1", NoPorts(text("gre"))),
        ("any/1", NoPorts(text("any"))),
        ("proto", Number(text(""))),
        ("proto/256", Number(text("256"))),
    ];
    for (input, expected) in table {
        assert_eq!(input.parse::<ServiceRange>(), Err(expected), "{input}");
    }
}

#[test]
fn one_flow_has_one_key() {
    let table = [
        ("tcp/443", Some(0x06_01bb)),
        ("icmp/echo-request", Some(0x01_0800)),
        ("icmp/3/4", Some(0x01_0304)),
        ("gre", Some(47 << 16)),
        ("proto/47", Some(47 << 16)),
        ("tcp", None),
        ("tcp/1-2", None),
        ("icmp", None),
        ("icmp/3/0-4", None),
        ("proto/6", None),
        ("proto/46-47", None),
        ("any", None),
    ];
    for (text, key) in table {
        assert_eq!(parse_one(text).ok(), key, "{text}");
    }
}

#[test]
fn merging_keeps_the_invariant() {
    let all = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<ServiceRange>>();
    let table: &[(&str, &[&str], &[&str])] = &[
        ("touching", &["tcp/81", "tcp/80"], &["tcp/80-81"]),
        ("contained", &["tcp/1-100", "tcp/5"], &["tcp/1-100"]),
        ("apart", &["udp/5", "tcp/5"], &["tcp/5", "udp/5"]),
        ("end of one protocol, whole next", &["tcp/65535", "proto/7"], &["tcp/65535", "proto/7"]),
        ("whole protocols", &["proto/7", "tcp"], &["proto/6-7"]),
        (
            "parts that become whole",
            &["proto/5", "icmp/128-255", "icmp/0-127", "igmp"],
            &["proto/1-2", "proto/5"],
        ),
        ("any", &["tcp/5", "any", "gre"], &["any"]),
    ];
    for (name, given, expected) in table {
        let mut ranges = all(given);
        normalise(&mut ranges);
        assert_eq!(ranges, all(expected), "{name}");
    }
}

fn service() -> impl Strategy<Value = String> {
    let ports = ("(tcp|udp|sctp)", 1..=u16::MAX, 1..=u16::MAX)
        .prop_map(|(name, a, b)| format!("{name}/{}-{}", a.min(b), a.max(b)));
    let messages = ("(icmp|icmpv6)", any::<u8>(), any::<u8>(), any::<u8>())
        .prop_map(|(name, kind, a, b)| format!("{name}/{kind}/{}-{}", a.min(b), a.max(b)));
    let kinds = ("(icmp|icmpv6)", any::<u8>(), any::<u8>())
        .prop_map(|(name, a, b)| format!("{name}/{}-{}", a.min(b), a.max(b)));
    let protocols = (any::<u8>(), any::<u8>()).prop_map(|(a, b)| format!("proto/{}-{}", a.min(b), a.max(b)));
    prop_oneof![ports, messages, kinds, protocols]
}

proptest! {
    #[test]
    fn what_is_shown_parses_back(texts in prop::collection::vec(service(), 1..8)) {
        let mut ranges: Vec<ServiceRange> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let member = |ranges: &[ServiceRange], key| ranges.iter().any(|r| r.first <= key && key <= r.last);
        let before = ranges.clone();
        normalise(&mut ranges);
        prop_assert!(ranges.windows(2).all(|pair| pair[0].last < pair[1].first));
        for edge in before.iter().chain(&ranges).flat_map(|r| [r.first.saturating_sub(1), r.first, r.last, r.last + 1]) {
            prop_assert_eq!(member(&before, edge), member(&ranges, edge), "{:x}", edge);
        }
        for range in &ranges {
            let mut again: Vec<ServiceRange> =
                range.to_string().split(", ").map(|text| text.parse().unwrap()).collect();
            normalise(&mut again);
            prop_assert_eq!(&again, &vec![*range], "{}", range);
        }
    }

    #[test]
    fn nothing_panics(text in "(tcp|udp|icmp|icmpv6|proto|any|gre|)(/|)[-/0-9a-z]{0,12}") {
        let _ = text.parse::<ServiceRange>();
        let _ = parse_one(&text);
    }
}
