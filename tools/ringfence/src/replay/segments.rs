//! TCP segments that a host joined (GRO, LRO) or had not cut yet (TSO) when they were captured, cut to what a network
//! carries. Dropping them as too big would leave a hole in the sequence numbers that no wire would have seen.

use dataplane::headers::{Headers, Ip, Network, Transport, flags, sum};

/// Bytes of data in each cut segment; what Ethernet carries with the longest usual options.
const SEGMENT: usize = 1400;

/// Hands the segments of `frame` to `each`, if it is a TCP segment longer than `most` bytes; returns whether it was.
/// Checksums of the segments are not computed: the packet path leaves those of TCP to the receiver.
pub(super) fn cut<E>(
    frame: &[u8],
    headers: &Headers,
    most: usize,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<bool, E> {
    let Network::Ip(ip) = headers.network else { return Ok(false) };
    let Transport::Tcp(tcp) = ip.transport else { return Ok(false) };
    let end = usize::from(ip.end);
    if frame.len() <= most || end <= most || ip.fragment.is_some() {
        return Ok(false);
    }
    let (all_headers, data) = frame[..end].split_at(end - usize::from(tcp.payload));
    let count = data.len().div_ceil(SEGMENT);
    for (at, part) in data.chunks(SEGMENT).enumerate() {
        let mut segment = [all_headers, part].concat();
        let is_last = at + 1 == count;
        let offset = u32::try_from(at * SEGMENT).unwrap_or(u32::MAX);
        rewrite(&mut segment, &ip, tcp.sequence.wrapping_add(offset), is_last);
        each(&segment)?;
    }
    Ok(count > 0)
}

/// Makes the headers true again: lengths, the IPv4 checksum, the sequence number, and FIN and PSH only at the end.
fn rewrite(segment: &mut [u8], ip: &Ip, sequence: u32, is_last: bool) {
    let (network, transport) = (usize::from(ip.network_offset), usize::from(ip.transport_offset));
    let len = |from: usize| u16::try_from(segment.len() - from).unwrap_or(u16::MAX).to_be_bytes();
    if ip.source.is_v4() {
        let total = len(network);
        segment[network + 2..network + 4].copy_from_slice(&total);
        segment[network + 10..network + 12].fill(0);
        let checksum = !sum::fold(sum::add(0, &segment[network..transport]));
        segment[network + 10..network + 12].copy_from_slice(&checksum.to_be_bytes());
    } else {
        let payload = len(network + 40);
        segment[network + 4..network + 6].copy_from_slice(&payload);
    }
    segment[transport + 4..transport + 8].copy_from_slice(&sequence.to_be_bytes());
    if !is_last {
        segment[transport + 13] &= !(flags::FIN | flags::PSH);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use dataplane::headers::{Tcp, parse};
    use testkit::Packet;

    use super::*;

    fn tcp(frame: &[u8]) -> Tcp {
        match parse(frame).unwrap().network {
            Network::Ip(Ip { transport: Transport::Tcp(tcp), .. }) => tcp,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_joined_segment_is_cut_and_nothing_else() {
        let data: Vec<u8> = (0..=255).cycle().take(5000).collect();
        for packet in [
            Packet::tcp("10.0.0.1:1", "10.0.0.2:2").ip_options(&[1; 4]),
            Packet::tcp("[fd00::1]:1", "[fd00::2]:2").destination_options(&[]).vlan(3),
        ] {
            let packet = packet.tcp_options(&[1; 12]).seq(u32::MAX - 10).ack(7).psh().fin().payload(&data);
            let frame = packet.build();
            let (mut joined, mut sequences, mut ends) = (Vec::new(), Vec::new(), Vec::new());
            let was = cut(&frame, &parse(&frame).unwrap(), 4096, |segment| {
                let tcp = tcp(segment);
                joined.extend_from_slice(&segment[segment.len() - usize::from(tcp.payload)..]);
                sequences.push(tcp.sequence);
                ends.push(tcp.flags);
                Ok::<(), Infallible>(())
            });
            assert_eq!(was, Ok(true));
            assert_eq!(joined, data);
            assert_eq!(sequences, [u32::MAX - 10, 1389, 2789, 4189]);
            let (ack, last) = (flags::ACK, flags::ACK | flags::PSH | flags::FIN);
            assert_eq!(ends, [ack, ack, ack, last]);
        }
        for (name, packet) in [
            ("short enough", Packet::tcp("10.0.0.1:1", "10.0.0.2:2").ack(1).payload([0; 4000])),
            ("UDP", Packet::udp("10.0.0.1:1", "10.0.0.2:2").payload([0; 5000])),
            (
                "fragment",
                Packet::tcp("[fd00::1]:1", "[fd00::2]:2")
                    .fragment_header(1, 0, true)
                    .ack(1)
                    .payload([0; 5004]),
            ),
        ] {
            let frame = packet.build();
            let was = cut(&frame, &parse(&frame).unwrap(), 4096, |_| Err(()));
            assert_eq!(was, Ok(false), "{name}");
        }
    }
}
