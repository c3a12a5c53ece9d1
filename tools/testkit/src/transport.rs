//! TCP, UDP, SCTP.

use std::net::IpAddr;

use crate::checksum::{crc32c, folded_sum, pseudo_sum};
use crate::{ChecksumMode, End, Packet, checksum::fold, ip::len16};

/// What an IP packet carries: a header with a hole for the checksum, and data.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    pub(crate) protocol: u8,
    pub(crate) header: Header,
    pub(crate) payload: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) enum Header {
    Tcp(Tcp),
    Udp { ports: [u16; 2], len: Option<u16> },
    Sctp { ports: [u16; 2], tag: u32 },
    Icmp { kind: u8, code: u8, rest: [u8; 4] },
    None,
}

#[derive(Clone, Debug)]
pub(crate) struct Tcp {
    ports: [u16; 2],
    sequence: u32,
    acknowledgement: u32,
    flags: u8,
    window: u16,
    options: Vec<u8>,
}

impl Transport {
    pub(crate) fn raw(protocol: u8) -> Self {
        Self { protocol, header: Header::None, payload: Vec::new() }
    }

    pub(crate) fn build(&self, source: IpAddr, destination: IpAddr, mode: ChecksumMode) -> Vec<u8> {
        let (mut bytes, hole) = self.header_bytes();
        bytes.extend(&self.payload);
        let Some(hole) = hole else { return bytes };
        if matches!(self.header, Header::Sctp { .. }) {
            let crc = crc32c(&bytes) ^ u32::from(mode == ChecksumMode::Wrong);
            bytes[hole..hole + 4].copy_from_slice(&crc.to_le_bytes());
            return bytes;
        }
        let with_pseudo = self.protocol != 1;
        let pseudo =
            if with_pseudo { pseudo_sum(source, destination, self.protocol, bytes.len()) } else { 0 };
        let mut sum = !fold(u64::from(pseudo) + u64::from(folded_sum(&bytes)));
        if matches!(self.header, Header::Udp { .. }) && sum == 0 {
            sum = 0xffff;
        }
        let value = match mode {
            ChecksumMode::Finished => sum,
            ChecksumMode::Partial => pseudo,
            ChecksumMode::Wrong => sum ^ 0x0100,
            ChecksumMode::Zero => 0,
        };
        bytes[hole..hole + 2].copy_from_slice(&value.to_be_bytes());
        bytes
    }

    /// The header with its checksum zero, and where that checksum is.
    fn header_bytes(&self) -> (Vec<u8>, Option<usize>) {
        let mut bytes = Vec::new();
        match &self.header {
            Header::Tcp(tcp) => {
                bytes.extend(tcp.ports.iter().flat_map(|p| p.to_be_bytes()));
                bytes.extend(tcp.sequence.to_be_bytes());
                bytes.extend(tcp.acknowledgement.to_be_bytes());
                let words = u8::try_from(5 + tcp.options.len() / 4).expect("at most 40 bytes of options");
                bytes.extend([words << 4, tcp.flags]);
                bytes.extend(tcp.window.to_be_bytes());
                bytes.extend([0; 4]);
                bytes.extend(&tcp.options);
                (bytes, Some(16))
            }
            Header::Udp { ports, len } => {
                bytes.extend(ports.iter().flat_map(|p| p.to_be_bytes()));
                bytes.extend(len.unwrap_or_else(|| len16(8 + self.payload.len())).to_be_bytes());
                bytes.extend([0; 2]);
                (bytes, Some(6))
            }
            Header::Sctp { ports, tag } => {
                bytes.extend(ports.iter().flat_map(|p| p.to_be_bytes()));
                bytes.extend(tag.to_be_bytes());
                bytes.extend([0; 4]);
                (bytes, Some(8))
            }
            Header::Icmp { kind, code, rest } => {
                bytes.extend([*kind, *code, 0, 0]);
                bytes.extend(rest);
                (bytes, Some(2))
            }
            Header::None => (bytes, None),
        }
    }
}

impl Packet {
    /// A TCP segment without flags: sequence 0, window 65,535, no options, no data.
    #[must_use]
    pub fn tcp(source: impl Into<End>, destination: impl Into<End>) -> Self {
        Self::ends(source, destination, 6, |ports| {
            Header::Tcp(Tcp {
                ports,
                sequence: 0,
                acknowledgement: 0,
                flags: 0,
                window: u16::MAX,
                options: vec![],
            })
        })
    }

    /// A UDP datagram.
    #[must_use]
    pub fn udp(source: impl Into<End>, destination: impl Into<End>) -> Self {
        Self::ends(source, destination, 17, |ports| Header::Udp { ports, len: None })
    }

    /// An SCTP packet without chunks; see [`Packet::chunk`].
    #[must_use]
    pub fn sctp(source: impl Into<End>, destination: impl Into<End>) -> Self {
        Self::ends(source, destination, 132, |ports| Header::Sctp { ports, tag: 0 })
    }

    fn ends(
        source: impl Into<End>,
        destination: impl Into<End>,
        protocol: u8,
        header: impl FnOnce([u16; 2]) -> Header,
    ) -> Self {
        let (source, destination) = (source.into().0, destination.into().0);
        let header = header([source.port(), destination.port()]);
        let transport = Transport { protocol, header, payload: Vec::new() };
        Self::ip_content(source.ip(), destination.ip(), transport)
    }

    fn tcp_mut(&mut self) -> &mut Tcp {
        match &mut self.ip_mut().transport.header {
            Header::Tcp(tcp) => tcp,
            other => panic!("not TCP: {other:?}"),
        }
    }

    /// Adds SYN.
    #[must_use]
    pub fn syn(self) -> Self {
        self.flag(2)
    }

    /// Adds FIN.
    #[must_use]
    pub fn fin(self) -> Self {
        self.flag(1)
    }

    /// Adds RST.
    #[must_use]
    pub fn rst(self) -> Self {
        self.flag(4)
    }

    /// Adds PSH.
    #[must_use]
    pub fn psh(self) -> Self {
        self.flag(8)
    }

    /// Adds ACK and sets the acknowledgement number.
    #[must_use]
    pub fn ack(mut self, acknowledgement: u32) -> Self {
        self.tcp_mut().acknowledgement = acknowledgement;
        self.flag(16)
    }

    fn flag(mut self, bit: u8) -> Self {
        self.tcp_mut().flags |= bit;
        self
    }

    /// Sets all flags at once: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128.
    #[must_use]
    pub fn flags(mut self, flags: u8) -> Self {
        self.tcp_mut().flags = flags;
        self
    }

    /// Sets the TCP sequence number, the sequence number of an echo, or the SCTP verification tag.
    #[must_use]
    pub fn seq(mut self, sequence: u32) -> Self {
        match &mut self.ip_mut().transport.header {
            Header::Tcp(tcp) => tcp.sequence = sequence,
            Header::Sctp { tag, .. } => *tag = sequence,
            Header::Icmp { rest, .. } => rest[2..].copy_from_slice(&len16(sequence as usize).to_be_bytes()),
            other => panic!("no sequence number in {other:?}"),
        }
        self
    }

    /// Sets the TCP window.
    #[must_use]
    pub fn window(mut self, window: u16) -> Self {
        self.tcp_mut().window = window;
        self
    }

    /// Appends a TCP window scale option (RFC 7323), aligned with a no-operation before it.
    #[must_use]
    pub fn window_scale(self, shift: u8) -> Self {
        self.tcp_options(&[1, 3, 3, shift])
    }

    /// Appends a TCP maximum segment size option.
    #[must_use]
    pub fn mss(self, size: u16) -> Self {
        let [high, low] = size.to_be_bytes();
        self.tcp_options(&[2, 4, high, low])
    }

    /// Appends TCP options; padded with end-of-options to a multiple of 4.
    #[must_use]
    pub fn tcp_options(mut self, options: &[u8]) -> Self {
        let tcp = self.tcp_mut();
        tcp.options.extend(options);
        tcp.options.resize(tcp.options.len().next_multiple_of(4), 0);
        self
    }

    /// Sets the UDP length field to a value of its own.
    #[must_use]
    pub fn udp_len(mut self, value: u16) -> Self {
        match &mut self.ip_mut().transport.header {
            Header::Udp { len, .. } => *len = Some(value),
            other => panic!("not UDP: {other:?}"),
        }
        self
    }

    /// Appends an SCTP chunk: type 1 INIT, 2 INIT ACK, 0 DATA, 6 ABORT, 7 SHUTDOWN, 10 COOKIE ECHO, 11 COOKIE ACK.
    #[must_use]
    pub fn chunk(mut self, kind: u8, value: &[u8]) -> Self {
        let payload = &mut self.ip_mut().transport.payload;
        payload.extend([kind, 0]);
        payload.extend(len16(4 + value.len()).to_be_bytes());
        payload.extend(value);
        payload.resize(payload.len().next_multiple_of(4), 0);
        self
    }
}
