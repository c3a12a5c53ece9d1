//! One flow, one key: both directions, errors about it, and nothing else.

use core::net::IpAddr;

use super::*;
use crate::headers::{Fragment, Neighbour, Ports, Tcp};

const WIRE: WireId = WireId(3);

fn address(text: &str) -> Address {
    Address::from(text.parse::<IpAddr>().unwrap())
}

fn ip(source: &str, destination: &str, protocol: u8, transport: Transport) -> Ip {
    Ip {
        source: address(source),
        destination: address(destination),
        protocol,
        hop_limit: 64,
        network_offset: 14,
        transport_offset: 34,
        end: 60,
        fragment: None,
        transport,
    }
}

fn ports(source: u16, destination: u16) -> Ports {
    Ports { source, destination }
}

fn tcp(source: u16, destination: u16) -> Transport {
    Transport::Tcp(Tcp {
        ports: ports(source, destination),
        sequence: 0,
        acknowledgement: 0,
        flags: 2,
        window: 0,
        window_scale: None,
        payload: 0,
    })
}

fn icmp(kind: u8, code: u8, body: IcmpBody) -> Transport {
    Transport::Icmp(Icmp { kind, code, body })
}

const FAMILIES: [(&str, &str); 2] = [("10.0.0.1", "10.0.0.2"), ("2001:db8::1", "2001:db8::2")];

#[test]
fn both_directions_give_one_key() {
    for (a, b) in FAMILIES {
        let cases = [
            ("tcp", protocol::TCP, tcp(40000, 443), tcp(443, 40000)),
            ("udp", protocol::UDP, Transport::Udp(ports(53, 53)), Transport::Udp(ports(53, 53))),
            ("sctp", protocol::SCTP, Transport::Sctp(ports(9, 5)), Transport::Sctp(ports(5, 9))),
            ("gre", 47, Transport::Other, Transport::Other),
            ("echo", protocol::ICMPV6, icmp(128, 0, IcmpBody::Request(7)), icmp(129, 0, IcmpBody::Reply(7))),
            ("timestamp", protocol::ICMP, icmp(13, 0, IcmpBody::Request(7)), icmp(14, 0, IcmpBody::Reply(7))),
        ];
        for (name, number, forth, back) in cases {
            for (source, destination) in [(a, b), (b, a)] {
                let (key, sent) = FlowKey::of(WIRE, &ip(source, destination, number, forth)).unwrap();
                let (reply_key, replied) = FlowKey::of(WIRE, &ip(destination, source, number, back)).unwrap();
                assert_eq!(key, reply_key, "{name} {source}");
                assert_eq!(sent.reverse(), replied, "{name} {source}");
                assert_eq!(key.addresses(sent).0, address(source), "{name} {source}");
                assert_eq!(FlowKey::from_words(key.words()), key, "{name} {source}");
            }
        }
    }
}

/// GHSA-c66w-hq56-4q97: an inbound request with the id of an outbound one must not pass as its reply.
#[test]
fn echo_requests_from_both_ends_with_one_id_are_two_flows() {
    for ((a, b), (number, kind)) in FAMILIES.into_iter().zip([(protocol::ICMP, 8), (protocol::ICMPV6, 128)]) {
        let request = |source, destination| {
            FlowKey::of(WIRE, &ip(source, destination, number, icmp(kind, 0, IcmpBody::Request(7)))).unwrap()
        };
        let ((out, out_sent), (back, back_sent)) = (request(a, b), request(b, a));
        assert_ne!(out, back);
        assert_eq!((out_sent, back_sent), (Orientation::FromFirst, Orientation::FromFirst));
    }
}

#[test]
fn different_flows_have_different_keys() {
    let packets = [
        ("base", WIRE, ip("10.0.0.1", "10.0.0.2", protocol::TCP, tcp(1, 2))),
        ("other wire", WireId(4), ip("10.0.0.1", "10.0.0.2", protocol::TCP, tcp(1, 2))),
        ("ports swapped", WIRE, ip("10.0.0.1", "10.0.0.2", protocol::TCP, tcp(2, 1))),
        ("udp", WIRE, ip("10.0.0.1", "10.0.0.2", protocol::UDP, Transport::Udp(ports(1, 2)))),
        ("echo", WIRE, ip("10.0.0.1", "10.0.0.2", protocol::ICMP, icmp(8, 0, IcmpBody::Request(1)))),
        (
            "echo, other id",
            WIRE,
            ip("10.0.0.1", "10.0.0.2", protocol::ICMP, icmp(8, 0, IcmpBody::Request(2))),
        ),
        ("timestamp", WIRE, ip("10.0.0.1", "10.0.0.2", protocol::ICMP, icmp(13, 0, IcmpBody::Request(1)))),
        ("type 9", WIRE, ip("10.0.0.1", "10.0.0.2", protocol::ICMP, icmp(9, 0, IcmpBody::Other))),
        ("type 9 code 1", WIRE, ip("10.0.0.1", "10.0.0.2", protocol::ICMP, icmp(9, 1, IcmpBody::Other))),
        ("type 9 back", WIRE, ip("10.0.0.2", "10.0.0.1", protocol::ICMP, icmp(9, 0, IcmpBody::Other))),
        ("gre", WIRE, ip("10.0.0.1", "10.0.0.2", 47, Transport::Other)),
        ("esp", WIRE, ip("10.0.0.1", "10.0.0.2", 50, Transport::Other)),
    ];
    for (at, (name, wire, packet)) in packets.iter().enumerate() {
        for (other, other_wire, other_packet) in &packets[..at] {
            let keys = [FlowKey::of(*wire, packet), FlowKey::of(*other_wire, other_packet)];
            assert_ne!(keys[0].unwrap().0, keys[1].unwrap().0, "{name} and {other}");
        }
    }
}

fn quoted(source: &str, destination: &str, number: u8, ports: Ports, icmp_kind: u8) -> Quoted {
    Quoted { source: address(source), destination: address(destination), protocol: number, ports, icmp_kind }
}

#[test]
fn an_error_belongs_to_the_flow_it_quotes_and_runs_against_it() {
    for (a, b) in FAMILIES {
        let echo = if a.contains(':') { (protocol::ICMPV6, 128, 129) } else { (protocol::ICMP, 8, 0) };
        let request = icmp(echo.1, 0, IcmpBody::Request(7));
        let reply = icmp(echo.2, 0, IcmpBody::Reply(7));
        let cases = [
            ("tcp", protocol::TCP, tcp(40000, 443), ports(40000, 443), 0),
            ("udp", protocol::UDP, Transport::Udp(ports(9, 53)), ports(9, 53), 0),
            ("gre", 47, Transport::Other, ports(0, 0), 0),
            ("echo request", echo.0, request, ports(7, 7), echo.1),
            ("echo reply", echo.0, reply, ports(7, 7), echo.2),
        ];
        for (name, number, transport, quoted_ports, kind) in cases {
            for (source, destination) in [(a, b), (b, a)] {
                let (key, sent) = FlowKey::of(WIRE, &ip(source, destination, number, transport)).unwrap();
                let quoted = quoted(source, destination, number, quoted_ports, kind);
                assert_eq!(FlowKey::of_quoted(WIRE, &quoted), Some((key, sent.reverse())), "{name} {source}");
            }
        }
    }
}

#[test]
fn what_opens_no_flow_has_no_key() {
    let error = quoted("10.0.0.1", "10.0.0.2", protocol::TCP, ports(1, 2), 0);
    let neighbour = Neighbour { target: address("fe80::1"), link_address: None };
    let mut later = ip("10.0.0.1", "10.0.0.2", protocol::UDP, Transport::Later);
    later.fragment = Some(Fragment { id: 1, offset: 8, len: 8, more: false });
    let cases = [
        ("later fragment", later),
        ("error", ip("10.0.0.1", "10.0.0.2", protocol::ICMP, icmp(3, 1, IcmpBody::Error(error)))),
        (
            "neighbour",
            ip("fe80::2", "fe80::1", protocol::ICMPV6, icmp(135, 0, IcmpBody::Neighbour(neighbour))),
        ),
        ("listener", ip("fe80::2", "ff02::16", protocol::ICMPV6, icmp(143, 0, IcmpBody::Multicast))),
    ];
    for (name, packet) in cases {
        assert_eq!(FlowKey::of(WIRE, &packet), None, "{name}");
    }
    let about_error = quoted("10.0.0.1", "10.0.0.2", protocol::ICMP, ports(0, 0x0301), 3);
    assert_eq!(FlowKey::of_quoted(WIRE, &about_error), None);
}
