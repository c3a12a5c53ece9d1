//! IP addresses as the packet path holds them.

use core::cmp::Ordering;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 or IPv6 address in 16 bytes, IPv4 in the mapped form `::ffff:a.b.c.d` (RFC 4291, 2.5.5.2).
///
/// A packet that carries a mapped address inside an IPv6 header is dropped by `headers`, so one value never
/// means two hosts. Two words, not one `u128`: alignment 8 keeps `Headers` within two cache lines.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Address {
    upper: u64,
    lower: u64,
}

impl Address {
    /// From the four bytes of an IPv4 header, in network order.
    #[must_use]
    pub const fn v4(bytes: [u8; 4]) -> Self {
        Self { upper: 0, lower: 0xffff_0000_0000 | u32::from_be_bytes(bytes) as u64 }
    }

    /// From the sixteen bytes of an IPv6 header, in network order.
    #[must_use]
    pub const fn v6(bytes: [u8; 16]) -> Self {
        Self::from_bits(u128::from_be_bytes(bytes))
    }

    /// The address as a number, most significant byte first, IPv4 in mapped form.
    #[must_use]
    pub const fn bits(self) -> u128 {
        (self.upper as u128) << 64 | self.lower as u128
    }

    /// The inverse of [`Address::bits`].
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "each half is taken on purpose")]
    pub const fn from_bits(bits: u128) -> Self {
        Self { upper: (bits >> 64) as u64, lower: bits as u64 }
    }

    /// The IPv4 address as a number, or `None` for IPv6.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the upper 96 bits were just compared")]
    pub const fn as_v4(self) -> Option<u32> {
        if self.is_v4() { Some(self.lower as u32) } else { None }
    }

    /// Whether the address is IPv4.
    #[must_use]
    pub const fn is_v4(self) -> bool {
        self.upper == 0 && self.lower >> 32 == 0xffff
    }

    /// Whether the address is a multicast group (224.0.0.0/4 or ff00::/8).
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.upper >> 56 == 0xff || (self.upper == 0 && self.lower >> 28 == 0x000f_fffe)
    }

    /// Whether the address is the IPv6 unspecified address `::`.
    #[must_use]
    pub const fn is_unspecified_v6(self) -> bool {
        self.upper == 0 && self.lower == 0
    }

    /// Whether the address is IPv6 link-local unicast (fe80::/10, RFC 4291 2.5.6).
    #[must_use]
    pub const fn is_link_local_v6(self) -> bool {
        self.upper >> 54 == 0xfe80 >> 6
    }

    /// The sum of the address's four 32-bit words, for the pseudo-header of Internet checksums. The marker of an IPv4
    /// address, 0xffff, adds nothing in ones' complement.
    #[must_use]
    pub(crate) const fn ones_sum(self) -> u64 {
        const LOW: u64 = 0xffff_ffff;
        (self.upper >> 32) + (self.upper & LOW) + (self.lower >> 32) + (self.lower & LOW)
    }

    /// The standard library's form.
    #[must_use]
    pub fn to_ip(self) -> IpAddr {
        match self.as_v4() {
            Some(v4) => IpAddr::V4(Ipv4Addr::from(v4)),
            None => IpAddr::V6(Ipv6Addr::from(self.bits())),
        }
    }
}

impl Ord for Address {
    /// As numbers; one comparison of 128 bits, without the branch of comparing word by word.
    #[inline(always)]
    fn cmp(&self, other: &Self) -> Ordering {
        self.bits().cmp(&other.bits())
    }
}

impl PartialOrd for Address {
    #[inline(always)]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
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
