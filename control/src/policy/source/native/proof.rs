//! Assertions and policy tests.

use super::super::fields::{Fields, word, words};
use super::super::proof::{ASSERTION, CLAIM, ClaimSource, TEST};
use super::super::yaml::Node;
use super::super::{AssertionSource, PolicyTestSource, Words};
use super::intent::SERVICES;
use super::peers::peers;
use crate::policy::diagnostics::{Code, Finding, Sink};
use crate::policy::valid::AssertionKind;

/// An assertion: one claim, after `never` or `always`.
pub(super) fn assertion(node: Node<'_>, sink: &mut Sink<'_>) -> Option<AssertionSource> {
    let mut fields = Fields::open(node, "an assertion", ASSERTION, sink)?;
    let span = fields.span;
    let (never, always) = (fields.take("never", sink), fields.take("always", sink));
    let (kind, node) = match (never, always) {
        (Some(node), None) => (AssertionKind::Never, node),
        (None, Some(node)) => (AssertionKind::Always, node),
        _ => {
            let text = "an assertion has one field, `never` or `always`";
            sink.push(Finding::error(Code::MissingField, span, text).legal(ASSERTION.iter().copied()));
            return None;
        }
    };
    Some(AssertionSource { kind, claim: claim(node, kind, sink)? })
}

fn claim(node: Node<'_>, kind: AssertionKind, sink: &mut Sink<'_>) -> Option<ClaimSource> {
    let mut fields = Fields::open(node, "an assertion", CLAIM, sink)?;
    let name = fields.need("name", sink).and_then(|node| word(node, "a name", sink));
    let from = fields.need("from", sink).and_then(|node| peers(node, sink));
    let to = fields.need("to", sink).and_then(|node| peers(node, sink));
    let mut list = |name: &str, needed: bool, sink: &mut Sink<'_>| {
        let node = if needed { fields.need(name, sink) } else { fields.take(name, sink) };
        node.map_or_else(|| (!needed).then(Words::default), |node| words(node, SERVICES, sink))
    };
    let service = list("service", kind == AssertionKind::Always, sink);
    let except = list("except", false, sink);
    Some(ClaimSource { name: name?, from: from?, to: to?, service: service?, except: except? })
}

/// A policy test.
pub(super) fn test(node: Node<'_>, sink: &mut Sink<'_>) -> Option<PolicyTestSource> {
    let mut fields = Fields::open(node, "a test", TEST, sink)?;
    let span = fields.span;
    let name = fields.take("name", sink).and_then(|node| word(node, "a name", sink));
    let end = "the name of a workload, or an address";
    let from = fields.need("from", sink).and_then(|node| word(node, end, sink));
    let to = fields.need("to", sink).and_then(|node| word(node, end, sink));
    let service = fields.need("service", sink).and_then(|node| word(node, "one port", sink));
    let expect = fields.need("expect", sink).and_then(|node| word(node, "a verdict", sink));
    let rule = fields.take("rule", sink).and_then(|node| word(node, "the name of a rule", sink));
    Some(PolicyTestSource { name, from: from?, to: to?, service: service?, expect: expect?, rule, span })
}
