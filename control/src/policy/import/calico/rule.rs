//! A rule: what is spoken, between whom, and what then.

use super::super::object::{Object, number, word};
use super::super::ports::{Ports, number_or_name, range, span, whole};
use super::Entity;
use super::entity;
use crate::policy::diagnostics::{Code, Finding, Sink, Span, quote};
use crate::policy::service;
use crate::policy::source::Word;
use crate::policy::source::yaml::Node;
use crate::policy::valid::{Action, ServiceRange};
use dataplane::headers::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};

/// A rule as written.
pub(in super::super) struct Rule {
    /// `None`: it only logs.
    pub(in super::super) action: Option<Action>,
    pub(in super::super) source: Entity,
    pub(in super::super) destination: Entity,
    pub(in super::super) ports: Ports,
    /// 4 or 6, if only one of them is meant.
    pub(in super::super) version: Option<u32>,
    pub(in super::super) span: Span,
}

/// Protocols by name.
const PROTOCOLS: &[(&str, u8)] =
    &[("TCP", TCP), ("UDP", UDP), ("ICMP", ICMP), ("ICMPv6", ICMPV6), ("SCTP", SCTP), ("UDPLite", 136)];

/// Reads a rule.
pub(super) fn read(node: Node<'_>, sink: &mut Sink<'_>) -> Option<Rule> {
    let mut rule = Object::open(node, "a rule", sink)?;
    let at = rule.span;
    let before = sink.errors();
    rule.ignore(&["metadata"]);
    rule.refuse("http", "ringfence does not look into what is spoken", sink);
    let action =
        rule.need("action", sink).and_then(|node| word(node, sink)).and_then(|word| action(&word, sink));
    let allows = action == Some(Some(Action::Allow));
    let version = match rule.word("ipVersion", sink) {
        Some(word) if matches!(word.value.as_str(), "4" | "6") => number(&word, 4, 6, sink),
        Some(word) => {
            let text = format!("there is no version {} of IP", quote(&word.value));
            sink.push(Finding::error(Code::BadNumber, word.span, text));
            None
        }
        None => None,
    };
    let mut end = |field: &str, sink: &mut Sink<'_>| match rule.take(field) {
        Some(node) => entity::read(node, field == "source", allows, sink),
        None => Some(Entity { span: at, ..Entity::default() }),
    };
    let (source, destination) = (end("source", sink), end("destination", sink));
    let (source, destination) = (source?, destination?);
    let ports = spoken(&mut rule, &destination, sink);
    rule.finish(sink);
    let rule = Rule { action: action?, source, destination, ports: ports?, version, span: at };
    (sink.errors() == before).then_some(rule)
}

fn action(word: &Word, sink: &mut Sink<'_>) -> Option<Option<Action>> {
    match word.value.as_str() {
        "Allow" => Some(Some(Action::Allow)),
        "Deny" => Some(Some(Action::Deny)),
        "Pass" => Some(Some(Action::Pass)),
        "Log" => Some(None),
        other => {
            let legal = ["Allow", "Deny", "Pass", "Log"];
            let text = format!("there is no action {}", quote(other));
            sink.push(Finding::error(Code::UnknownWord, word.span, text).legal(legal));
            None
        }
    }
}

/// What a rule is about: everything unless told.
fn spoken(rule: &mut Object<'_>, to: &Entity, sink: &mut Sink<'_>) -> Option<Ports> {
    let wanted = protocol(rule, "protocol", sink)?;
    let unwanted = protocol(rule, "notProtocol", sink)?;
    let message = message(rule, "icmp", wanted, sink)?;
    let no_message = message_not(rule, wanted, sink)?;
    if to.ports.is_some() || !to.not_ports.is_empty() {
        let Some(protocol) = wanted.filter(|protocol| [TCP, UDP, SCTP].contains(protocol)) else {
            let text = "ports need a `protocol` that has them: TCP, UDP or SCTP";
            sink.push(Finding::error(Code::BadService, to.span, text));
            return None;
        };
        return ports(protocol, to, sink);
    }
    let mut ranges = match (wanted, message) {
        (_, Some(range)) => vec![range],
        (Some(protocol), None) => vec![whole(protocol)],
        (None, None) => vec![ServiceRange::ANY],
    };
    for left_out in unwanted.map(whole).into_iter().chain(no_message) {
        ranges = without(&ranges, left_out);
    }
    Some(Ports { ranges, named: Vec::new() })
}

/// `ranges` but for `left_out`.
fn without(ranges: &[ServiceRange], left_out: ServiceRange) -> Vec<ServiceRange> {
    let mut all = Vec::new();
    for range in ranges {
        if left_out.last < range.first || left_out.first > range.last {
            all.push(*range);
            continue;
        }
        if range.first < left_out.first {
            all.push(ServiceRange { first: range.first, last: left_out.first - 1 });
        }
        if left_out.last < range.last {
            all.push(ServiceRange { first: left_out.last + 1, last: range.last });
        }
    }
    service::normalise(&mut all);
    all
}

#[expect(clippy::option_option, reason = "told or not, inside readable or not")]
fn protocol(rule: &mut Object<'_>, field: &str, sink: &mut Sink<'_>) -> Option<Option<u8>> {
    let Some(word) = rule.word(field, sink) else { return Some(None) };
    if let Some((_, protocol)) = PROTOCOLS.iter().find(|(name, _)| name.eq_ignore_ascii_case(&word.value)) {
        return Some(Some(*protocol));
    }
    if !word.value.is_empty() && word.value.bytes().all(|b| b.is_ascii_digit()) {
        let number = number(&word, 1, 255, sink)?;
        return u8::try_from(number).ok().map(Some);
    }
    let text = format!("there is no protocol {}", quote(&word.value));
    let legal = PROTOCOLS.iter().map(|(name, _)| *name);
    sink.push(Finding::error(Code::UnknownWord, word.span, text).legal(legal));
    None
}

#[expect(clippy::option_option, reason = "told or not, inside readable or not")]
fn message(
    rule: &mut Object<'_>,
    field: &str,
    protocol: Option<u8>,
    sink: &mut Sink<'_>,
) -> Option<Option<ServiceRange>> {
    let Some(mut object) = rule.object(field, "an ICMP message", sink) else { return Some(None) };
    let at = object.span;
    let kind = object.word("type", sink);
    let code = object.word("code", sink);
    object.finish(sink);
    let Some(protocol) = protocol.filter(|protocol| [ICMP, ICMPV6].contains(protocol)) else {
        let text = "ICMP messages need the `protocol` ICMP or ICMPv6";
        sink.push(Finding::error(Code::BadService, at, text));
        return None;
    };
    let Some(kind) = kind else { return Some(Some(whole(protocol))) };
    let kind = number(&kind, 0, 255, sink)? << 8;
    Some(Some(match code {
        Some(code) => {
            let code = number(&code, 0, 255, sink)?;
            range(protocol, kind | code, kind | code)
        }
        None => range(protocol, kind, kind | 0xff),
    }))
}

#[expect(clippy::option_option, reason = "told or not, inside readable or not")]
fn message_not(
    rule: &mut Object<'_>,
    protocol: Option<u8>,
    sink: &mut Sink<'_>,
) -> Option<Option<ServiceRange>> {
    message(rule, "notICMP", protocol, sink)
}

/// Ports: numbers, `FIRST:LAST`, and names.
fn ports(protocol: u8, to: &Entity, sink: &mut Sink<'_>) -> Option<Ports> {
    let mut ports = Ports::default();
    match &to.ports {
        // Nobody listens on port 0 (RFC 6335, 6), and no service names it.
        None => ports.ranges.push(range(protocol, 1, 65_535)),
        Some(words) => {
            for word in words {
                match one(protocol, word, sink)? {
                    Ok(range) => ports.ranges.push(range),
                    Err(name) => ports.named.push((name, whole(protocol))),
                }
            }
        }
    }
    for word in &to.not_ports {
        let Ok(left_out) = one(protocol, word, sink)? else {
            let text = "a port that is left out has to be told by number";
            super::super::object::unsupported(word.span, text, sink);
            return None;
        };
        ports.ranges = without(&ports.ranges, left_out);
        if !ports.named.is_empty() {
            let text = "ports by name beside ports that are left out are not supported";
            super::super::object::unsupported(word.span, text, sink);
            return None;
        }
    }
    Some(ports)
}

fn one(protocol: u8, word: &Word, sink: &mut Sink<'_>) -> Option<Result<ServiceRange, String>> {
    if let Some((first, last)) = word.value.split_once(':') {
        let end = |text: &str, sink: &mut Sink<'_>| {
            number(&Word { value: text.to_owned(), span: word.span }, 0, 65_535, sink)
        };
        let (first, last) = (end(first, sink)?, end(last, sink)?);
        return span(protocol, first.max(1), last, word.span, sink).map(Ok);
    }
    Some(number_or_name(word, sink)?.map(|port| range(protocol, port, port)))
}
