use super::*;
use crate::headers::{Headers, Network, Ports, parse};
use testkit::{Packet, folded_sum, pseudo_sum as pseudo};

fn ip_of(frame: &[u8]) -> Ip {
    match parse(frame) {
        Ok(Headers { network: Network::Ip(ip), .. }) => ip,
        other => panic!("{other:?}"),
    }
}

/// The answer, if its sender may be told.
fn answer(packet: &Packet) -> Option<Vec<u8>> {
    let frame = packet.build();
    let ip = ip_of(&frame);
    may_answer(&frame, &ip).then(|| to_sender(&frame, &ip).unwrap().to_vec())
}

/// Addresses and tags exchanged or kept, TTL and checksums right, by means that share nothing with the code.
fn assert_well_formed(answer: &[u8], asked: &[u8]) {
    let (ip, of) = (ip_of(answer), ip_of(asked));
    assert_eq!((&answer[..6], &answer[6..12]), (&asked[6..12], &asked[..6]), "MAC addresses");
    assert_eq!(ip.network_offset, of.network_offset);
    let link = usize::from(ip.network_offset);
    assert_eq!(answer[12..link], asked[12..link], "tags and EtherType");
    assert_eq!((ip.source, ip.destination), (of.destination, of.source));
    assert_eq!((ip.hop_limit, usize::from(ip.end)), (64, answer.len()));
    let payload = &answer[usize::from(ip.transport_offset)..];
    let len = u32::try_from(payload.len()).unwrap();
    let seed = match (ip.protocol, ip.source.is_v4()) {
        (protocol::ICMP, true) => 0,
        _ => pseudo(ip.source.to_ip(), ip.destination.to_ip(), ip.protocol, len.try_into().unwrap()),
    };
    let mut whole = seed.to_be_bytes().to_vec();
    whole.extend_from_slice(payload);
    assert_eq!(folded_sum(&whole), 0xffff, "checksum");
}

#[test]
fn tcp_is_answered_with_the_reset_of_rfc_9293() {
    let v4 = || Packet::tcp("10.0.0.1:1000", "10.0.0.2:80");
    let v6 = || Packet::tcp("[2001:db8::1]:1000", "[2001:db8::2]:80");
    let (rst, ack) = (flags::RST, flags::ACK);
    // Name, segment, sequence, acknowledgement, flags of the reset.
    let cases = [
        ("SYN", v4().syn().seq(7), 0, 8, rst | ack),
        ("SYN at the wrap", v4().syn().seq(u32::MAX), 0, 0, rst | ack),
        ("SYN with data", v4().syn().seq(7).payload([1; 10]), 0, 18, rst | ack),
        ("SYN over IPv6, tagged", v6().syn().seq(7).vlan(5), 0, 8, rst | ack),
        ("SYN-ACK", v4().syn().seq(7).ack(99), 99, 0, rst),
        ("data", v6().seq(7).ack(99).payload([1; 600]), 99, 0, rst),
        ("padded ACK, two tags", v4().seq(7).ack(99).qinq(5, 6).padded(), 99, 0, rst),
        ("FIN", v4().seq(7).ack(99).fin(), 99, 0, rst),
    ];
    for (name, packet, sequence, acknowledgement, bits) in cases {
        let answer = answer(&packet).unwrap_or_else(|| panic!("{name}: no answer"));
        assert_well_formed(&answer, &packet.build());
        let Transport::Tcp(tcp) = ip_of(&answer).transport else { panic!("{name}: no TCP") };
        assert_eq!(
            (tcp.sequence, tcp.acknowledgement, tcp.flags),
            (sequence, acknowledgement, bits),
            "{name}"
        );
        assert_eq!(tcp.ports, Ports { source: 80, destination: 1000 }, "{name}");
    }
}

#[test]
fn everything_else_is_answered_with_a_quoting_error() {
    let big = [7; 1600];
    // Name, packet, bytes of the answer after the link header.
    let cases = [
        ("UDP", Packet::udp("10.0.0.1:9", "10.0.0.2:53").payload(b"x"), 28 + 29),
        ("UDP over IPv6", Packet::udp("[2001:db8::1]:9", "[2001:db8::2]:53").payload(b"x"), 48 + 49),
        ("long UDP", Packet::udp("10.0.0.1:9", "10.0.0.2:53").payload(big), 576),
        (
            "long UDP over IPv6",
            Packet::udp("[2001:db8::1]:9", "[2001:db8::2]:53").payload(big).qinq(1, 2),
            1280,
        ),
        ("odd length", Packet::udp("10.0.0.1:9", "10.0.0.2:53").payload(b"xyz"), 28 + 31),
        ("echo", Packet::echo_request("10.0.0.1", "10.0.0.2", 3), 28 + 36),
        ("echo over IPv6", Packet::echo_request("2001:db8::1", "2001:db8::2", 3), 48 + 56),
        ("SCTP", Packet::sctp("10.0.0.1:1", "10.0.0.2:2").chunk(1, &[0; 16]), 28 + 20 + 12 + 20),
        ("GRE, padded", Packet::ip("10.0.0.1", "10.0.0.2", 47).payload([0; 4]).padded(), 28 + 24),
        (
            "destination options",
            Packet::udp("[2001:db8::1]:9", "[2001:db8::2]:53").destination_options(&[]),
            48 + 56,
        ),
    ];
    for (name, packet, len) in cases {
        let frame = packet.build();
        let answer = answer(&packet).unwrap_or_else(|| panic!("{name}: no answer"));
        assert_well_formed(&answer, &frame);
        let (ip, asked) = (ip_of(&answer), ip_of(&frame));
        assert_eq!(answer.len() - usize::from(ip.network_offset), len, "{name}");
        let Transport::Icmp(icmp) = ip.transport else { panic!("{name}: no ICMP") };
        let expected = if ip.source.is_v4() { (3, 13) } else { (1, 1) };
        assert_eq!((icmp.kind, icmp.code), expected, "{name}");
        let IcmpBody::Error(quoted) = icmp.body else { panic!("{name}: no error") };
        assert_eq!(
            (quoted.source, quoted.destination, quoted.protocol),
            (asked.source, asked.destination, asked.protocol)
        );
    }
}

#[test]
fn nobody_is_told_where_an_answer_would_be_wrong() {
    let udp = |to: &str| Packet::udp("10.0.0.1:9", to);
    let quoted = udp("10.0.0.2:53").build();
    let quoted6 = Packet::udp("[2001:db8::2]:9", "[2001:db8::1]:9").build();
    let cases = [
        ("reset", Packet::tcp("10.0.0.1:1", "10.0.0.2:2").rst()),
        ("ICMP error", Packet::icmp_error("10.0.0.1", "10.0.0.2", 3, 4, &quoted)),
        ("redirect", Packet::icmp("10.0.0.1", "10.0.0.2", 5, 1).payload([0; 40])),
        ("ICMPv6 error", Packet::icmp_error("2001:db8::1", "2001:db8::2", 2, 0, &quoted6)),
        ("unknown ICMPv6 error", Packet::icmp("2001:db8::1", "2001:db8::2", 100, 0).payload([0; 40])),
        ("to a group", udp("224.0.0.251:5353")),
        ("to an IPv6 group", Packet::udp("[2001:db8::1]:9", "[ff02::fb]:5353")),
        ("to the limited broadcast", udp("255.255.255.255:67")),
        ("to a reserved address", udp("240.0.0.1:67")),
        ("from nobody", Packet::udp("0.0.0.0:68", "10.0.0.2:67")),
        ("from nobody in IPv6", Packet::udp("[::]:68", "[2001:db8::2]:67")),
    ];
    for (name, packet) in cases {
        assert_eq!(answer(&packet), None, "{name}");
    }
    let mut frame = udp("10.0.0.255:9").build();
    frame[..6].fill(0xff);
    assert!(!may_answer(&frame, &ip_of(&frame)), "to the link's broadcast");
    for parts in [udp("10.0.0.2:9"), Packet::udp("[2001:db8::1]:9", "[2001:db8::2]:9")] {
        let parts = parts.payload([0; 900]).id(1).fragments(400);
        let told: Vec<bool> = parts.iter().map(|part| may_answer(part, &ip_of(part))).collect();
        assert_eq!(told, [true, false, false], "only the first fragment");
    }
}

#[test]
fn the_far_end_is_told_in_the_senders_name() {
    let packet = Packet::tcp("10.0.0.1:1000", "10.0.0.2:80").seq(7).ack(99).payload([1; 50]).vlan(3);
    let frame = packet.build();
    let ip = ip_of(&frame);
    let onward = to_far_end(&frame, &ip).unwrap();
    assert_eq!(onward[..18], frame[..18], "the link header is the segment's own");
    let read = ip_of(&onward);
    assert_eq!((read.source, read.destination), (ip.source, ip.destination));
    let Transport::Tcp(tcp) = read.transport else { panic!("no TCP") };
    assert_eq!((tcp.sequence, tcp.acknowledgement, tcp.flags), (7, 99, flags::RST | flags::ACK));
    let udp = Packet::udp("10.0.0.1:1", "10.0.0.2:2").build();
    assert!(to_far_end(&udp, &ip_of(&udp)).is_none());
}
