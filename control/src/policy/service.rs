//! Services as people write them: `tcp/443`, `udp/8000-8099`, `icmp/echo-request`, `icmpv6/2`, `proto/47`, `any`.
//!
//! Grammar, all in lower case:
//! - `any`: every protocol and port.
//! - `tcp`, `udp`, `sctp`: every port; `tcp/PORT`, `tcp/PORT-PORT`: destination ports, 1 to 65535.
//! - `icmp`, `icmpv6`: every message; `icmp/TYPE`, `icmp/TYPE/CODE`: by number, range of numbers, or name.
//! - `gre`, `esp`, `ah`, `igmp`: the protocol; `proto/NUMBER`, `proto/NUMBER-NUMBER`: by IANA number, 0 to 255.

mod icmp;

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use dataplane::headers::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};

use super::diagnostics::quote;
use super::valid::ServiceRange;

/// Protocols that have a name, with their IANA numbers.
const PROTOCOLS: &[(&str, u8)] = &[
    ("tcp", TCP),
    ("udp", UDP),
    ("sctp", SCTP),
    ("icmp", ICMP),
    ("icmpv6", ICMPV6),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("igmp", 2),
];

/// The forms of a service, as examples for messages and for the schema.
pub const EXAMPLES: &[&str] = &[
    "any",
    "tcp",
    "tcp/443",
    "udp/8000-8099",
    "sctp/3868",
    "icmp/echo-request",
    "icmp/3/4",
    "icmpv6/packet-too-big",
    "gre",
    "esp",
    "ah",
    "proto/47",
];

/// Why a text is not a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceError {
    /// No protocol of that name.
    Protocol(String),
    /// Not a port number from 1 to 65535.
    Port(String),
    /// Not a number from 0 to 255 where a protocol, type or code is named by number.
    Number(String),
    /// Not an ICMP type of that name; the second field says of which protocol.
    IcmpType(String, &'static str),
    /// The range runs from high to low; the field is the range in the right order.
    Reversed(String),
    /// The protocol has nothing to choose by.
    NoPorts(String),
    /// More than one port, type or protocol where one is asked for.
    NotOne(String),
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(word) => write!(f, "there is no protocol {}", quote(word)),
            Self::Port(word) => {
                write!(f, "{} is not a port: a port is a number from 1 to 65535", quote(word))
            }
            Self::Number(word) => write!(f, "{} is not a number from 0 to 255", quote(word)),
            Self::IcmpType(word, protocol) => write!(f, "{protocol} has no message type {}", quote(word)),
            Self::Reversed(right) => write!(f, "the range runs backwards: write {}", quote(right)),
            Self::NoPorts(name) => write!(f, "{} has no ports or types to choose by", quote(name)),
            Self::NotOne(word) => write!(f, "{} names more than one port, type or protocol", quote(word)),
        }
    }
}

impl std::error::Error for ServiceError {}

impl ServiceError {
    /// The words that are legal where the fault is.
    #[must_use]
    pub fn legal(&self) -> Vec<&'static str> {
        match self {
            Self::IcmpType(_, "icmp") => icmp::names(ICMP).collect(),
            Self::IcmpType(..) => icmp::names(ICMPV6).collect(),
            _ => EXAMPLES.to_vec(),
        }
    }
}

/// Names of every protocol that may stand before the slash.
pub(crate) fn protocol_names() -> impl Iterator<Item = &'static str> {
    PROTOCOLS.iter().map(|(name, _)| *name).chain(["proto", "any"])
}

impl FromStr for ServiceRange {
    type Err = ServiceError;

    fn from_str(text: &str) -> Result<Self, ServiceError> {
        let (word, rest) = match text.split_once('/') {
            Some((word, rest)) => (word, Some(rest)),
            None => (text, None),
        };
        match (word, rest) {
            ("any", None) => return Ok(Self::ANY),
            ("any", Some(_)) => return Err(ServiceError::NoPorts(word.to_owned())),
            ("proto", _) => {
                let (first, last) = span(rest.unwrap_or(""), number)?;
                return Ok(Self { first: u32::from(first) << 16, last: u32::from(last) << 16 | 0xffff });
            }
            _ => {}
        }
        let known = PROTOCOLS.iter().find(|(name, _)| *name == word);
        let &(name, protocol) = known.ok_or_else(|| ServiceError::Protocol(word.to_owned()))?;
        let Some(rest) = rest else { return Ok(whole(protocol)) };
        let (first, last) = match protocol {
            TCP | UDP | SCTP => span(rest, port)?,
            ICMP | ICMPV6 => icmp::parse(rest, protocol, name)?,
            _ => return Err(ServiceError::NoPorts(name.to_owned())),
        };
        let base = u32::from(protocol) << 16;
        Ok(Self { first: base | u32::from(first), last: base | u32::from(last) })
    }
}

/// Every key of one protocol.
fn whole(protocol: u8) -> ServiceRange {
    let first = u32::from(protocol) << 16;
    ServiceRange { first, last: first | 0xffff }
}

/// `A` or `A-B`, each read by `one`.
fn span<T: PartialOrd + Copy>(
    text: &str,
    one: impl Fn(&str) -> Result<T, ServiceError>,
) -> Result<(T, T), ServiceError> {
    let Some((first, last)) = text.split_once('-') else {
        let only = one(text)?;
        return Ok((only, only));
    };
    let (low, high) = (one(first)?, one(last)?);
    if low > high { Err(ServiceError::Reversed(format!("{last}-{first}"))) } else { Ok((low, high)) }
}

fn port(text: &str) -> Result<u16, ServiceError> {
    match decimal(text).and_then(|number| u16::try_from(number).ok()) {
        Some(port) if port > 0 => Ok(port),
        _ => Err(ServiceError::Port(text.to_owned())),
    }
}

fn number(text: &str) -> Result<u8, ServiceError> {
    let number = decimal(text).and_then(|number| u8::try_from(number).ok());
    number.ok_or_else(|| ServiceError::Number(text.to_owned()))
}

/// A number of up to five digits without sign or leading zero.
fn decimal(text: &str) -> Option<u32> {
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if !digits || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse().ok()
}

/// The service key (see [`ServiceRange`]) of one concrete flow, as `explain` and `matrix` ask for it: one port, one
/// ICMP type (code 0 unless told), or one protocol without ports.
///
/// # Errors
/// [`ServiceError::NotOne`] for anything wider; otherwise as for [`ServiceRange`].
pub fn parse_one(text: &str) -> Result<u32, ServiceError> {
    let range: ServiceRange = text.parse()?;
    let low = range.first & 0xffff;
    let one_key = range.first == range.last;
    let one_icmp_type = matches!(range.protocol(), Some(ICMP | ICMPV6)) && low & 0xff == 0 && {
        range.last == range.first | 0xff
    };
    let portless =
        range.protocol().is_some_and(|protocol| !has_parts(protocol)) && range == whole_of(range.first);
    if one_key || one_icmp_type || portless {
        Ok(range.first)
    } else {
        Err(ServiceError::NotOne(text.to_owned()))
    }
}

fn whole_of(key: u32) -> ServiceRange {
    ServiceRange { first: key & !0xffff, last: key | 0xffff }
}

fn has_parts(protocol: u8) -> bool {
    matches!(protocol, TCP | UDP | SCTP | ICMP | ICMPV6)
}

/// What is in `ranges` and not in `except`; both sorted, disjoint and not adjacent, as the result is.
#[must_use]
pub fn without(ranges: &[ServiceRange], except: &[ServiceRange]) -> Vec<ServiceRange> {
    let mut left = Vec::with_capacity(ranges.len() + except.len());
    let mut out = except.iter().peekable();
    for range in ranges {
        let mut first = range.first;
        while out.next_if(|gap| gap.last < first).is_some() {}
        // The last gap may reach into the next range, so it is looked at again there.
        while let Some(gap) = out.peek().filter(|gap| gap.first <= range.last) {
            if gap.first > first {
                left.push(ServiceRange { first, last: gap.first - 1 });
            }
            first = first.max(gap.last + 1);
            if gap.last >= range.last {
                break;
            }
            out.next();
        }
        if first <= range.last {
            left.push(ServiceRange { first, last: range.last });
        }
    }
    left
}

/// Sorts `ranges` and merges what overlaps or touches, keeping the invariant of [`ServiceRange`]: a range spans two
/// protocols only if it covers both whole.
pub fn normalise(ranges: &mut Vec<ServiceRange>) {
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let same_protocol = kept.last >> 16 == next.first >> 16;
        let merge = next.first <= kept.last || (same_protocol && kept.last + 1 == next.first);
        if merge {
            kept.last = kept.last.max(next.last);
        }
        merge
    });
    // Whole neighbours can only be told after the parts of each protocol came together.
    let whole = |range: ServiceRange| range.first & 0xffff == 0 && range.last & 0xffff == 0xffff;
    ranges.dedup_by(|next, kept| {
        let merge = whole(*kept) && whole(*next) && kept.last + 1 == next.first;
        if merge {
            kept.last = next.last;
        }
        merge
    });
}

impl ServiceRange {
    /// The one protocol it lies in, if it is one.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "keys have 24 bits")]
    pub const fn protocol(self) -> Option<u8> {
        if self.first >> 16 == self.last >> 16 { Some((self.first >> 16) as u8) } else { None }
    }
}

/// The form that parses to the same range; an ICMP range over part of several types, which only merging can make,
/// shows as up to three forms joined by `, `.
impl fmt::Display for ServiceRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ANY {
            return f.write_str("any");
        }
        let (Some(protocol), false) = (self.protocol(), self.is_whole()) else {
            return match (self.protocol(), self.first >> 16, self.last >> 16) {
                (Some(protocol), number, _) => match name_of(protocol) {
                    Some(name) => f.write_str(name),
                    None => write!(f, "proto/{number}"),
                },
                (None, first, last) => write!(f, "proto/{first}-{last}"),
            };
        };
        let (first, last) = (self.first & 0xffff, self.last & 0xffff);
        match (protocol, name_of(protocol)) {
            (ICMP | ICMPV6, Some(name)) => icmp::format(f, protocol, name, first, last),
            (_, Some(name)) if first == last => write!(f, "{name}/{first}"),
            (_, Some(name)) => write!(f, "{name}/{first}-{last}"),
            (_, None) => write!(f, "proto/{protocol}"),
        }
    }
}

impl ServiceRange {
    /// Whether it covers whole protocols only.
    const fn is_whole(self) -> bool {
        self.first & 0xffff == 0 && self.last & 0xffff == 0xffff
    }
}

fn name_of(protocol: u8) -> Option<&'static str> {
    PROTOCOLS.iter().find(|(_, number)| *number == protocol).map(|(name, _)| *name)
}
