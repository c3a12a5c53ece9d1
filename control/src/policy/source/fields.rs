//! Reads the fields of one mapping: each once, unknown ones refused with a suggestion.

use super::yaml::{Node, Value};
use super::{Spanned, Word, Words};
use crate::policy::diagnostics::{Code, Finding, Sink, Span, quote};
use crate::policy::words::nearest;

/// The fields of a mapping that are known but not read yet.
pub(super) struct Fields<'a> {
    /// What the mapping describes, with its article: `a rule`.
    what: &'static str,
    pub(super) span: Span,
    entries: Vec<(&'static str, Node<'a>)>,
}

impl<'a> Fields<'a> {
    /// Takes `node` apart. An unknown field that is nearly a known one is reported, then read as that one, so that
    /// one slip makes one error.
    pub(super) fn open(
        node: Node<'a>,
        what: &'static str,
        known: &'static [&'static str],
        sink: &mut Sink<'_>,
    ) -> Option<Self> {
        let span = node.span;
        let Value::Mapping(given) = node.value else {
            wrong_type(&node, &format!("the fields of {what}: {}", known.join(", ")), sink);
            return None;
        };
        let mut fields = Self { what, span, entries: Vec::with_capacity(given.len()) };
        let mut unknown = Vec::new();
        for (key, value) in given {
            match known.iter().find(|name| **name == key.text()) {
                Some(name) => fields.entries.push((name, value)),
                None => unknown.push((key, value)),
            }
        }
        for (key, value) in unknown {
            let text = format!("{what} has no field {}", quote(key.text()));
            let mut finding = Finding::error(Code::UnknownField, key.span, text);
            if !sink.suggests() {
                sink.push(finding);
                continue;
            }
            finding = finding.legal(known.iter().copied());
            if let Some(meant) = nearest(key.text(), known.iter().copied()) {
                finding = finding.help(format!("did you mean `{meant}`?"));
                if let Some(name) = known.iter().find(|name| **name == meant)
                    && !fields.entries.iter().any(|(given, _)| given == name)
                {
                    fields.entries.push((name, value));
                }
            }
            sink.push(finding);
        }
        Some(fields)
    }

    /// Whether the field is given and not read yet.
    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(given, _)| *given == name)
    }

    /// The value of a field; a blank one is reported and counts as absent.
    pub(super) fn take(&mut self, name: &str, sink: &mut Sink<'_>) -> Option<Node<'a>> {
        let at = self.entries.iter().position(|(given, _)| *given == name)?;
        let (_, node) = self.entries.swap_remove(at);
        if matches!(node.value, Value::Blank) {
            let text = format!("the field `{name}` of {} is blank", self.what);
            sink.push(
                Finding::error(Code::Blank, node.span, text).help("give it a value, or remove the field"),
            );
            return None;
        }
        Some(node)
    }

    /// As [`Fields::take`], for a field that must be there.
    pub(super) fn need(&mut self, name: &str, sink: &mut Sink<'_>) -> Option<Node<'a>> {
        if !self.has(name) {
            let text = format!("{} needs a field `{name}`", self.what);
            sink.push(Finding::error(Code::MissingField, self.span, text));
            return None;
        }
        self.take(name, sink)
    }
}

/// Reports that `node` is not `wanted`.
pub(super) fn wrong_type(node: &Node<'_>, wanted: &str, sink: &mut Sink<'_>) {
    let code = if matches!(node.value, Value::Blank) { Code::Blank } else { Code::WrongType };
    sink.push(Finding::error(code, node.span, format!("here must stand {wanted}; this is {}", node.kind())));
}

/// A word.
pub(super) fn word(node: Node<'_>, wanted: &str, sink: &mut Sink<'_>) -> Option<Word> {
    let Value::Word(text) = node.value else {
        wrong_type(&node, wanted, sink);
        return None;
    };
    Some(Spanned { value: text.into_owned(), span: node.span })
}

/// A word, or a list of words. `None` if any of them is something else: what is left would say less, or more, than
/// was meant.
pub(super) fn words(node: Node<'_>, wanted: &str, sink: &mut Sink<'_>) -> Option<Words> {
    let Value::List(items) = node.value else {
        return word(node, wanted, sink).map(|word| Words(vec![word]));
    };
    if items.is_empty() {
        let text = "this list is empty";
        sink.push(Finding::error(Code::EmptySet, node.span, text).help(format!("here must stand {wanted}")));
        return None;
    }
    let count = items.len();
    let read: Vec<_> = items.into_iter().filter_map(|item| word(item, wanted, sink)).collect();
    (read.len() == count).then_some(Words(read))
}

/// `true` or `false`, unquoted or not.
pub(super) fn boolean(node: Node<'_>, sink: &mut Sink<'_>) -> Option<Spanned<bool>> {
    let value = match node.text() {
        "true" => true,
        "false" => false,
        _ => {
            wrong_type_word(&node, sink);
            return None;
        }
    };
    Some(Spanned { value, span: node.span })
}

fn wrong_type_word(node: &Node<'_>, sink: &mut Sink<'_>) {
    if let Value::Word(text) = &node.value {
        let text = format!("{} is neither `true` nor `false`", quote(text));
        sink.push(Finding::error(Code::UnknownWord, node.span, text).legal(["true", "false"]));
    } else {
        wrong_type(node, "`true` or `false`", sink);
    }
}

/// The items of a list.
pub(super) fn items<'a>(node: Node<'a>, wanted: &str, sink: &mut Sink<'_>) -> Vec<Node<'a>> {
    let Value::List(items) = node.value else {
        wrong_type(&node, wanted, sink);
        return Vec::new();
    };
    items
}
