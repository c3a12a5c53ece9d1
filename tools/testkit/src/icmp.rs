//! ICMP, ICMPv6 and neighbour discovery.

use std::net::{IpAddr, Ipv6Addr};

use crate::transport::{Header, Transport};
use crate::{Host, Packet, mac_of};

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

impl Packet {
    /// An ICMP or ICMPv6 message, by the family of the addresses; the four bytes after the checksum are zero.
    #[must_use]
    pub fn icmp(source: impl Into<Host>, destination: impl Into<Host>, kind: u8, code: u8) -> Self {
        let (source, destination) = (source.into().0, destination.into().0);
        let protocol = if source.is_ipv4() { 1 } else { 58 };
        let header = Header::Icmp { kind, code, rest: [0; 4] };
        Self::ip_content(source, destination, Transport { protocol, header, payload: Vec::new() })
    }

    /// An echo request with this id; [`Packet::seq`] sets the sequence number.
    #[must_use]
    pub fn echo_request(source: impl Into<Host>, destination: impl Into<Host>, id: u16) -> Self {
        Self::echo(source, destination, id, [8, 128])
    }

    /// An echo reply with this id.
    #[must_use]
    pub fn echo_reply(source: impl Into<Host>, destination: impl Into<Host>, id: u16) -> Self {
        Self::echo(source, destination, id, [0, 129])
    }

    fn echo(source: impl Into<Host>, destination: impl Into<Host>, id: u16, kinds: [u8; 2]) -> Self {
        let (source, destination) = (source.into(), destination.into());
        let [high, low] = id.to_be_bytes();
        let kind = if source.0.is_ipv4() { kinds[0] } else { kinds[1] };
        Self::icmp(source, destination, kind, 0).rest([high, low, 0, 0]).payload(b"abcdefgh")
    }

    /// An ICMP or ICMPv6 error that quotes the IP packet of `frame` (whose Ethernet header and tags are skipped), as
    /// much of it as the limits of RFC 1812 4.3.2.3 (576 bytes) and RFC 4443 2.4 (1,280 bytes) let it.
    #[must_use]
    pub fn icmp_error(
        source: impl Into<Host>,
        destination: impl Into<Host>,
        kind: u8,
        code: u8,
        frame: &[u8],
    ) -> Self {
        let mut at = 12;
        while matches!(frame[at..at + 2], [0x81, 0] | [0x88, 0xa8] | [0x91, 0]) {
            at += 4;
        }
        let quoted = &frame[at + 2..];
        let source = source.into();
        let limit = if source.0.is_ipv4() { 576 - 28 } else { 1280 - 48 };
        Self::icmp(source, destination, kind, code).payload(&quoted[..quoted.len().min(limit)])
    }

    /// Cuts the payload to at most `len` bytes: a quote that ends early.
    #[must_use]
    pub fn cut(mut self, len: usize) -> Self {
        self.ip_mut().transport.payload.truncate(len);
        self
    }

    /// Sets the four bytes after the ICMP checksum.
    #[must_use]
    pub fn rest(mut self, bytes: [u8; 4]) -> Self {
        match &mut self.ip_mut().transport.header {
            Header::Icmp { rest, .. } => *rest = bytes,
            other => panic!("not ICMP: {other:?}"),
        }
        self
    }

    /// Appends a neighbour discovery option (RFC 4861 4.6): `body` with its two bytes of header must fill a multiple
    /// of 8.
    #[must_use]
    pub fn option(mut self, kind: u8, body: &[u8]) -> Self {
        assert!((body.len() + 2).is_multiple_of(8), "an option fills a multiple of 8 bytes");
        let payload = &mut self.ip_mut().transport.payload;
        payload.extend([kind, u8::try_from((body.len() + 2) / 8).expect("at most 2,040 bytes")]);
        payload.extend(body);
        self
    }

    /// A neighbour solicitation from `source` for `target`, to the solicited-node group, with the source's
    /// link-layer address unless the source is `::` (duplicate address detection).
    #[must_use]
    pub fn neighbour_solicit(source: &str, target: &str) -> Self {
        let (source, target) = (v6(source), v6(target));
        let [.., a, b, c] = target.octets();
        let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
        let packet = Self::neighbour(source, group, 135).payload(target.octets());
        if source.is_unspecified() { packet } else { packet.option(1, &mac_of(source.into())) }
    }

    /// A solicited neighbour advertisement: `source` says that it owns `target`.
    #[must_use]
    pub fn neighbour_advert(source: &str, destination: &str, target: &str) -> Self {
        let (source, target) = (v6(source), v6(target));
        Self::neighbour(source, v6(destination), 136)
            .rest([0x60, 0, 0, 0])
            .payload(target.octets())
            .option(2, &mac_of(target.into()))
    }

    /// A router solicitation to all routers.
    #[must_use]
    pub fn router_solicit(source: &str) -> Self {
        let source = v6(source);
        let packet = Self::neighbour(source, ALL_ROUTERS, 133);
        if source.is_unspecified() { packet } else { packet.option(1, &mac_of(source.into())) }
    }

    /// A router advertisement to all nodes, with the router's link-layer address.
    #[must_use]
    pub fn router_advert(source: &str) -> Self {
        let source = v6(source);
        Self::neighbour(source, ALL_NODES, 134)
            .rest([64, 0, 7, 8])
            .payload([0; 8])
            .option(1, &mac_of(source.into()))
    }

    /// A redirect: to reach `toward`, use `target` (RFC 4861 4.5).
    #[must_use]
    pub fn redirect(source: &str, destination: &str, target: &str, toward: &str) -> Self {
        let body = [v6(target).octets(), v6(toward).octets()].concat();
        Self::neighbour(v6(source), v6(destination), 137).payload(body)
    }

    /// A version 2 multicast listener report (RFC 3810 5.2) for one group, hop limit 1, with the router alert option.
    #[must_use]
    pub fn listener_report(source: &str, group: &str) -> Self {
        let all_routers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
        let mut record = vec![4, 0, 0, 0];
        record.extend(v6(group).octets());
        Self::icmp(IpAddr::from(v6(source)), IpAddr::from(all_routers), 143, 0)
            .hop_limit(1)
            .hop_by_hop(&[5, 2, 0, 0])
            .rest([0, 0, 0, 1])
            .payload(record)
    }

    fn neighbour(source: Ipv6Addr, destination: Ipv6Addr, kind: u8) -> Self {
        Self::icmp(IpAddr::from(source), IpAddr::from(destination), kind, 0).hop_limit(255)
    }
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap_or_else(|e| panic!("{text:?} is no IPv6 address: {e}"))
}
