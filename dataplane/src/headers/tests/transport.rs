//! TCP, UDP, SCTP.

use testkit::Packet;

use super::*;

fn tcp() -> Packet {
    Packet::tcp("10.0.0.1:1000", "10.0.0.2:80")
}

#[test]
fn tcp_fields() {
    let packet =
        tcp().psh().seq(0xdead_beef).ack(0x0102_0304).window(555).tcp_options(&[1; 12]).payload([9; 100]);
    let expected = Tcp {
        ports: Ports { source: 1000, destination: 80 },
        sequence: 0xdead_beef,
        acknowledgement: 0x0102_0304,
        flags: flags::PSH | flags::ACK,
        window: 555,
        window_scale: None,
        payload: 100,
    };
    assert_eq!(ip(&packet.build()).transport, Transport::Tcp(expected));
    let v6 = Packet::tcp("[fd00::1]:1000", "[fd00::2]:80").destination_options(&[]).rst().build();
    assert!(matches!(ip(&v6).transport, Transport::Tcp(Tcp { flags: flags::RST, payload: 0, .. })));
}

#[test]
fn tcp_window_scale() {
    let cases: [(&str, &[u8], Option<u8>); 9] = [
        ("none", &[], None),
        ("alone", &[3, 3, 7, 0], Some(7)),
        ("after others", &[2, 4, 5, 180, 1, 3, 3, 9], Some(9)),
        ("zero", &[1, 3, 3, 0], Some(0)),
        ("above 14", &[1, 3, 3, 255], Some(14)),
        ("after the end", &[0, 3, 3, 7], None),
        ("of another length", &[3, 4, 7, 7], None),
        ("filling all 40", &[1; 40], None),
        (
            "last of 40",
            &[
                1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                1, 1, 1, 1, 1, 1, 3, 3, 2,
            ],
            Some(2),
        ),
    ];
    for (name, options, expected) in cases {
        let Transport::Tcp(syn) = ip(&tcp().syn().tcp_options(options).build()).transport else {
            panic!("{name}")
        };
        assert_eq!(syn.window_scale, expected, "{name}");
        let Transport::Tcp(data) = ip(&tcp().ack(1).tcp_options(options).build()).transport else {
            panic!("{name}")
        };
        assert_eq!(data.window_scale, None, "{name}: only a SYN scales");
    }
    let wrong = Some(DropReason::TransportHeader);
    check(&[
        ("length 0", tcp().syn().tcp_options(&[2, 0, 0, 0]).build(), wrong),
        ("length 1", tcp().syn().tcp_options(&[2, 1, 0, 0]).build(), wrong),
        ("beyond the header", tcp().syn().tcp_options(&[2, 5, 0, 0]).build(), wrong),
        ("no length", tcp().syn().tcp_options(&[1, 1, 1, 2]).build(), wrong),
        ("wrong but no SYN", tcp().ack(1).tcp_options(&[2, 0, 0, 0]).build(), None),
    ]);
}

#[test]
fn tcp_refused() {
    let (wrong, cut) = (Some(DropReason::TransportHeader), Some(DropReason::Truncated));
    let offset = |words: u8| with(tcp().ack(1).build(), 46, &[words << 4]);
    check(&[
        ("data offset 4", offset(4), wrong),
        ("data offset beyond the segment", offset(6), cut),
        ("packet ends in the header", Packet::ip("10.0.0.1", "10.0.0.2", 6).payload([0; 19]).build(), cut),
        ("ports 0", Packet::tcp("10.0.0.1:0", "10.0.0.2:0").syn().build(), None),
    ]);
    for bits in 0..=255_u8 {
        let has = |bit| bits & bit != 0;
        let expected = match (has(flags::SYN), has(flags::RST), has(flags::ACK), has(flags::FIN)) {
            (true, true, ..) | (true, _, _, true) | (false, false, false, _) => Some(DropReason::TcpFlags),
            _ => None,
        };
        assert_eq!(parse(&tcp().flags(bits).build()).err(), expected, "flags {bits:#010b}");
    }
}

#[test]
fn udp() {
    let udp = |len: u16| Packet::udp("10.0.0.1:0", "10.0.0.2:53").payload([0; 10]).udp_len(len);
    let wrong = Some(DropReason::TransportHeader);
    check(&[
        ("length as is, source port 0", udp(18).build(), None),
        ("length of the header", udp(8).build(), None),
        ("length below the header", udp(7).build(), wrong),
        ("length zero", udp(0).build(), wrong),
        ("length beyond the packet", udp(19).build(), wrong),
        ("length beyond the frame's padding", udp(19).padded().build(), wrong),
        ("length beyond the first fragment", udp(18).fragments(8)[0].clone(), None),
        ("length below the header in a fragment", udp(7).fragments(8)[0].clone(), wrong),
        (
            "packet ends in the header",
            Packet::ip("10.0.0.1", "10.0.0.2", 17).payload([9; 7]).build(),
            Some(DropReason::Truncated),
        ),
    ]);
    assert_eq!(ip(&udp(18).build()).transport, Transport::Udp(Ports { source: 0, destination: 53 }));
}

#[test]
fn sctp_and_others() {
    let sctp = |source| Packet::sctp(source, "[fd00::2]:36412").chunk(1, &[0; 16]).build();
    let ports = Ports { source: 9, destination: 36412 };
    assert_eq!(ip(&sctp("[fd00::1]:9")).transport, Transport::Sctp(ports));
    assert_eq!(ip(&Packet::ip("10.0.0.1", "10.0.0.2", 47).build()).transport, Transport::Other);
    check(&[
        ("port 0", sctp("[fd00::1]:0"), Some(DropReason::TransportHeader)),
        (
            "cut off",
            Packet::ip("10.0.0.1", "10.0.0.2", 132).payload([9; 11]).build(),
            Some(DropReason::Truncated),
        ),
    ]);
}
