//! Addresses, prefixes and Ethernet addresses from words.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Context;
use crate::policy::diagnostics::{Code, Finding, quote};
use crate::policy::source::Word;
use crate::policy::valid::Prefix;

/// An address that one machine can have.
pub(super) fn address(word: &Word, context: &mut Context<'_, '_>) -> Option<IpAddr> {
    let text = word.value.as_str();
    let Ok(address) = text.parse::<IpAddr>() else {
        let mut finding =
            Finding::error(Code::BadAddress, word.span, format!("{} is not an IP address", quote(text)));
        if let Some((head, _)) = text.split_once('/')
            && head.parse::<IpAddr>().is_ok()
        {
            finding =
                finding.help("a workload has single addresses, without a length; a prefix makes a network");
        } else {
            finding = finding.help("write it like `10.0.0.5` or `2001:db8::5`");
        }
        context.sink.push(finding);
        return None;
    };
    if let Some(v4) = mapped(address) {
        let text = format!("{} is an IPv4 address in IPv6 clothes", quote(text));
        context.sink.push(Finding::error(Code::MappedAddress, word.span, text).help(format!("write `{v4}`")));
        return None;
    }
    let nobody =
        address.is_unspecified() || address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST);
    if nobody {
        let text = format!("{} cannot be the address of one machine", quote(text));
        context.error(Code::NotAHost, word.span, text);
        return None;
    }
    Some(address)
}

/// The IPv4 address inside `::ffff:0:0/96` (RFC 4291, 2.5.5.2).
fn mapped(address: IpAddr) -> Option<Ipv4Addr> {
    if let IpAddr::V6(v6) = address { v6.to_ipv4_mapped() } else { None }
}

/// A prefix whose host bits are zero.
pub(super) fn prefix(word: &Word, context: &mut Context<'_, '_>) -> Option<Prefix> {
    let text = word.value.as_str();
    let bad = |help: String| {
        Finding::error(Code::BadPrefix, word.span, format!("{} is not an address prefix", quote(text)))
            .help(help)
    };
    let Some((head, length)) = text.split_once('/') else {
        let help = match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(v4)) => format!("a prefix has a length; for this address alone write `{v4}/32`"),
            Ok(IpAddr::V6(v6)) => format!("a prefix has a length; for this address alone write `{v6}/128`"),
            Err(_) => "write it like `192.168.0.0/16` or `2001:db8::/32`".to_owned(),
        };
        context.sink.push(bad(help));
        return None;
    };
    let Ok(address) = head.parse::<IpAddr>() else {
        context.sink.push(bad("write it like `192.168.0.0/16` or `2001:db8::/32`".to_owned()));
        return None;
    };
    let most: u8 = if address.is_ipv4() { 32 } else { 128 };
    let digits = length.bytes().all(|b| b.is_ascii_digit()) && (length == "0" || !length.starts_with('0'));
    let Some(len) = length.parse::<u8>().ok().filter(|len| digits && *len <= most) else {
        context.sink.push(bad(format!("the length is a number from 0 to {most}")));
        return None;
    };
    let masked = mask(address, len);
    if masked != address {
        let text = format!("{} has bits set beyond its length of {len}", quote(text));
        let finding = Finding::error(Code::HostBits, word.span, text);
        context.sink.push(
            finding.help(format!("write `{masked}/{len}`, or `{address}/{most}` for the address alone")),
        );
        return None;
    }
    if len >= 96 && mapped(address).is_some() {
        let text = format!("{} holds IPv4 addresses in IPv6 clothes", quote(text));
        context.sink.push(Finding::error(Code::MappedAddress, word.span, text).help("write the IPv4 prefix"));
        return None;
    }
    Some(Prefix { address, len })
}

fn mask(address: IpAddr, len: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

/// An Ethernet address that one machine can have.
pub(super) fn mac(word: &Word, context: &mut Context<'_, '_>) -> Option<[u8; 6]> {
    let text = word.value.as_str();
    let Some(mac) = octets(text) else {
        let message = format!("{} is not an Ethernet address", quote(text));
        let finding = Finding::error(Code::BadMac, word.span, message);
        context.sink.push(finding.help("write it like `02:00:00:00:00:05`, in quotes"));
        return None;
    };
    // The lowest bit of the first octet marks a group address (IEEE 802, 8.2.2).
    if mac[0] & 1 == 1 || mac == [0; 6] {
        let message = format!("{} cannot be the Ethernet address of one machine", quote(text));
        context.error(Code::BadMac, word.span, message);
        return None;
    }
    Some(mac)
}

fn octets(text: &str) -> Option<[u8; 6]> {
    let separator = if text.contains('-') { '-' } else { ':' };
    let mut mac = [0; 6];
    let mut parts = text.split(separator);
    for octet in &mut mac {
        let part =
            parts.next().filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *octet = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}
