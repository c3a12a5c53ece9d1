//! IPv4, IPv6, extension headers, fragment fields.

use testkit::Packet;

use super::*;

fn v4() -> Packet {
    Packet::udp("10.0.0.1:1", "10.0.0.2:2").payload([0; 24])
}

fn v6() -> Packet {
    Packet::udp("[2001:db8::1]:1", "[2001:db8::2]:2").payload([0; 24])
}

fn v4_from(source: &str, destination: &str) -> Vec<u8> {
    Packet::ip(source, destination, 99).payload([0; 8]).build()
}

#[test]
fn ipv4() {
    let header = Some(DropReason::IpHeader);
    let options = |bytes: &[u8]| v4().ip_options(bytes).build();
    check(&[
        ("plain", v4().build(), None),
        ("padded to Ethernet's minimum", Packet::udp("10.0.0.1:1", "10.0.0.2:2").padded().build(), None),
        ("version 6 in an IPv4 frame", with(v4().build(), 14, &[0x65]), header),
        ("header length 16", with(v4().build(), 14, &[0x44]), header),
        ("total length below the header", with_v4(v4().build(), 2, &[0, 19]), header),
        ("total length zero", with_v4(v4().build(), 2, &[0, 0]), header),
        ("total length beyond the frame", with_v4(v4().build(), 2, &[0, 53]), Some(DropReason::Truncated)),
        ("header cut off", v4().build()[..33].to_vec(), Some(DropReason::Truncated)),
        ("checksum wrong", with(v4().build(), 24, &[0xde]), Some(DropReason::IpChecksum)),
        ("checksum wrong with options", with(options(&[1]), 24, &[0xde]), Some(DropReason::IpChecksum)),
        ("reserved flag", with_v4(v4().build(), 6, &[0x80]), None),
        ("don't fragment", v4().dont_fragment().build(), None),
        ("router alert", options(&[148, 4, 0, 0]), None),
        ("record route", options(&[7, 7, 4, 0, 0, 0, 0]), None),
        ("all 40 bytes", options(&[1; 40]), None),
        ("end, then rubbish", options(&[0, 7, 0, 99]), None),
        ("loose source route", options(&[131, 3, 4]), Some(DropReason::IpOption)),
        ("strict source route after padding", options(&[1, 137, 3, 4]), Some(DropReason::IpOption)),
        ("option of length 0", options(&[7, 0, 0, 0]), header),
        ("option of length 1", options(&[7, 1, 0, 0]), header),
        ("option beyond the header", options(&[7, 5, 0, 0]), header),
        ("option without length", options(&[1, 1, 1, 7]), header),
        ("source 0.0.0.0, as DHCP", v4_from("0.0.0.0", "255.255.255.255"), None),
        ("source in 240/4", v4_from("240.0.0.1", "10.0.0.1"), None),
        ("source multicast", v4_from("224.0.0.1", "10.0.0.1"), header),
        ("source last of multicast", v4_from("239.255.255.255", "10.0.0.1"), header),
        ("source broadcast", v4_from("255.255.255.255", "10.0.0.1"), header),
        ("source loopback", v4_from("127.0.0.1", "10.0.0.1"), header),
        ("destination loopback", v4_from("10.0.0.1", "127.9.9.9"), header),
        ("ICMPv6 in IPv4", Packet::ip("10.0.0.1", "10.0.0.2", 58).build(), Some(DropReason::TransportHeader)),
    ]);
    let ip = ip(&v4().ip_options(&[1; 4]).vlan(3).hop_limit(9).padded().build());
    assert_eq!((ip.network_offset, ip.transport_offset, ip.end, ip.hop_limit), (18, 42, 74, 9));
    assert_eq!((ip.source, ip.destination), (Address::v4([10, 0, 0, 1]), Address::v4([10, 0, 0, 2])));
}

#[test]
fn ipv6() {
    let header = Some(DropReason::IpHeader);
    let from = |source, destination| Packet::ip(source, destination, 99).payload([0; 8]).build();
    check(&[
        ("plain", v6().build(), None),
        ("version 4 in an IPv6 frame", with(v6().build(), 14, &[0x45]), header),
        ("payload length beyond the frame", with(v6().build(), 18, &[0, 33]), Some(DropReason::Truncated)),
        ("header cut off", v6().build()[..53].to_vec(), Some(DropReason::Truncated)),
        ("payload length 0: jumbogram", with(v6().build(), 18, &[0, 0]), header),
        ("no next header, nothing after", Packet::ip("fd00::1", "fd00::2", 59).build(), None),
        ("source ::", from("::", "ff02::1"), None),
        ("source multicast", from("ff02::1", "fd00::1"), header),
        ("source loopback", from("::1", "fd00::1"), header),
        ("source mapped", from("::ffff:10.0.0.1", "fd00::1"), header),
        ("destination loopback", from("fd00::1", "::1"), header),
        ("destination mapped", from("fd00::1", "::ffff:10.0.0.1"), header),
        ("destination ::", from("fd00::1", "::"), header),
        (
            "ICMP in IPv6",
            Packet::ip("fd00::1", "fd00::2", 1).payload([0; 8]).build(),
            Some(DropReason::TransportHeader),
        ),
    ]);
}

#[test]
fn extension_headers() {
    let wrong = Some(DropReason::ExtensionHeader);
    let destinations = |n| (0..n).fold(v6(), |packet, _| packet.destination_options(&[]));
    let mobility = |next| Packet::ip("fd00::1", "fd00::2", next).extension(135, &[0; 8]).build();
    check(&[
        ("all kinds", every_kind().build(), None),
        ("eight", destinations(8).build(), None),
        ("nine", destinations(9).build(), wrong),
        ("hop-by-hop second", v6().destination_options(&[]).hop_by_hop(&[]).build(), wrong),
        ("hop-by-hop twice", v6().hop_by_hop(&[]).hop_by_hop(&[]).build(), wrong),
        ("routing type 0", v6().routing(0, 0, 1).build(), Some(DropReason::IpOption)),
        ("routing type 2", v6().routing(2, 1, 1).build(), None),
        ("routing type 4", v6().routing(4, 0, 2).build(), None),
        (
            "two fragment headers",
            v6().fragment_header(1, 0, false).fragment_header(1, 0, false).build(),
            wrong,
        ),
        ("authentication of 8 bytes", v6().extension(51, &[0; 8]).build(), wrong),
        (
            "header beyond the packet",
            v6().extension(60, &[0, 9, 0, 0, 0, 0, 0, 0]).build(),
            Some(DropReason::Truncated),
        ),
        (
            "header cut off",
            Packet::ip("fd00::1", "fd00::2", 60).payload([6; 7]).build(),
            Some(DropReason::Truncated),
        ),
        ("ESP ends the walk", Packet::ip("fd00::1", "fd00::2", 50).destination_options(&[]).build(), None),
        ("experiment", Packet::ip("fd00::1", "fd00::2", 253).payload([0; 3]).build(), None),
    ]);
    let ip_all = ip(&every_kind().build());
    assert_eq!((ip_all.protocol, ip_all.transport_offset), (17, 14 + 40 + 8 + 8 + 24 + 8 + 24));
    assert_eq!(ip_all.transport, Transport::Udp(Ports { source: 1, destination: 2 }));
    assert_eq!((ip(&mobility(59)).protocol, ip(&mobility(59)).transport_offset), (135, 54));
    assert_eq!((ip(&mobility(99)).protocol, ip(&mobility(99)).transport_offset), (99, 62));
    assert_eq!(ip(&Packet::ip("fd00::1", "fd00::2", 50).destination_options(&[]).build()).protocol, 50);
}

fn every_kind() -> Packet {
    v6().hop_by_hop(&[])
        .destination_options(&[])
        .routing(4, 0, 1)
        .fragment_header(7, 0, false)
        .authentication()
}

#[test]
fn fragment_fields() {
    let cases = [
        ("IPv4", v4().id(0xbeef), 0xbeef),
        ("IPv6", v6().id(0xdead_beef).hop_by_hop(&[]), 0xdead_beef),
        ("IPv6 with options inside", v6().id(7).destination_options(&[]), 7),
    ];
    for (name, packet, id) in cases {
        let parts: Vec<_> = packet.fragments(16).iter().map(|frame| ip(frame)).collect();
        let expected = |offset, len, more| Some(Fragment { id, offset, len, more });
        assert_eq!(parts[0].fragment, expected(0, 16, true), "{name}");
        assert_eq!(parts[1].fragment, expected(16, 16, parts.len() > 2), "{name}");
        assert_eq!(parts[0].transport, Transport::Udp(Ports { source: 1, destination: 2 }), "{name}");
        assert_eq!(parts[1].transport, Transport::Later, "{name}");
    }
    assert_eq!(ip(&v6().fragment_header(9, 0, false).build()).fragment, None, "atomic");
}

#[test]
fn fragments_that_nobody_makes() {
    let (tiny, header) = (Some(DropReason::FragmentTiny), Some(DropReason::IpHeader));
    let tcp = |part: usize| {
        Packet::tcp("10.0.0.1:1", "10.0.0.2:2").syn().mss(1460).payload([0; 40]).fragments(part)
    };
    let cut_v6 = |packet: Packet, part| packet.fragments(part)[0].clone();
    // The flags and offset word at byte 6 of the IPv4 header.
    let field = |word: u16| with_v4(v4().build(), 6, &word.to_be_bytes());
    let field_v6 = |offset, more| v6().fragment_header(1, offset, more).build();
    check(&[
        ("TCP header cut at 8", tcp(8)[0].clone(), tiny),
        ("TCP header cut at 16", tcp(16)[0].clone(), tiny),
        ("TCP options whole at 24", tcp(24)[0].clone(), None),
        ("second TCP fragment at 8", tcp(8)[1].clone(), tiny),
        ("second TCP fragment at 16", tcp(16)[1].clone(), None),
        ("second UDP fragment at 8", v4().fragments(8)[1].clone(), None),
        ("UDP header whole at 8", v4().fragments(8)[0].clone(), None),
        ("ICMP whole at 8", Packet::echo_request("10.0.0.1", "10.0.0.2", 1).fragments(8)[0].clone(), None),
        (
            "SCTP header cut at 8",
            Packet::sctp("10.0.0.1:1", "10.0.0.2:2").chunk(1, &[]).fragments(8)[0].clone(),
            tiny,
        ),
        ("IPv6 chain cut", cut_v6(v6().destination_options(&[1, 4, 0, 0, 0, 0, 0, 0, 0, 0]), 8), tiny),
        ("IPv6 transport cut off", cut_v6(v6().destination_options(&[]), 8), tiny),
        ("IPv4 ends at 65,532", field(8185), None),
        ("IPv4 ends beyond", field(8186), header),
        ("IPv6 ends beyond", field_v6(0xfff8, false), header),
        ("IPv6 ends inside", field_v6(0xff00, false), None),
        ("not last and uneven", with_v4(v4().payload([0; 25]).build(), 6, &[0x20]), header),
        ("IPv6 not last and uneven", v6().payload([0; 25]).fragment_header(1, 0, true).build(), header),
        ("last and uneven", with_v4(v4().payload([0; 25]).build(), 7, &[9]), None),
        ("no data", with_v4(Packet::ip("10.0.0.1", "10.0.0.2", 99).build(), 6, &[0x20]), header),
        ("IPv6 no data", Packet::ip("fd00::1", "fd00::2", 99).fragment_header(1, 8, true).build(), header),
    ]);
}
