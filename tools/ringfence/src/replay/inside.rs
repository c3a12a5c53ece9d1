//! Which side of the wire a captured packet would have come in on.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use dataplane::address::Address;
use dataplane::headers::{Headers, Network};
use dataplane::policy::PolicyTable;
use dataplane::verdict::{DropReason, Side};

/// An address prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cidr {
    /// The network, IPv4 in mapped form.
    bits: u128,
    /// Of the mapped form: 96 more than an IPv4 prefix is written with.
    len: u32,
}

/// A text that is no address prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CidrError(String);

impl fmt::Display for CidrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no address prefix: write 10.1.0.0/16, fd00:1::/48 or one address", self.0)
    }
}

impl std::error::Error for CidrError {}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let wrong = || CidrError(text.to_owned());
        let (address, len) = match text.split_once('/') {
            Some((address, len)) => (address, Some(len)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let (most, mapped) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        let len = len.map_or(Ok(most), |len| len.parse::<u32>().map_err(|_| wrong()))?;
        if len > most {
            return Err(wrong());
        }
        Ok(Self { bits: Address::from(address).bits(), len: len + mapped })
    }
}

impl Cidr {
    fn contains(self, address: Address) -> bool {
        // A shift by all 128 bits leaves nothing to differ.
        (self.bits ^ address.bits()).checked_shr(128 - self.len).unwrap_or(0) == 0
    }
}

/// How the side is chosen.
#[derive(Clone, Debug)]
pub(crate) enum Inside {
    /// The addresses that workloads own.
    Workloads,
    /// These.
    Told(Vec<Cidr>),
}

impl Inside {
    /// The inside for a packet whose source (for ARP: sender) is inside; the outside for all others, also for those
    /// that have no such address or cannot be read.
    pub(crate) fn side(&self, table: &PolicyTable, headers: &Result<Headers, DropReason>) -> Side {
        let source = match headers {
            Ok(Headers { network: Network::Ip(ip), .. }) => ip.source,
            Ok(Headers { network: Network::Arp(arp), .. }) => arp.sender,
            _ => return Side::Outside,
        };
        let inside = match self {
            Self::Workloads => table.resolve(source).owner().is_some(),
            Self::Told(prefixes) => prefixes.iter().any(|prefix| prefix.contains(source)),
        };
        if inside { Side::Inside } else { Side::Outside }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        for (prefix, address, expected) in [
            ("10.1.0.0/16", "10.1.255.255", true),
            ("10.1.0.0/16", "10.2.0.0", false),
            ("10.1.9.9/16", "10.1.0.1", true),
            ("10.1.0.1", "10.1.0.1", true),
            ("10.1.0.1", "10.1.0.2", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "10.0.0.1", true),
            ("fd00:1::/48", "fd00:1::9", true),
            ("fd00:1::/48", "fd00:2::9", false),
            ("fd00::1/128", "fd00::1", true),
        ] {
            let address = Address::from(address.parse::<IpAddr>().unwrap());
            assert_eq!(prefix.parse::<Cidr>().unwrap().contains(address), expected, "{prefix} {address}");
        }
        for wrong in ["", "10.0.0.0/33", "fd00::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/-1", "web"] {
            assert_eq!(wrong.parse::<Cidr>(), Err(CidrError(wrong.to_owned())));
        }
    }
}
