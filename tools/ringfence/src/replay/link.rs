//! Captured packets as Ethernet frames, which is all that a wire carries.

use pcap_parser::Linktype;

/// What was made of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// The frame as it was captured.
    Ethernet,
    /// A frame whose source address the capture told.
    WithSender,
    /// A frame with made-up addresses.
    WithoutSender,
    /// Nothing: the link carries no Ethernet payload that could be on a wire.
    Nothing,
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// Addresses of frames whose capture has none: locally administered.
const DESTINATION: [u8; 6] = [2, 0, 0, 0, 0, 2];
const SOURCE: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Writes the frame that `packet` is, or would be, into `frame`. Too short a packet makes too short a frame.
pub(crate) fn to_ethernet(link: Linktype, packet: &[u8], frame: &mut Vec<u8>) -> Made {
    frame.clear();
    match link {
        Linktype::ETHERNET => {
            frame.extend_from_slice(packet);
            Made::Ethernet
        }
        // 12 and 14 are what some systems write for raw IP instead of 101.
        Linktype::RAW | Linktype(12 | 14) => {
            let version = packet.first().map_or(4, |byte| byte >> 4);
            wrap(if version == 6 { IPV6 } else { IPV4 }, SOURCE, packet, frame);
            Made::WithoutSender
        }
        Linktype::IPV4 => {
            wrap(IPV4, SOURCE, packet, frame);
            Made::WithoutSender
        }
        Linktype::IPV6 => {
            wrap(IPV6, SOURCE, packet, frame);
            Made::WithoutSender
        }
        Linktype::NULL | Linktype::LOOP => loopback(packet, frame),
        Linktype::LINUX_SLL => cooked(packet, 16, 14, 4..6, 6, frame),
        Linktype::LINUX_SLL2 => cooked(packet, 20, 0, 11..12, 12, frame),
        _ => Made::Nothing,
    }
}

fn wrap(ether_type: u16, source: [u8; 6], payload: &[u8], frame: &mut Vec<u8>) {
    frame.extend_from_slice(&DESTINATION);
    frame.extend_from_slice(&source);
    frame.extend_from_slice(&ether_type.to_be_bytes());
    frame.extend_from_slice(payload);
}

/// BSD loopback: four bytes of address family, in the byte order of the machine or (`LOOP`) of the network. The
/// family of IPv6 differs between systems: 10, 24, 28 or 30.
fn loopback(packet: &[u8], frame: &mut Vec<u8>) -> Made {
    let Some((family, payload)) = packet.split_first_chunk::<4>() else {
        frame.extend_from_slice(packet);
        return Made::WithoutSender;
    };
    let ether_type = match u32::from_le_bytes(*family).min(u32::from_be_bytes(*family)) {
        2 => IPV4,
        10 | 24 | 28 | 30 => IPV6,
        _ => return Made::Nothing,
    };
    wrap(ether_type, SOURCE, payload, frame);
    Made::WithoutSender
}

/// Linux "cooked" headers (`any` interface): `header_len` bytes with the protocol at `protocol`, and a sender address
/// whose length is in `address_len`.
fn cooked(
    packet: &[u8],
    header_len: usize,
    protocol: usize,
    address_len: std::ops::Range<usize>,
    address: usize,
    frame: &mut Vec<u8>,
) -> Made {
    let Some((header, payload)) = packet.split_at_checked(header_len) else {
        // Shorter than any Ethernet header unless cut to that.
        frame.extend_from_slice(&packet[..packet.len().min(13)]);
        return Made::WithoutSender;
    };
    let ether_type = u16::from_be_bytes([header[protocol], header[protocol + 1]]);
    let is_ethernet =
        header[address_len].iter().fold(0_usize, |len, byte| len << 8 | usize::from(*byte)) == 6;
    let sender = header[address..].first_chunk::<6>().filter(|_| is_ethernet);
    wrap(ether_type, sender.copied().unwrap_or(SOURCE), payload, frame);
    if sender.is_some() { Made::WithSender } else { Made::WithoutSender }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_type() {
        let (v4, v6) = ([0x45, 1, 2], [0x60, 1, 2]);
        let eth = |source: [u8; 6], ether_type: u16, payload: &[u8]| {
            let mut frame = Vec::new();
            wrap(ether_type, source, payload, &mut frame);
            frame
        };
        let with = |header: &[u8], payload: &[u8]| [header, payload].concat();
        let sll = [0, 0, 0, 1, 0, 6, 2, 9, 9, 9, 9, 9, 0, 0, 0x08, 0x06];
        let tunnel = [0, 0, 3, 8, 0, 4, 10, 0, 0, 1, 0, 0, 0, 0, 0x08, 0];
        let sll2 = [0x86, 0xdd, 0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 2, 9, 9, 9, 9, 9, 0, 0];
        let mac = [2, 9, 9, 9, 9, 9];
        let cases = [
            ("Ethernet", 1, eth(mac, IPV4, &v4), Made::Ethernet, eth(mac, IPV4, &v4)),
            ("raw, v4", 101, v4.to_vec(), Made::WithoutSender, eth(SOURCE, IPV4, &v4)),
            ("raw, v6", 12, v6.to_vec(), Made::WithoutSender, eth(SOURCE, IPV6, &v6)),
            ("raw, empty", 101, vec![], Made::WithoutSender, eth(SOURCE, IPV4, &[])),
            ("IPv4", 228, v4.to_vec(), Made::WithoutSender, eth(SOURCE, IPV4, &v4)),
            ("IPv6", 229, v6.to_vec(), Made::WithoutSender, eth(SOURCE, IPV6, &v6)),
            ("null, little", 0, with(&[2, 0, 0, 0], &v4), Made::WithoutSender, eth(SOURCE, IPV4, &v4)),
            ("null, big", 0, with(&[0, 0, 0, 30], &v6), Made::WithoutSender, eth(SOURCE, IPV6, &v6)),
            ("loop", 108, with(&[0, 0, 0, 24], &v6), Made::WithoutSender, eth(SOURCE, IPV6, &v6)),
            ("null, AppleTalk", 0, with(&[16, 0, 0, 0], &v4), Made::Nothing, vec![]),
            ("null, cut", 0, vec![2, 0], Made::WithoutSender, vec![2, 0]),
            ("cooked", 113, with(&sll, &v4), Made::WithSender, eth(mac, 0x0806, &v4)),
            ("cooked, tunnel", 113, with(&tunnel, &v4), Made::WithoutSender, eth(SOURCE, IPV4, &v4)),
            ("cooked, cut", 113, sll[..15].to_vec(), Made::WithoutSender, sll[..13].to_vec()),
            ("cooked 2", 276, with(&sll2, &v6), Made::WithSender, eth(mac, IPV6, &v6)),
            ("802.11", 105, v4.to_vec(), Made::Nothing, vec![]),
        ];
        for (name, link, packet, made, expected) in cases {
            let mut frame = vec![7; 3];
            assert_eq!(to_ethernet(Linktype(link), &packet, &mut frame), made, "{name}");
            assert_eq!(frame, expected, "{name}");
        }
    }
}
