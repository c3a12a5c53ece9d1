//! Transport checksums that a local stack left unfinished.
//!
//! A Linux stack whose device offers transmit checksum offload (a veth does) leaves in the checksum field of TCP and
//! UDP only the folded pseudo-header sum, not complemented: `~csum_tcpudp_magic(...)`, in `include/net/tcp.h` and
//! `net/ipv4/udp.c`. Hardware would add the rest. A frame that reaches user space through XDP comes as it is, so the
//! rest is added here; nothing in the frame says so but that one value.
//!
//! Not finished here:
//! - fragments: the kernel finishes the checksum before it cuts a packet (`skb_checksum_help` in `ip_fragment`);
//! - SCTP: an unfinished CRC32c is zero, and zero is also what peers that agreed on RFC 9653 send on purpose;
//! - IPv6 with a routing header that has segments left: the sum is over the last destination (RFC 8200 8.1), so the
//!   value differs and the frame passes as it is;
//! - packets inside tunnels.

use crate::address::Address;
use crate::headers::sum;
use crate::headers::{Ip, Transport, protocol};

/// Completes the checksum of a TCP segment or UDP datagram if its field holds just the pseudo-header sum. Returns
/// whether it did. `ip` is what `headers::parse` said of this very frame.
///
/// A finished checksum has that value by chance once in 2^16. Then adding up the segment gives the same checksum
/// again (both solve the same equation), so the frame does not change. Only a segment damaged before it came here
/// could be made to look whole, in one of 2^16 cases: what the checksum itself lets through.
#[inline]
pub fn finish_partial(frame: &mut [u8], ip: &Ip) -> bool {
    let field = match ip.transport {
        Transport::Tcp(_) => 16,
        Transport::Udp(_) => 6,
        _ => return false,
    };
    if ip.fragment.is_some() {
        return false;
    }
    let Some(segment) = frame.get_mut(usize::from(ip.transport_offset)..usize::from(ip.end)) else {
        return false;
    };
    let Some(len) = covered(segment, ip) else { return false };
    let pseudo = pseudo_sum(ip.source, ip.destination, ip.protocol, len);
    match segment.get(field..field + 2) {
        Some(value) if value == pseudo.to_be_bytes() => finish(&mut segment[..len], field, ip.protocol),
        _ => false,
    }
}

/// How many bytes of the segment the checksum covers: for UDP what its length field says, which may be less than the
/// packet holds (RFC 9868).
#[inline]
fn covered(segment: &[u8], ip: &Ip) -> Option<usize> {
    let len = match *segment {
        [_, _, _, _, high, low, ..] if ip.protocol == protocol::UDP => {
            usize::from(u16::from_be_bytes([high, low]))
        }
        _ => segment.len(),
    };
    (len <= segment.len()).then_some(len)
}

/// The folded, not complemented sum of the pseudo-header (RFC 9293 3.1, RFC 8200 8.1).
#[inline(always)]
pub(super) fn pseudo_sum(source: Address, destination: Address, protocol: u8, len: usize) -> u16 {
    sum::fold(u64::from(protocol) + len as u64 + source.ones_sum() + destination.ones_sum())
}

/// Replaces the pseudo-header sum in the field by the checksum of all. The sum over the segment already contains the
/// pseudo-header, since the field holds it. In UDP a zero means "none", so a computed zero is sent as its equal
/// 0xffff (RFC 768).
#[inline(never)]
fn finish(segment: &mut [u8], field: usize, protocol: u8) -> bool {
    let checksum = match !sum::fold(sum::add(0, segment)) {
        0 if protocol == protocol::UDP => u16::MAX,
        checksum => checksum,
    };
    let Some(place) = segment.get_mut(field..field + 2) else { return false };
    place.copy_from_slice(&checksum.to_be_bytes());
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::{Headers, Network, parse};
    use proptest::prelude::*;
    use testkit::Packet;

    fn finish_frame(frame: &mut [u8]) -> bool {
        match parse(frame) {
            Ok(Headers { network: Network::Ip(ip), .. }) => finish_partial(frame, &ip),
            other => panic!("{other:?}"),
        }
    }

    fn packet(v6: bool, tcp: bool, hosts: [u16; 2], ports: [u16; 2], payload: &[u8]) -> Packet {
        let end = |host: u16, port| match v6 {
            true => format!("[2001:db8::{host:x}]:{port}"),
            false => format!("10.0.{}.{}:{port}", host >> 8, host & 255),
        };
        let (from, to) = (end(hosts[0], ports[0]), end(hosts[1], ports[1]));
        let packet = match tcp {
            true => Packet::tcp(&*from, &*to).syn().mss(1400),
            false => Packet::udp(&*from, &*to),
        };
        packet.payload(payload)
    }

    proptest! {
        #[test]
        fn partial_becomes_finished(
            (v6, tcp, tag, padded) in any::<(bool, bool, bool, bool)>(),
            hosts in any::<[u16; 2]>(),
            ports in any::<[u16; 2]>(),
            payload in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut packet = packet(v6, tcp, hosts, ports, &payload);
            packet = if tag { packet.qinq(5, 6) } else { packet };
            packet = if padded { packet.padded() } else { packet };
            packet = if v6 && padded { packet.destination_options(&[]) } else { packet };
            let finished = packet.build();
            let mut frame = packet.partial_checksum().build();
            prop_assert!(finish_frame(&mut frame));
            prop_assert_eq!(&frame, &finished);
        }

        #[test]
        fn finished_does_not_change(
            (v6, tcp) in any::<(bool, bool)>(),
            hosts in any::<[u16; 2]>(),
            ports in any::<[u16; 2]>(),
            payload in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let finished = packet(v6, tcp, hosts, ports, &payload).build();
            let mut frame = finished.clone();
            finish_frame(&mut frame);
            prop_assert_eq!(frame, finished);
        }
    }

    /// Every value of one word of payload: among them the one whose checksum equals the pseudo-header sum, and for
    /// UDP the one whose checksum is zero.
    #[test]
    fn every_checksum_value_survives() {
        for tcp in [true, false] {
            let (mut coincidences, mut ends) = (0, 0);
            for word in 0..=u16::MAX {
                let packet = packet(false, tcp, [1, 2], [3, 4], &word.to_be_bytes());
                let finished = packet.build();
                let field = if tcp { 34 + 16 } else { 34 + 6 };
                ends += usize::from([[0, 0], [255, 255]].contains(&[finished[field], finished[field + 1]]));
                let mut frame = finished.clone();
                coincidences += usize::from(finish_frame(&mut frame));
                assert_eq!(frame, finished, "finished, {word:#06x}");
                let mut frame = packet.partial_checksum().build();
                assert!(finish_frame(&mut frame), "{word:#06x}");
                assert_eq!(frame, finished, "partial, {word:#06x}");
            }
            assert!(coincidences >= 1 && ends >= 1, "the special values were met");
        }
    }

    #[test]
    fn left_alone() {
        let udp = Packet::udp("10.0.0.1:1", "10.0.0.2:2").payload([1; 64]);
        let cases = [
            ("wrong checksum", udp.clone().wrong_checksum().build()),
            ("UDP without checksum", udp.clone().zero_checksum().build()),
            ("first fragment", udp.clone().partial_checksum().fragments(32)[0].clone()),
            ("later fragment", udp.partial_checksum().fragments(32)[1].clone()),
            ("ICMP", Packet::echo_request("10.0.0.1", "10.0.0.2", 1).partial_checksum().build()),
            ("SCTP", Packet::sctp("10.0.0.1:1", "10.0.0.2:2").chunk(1, &[0; 16]).build()),
            ("GRE", Packet::ip("10.0.0.1", "10.0.0.2", 47).payload([0; 30]).build()),
        ];
        for (name, frame) in cases {
            let mut changed = frame.clone();
            assert!(!finish_frame(&mut changed), "{name}");
            assert_eq!(changed, frame, "{name}");
        }
    }

    /// The checksum ends where UDP says; what follows in the packet is not added up.
    #[test]
    fn bytes_after_the_udp_length_do_not_count() {
        let short = Packet::udp("10.0.0.1:1", "10.0.0.2:2").payload([7; 5]).build();
        let mut long =
            Packet::udp("10.0.0.1:1", "10.0.0.2:2").payload([7, 7, 7, 7, 7, 9, 9, 9]).udp_len(13).build();
        let pseudo = testkit::pseudo_sum([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 17, 13);
        long[40..42].copy_from_slice(&pseudo.to_be_bytes());
        assert!(finish_frame(&mut long));
        assert_eq!(long[40..42], short[40..42]);
    }
}
