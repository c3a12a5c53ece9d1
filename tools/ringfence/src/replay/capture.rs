//! Reading pcap and pcapng, whatever their byte order and time resolution.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

use pcap_parser::traits::PcapReaderIterator;
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};

/// One captured packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Captured<'a> {
    /// The link type of the interface it was captured on.
    pub(crate) link: Linktype,
    /// When, in nanoseconds since 1970.
    pub(crate) at: u64,
    /// How long it was on the wire, bytes; more than `bytes` holds if the capture cut it.
    pub(crate) wire_len: usize,
    /// What was captured of it.
    pub(crate) bytes: &'a [u8],
}

/// Why a capture cannot be read at all.
#[derive(Debug)]
pub(crate) enum CaptureError {
    /// The file cannot be opened or read.
    Io(io::Error),
    /// It is neither pcap nor pcapng.
    Unrecognised,
    /// It has no bytes.
    Empty,
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Unrecognised => f.write_str("this is neither a pcap nor a pcapng file"),
            Self::Empty => f.write_str("the file is empty"),
        }
    }
}

impl std::error::Error for CaptureError {}

/// Whether all of a capture was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// To its end.
    Complete,
    /// Up to a place where it is cut off or makes no sense.
    Damaged(&'static str),
}

/// How much is buffered at first, bytes; and the largest block that is read.
const BUFFER: usize = 1 << 20;
const BUFFER_MAX: usize = 64 << 20;

/// Hands every packet of the capture to `each`, in order, until that says stop with an error.
///
/// # Errors
/// The file cannot be read, or is no capture; or what `each` says.
pub(crate) fn read<E: From<CaptureError>>(
    path: &Path,
    mut each: impl FnMut(Captured<'_>) -> Result<(), E>,
) -> Result<Ending, E> {
    let file = File::open(path).map_err(CaptureError::Io)?;
    let mut reader = create_reader(BUFFER, file).map_err(|error| match error {
        PcapError::Eof => CaptureError::Empty,
        PcapError::ReadError => CaptureError::Io(io::Error::other("the file cannot be read")),
        _ => CaptureError::Unrecognised,
    })?;
    let mut interfaces = Interfaces::default();
    let mut capacity = BUFFER;
    loop {
        match next(reader.as_mut(), &mut interfaces, &mut each)? {
            Step::Read(used) => reader.consume(used),
            Step::Refill => {
                reader.refill().map_err(|_| CaptureError::Io(io::Error::other("the file cannot be read")))?;
            }
            Step::Grow if capacity < BUFFER_MAX => {
                capacity *= 2;
                reader.grow(capacity);
                reader.refill().map_err(|_| CaptureError::Io(io::Error::other("the file cannot be read")))?;
            }
            Step::Grow => return Ok(Ending::Damaged("a block is larger than 64 MiB")),
            Step::End(ending) => return Ok(ending),
        }
    }
}

enum Step {
    Read(usize),
    Refill,
    Grow,
    End(Ending),
}

fn next<E>(
    reader: &mut dyn PcapReaderIterator,
    interfaces: &mut Interfaces,
    each: &mut impl FnMut(Captured<'_>) -> Result<(), E>,
) -> Result<Step, E> {
    let (used, block) = match reader.next() {
        Ok(found) => found,
        Err(PcapError::Eof) => return Ok(Step::End(Ending::Complete)),
        Err(PcapError::Incomplete(_)) => return Ok(Step::Refill),
        Err(PcapError::BufferTooSmall) => return Ok(Step::Grow),
        Err(PcapError::UnexpectedEof) => return Ok(Step::End(Ending::Damaged("its last block is cut off"))),
        Err(_) => return Ok(Step::End(Ending::Damaged("a block makes no sense"))),
    };
    let packet = match &block {
        PcapBlockOwned::LegacyHeader(header) => {
            let nanoseconds = header.is_nanosecond_precision();
            interfaces.0 = vec![Interface::legacy(header.network, nanoseconds)];
            None
        }
        PcapBlockOwned::Legacy(packet) => interfaces.0.first().map(|interface| Captured {
            link: interface.link,
            at: u64::from(packet.ts_sec) * NANOS + u64::from(packet.ts_usec) * interface.nanos_per_fraction,
            wire_len: packet.origlen as usize,
            bytes: packet.data,
        }),
        PcapBlockOwned::NG(block) => interfaces.take_in(block),
    };
    if let Some(packet) = packet {
        each(packet)?;
    }
    Ok(Step::Read(used))
}

const NANOS: u64 = 1_000_000_000;

struct Interface {
    link: Linktype,
    /// In pcap, what one unit of the second timestamp field is worth.
    nanos_per_fraction: u64,
    /// In pcapng, units per second, and seconds to add.
    units: u64,
    offset: i64,
    /// The most bytes captured of a packet; 0 for no limit.
    snap_len: u32,
}

impl Interface {
    /// The upper bits of the field tell the length of the frame check sequence (pcap file format, "LinkType and
    /// additional information"); it comes after the IP packet and is not looked at.
    fn legacy(link: Linktype, nanoseconds: bool) -> Self {
        let nanos_per_fraction = if nanoseconds { 1 } else { 1000 };
        Self { link: Linktype(link.0 & 0xffff), nanos_per_fraction, units: NANOS, offset: 0, snap_len: 0 }
    }
}

/// The interfaces of the section at hand.
#[derive(Default)]
struct Interfaces(Vec<Interface>);

impl Interfaces {
    fn take_in<'a>(&mut self, block: &Block<'a>) -> Option<Captured<'a>> {
        match block {
            Block::SectionHeader(_) => self.0.clear(),
            Block::InterfaceDescription(interface) => self.0.push(Interface {
                link: interface.linktype,
                nanos_per_fraction: 0,
                units: units(interface.if_tsresol),
                offset: interface.if_tsoffset,
                snap_len: interface.snaplen,
            }),
            Block::EnhancedPacket(packet) => {
                let interface = self.0.get(packet.if_id as usize)?;
                let time = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                let bytes = packet.data.get(..packet.caplen as usize).unwrap_or(packet.data);
                return Some(Captured {
                    link: interface.link,
                    at: nanos(time, interface.units, interface.offset),
                    wire_len: packet.origlen as usize,
                    bytes,
                });
            }
            // Without a timestamp; always of the first interface.
            Block::SimplePacket(packet) => {
                let interface = self.0.first()?;
                let wire_len = packet.origlen as usize;
                let limit = if interface.snap_len == 0 { wire_len } else { interface.snap_len as usize };
                let bytes = packet.data.get(..wire_len.min(limit)).unwrap_or(packet.data);
                return Some(Captured { link: interface.link, at: 0, wire_len, bytes });
            }
            _ => {}
        }
        None
    }
}

/// Units per second of the option `if_tsresol`: a power of ten, or with the upper bit of two. Nonsense counts as the
/// default, microseconds.
fn units(resolution: u8) -> u64 {
    let exponent = u32::from(resolution & 0x7f);
    let base = if resolution & 0x80 == 0 { 10_u64 } else { 2 };
    base.checked_pow(exponent).unwrap_or(1_000_000)
}

/// Nanoseconds since 1970; times before or beyond what 64 bits hold become the nearest.
fn nanos(time: u64, units: u64, offset: i64) -> u64 {
    let nanos =
        i128::from(time) * i128::from(NANOS) / i128::from(units) + i128::from(offset) * i128::from(NANOS);
    u64::try_from(nanos.max(0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (name, time, resolution, offset, expected) in [
            ("microseconds", 1_500_000, 6, 0, 1_500_000_000),
            ("nanoseconds", 1_500_000_000, 9, 0, 1_500_000_000),
            ("seconds", 3, 0, 0, 3_000_000_000),
            ("binary", 3 << 9, 0x80 | 10, 0, 1_500_000_000),
            ("offset", 0, 6, 7, 7_000_000_000),
            ("before 1970", 0, 6, -7, 0),
            ("nonsense resolution is the default", 1_500_000, 0x7f, 0, 1_500_000_000),
            ("beyond 64 bits", u64::MAX, 0, 0, u64::MAX),
        ] {
            assert_eq!(nanos(time, units(resolution), offset), expected, "{name}");
        }
    }
}
