//! IP addresses as the packet path holds them.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 or IPv6 address in 16 bytes, IPv4 in the mapped form `::ffff:a.b.c.d` (RFC 4291, 2.5.5.2).
///
/// A packet that carries a mapped address inside an IPv6 header is dropped by `headers`, so one value never
/// means two hosts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Address(u128);

const V4_PREFIX: u128 = 0xffff_0000_0000;

impl Address {
    /// From the four bytes of an IPv4 header, in network order.
    #[must_use]
    pub const fn v4(bytes: [u8; 4]) -> Self {
        Self(V4_PREFIX | u32::from_be_bytes(bytes) as u128)
    }

    /// From the sixteen bytes of an IPv6 header, in network order.
    #[must_use]
    pub const fn v6(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// The address as a number, most significant byte first, IPv4 in mapped form.
    #[must_use]
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// The inverse of [`Address::bits`].
    #[must_use]
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// The IPv4 address as a number, or `None` for IPv6.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the upper 96 bits were just compared")]
    pub const fn as_v4(self) -> Option<u32> {
        if self.0 >> 32 == V4_PREFIX >> 32 { Some(self.0 as u32) } else { None }
    }

    /// Whether the address is IPv4.
    #[must_use]
    pub const fn is_v4(self) -> bool {
        self.0 >> 32 == V4_PREFIX >> 32
    }

    /// The standard library's form.
    #[must_use]
    pub fn to_ip(self) -> IpAddr {
        match self.as_v4() {
            Some(v4) => IpAddr::V4(Ipv4Addr::from(v4)),
            None => IpAddr::V6(Ipv6Addr::from(self.0)),
        }
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => Self::v4(v4.octets()),
            IpAddr::V6(v6) => Self::v6(v6.octets()),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_ip().fmt(f)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_ip().fmt(f)
    }
}

/// An Ethernet address.
pub type Mac = [u8; 6];
