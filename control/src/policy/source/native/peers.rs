//! Selectors: the short form, and the one of Kubernetes.

use super::super::fields::{Fields, boolean, word, words, wrong_type};
use super::super::yaml::{Node, Value};
use super::super::{PeersSource, RequirementSource, SelectorSource, TestSource, Word, Words};
use crate::policy::diagnostics::{Code, Finding, Sink, quote};
use crate::policy::words::nearest;

/// The selectors that are one word.
const WORDS: [&str; 3] = ["any", "any-workload", "no-workload"];
/// The fields of one expression.
const EXPRESSION: &[&str] = &["key", "operator", "values"];
/// The operators of Kubernetes.
const OPERATORS: [&str; 4] = ["In", "NotIn", "Exists", "DoesNotExist"];

/// One selector or a list of them. `None` if any of them cannot be read.
pub(super) fn peers(node: Node<'_>, sink: &mut Sink<'_>) -> Option<PeersSource> {
    let span = node.span;
    let Value::List(list) = node.value else {
        return Some(PeersSource { span, selectors: vec![selector(node, sink)?] });
    };
    if list.is_empty() {
        let finding = Finding::error(Code::EmptySet, span, "this list is empty: it selects nothing");
        sink.push(finding.help("write `any` to mean every address"));
        return None;
    }
    let count = list.len();
    let selectors: Vec<_> = list.into_iter().filter_map(|item| selector(item, sink)).collect();
    (selectors.len() == count).then_some(PeersSource { span, selectors })
}

fn selector(node: Node<'_>, sink: &mut Sink<'_>) -> Option<SelectorSource> {
    let wanted = "a selector such as `{role: web}`, or `any`";
    let span = node.span;
    match node.value {
        Value::Word(text) if text == "any" => Some(SelectorSource::Any(span)),
        Value::Word(text) if text == "any-workload" => Some(SelectorSource::AnyWorkload(span)),
        Value::Word(text) if text == "no-workload" => Some(SelectorSource::NoWorkload(span)),
        Value::Word(text) => {
            let text = format!("{} is not a selector", quote(&text));
            let finding = Finding::error(Code::BadSelector, span, text).legal(WORDS);
            sink.push(finding.help("select by label, `{role: web}`, or by name, `{workload: shop-db}`"));
            None
        }
        Value::Mapping(entries) if entries.is_empty() => {
            let finding =
                Finding::error(Code::BadSelector, span, "an empty selector does not say what is meant");
            sink.push(
                finding.help("write `any` to mean every address, `any-workload` to mean every workload"),
            );
            None
        }
        Value::Mapping(entries) => {
            let mut all = Vec::with_capacity(entries.len());
            let mut whole = true;
            for (key, value) in entries {
                let Some(key) = word(key, "a label key", sink) else { continue };
                whole &= match key.value.as_str() {
                    "matchLabels" => match_labels(value, &mut all, sink),
                    "matchExpressions" => match_expressions(value, &mut all, sink),
                    _ => requirements(&key, value, &mut all, sink),
                };
            }
            whole.then_some(SelectorSource::All(span, all))
        }
        Value::Blank | Value::List(_) => {
            wrong_type(&node, wanted, sink);
            None
        }
    }
}

/// What `value` requires of `key`; returns whether it could be read.
fn requirements(key: &Word, value: Node<'_>, all: &mut Vec<RequirementSource>, sink: &mut Sink<'_>) -> bool {
    let wanted = "a value, a list of values, or a test such as `{not: VALUE}` or `{exists: true}`";
    let Value::Mapping(tests) = value.value else {
        let Some(values) = words(value, wanted, sink) else { return false };
        all.push(RequirementSource { key: key.clone(), test: TestSource::In(values) });
        return true;
    };
    if tests.is_empty() {
        let text = "an empty test does not say what is meant";
        sink.push(
            Finding::error(Code::BadSelector, value.span, text)
                .legal(legal_tests(&key.value).iter().copied()),
        );
        return false;
    }
    let mut whole = true;
    for (name, operand) in tests {
        let span = name.span;
        if !legal_tests(&key.value).contains(&name.text()) {
            let text = format!("there is no test {} of {}", quote(name.text()), quote(&key.value));
            sink.push(
                Finding::error(Code::BadSelector, span, text).legal(legal_tests(&key.value).iter().copied()),
            );
            whole = false;
            continue;
        }
        let values = "a value or a list of values";
        let test = match name.text() {
            "in" => words(operand, values, sink).map(TestSource::In),
            "not" => words(operand, values, sink).map(|words| TestSource::Not(words, span)),
            _ => boolean(operand, sink).map(|on| TestSource::Exists(on.value, span)),
        };
        whole &= test.is_some();
        all.extend(test.map(|test| RequirementSource { key: key.clone(), test }));
    }
    whole
}

/// The tests that `key` can be put to: `workload` and `network` are no labels.
fn legal_tests(key: &str) -> &'static [&'static str] {
    match key {
        "workload" => &["in", "exists"],
        "network" => &["in", "not"],
        _ => &["in", "not", "exists"],
    }
}

/// Keys with one value each.
fn match_labels(node: Node<'_>, all: &mut Vec<RequirementSource>, sink: &mut Sink<'_>) -> bool {
    let Value::Mapping(entries) = node.value else {
        wrong_type(&node, "label keys with a value each", sink);
        return false;
    };
    let mut whole = true;
    for (key, value) in entries {
        let read = word(value, "a label value", sink);
        whole &= read.is_some();
        if let (Some(key), Some(value)) = (word(key, "a label key", sink), read) {
            all.push(RequirementSource { key, test: TestSource::In(Words(vec![value])) });
        }
    }
    whole
}

/// A list of `{key, operator, values}`.
fn match_expressions(node: Node<'_>, all: &mut Vec<RequirementSource>, sink: &mut Sink<'_>) -> bool {
    let Value::List(list) = node.value else {
        wrong_type(&node, "a list of expressions such as `{key: role, operator: In, values: [web]}`", sink);
        return false;
    };
    let count = list.len();
    let read: Vec<_> = list.into_iter().filter_map(|item| expression(item, sink)).collect();
    let whole = read.len() == count;
    all.extend(read);
    whole
}

fn expression(node: Node<'_>, sink: &mut Sink<'_>) -> Option<RequirementSource> {
    let mut fields = Fields::open(node, "an expression", EXPRESSION, sink)?;
    let span = fields.span;
    let key = fields.need("key", sink).and_then(|node| word(node, "a label key", sink));
    let operator = fields.need("operator", sink).and_then(|node| word(node, "an operator", sink));
    let values = fields.take("values", sink);
    let (key, operator) = (key?, operator?);
    let (test, takes_values) = match operator.value.as_str() {
        "In" => ("in", true),
        "NotIn" => ("not", true),
        "Exists" | "DoesNotExist" => ("exists", false),
        other => {
            let text = format!("{} is not an operator", quote(other));
            let mut finding = Finding::error(Code::UnknownWord, operator.span, text).legal(OPERATORS);
            if let Some(meant) = nearest(other, OPERATORS) {
                finding = finding.help(format!("did you mean `{meant}`?"));
            }
            sink.push(finding);
            return None;
        }
    };
    if !legal_tests(&key.value).contains(&test) {
        let text = format!("{} cannot be tested with `{}`", quote(&key.value), operator.value);
        sink.push(Finding::error(Code::BadSelector, operator.span, text));
        return None;
    }
    let test = match (values, takes_values) {
        (Some(node), true) => {
            let values = words(node, "a list of values", sink)?;
            if test == "in" { TestSource::In(values) } else { TestSource::Not(values, operator.span) }
        }
        (None, false) => TestSource::Exists(operator.value == "Exists", operator.span),
        (None, true) => {
            let text = format!("the operator `{}` needs a field `values`", operator.value);
            sink.push(Finding::error(Code::MissingField, span, text));
            return None;
        }
        (Some(node), false) => {
            let text = format!("the operator `{}` takes no values", operator.value);
            sink.push(Finding::error(Code::BadSelector, node.span, text));
            return None;
        }
    };
    Some(RequirementSource { key, test })
}
