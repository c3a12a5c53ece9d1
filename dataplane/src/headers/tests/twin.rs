//! The same frames through another parser: fields agree wherever both accept.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use testkit::Packet;

use super::*;

/// Two ends of one family.
fn ends() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    let v4 = (0x0a00_0000..0x0aff_ffff_u32).prop_map(|bits| IpAddr::V4(Ipv4Addr::from(bits)));
    let v6 = any::<u64>().prop_map(|low| IpAddr::V6(Ipv6Addr::from(0xfd00_u128 << 112 | u128::from(low))));
    let end = |ip: BoxedStrategy<IpAddr>| (ip, 1..=u16::MAX).prop_map(|(ip, port)| SocketAddr::new(ip, port));
    prop_oneof![(end(v4.clone().boxed()), end(v4.boxed())), (end(v6.clone().boxed()), end(v6.boxed())),]
}

fn packet() -> impl Strategy<Value = Packet> {
    let fields = (ends(), any::<u32>(), any::<u32>(), any::<u16>(), any::<u8>(), 0..3_u8);
    let shape = (prop::collection::vec(any::<u8>(), 0..64), any::<bool>(), 0..3_u8, 0..4_u8, any::<bool>());
    (fields, shape).prop_map(
        |(
            ((a, b), sequence, acknowledgement, window, hops, kind),
            (payload, psh, tags, extensions, padded),
        )| {
            let mut packet = match kind {
                0 => {
                    let tcp = Packet::tcp(a, b).seq(sequence).ack(acknowledgement).window(window);
                    let tcp = if psh { tcp.psh() } else { tcp.syn() };
                    tcp.mss(1000).window_scale(u8::try_from(window % 15).unwrap_or(0))
                }
                1 => Packet::udp(a, b),
                _ => Packet::echo_request(a.ip(), b.ip(), window),
            };
            packet = packet.payload(payload).hop_limit(hops);
            if a.is_ipv6() {
                packet = if extensions & 1 != 0 { packet.hop_by_hop(&[5, 2, 0, 0]) } else { packet };
                packet = if extensions & 2 != 0 { packet.destination_options(&[]) } else { packet };
            }
            packet = match tags {
                0 => packet,
                1 => packet.vlan(window & 0xfff),
                _ => packet.qinq(window & 0xfff, 9),
            };
            if padded { packet.padded() } else { packet }
        },
    )
}

fn compare(frame: &[u8]) -> Result<(), TestCaseError> {
    let ours = parse(frame);
    let Ok(theirs) = SlicedPacket::from_ethernet(frame) else {
        prop_assert!(ours.is_err(), "only ours accepts {frame:02x?}");
        return Ok(());
    };
    // Ours refuses more, on purpose: flags, addresses, options.
    let Ok(ours) = ours else { return Ok(()) };
    let vlan = theirs.vlan_ids().first().map(|id| id.value());
    prop_assert_eq!(ours.vlan, vlan);
    let Network::Ip(ip) = ours.network else { return Ok(()) };
    let (source, destination, hop_limit) = match theirs.net {
        Some(NetSlice::Ipv4(v4)) => {
            let header = v4.header();
            (header.source_addr().into(), header.destination_addr().into(), header.ttl())
        }
        Some(NetSlice::Ipv6(v6)) => {
            let header = v6.header();
            (IpAddr::V6(header.source_addr()), IpAddr::V6(header.destination_addr()), header.hop_limit())
        }
        ref other => return Err(TestCaseError::fail(format!("no IP: {other:?}"))),
    };
    prop_assert_eq!(
        (ip.source.to_ip(), ip.destination.to_ip(), ip.hop_limit),
        (source, destination, hop_limit)
    );
    match (&theirs.transport, ip.transport) {
        (Some(TransportSlice::Tcp(theirs)), Transport::Tcp(ours)) => {
            prop_assert_eq!(
                ours.ports,
                Ports { source: theirs.source_port(), destination: theirs.destination_port() }
            );
            prop_assert_eq!(ours.sequence, theirs.sequence_number());
            prop_assert_eq!(ours.acknowledgement, theirs.acknowledgment_number());
            prop_assert_eq!(ours.window, theirs.window_size());
            prop_assert_eq!(usize::from(ours.payload), theirs.payload().len());
            let flag = |bit| ours.flags & bit != 0;
            prop_assert_eq!(
                (flag(flags::SYN), flag(flags::ACK), flag(flags::PSH)),
                (theirs.syn(), theirs.ack(), theirs.psh())
            );
            let scale = theirs.options_iterator().find_map(|option| match option {
                Ok(etherparse::TcpOptionElement::WindowScale(shift)) => Some(shift.min(14)),
                _ => None,
            });
            prop_assert_eq!(ours.window_scale, scale.filter(|_| theirs.syn()));
        }
        (Some(TransportSlice::Udp(theirs)), Transport::Udp(ours)) => {
            prop_assert_eq!(
                ours,
                Ports { source: theirs.source_port(), destination: theirs.destination_port() }
            );
        }
        (Some(TransportSlice::Icmpv4(theirs)), Transport::Icmp(ours)) => {
            prop_assert_eq!((ours.kind, ours.code), (theirs.type_u8(), theirs.code_u8()));
        }
        (Some(TransportSlice::Icmpv6(theirs)), Transport::Icmp(ours)) => {
            prop_assert_eq!((ours.kind, ours.code), (theirs.type_u8(), theirs.code_u8()));
        }
        (theirs, ours) => return Err(TestCaseError::fail(format!("{theirs:?} against {ours:?}"))),
    }
    Ok(())
}

proptest! {
    #[test]
    fn fields_agree(packet in packet()) {
        let frame = packet.build();
        prop_assert!(parse(&frame).is_ok(), "{:?}", parse(&frame));
        compare(&frame)?;
    }

    #[test]
    fn cut_frames_agree(packet in packet(), cut in any::<prop::sample::Index>()) {
        let frame = packet.build();
        let len = cut.index(frame.len());
        if parse(&frame[..len]).is_ok() {
            compare(&frame[..len])?;
        }
    }
}
