//! ICMP, ICMPv6, neighbour discovery, quoted packets.

use testkit::Packet;

use super::*;

const A: &str = "10.0.0.1";
const B: &str = "10.0.0.2";
const ROUTER: &str = "10.0.0.254";

fn body(frame: &[u8]) -> IcmpBody {
    match ip(frame).transport {
        Transport::Icmp(icmp) => icmp.body,
        other => panic!("not ICMP: {other:?}"),
    }
}

#[test]
fn queries() {
    let v4 = |kind| Packet::icmp(A, B, kind, 0).rest([0x12, 0x34, 0, 1]).build();
    let v6 = |kind| Packet::icmp("fd00::1", "fd00::2", kind, 0).rest([0x12, 0x34, 0, 1]).build();
    let (request, reply) = (IcmpBody::Request(0x1234), IcmpBody::Reply(0x1234));
    for (name, frame, expected) in [
        ("echo request", v4(8), request),
        ("echo reply", v4(0), reply),
        ("timestamp request", v4(13), request),
        ("timestamp reply", v4(14), reply),
        ("redirect", v4(5), IcmpBody::Other),
        ("router solicitation of ICMP", v4(10), IcmpBody::Other),
        ("echo request v6", v6(128), request),
        ("echo reply v6", v6(129), reply),
        ("node information", v6(139), IcmpBody::Other),
    ] {
        assert_eq!(body(&frame), expected, "{name}");
    }
    let cut = Some(DropReason::Truncated);
    check(&[
        ("ICMP of 7 bytes", Packet::ip(A, B, 1).payload([8; 7]).build(), cut),
        ("ICMPv6 of 3 bytes", Packet::ip("fd00::1", "fd00::2", 58).payload([200; 3]).build(), cut),
        (
            "ICMPv6 of 4 bytes, unknown type",
            Packet::ip("fd00::1", "fd00::2", 58).payload([200; 4]).build(),
            None,
        ),
        ("ICMPv6 echo of 5 bytes", Packet::ip("fd00::1", "fd00::2", 58).payload([128; 5]).build(), cut),
    ]);
}

#[test]
fn listener_messages() {
    let report = |source| Packet::listener_report(source, "ff02::fb");
    assert_eq!(body(&report("fe80::1").build()), IcmpBody::Multicast);
    assert_eq!(body(&report("::").build()), IcmpBody::Multicast);
    let wrong = Some(DropReason::TransportHeader);
    check(&[
        ("hop limit 2", report("fe80::1").hop_limit(2).build(), wrong),
        ("from a global address", report("fd00::1").build(), wrong),
    ]);
}

#[test]
fn errors_quote_their_flow() {
    let tcp = Packet::tcp("10.0.0.1:1000", "10.0.0.2:80").ack(1).payload([0; 400]);
    let udp6 = Packet::udp("[fd00::1]:1000", "[fd00::2]:80").payload([0; 1300]);
    let ports = |source, destination| Ports { source, destination };
    let error = |packet: &Packet, cut| Packet::icmp_error(ROUTER, A, 3, 4, &packet.build()).cut(cut).build();
    let error6 = |packet: &Packet, cut| {
        Packet::icmp_error("fd00::ff", "fd00::1", 2, 0, &packet.build()).cut(cut).build()
    };
    for (name, frame, protocol, expected, kind) in [
        ("whole TCP", error(&tcp, 999), 6, ports(1000, 80), 0),
        ("TCP cut after the ports", error(&tcp, 24), 6, ports(1000, 80), 0),
        ("tagged, with options", error(&tcp.clone().vlan(7).ip_options(&[1; 8]), 36), 6, ports(1000, 80), 0),
        ("SCTP", error(&Packet::sctp("10.0.0.1:5", "10.0.0.2:6"), 28), 132, ports(5, 6), 0),
        ("echo request", error(&Packet::echo_request(A, B, 77), 28), 1, ports(77, 77), 8),
        ("other ICMP", error(&Packet::icmp(A, B, 17, 1), 28), 1, ports(0, 17 << 8 | 1), 17),
        ("GRE", error(&Packet::ip(A, B, 47), 20), 47, ports(0, 0), 0),
        (
            "first fragment",
            Packet::icmp_error(ROUTER, A, 11, 1, &tcp.fragments(80)[0]).build(),
            6,
            ports(1000, 80),
            0,
        ),
    ] {
        let (source, destination) = (Address::v4([10, 0, 0, 1]), Address::v4([10, 0, 0, 2]));
        let quoted = Quoted { source, destination, protocol, ports: expected, icmp_kind: kind };
        assert_eq!(body(&frame), IcmpBody::Error(quoted), "{name}");
    }
    for (name, frame, protocol, expected, kind) in [
        ("UDP", error6(&udp6, 9999), 17, ports(1000, 80), 0),
        ("UDP cut after the ports", error6(&udp6, 44), 17, ports(1000, 80), 0),
        (
            "extension headers",
            error6(&udp6.clone().hop_by_hop(&[]).destination_options(&[]), 60),
            17,
            ports(1000, 80),
            0,
        ),
        ("echo reply", error6(&Packet::echo_reply("fd00::1", "fd00::2", 9), 48), 58, ports(9, 9), 129),
        (
            "first fragment, cut uneven",
            Packet::icmp_error("fd00::ff", "fd00::1", 2, 0, &udp6.fragments(800)[0]).cut(101).build(),
            17,
            ports(1000, 80),
            0,
        ),
    ] {
        let (source, destination) =
            (Address::from_bits(0xfd00 << 112 | 1), Address::from_bits(0xfd00 << 112 | 2));
        let quoted = Quoted { source, destination, protocol, ports: expected, icmp_kind: kind };
        assert_eq!(body(&frame), IcmpBody::Error(quoted), "{name}");
    }
}

#[test]
fn errors_that_quote_nothing_usable() {
    let (cut, wrong) = (Some(DropReason::Truncated), Some(DropReason::TransportHeader));
    let error = |frame: &[u8], cut| Packet::icmp_error(ROUTER, A, 3, 1, frame).cut(cut).build();
    let error6 = |frame: &[u8], cut| Packet::icmp_error("fd00::ff", "fd00::1", 1, 0, frame).cut(cut).build();
    let v4 = Packet::udp("10.0.0.1:1", "10.0.0.2:2").payload([0; 32]);
    let v6 = Packet::udp("[fd00::1]:1", "[fd00::2]:2").payload([0; 32]);
    let mapped = Packet::udp("[::ffff:10.0.0.1]:1", "[::ffff:10.0.0.2]:2").build();
    check(&[
        ("nothing", error(&v4.build(), 0), cut),
        ("19 bytes", error(&v4.build(), 19), cut),
        ("half a port", error(&v4.build(), 23), cut),
        ("echo without id", error(&Packet::echo_request(A, B, 1).build(), 25), cut),
        ("a later fragment", error(&v4.fragments(16)[1], 99), wrong),
        ("IPv6 in ICMP", error(&v6.build(), 99), wrong),
        ("header length 16", error(&with(v4.build(), 14, &[0x44]), 99), wrong),
        ("nothing, v6", error6(&v6.build(), 0), cut),
        ("39 bytes", error6(&v6.build(), 39), cut),
        ("half a port, v6", error6(&v6.build(), 43), cut),
        ("extension header cut", error6(&v6.clone().destination_options(&[]).build(), 47), cut),
        ("a later fragment, v6", error6(&v6.fragments(16)[1], 99), wrong),
        ("IPv4 in ICMPv6", error6(&v4.build(), 99), wrong),
        ("mapped addresses name a flow of IPv4", error6(&mapped, 99), Some(DropReason::IpHeader)),
    ]);
}

#[test]
fn neighbour_discovery() {
    let link = Some([2, 6, 0, 0, 0, 1]);
    let address = |text: &str| Address::from(text.parse::<std::net::IpAddr>().unwrap());
    for (name, packet, target, link_address) in [
        ("solicitation", Packet::neighbour_solicit("fe80::1", "fe80::2"), "fe80::2", link),
        ("detection", Packet::neighbour_solicit("::", "fe80::2"), "fe80::2", None),
        ("advertisement", Packet::neighbour_advert("fd00::1", "fd00::2", "fd00::1"), "fd00::1", link),
        ("router solicitation", Packet::router_solicit("fe80::1"), "fe80::1", link),
        ("router advertisement", Packet::router_advert("fe80::1"), "fe80::1", link),
        ("redirect", Packet::redirect("fe80::1", "fd00::2", "fe80::9", "fd00::9"), "fe80::9", None),
        ("redirect on link", Packet::redirect("fe80::1", "fd00::2", "fd00::9", "fd00::9"), "fd00::9", None),
        (
            "after options",
            Packet::neighbour_solicit("fe80::1", "fe80::2").destination_options(&[]),
            "fe80::2",
            link,
        ),
    ] {
        let expected = Neighbour { target: address(target), link_address };
        assert_eq!(body(&packet.build()), IcmpBody::Neighbour(expected), "{name}");
    }
}

#[test]
fn neighbour_discovery_refused() {
    let invalid = Some(DropReason::NdInvalid);
    let solicit = || Packet::neighbour_solicit("fe80::1", "fe80::2");
    let advert = || Packet::neighbour_advert("fd00::1", "fd00::2", "fd00::1");
    let message = |kind, len: usize| {
        Packet::icmp("fe80::1", "fe80::2", kind, 0).hop_limit(255).payload(vec![0; len - 8]).build()
    };
    let target = |text: &str| solicit().payload(text.parse::<std::net::Ipv6Addr>().unwrap().octets()).build();
    let to = |packet: Packet, group: &str| {
        let octets = group.parse::<std::net::Ipv6Addr>().unwrap().octets();
        with(packet.build(), 38, &octets)
    };
    check(&[
        ("hop limit 254", solicit().hop_limit(254).build(), invalid),
        ("code 1", with(solicit().build(), 55, &[1]), invalid),
        ("atomic fragment", solicit().fragment_header(1, 0, false).build(), invalid),
        ("fragment", solicit().fragments(24)[0].clone(), invalid),
        (
            "router solicitation of 7",
            Packet::ip("fe80::1", "fe80::2", 58).hop_limit(255).payload([133, 0, 0, 0, 0, 0, 0]).build(),
            invalid,
        ),
        ("router advertisement of 15", message(134, 15), invalid),
        ("solicitation of 23", message(135, 23), invalid),
        ("advertisement of 23", message(136, 23), invalid),
        ("redirect of 39", message(137, 39), invalid),
        ("target multicast", target("ff02::1"), invalid),
        ("target mapped", target("::ffff:10.0.0.1"), invalid),
        ("target ::", target("::"), invalid),
        (
            "detection with link-layer address",
            Packet::neighbour_solicit("::", "fe80::2").option(1, &[2; 6]).build(),
            invalid,
        ),
        ("detection to all nodes", to(Packet::neighbour_solicit("::", "fe80::2"), "ff02::1"), invalid),
        ("solicited advertisement to all nodes", to(advert(), "ff02::1"), invalid),
        ("unsolicited advertisement to all nodes", to(advert().rest([0x20, 0, 0, 0]), "ff02::1"), None),
        ("advertisement from ::", Packet::neighbour_advert("::", "fd00::2", "fd00::1").build(), invalid),
        (
            "router solicitation from :: with address",
            Packet::router_solicit("::").option(1, &[2; 6]).build(),
            invalid,
        ),
        ("router solicitation from ::", Packet::router_solicit("::").build(), None),
        ("router advertisement from a global address", Packet::router_advert("fd00::1").build(), invalid),
        (
            "redirect from a global address",
            Packet::redirect("fd00::1", "fd00::2", "fe80::9", "fd00::9").build(),
            invalid,
        ),
        (
            "redirect of a group",
            Packet::redirect("fe80::1", "fd00::2", "fe80::9", "ff02::9").build(),
            invalid,
        ),
        (
            "redirect to a global address",
            Packet::redirect("fe80::1", "fd00::2", "fd00::8", "fd00::9").build(),
            invalid,
        ),
    ]);
}

#[test]
fn neighbour_options() {
    let invalid = Some(DropReason::NdInvalid);
    let solicit = || Packet::neighbour_solicit("fe80::1", "fe80::2");
    let with_rest = |rest: &[u8]| {
        let target = "fe80::2".parse::<std::net::Ipv6Addr>().unwrap().octets();
        solicit().payload([target.as_slice(), rest].concat()).build()
    };
    check(&[
        ("none", with_rest(&[]), None),
        ("length 0", with_rest(&[1, 0, 0, 0, 0, 0, 0, 0]), invalid),
        ("half an option", with_rest(&[1]), invalid),
        ("beyond the message", with_rest(&[1, 2, 0, 0, 0, 0, 0, 0]), invalid),
        (
            "link-layer address of 14 bytes",
            with_rest(&[1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            invalid,
        ),
        ("unknown option of 16 bytes", with_rest(&[77, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None),
        ("two addresses that differ", solicit().option(1, &[9; 6]).build(), invalid),
        ("two addresses that agree", solicit().option(1, &[2, 6, 0, 0, 0, 1]).build(), None),
    ]);
}
