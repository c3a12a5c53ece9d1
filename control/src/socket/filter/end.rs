//! One end of a flow, as a filter describes it: `app=shop,role=web`, `web-1`, `net:office`, `10.0.0.0/8`, `unknown`.

use std::net::IpAddr;

use dataplane::address::Address;

use super::super::error::ApiError;
use super::super::view::FlowEnd;
use crate::observe::names::Who;

/// The most things said of one end.
const ITEMS_MAX: usize = 32;

/// What an end must be; all of it.
#[derive(Debug)]
pub(super) struct EndFilter(Vec<Item>);

#[derive(Debug)]
enum Item {
    /// A label, key and value.
    Label(String, String),
    /// An address in this prefix: bits and mask, over 128 bits, and whether it is IPv4.
    Prefix(u128, u128, bool),
    Workload(String),
    Network(String),
    Unknown,
}

/// A label as `key=value`.
fn label(word: &str) -> Option<Item> {
    let (key, value) = word.split_once('=')?;
    (!key.is_empty()).then(|| Item::Label(key.to_owned(), value.to_owned()))
}

/// An address, or a prefix as `10.0.0.0/8`.
fn prefix(word: &str) -> Option<Item> {
    let (address, len) = word.split_once('/').map_or((word, None), |(address, len)| (address, Some(len)));
    let address = address.parse::<IpAddr>().ok()?;
    let full = if address.is_ipv4() { 32 } else { 128 };
    let len = len.map_or(Ok(full), str::parse::<u32>).ok().filter(|len| *len <= full)?;
    // An IPv4 address is mapped into the last 32 of the 128 bits.
    let mask = u128::MAX.checked_shl(full - len).unwrap_or(0);
    let mask = if address.is_ipv4() { mask | u128::MAX << 32 } else { mask };
    let address = Address::from(address);
    Some(Item::Prefix(address.bits() & mask, mask, address.is_v4()))
}

impl EndFilter {
    fn new(
        parameter: &str,
        text: &str,
        legal: &str,
        item: impl Fn(&str) -> Option<Item>,
    ) -> Result<Self, ApiError> {
        let words: Vec<&str> = text.split(',').map(str::trim).collect();
        if words.len() > ITEMS_MAX {
            return Err(ApiError::bad_request(format!("`{parameter}` says more than {ITEMS_MAX} things")));
        }
        let fault = |word: &str| {
            ApiError::bad_request(format!("`{parameter}`: `{word}` is not understood; legal is {legal}"))
        };
        let items = words.into_iter().map(|word| item(word).ok_or_else(|| fault(word)));
        Ok(Self(items.collect::<Result<_, _>>()?))
    }

    /// Labels alone.
    pub(super) fn labels(parameter: &str, text: &str) -> Result<Self, ApiError> {
        Self::new(parameter, text, "`key=value`, several separated by commas", label)
    }

    /// Anything that can be said of an end.
    pub(super) fn parse(parameter: &str, text: &str) -> Result<Self, ApiError> {
        let legal = "`key=value`, the name of a workload, `net:NAME`, an address, a prefix as `10.0.0.0/8`, or \
                     `unknown`; several separated by commas";
        Self::new(parameter, text, legal, |word| {
            if word == "unknown" {
                return Some(Item::Unknown);
            }
            if let Some(name) = word.strip_prefix("net:") {
                return (!name.is_empty()).then(|| Item::Network(name.to_owned()));
            }
            if word.contains('=') {
                return label(word);
            }
            let looks_like_prefix = word.split_once('/').is_some_and(|(ip, _)| ip.parse::<IpAddr>().is_ok());
            match prefix(word) {
                None if looks_like_prefix || word.is_empty() => None,
                None => Some(Item::Workload(word.to_owned())),
                some => some,
            }
        })
    }

    pub(super) fn admits(&self, end: &FlowEnd) -> bool {
        self.0.iter().all(|item| match item {
            Item::Label(key, value) => end.labels.get(key).is_some_and(|values| values.contains(value)),
            Item::Prefix(bits, mask, v4) => {
                let address = Address::from(end.address);
                address.is_v4() == *v4 && address.bits() & mask == *bits
            }
            Item::Workload(name) => matches!(&end.who, Who::Workload(own) if own == name),
            Item::Network(name) => matches!(&end.who, Who::Network(own) if own == name),
            Item::Unknown => end.who == Who::Unknown,
        })
    }
}
