//! Protocols and ports as Kubernetes writes them.

use super::labels::{PORT, is_plain};
use crate::policy::diagnostics::{Code, Finding, Sink, Span, quote};
use crate::policy::service;
use crate::policy::source::Word;
use crate::policy::valid::{Requirement, ServiceRange};
use dataplane::headers::protocol::{SCTP, TCP, UDP};

/// What is spoken: numbers, and names that every destination resolves for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ports {
    /// By number.
    pub(super) ranges: Vec<ServiceRange>,
    /// By name of a container port, within these services.
    pub(super) named: Vec<(String, ServiceRange)>,
}

impl Ports {
    /// Every protocol and port.
    pub(super) fn any() -> Self {
        Self { ranges: vec![ServiceRange::ANY], named: Vec::new() }
    }

    /// The parts that a rule each can say: requirements on the destination beside the services, and a suffix for the
    /// rule's name.
    pub(super) fn parts(&self) -> Vec<(String, Vec<Requirement>, Vec<ServiceRange>)> {
        let mut parts = Vec::new();
        if !self.ranges.is_empty() {
            let mut ranges = self.ranges.clone();
            service::normalise(&mut ranges);
            parts.push((String::new(), Vec::new(), ranges));
        }
        let mut names: Vec<&str> = self.named.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let same = self.named.iter().filter(|(other, _)| other == name);
            let mut ranges: Vec<_> = same.map(|(_, range)| *range).collect();
            service::normalise(&mut ranges);
            parts.push((
                format!("/{name}"),
                vec![Requirement::In(PORT.to_owned(), vec![name.to_owned()])],
                ranges,
            ));
        }
        parts
    }
}

/// The number of a protocol that has ports.
pub(super) fn protocol(word: &Word, sink: &mut Sink<'_>) -> Option<u8> {
    match word.value.as_str() {
        "TCP" => Some(TCP),
        "UDP" => Some(UDP),
        "SCTP" => Some(SCTP),
        other => {
            let text = format!("there is no protocol {} here", quote(other));
            sink.push(Finding::error(Code::UnknownWord, word.span, text).legal(["TCP", "UDP", "SCTP"]));
            None
        }
    }
}

/// The name of a protocol that has ports.
pub(super) fn name(protocol: u8) -> &'static str {
    match protocol {
        TCP => "tcp",
        UDP => "udp",
        _ => "sctp",
    }
}

/// Every key of a protocol.
pub(super) fn whole(protocol: u8) -> ServiceRange {
    let first = u32::from(protocol) << 16;
    ServiceRange { first, last: first | 0xffff }
}

/// Ports `first` to `last` of a protocol.
pub(super) fn range(protocol: u8, first: u32, last: u32) -> ServiceRange {
    let base = u32::from(protocol) << 16;
    ServiceRange { first: base | first, last: base | last }
}

/// A port number, or `Err` with the name of a port.
pub(super) fn number_or_name(word: &Word, sink: &mut Sink<'_>) -> Option<Result<u32, String>> {
    if word.value.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
        return super::object::number(word, 1, 65_535, sink).map(Ok);
    }
    // RFC 6335, 5.1, as Kubernetes applies it.
    let good = word.value.len() <= 15 && is_plain(&word.value, |b| b == b'-');
    if !good {
        let text = format!("{} is neither a port number nor the name of a port", quote(&word.value));
        sink.push(Finding::error(Code::BadService, word.span, text));
    }
    good.then(|| Err(word.value.clone()))
}

/// The ports `first` to `last`.
pub(super) fn span(
    protocol: u8,
    first: u32,
    last: u32,
    at: Span,
    sink: &mut Sink<'_>,
) -> Option<ServiceRange> {
    if first > last {
        let text = format!("the range of ports runs backwards, from {first} to {last}");
        sink.push(Finding::error(Code::BadService, at, text));
        return None;
    }
    Some(range(protocol, first, last))
}
