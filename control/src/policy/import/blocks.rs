//! Address prefixes that foreign policy names by value: each becomes a network without labels.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::object::Object;
use crate::policy::diagnostics::{Code, Finding, Sink, quote};
use crate::policy::source::Word;
use crate::policy::source::yaml::Node;
use crate::policy::valid::{Network, Origin, Prefix, Requirement};

/// A prefix but for parts of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) prefix: Prefix,
    /// Each inside `prefix`.
    pub(super) except: Vec<Prefix>,
}

/// Reads an `ipBlock`, or an entry of Cilium's `fromCIDRSet`, whose fields are the same.
pub(super) fn block(node: Node<'_>, sink: &mut Sink<'_>) -> Option<Block> {
    let mut object = Object::open(node, "an address block", sink)?;
    let block = fields(&mut object, sink);
    object.finish(sink);
    block
}

/// As [`block`], of an object that may have other fields.
pub(super) fn fields(object: &mut Object<'_>, sink: &mut Sink<'_>) -> Option<Block> {
    let cidr = object.need("cidr", sink).and_then(|node| super::object::word(node, sink));
    let except = object.words("except", sink).unwrap_or_default();
    let outer = prefix(&cidr?, sink)?;
    let mut inner = Vec::with_capacity(except.len());
    for word in except {
        let part = prefix(&word, sink)?;
        if !contains(outer, part) {
            let text =
                format!("{} does not lie inside the block that it is an exception of", quote(&word.value));
            sink.push(Finding::error(Code::BadPrefix, word.span, text));
            return None;
        }
        inner.push(part);
    }
    Some(Block { prefix: outer, except: inner })
}

fn contains(outer: Prefix, inner: Prefix) -> bool {
    outer.len <= inner.len
        && outer.address.is_ipv4() == inner.address.is_ipv4()
        && masked(inner.address, outer.len) == outer.address
}

/// A prefix; host bits beyond its length mean nothing in the systems that are read here, and an address alone is the
/// prefix that holds nothing else where `alone` is said.
pub(super) fn prefix(word: &Word, sink: &mut Sink<'_>) -> Option<Prefix> {
    read_prefix(&word.value, false).or_else(|| {
        let text = format!("{} is not an address prefix", quote(&word.value));
        let help = "write it like `192.168.0.0/16` or `2001:db8::/32`";
        sink.push(Finding::error(Code::BadPrefix, word.span, text).help(help));
        None
    })
}

/// As [`prefix`], for languages in which an address alone is a prefix too.
pub(super) fn prefix_or_address(word: &Word, sink: &mut Sink<'_>) -> Option<Prefix> {
    read_prefix(&word.value, true).or_else(|| prefix(word, sink))
}

fn read_prefix(text: &str, alone: bool) -> Option<Prefix> {
    let (head, len) = match text.split_once('/') {
        Some((head, len)) => (head, Some(len)),
        None if alone => (text, None),
        None => return None,
    };
    let address: IpAddr = head.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let len = match len {
        None => most,
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().ok()?
        }
        Some(_) => return None,
    };
    let mapped = matches!(address, IpAddr::V6(v6) if len >= 96 && v6.to_ipv4_mapped().is_some());
    (len <= most && !mapped).then(|| Prefix { address: masked(address, len), len })
}

fn masked(address: IpAddr, len: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

/// The networks that blocks became, each once.
#[derive(Default)]
pub(super) struct Blocks {
    networks: BTreeMap<String, Network>,
}

impl Blocks {
    /// What an address must satisfy to lie in `block`.
    pub(super) fn requirements(&mut self, block: &Block, origin: &Origin) -> Vec<Requirement> {
        let inside = self.name(block.prefix, origin);
        let mut outside: Vec<String> = block.except.iter().map(|part| self.name(*part, origin)).collect();
        outside.sort_unstable();
        outside.dedup();
        let mut all = vec![Requirement::Network(vec![inside])];
        if !outside.is_empty() {
            all.push(Requirement::NotNetwork(outside));
        }
        all
    }

    /// The name of the network that holds just `prefix`.
    pub(super) fn name(&mut self, prefix: Prefix, origin: &Origin) -> String {
        let name = format!("cidr/{}/{}", prefix.address.to_string().replace(':', "-"), prefix.len);
        self.networks.entry(name.clone()).or_insert_with(|| Network {
            name: name.clone(),
            labels: BTreeMap::new(),
            prefixes: vec![prefix],
            origin: origin.clone(),
        });
        name
    }

    /// The networks, by name.
    pub(super) fn into_networks(self) -> Vec<Network> {
        self.networks.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::read_prefix;

    #[test]
    fn prefixes_lose_their_host_bits_and_nothing_else_is_one() {
        let table = [
            ("10.1.2.3/8", false, Some("10.0.0.0/8")),
            ("0.0.0.0/0", false, Some("0.0.0.0/0")),
            ("2001:db8::1/32", false, Some("2001:db8::/32")),
            ("::/0", false, Some("::/0")),
            ("10.0.0.1", false, None),
            ("10.0.0.1", true, Some("10.0.0.1/32")),
            ("2001:db8::1", true, Some("2001:db8::1/128")),
            ("10.0.0.0/33", true, None),
            ("10.0.0.0/", true, None),
            ("10.0.0.0/+8", true, None),
            ("::ffff:10.0.0.0/104", true, None),
            ("A", true, None),
        ];
        for (text, alone, expected) in table {
            let read = read_prefix(text, alone).map(|one| format!("{}/{}", one.address, one.len));
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }
}
