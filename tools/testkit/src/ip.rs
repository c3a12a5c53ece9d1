//! IPv4 and IPv6 headers, extension headers, fragments.

use std::net::IpAddr;

use crate::checksum::internet_checksum;
use crate::transport::Transport;
use crate::{ChecksumMode, Host, Packet};

/// An IP packet in the making.
#[derive(Clone, Debug)]
pub(crate) struct Ip {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    hop_limit: u8,
    traffic_class: u8,
    id: u32,
    dont_fragment: bool,
    options: Vec<u8>,
    /// Extension headers in order: protocol number and the whole header, its next-header byte still open.
    extensions: Vec<(u8, Vec<u8>)>,
    pub(crate) transport: Transport,
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;

impl Ip {
    pub(crate) fn new(source: IpAddr, destination: IpAddr, transport: Transport) -> Self {
        assert_eq!(source.is_ipv4(), destination.is_ipv4(), "{source} and {destination}: one family");
        Self {
            source,
            destination,
            hop_limit: 64,
            traffic_class: 0,
            id: 0,
            dont_fragment: false,
            options: Vec::new(),
            extensions: Vec::new(),
            transport,
        }
    }

    pub(crate) fn ether_type(&self) -> u16 {
        if self.source.is_ipv4() { 0x0800 } else { 0x86dd }
    }

    pub(crate) fn build(&self, mode: ChecksumMode) -> Vec<u8> {
        let data = self.transport.build(self.source, self.destination, mode);
        if self.source.is_ipv4() {
            return self.v4(0, false, &data);
        }
        self.v6(&self.extensions, self.transport.protocol, &data)
    }

    pub(crate) fn fragments(&self, mode: ChecksumMode, size: usize) -> Vec<Vec<u8>> {
        assert!(size > 0 && size.is_multiple_of(8), "fragments are cut at multiples of 8");
        let mut data = self.transport.build(self.source, self.destination, mode);
        let (each, cut): (Vec<_>, Vec<_>) =
            self.extensions.iter().cloned().partition(|(kind, _)| matches!(*kind, HOP_BY_HOP | ROUTING));
        let mut first = self.transport.protocol;
        for (kind, header) in cut.iter().rev() {
            let mut header = header.clone();
            header[0] = first;
            first = *kind;
            header.append(&mut data);
            data = header;
        }
        let count = data.len().div_ceil(size);
        let parts = data.chunks(size).enumerate();
        parts
            .map(|(i, part)| {
                let (offset, more) = (i * size, i + 1 < count);
                if self.source.is_ipv4() {
                    return self.v4(offset, more, part);
                }
                let mut headers = each.clone();
                headers.push((FRAGMENT, fragment_header(self.id, offset, more)));
                self.v6(&headers, first, part)
            })
            .collect()
    }

    fn v4(&self, offset: usize, more: bool, data: &[u8]) -> Vec<u8> {
        let (IpAddr::V4(source), IpAddr::V4(destination)) = (self.source, self.destination) else {
            unreachable!("only called for IPv4")
        };
        let header_len = 20 + self.options.len();
        let mut bytes = vec![0; 20];
        bytes[0] = 0x40 | u8::try_from(header_len / 4).expect("at most 40 bytes of options");
        bytes[1] = self.traffic_class;
        bytes[2..4].copy_from_slice(&len16(header_len + data.len()).to_be_bytes());
        bytes[4..6].copy_from_slice(&u16::try_from(self.id).expect("an IPv4 id has 16 bits").to_be_bytes());
        let flags = u16::from(self.dont_fragment) << 14 | u16::from(more) << 13;
        bytes[6..8].copy_from_slice(&(flags | len16(offset / 8)).to_be_bytes());
        bytes[8] = self.hop_limit;
        bytes[9] = self.transport.protocol;
        bytes[12..16].copy_from_slice(&source.octets());
        bytes[16..20].copy_from_slice(&destination.octets());
        bytes.extend(&self.options);
        let sum = internet_checksum(&bytes);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        bytes.extend(data);
        bytes
    }

    fn v6(&self, extensions: &[(u8, Vec<u8>)], protocol: u8, data: &[u8]) -> Vec<u8> {
        let (IpAddr::V6(source), IpAddr::V6(destination)) = (self.source, self.destination) else {
            unreachable!("only called for IPv6")
        };
        let len = extensions.iter().map(|(_, header)| header.len()).sum::<usize>() + data.len();
        let mut bytes = vec![0x60 | self.traffic_class >> 4, self.traffic_class << 4, 0, 0];
        bytes.extend(len16(len).to_be_bytes());
        bytes.push(extensions.first().map_or(protocol, |(kind, _)| *kind));
        bytes.push(self.hop_limit);
        bytes.extend(source.octets());
        bytes.extend(destination.octets());
        for (i, (_, header)) in extensions.iter().enumerate() {
            bytes.push(extensions.get(i + 1).map_or(protocol, |(kind, _)| *kind));
            bytes.extend(&header[1..]);
        }
        bytes.extend(data);
        bytes
    }
}

fn fragment_header(id: u32, offset: usize, more: bool) -> Vec<u8> {
    let mut header = vec![0, 0];
    header.extend((len16(offset) | u16::from(more)).to_be_bytes());
    header.extend(id.to_be_bytes());
    header
}

/// Options header (hop-by-hop or destination) whose options are padded with `PadN` to a multiple of 8.
fn options_header(options: &[u8]) -> Vec<u8> {
    let mut header = vec![0, 0];
    header.extend(options);
    match (8 - header.len() % 8) % 8 {
        0 => {}
        1 => header.push(0),
        n => {
            header.extend([1, u8::try_from(n - 2).expect("below 8")]);
            header.resize(header.len() + n - 2, 0);
        }
    }
    header[1] = u8::try_from(header.len() / 8 - 1).expect("at most 2048 bytes");
    header
}

pub(crate) fn len16(len: usize) -> u16 {
    u16::try_from(len).expect("longer than an IP packet can be")
}

impl Packet {
    /// A packet of any protocol that this crate has no builder for.
    #[must_use]
    pub fn ip(source: impl Into<Host>, destination: impl Into<Host>, protocol: u8) -> Self {
        Self::ip_content(source.into().0, destination.into().0, Transport::raw(protocol))
    }

    /// Sets the TTL or hop limit; 64 otherwise, 255 for neighbour discovery.
    #[must_use]
    pub fn hop_limit(mut self, hop_limit: u8) -> Self {
        self.ip_mut().hop_limit = hop_limit;
        self
    }

    /// Sets the IPv4 type of service or the IPv6 traffic class.
    #[must_use]
    pub fn traffic_class(mut self, class: u8) -> Self {
        self.ip_mut().traffic_class = class;
        self
    }

    /// Sets the identification of IPv4 headers and of fragments.
    #[must_use]
    pub fn id(mut self, id: u32) -> Self {
        self.ip_mut().id = id;
        self
    }

    /// Sets the IPv4 bit "don't fragment".
    #[must_use]
    pub fn dont_fragment(mut self) -> Self {
        self.ip_mut().dont_fragment = true;
        self
    }

    /// Sets the IPv4 options; padded with end-of-options to a multiple of 4.
    #[must_use]
    pub fn ip_options(mut self, options: &[u8]) -> Self {
        let padded = options.len().next_multiple_of(4);
        let ip = self.ip_mut();
        ip.options = options.to_vec();
        ip.options.resize(padded, 0);
        self
    }

    /// Appends an IPv6 extension header, given whole; its first byte is replaced by the right next header.
    #[must_use]
    pub fn extension(mut self, protocol: u8, header: &[u8]) -> Self {
        self.ip_mut().extensions.push((protocol, header.to_vec()));
        self
    }

    /// Appends a hop-by-hop options header with these options, padded.
    #[must_use]
    pub fn hop_by_hop(self, options: &[u8]) -> Self {
        self.extension(HOP_BY_HOP, &options_header(options))
    }

    /// Appends a destination options header with these options, padded.
    #[must_use]
    pub fn destination_options(self, options: &[u8]) -> Self {
        self.extension(60, &options_header(options))
    }

    /// Appends a routing header of this type with `addresses` empty 16-byte segments.
    #[must_use]
    pub fn routing(self, kind: u8, segments_left: u8, addresses: u8) -> Self {
        let mut header = vec![0, addresses * 2, kind, segments_left, 0, 0, 0, 0];
        header.resize(8 + 16 * usize::from(addresses), 0);
        self.extension(ROUTING, &header)
    }

    /// Appends an IPv6 fragment header with these fields, and nothing is cut: 0 and `false` make an atomic fragment
    /// (RFC 6946). `offset` is in bytes.
    #[must_use]
    pub fn fragment_header(self, id: u32, offset: u16, more: bool) -> Self {
        self.extension(FRAGMENT, &fragment_header(id, usize::from(offset), more))
    }

    /// Appends an authentication header with a check value of 12 bytes (RFC 4302).
    #[must_use]
    pub fn authentication(self) -> Self {
        let mut header = vec![0; 24];
        header[1] = 4;
        self.extension(51, &header)
    }
}
