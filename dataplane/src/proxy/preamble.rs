//! The PROXY protocol, versions 1 and 2: a few bytes before a connection's own, in which a proxy says for whom it
//! connects, so that identity survives a hop.
//!
//! From bytes to a [`Preamble`] and back, in the caller's buffers; no socket and no allocation. The format is that of
//! HAProxy's `doc/proxy-protocol.txt`, revision of 2023. Whom to believe is not decided here: whoever can send a
//! preamble can claim any address, so only trusted peers may.

mod crc;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

use core::fmt;
use core::net::{IpAddr, SocketAddr};

pub use v1::MAX as V1_MAX;
pub use v2::MAX as V2_MAX;

/// The longest preamble that is read, bytes: what a buffer must hold.
pub const READ_MAX: usize = if V1_MAX > V2_MAX { V1_MAX } else { V2_MAX };
/// The longest preamble that is written, bytes.
pub const WRITE_MAX: usize = 107;

/// How a preamble is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

impl Version {
    /// `v1` or `v2`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// For whom a connection is made. IPv4 addresses in mapped form are IPv4 here, as everywhere in ringfence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Who opened the first connection of the chain.
    pub source: SocketAddr,
    /// What that one was opened to.
    pub destination: SocketAddr,
}

/// What a preamble says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Preamble {
    /// How it was written.
    pub version: Version,
    /// None if it speaks for nobody but its sender (`LOCAL`: a health check), or for somebody who has no IP address
    /// or does not speak TCP (`UNKNOWN`, `UNSPEC`, Unix sockets, datagrams): the connection's own addresses count.
    pub claim: Option<Claim>,
}

/// What the bytes of a connection begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// The beginning of a preamble: ask again when there are at least so many bytes. Never more than [`READ_MAX`].
    More(usize),
    /// A preamble of so many bytes. What follows them is the connection's own.
    Done(usize, Preamble),
}

macro_rules! malformed {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Why bytes are no preamble, nor the beginning of one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Malformed { $($(#[doc = $doc])+ $variant,)+ }

        impl Malformed {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// One sentence for people, from the variant's documentation.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+),)+ }
            }
        }
    };
}

malformed! {
    /// The bytes begin with neither version's signature.
    NoSignature = "no_signature",
    /// A line of version 1 does not end with CR LF within 107 bytes.
    LineEnd = "line_end",
    /// A line of version 1 whose family is not `TCP4`, `TCP6` or `UNKNOWN`.
    Family = "family",
    /// An address of version 1 that is none of its family, or a field too many or too few.
    Address = "address",
    /// A port of version 1 that is not 0 to 65535 in plain digits.
    Port = "port",
    /// A command of version 2 that is not `LOCAL` or `PROXY`, or another version in its byte.
    Command = "command",
    /// A family or transport of version 2 that does not exist.
    Transport = "transport",
    /// A header of version 2 that is longer than is read here.
    TooLong = "too_long",
    /// A header of version 2 that is shorter than its addresses.
    TooShort = "too_short",
    /// A TLV of version 2 that goes beyond the header, or a checksum that is not four bytes or comes twice.
    Tlv = "tlv",
    /// The CRC32c in a header of version 2 is not that of the header.
    Checksum = "checksum",
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Reads the preamble at the beginning of `bytes`, which are all that the connection has sent so far. What one answer
/// says holds for any continuation: bytes that were once refused are never accepted with more behind them, and
/// [`Read::Done`] does not change.
///
/// # Errors
/// [`Malformed`]: this connection must be refused, since its bytes may be of anybody.
pub fn read(bytes: &[u8]) -> Result<Read, Malformed> {
    if begins(bytes, v1::SIGNATURE) {
        return v1::read(bytes);
    }
    if begins(bytes, v2::SIGNATURE) {
        return v2::read(bytes);
    }
    Err(Malformed::NoSignature)
}

/// Whether `bytes` begin with `signature`, or may when there are more.
fn begins(bytes: &[u8], signature: &[u8]) -> bool {
    let common = bytes.len().min(signature.len());
    bytes.get(..common) == signature.get(..common)
}

/// Writes a preamble at the beginning of `buffer`; without a claim, one that speaks for nobody but its sender. Returns
/// its length, at most [`WRITE_MAX`], or `None` if the buffer is too small. If the two addresses are of two families,
/// the IPv4 one is written in mapped form.
#[must_use]
pub fn write(version: Version, claim: Option<&Claim>, buffer: &mut [u8]) -> Option<usize> {
    match version {
        Version::V1 => v1::write(claim, buffer),
        Version::V2 => v2::write(claim, buffer),
    }
}

/// Two addresses in one family.
enum Pair {
    V4([core::net::Ipv4Addr; 2]),
    V6([core::net::Ipv6Addr; 2]),
}

impl Claim {
    /// From the addresses as they were written.
    fn canonical(source: (IpAddr, u16), destination: (IpAddr, u16)) -> Self {
        let end = |(ip, port): (IpAddr, u16)| SocketAddr::new(ip.to_canonical(), port);
        Self { source: end(source), destination: end(destination) }
    }

    fn pair(&self) -> Pair {
        let mapped = |ip: IpAddr| match ip {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Pair::V4([source, destination]),
            (source, destination) => Pair::V6([mapped(source), mapped(destination)]),
        }
    }
}
