//! ICMP and ICMPv6 messages by name (IANA "ICMP Parameters", "ICMPv6 Parameters").

use std::fmt;

use dataplane::headers::protocol::ICMP;

use super::{ServiceError, number, span};

/// Name, type, and code if the name means one code only.
type Message = (&'static str, u8, Option<u8>);

const V4: &[Message] = &[
    ("echo-reply", 0, None),
    ("destination-unreachable", 3, None),
    ("port-unreachable", 3, Some(3)),
    ("fragmentation-needed", 3, Some(4)),
    ("redirect", 5, None),
    ("echo-request", 8, None),
    ("router-advertisement", 9, None),
    ("router-solicitation", 10, None),
    ("time-exceeded", 11, None),
    ("parameter-problem", 12, None),
    ("timestamp-request", 13, None),
    ("timestamp-reply", 14, None),
];

const V6: &[Message] = &[
    ("destination-unreachable", 1, None),
    ("port-unreachable", 1, Some(4)),
    ("packet-too-big", 2, None),
    ("time-exceeded", 3, None),
    ("parameter-problem", 4, None),
    ("echo-request", 128, None),
    ("echo-reply", 129, None),
    ("listener-query", 130, None),
    ("listener-report", 131, None),
    ("listener-done", 132, None),
    ("router-solicitation", 133, None),
    ("router-advertisement", 134, None),
    ("neighbour-solicitation", 135, None),
    ("neighbour-advertisement", 136, None),
    ("redirect", 137, None),
    ("listener-report-v2", 143, None),
];

fn messages(protocol: u8) -> &'static [Message] {
    if protocol == ICMP { V4 } else { V6 }
}

/// The names of one protocol's messages.
pub(super) fn names(protocol: u8) -> impl Iterator<Item = &'static str> {
    messages(protocol).iter().map(|(name, ..)| *name)
}

/// What follows `icmp/`: the low halves of the first and last key.
pub(super) fn parse(text: &str, protocol: u8, name: &'static str) -> Result<(u16, u16), ServiceError> {
    let pair = |kind: u8, code: u8| u16::from_be_bytes([kind, code]);
    let (kinds, codes) = match text.split_once('/') {
        Some((kinds, codes)) => (kinds, Some(span(codes, number)?)),
        None => (text, None),
    };
    let (first, last, own_code) = if kinds.starts_with(|c: char| c.is_ascii_digit()) {
        let (first, last) = span(kinds, number)?;
        (first, last, None)
    } else {
        let known = messages(protocol).iter().find(|(known, ..)| *known == kinds);
        let &(_, kind, code) = known.ok_or_else(|| ServiceError::IcmpType(kinds.to_owned(), name))?;
        (kind, kind, code)
    };
    match (codes, own_code) {
        (Some(_), Some(_)) => Err(ServiceError::NoPorts(format!("{name}/{kinds}"))),
        (Some(_), None) if first != last => Err(ServiceError::NotOne(kinds.to_owned())),
        (Some((low, high)), None) => Ok((pair(first, low), pair(first, high))),
        (None, Some(code)) => Ok((pair(first, code), pair(first, code))),
        (None, None) => Ok((pair(first, 0), pair(last, 0xff))),
    }
}

/// The inverse: whole types by name or number, parts of a type with their codes.
pub(super) fn format(
    f: &mut fmt::Formatter<'_>,
    protocol: u8,
    name: &str,
    first: u32,
    last: u32,
) -> fmt::Result {
    let (low, high) = (first >> 8, last >> 8);
    let head_cut = first & 0xff != 0;
    let tail_cut = last & 0xff != 0xff;
    if low == high {
        return part(f, protocol, name, first, last);
    }
    let mut separator = "";
    if head_cut {
        part(f, protocol, name, first, first | 0xff)?;
        separator = ", ";
    }
    let (from, to) = (low + u32::from(head_cut), high + u32::from(!tail_cut));
    if to - from == 1 {
        f.write_str(separator)?;
        part(f, protocol, name, from << 8, from << 8 | 0xff)?;
        separator = ", ";
    } else if to > from {
        write!(f, "{separator}{name}/{from}-{}", to - 1)?;
        separator = ", ";
    }
    if tail_cut {
        f.write_str(separator)?;
        part(f, protocol, name, last & !0xff, last)?;
    }
    Ok(())
}

/// A range within one type.
fn part(f: &mut fmt::Formatter<'_>, protocol: u8, name: &str, first: u32, last: u32) -> fmt::Result {
    let (kind, low, high) = (first >> 8, first & 0xff, last & 0xff);
    let code = if low == high { Some(low) } else { None };
    let known = messages(protocol).iter().find(|(_, number, only)| {
        let whole = only.is_none() && low == 0 && high == 0xff;
        u32::from(*number) == kind && (whole || (only.is_some() && only.map(u32::from) == code))
    });
    match (known, code) {
        (Some((known, ..)), _) => write!(f, "{name}/{known}"),
        (None, _) if low == 0 && high == 0xff => write!(f, "{name}/{kind}"),
        (None, Some(code)) => write!(f, "{name}/{kind}/{code}"),
        (None, None) => write!(f, "{name}/{kind}/{low}-{high}"),
    }
}
