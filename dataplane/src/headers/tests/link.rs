//! Ethernet and ARP.

use testkit::Packet;

use super::*;

fn udp() -> Packet {
    Packet::udp("10.0.0.1:1", "10.0.0.2:2")
}

#[test]
fn ethernet() {
    let cases = [
        ("untagged", udp(), None, 14),
        ("one tag", udp().vlan(7), Some(7), 18),
        ("priority tag", udp().tag(0x8100, 0xe000), Some(0), 18),
        ("service tag alone", udp().tag(0x88a8, 0xffff), Some(0xfff), 18),
        ("two tags", udp().qinq(100, 7), Some(100), 22),
        ("two old tags", udp().tag(0x9100, 5).tag(0x9100, 6), Some(5), 22),
    ];
    for (name, packet, vlan, network_offset) in cases {
        let headers = parse(&packet.build()).unwrap();
        let Network::Ip(ip) = headers.network else { panic!("{name}: {headers:?}") };
        assert_eq!((headers.vlan, ip.network_offset), (vlan, network_offset), "{name}");
        assert_eq!(headers.source_mac, [2, 4, 10, 0, 0, 1], "{name}");
        assert_eq!(headers.destination_mac, [2, 4, 10, 0, 0, 2], "{name}");
    }
}

#[test]
fn what_is_not_ip() {
    let snap = [0xaa, 0xaa, 3, 0, 0, 0, 8, 0, 0x45];
    for (name, packet, expected) in [
        ("LLDP", Packet::ether_type(0x88cc, [0; 50]), 0x88cc),
        ("tagged LLDP", Packet::ether_type(0x88cc, [0; 50]).vlan(3), 0x88cc),
        ("802.3 with LLC/SNAP and IPv4 inside", Packet::ether_type(9, snap), 9),
        ("nothing after the header", Packet::ether_type(0x9000, []), 0x9000),
    ] {
        let network = parse(&packet.build()).unwrap().network;
        assert!(matches!(network, Network::Other(other) if other == expected), "{name}: {network:?}");
    }
    check(&[
        ("empty", vec![], Some(DropReason::Truncated)),
        ("13 bytes", vec![0; 13], Some(DropReason::Truncated)),
        ("tag cut off", udp().vlan(1).build()[..17].to_vec(), Some(DropReason::Truncated)),
        ("three tags", udp().vlan(1).vlan(2).vlan(3).build(), Some(DropReason::VlanDepth)),
        ("longer than an offset can say", vec![0; 65536], Some(DropReason::TooBig)),
    ]);
}

#[test]
fn arp() {
    let reply = Packet::arp_reply("10.0.0.1", "10.0.0.2").padded().build();
    let Network::Arp(arp) = parse(&reply).unwrap().network else { panic!("not ARP") };
    assert_eq!((arp.operation, arp.sender_mac), (2, [2, 4, 10, 0, 0, 1]));
    assert_eq!((arp.sender, arp.target), (Address::v4([10, 0, 0, 1]), Address::v4([10, 0, 0, 2])));

    let invalid = Some(DropReason::ArpInvalid);
    check(&[
        ("request", Packet::arp_request("10.0.0.1", "10.0.0.2").build(), None),
        ("tagged", Packet::arp_request("10.0.0.1", "10.0.0.2").vlan(9).build(), None),
        ("cut off", reply[..41].to_vec(), Some(DropReason::Truncated)),
        ("hardware type 6", with(reply.clone(), 15, &[6]), invalid),
        ("protocol type IPv6", with(reply.clone(), 16, &[0x86, 0xdd]), invalid),
        ("hardware length 8", with(reply.clone(), 18, &[8]), invalid),
        ("protocol length 16", with(reply.clone(), 19, &[16]), invalid),
        ("operation 0", with(reply.clone(), 20, &[0, 0]), invalid),
        ("reverse request", with(reply.clone(), 20, &[0, 3]), invalid),
        ("sender is a group address", with(reply, 22, &[3]), invalid),
    ]);
}
