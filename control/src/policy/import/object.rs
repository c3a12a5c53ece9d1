//! Reads objects of the Kubernetes API: `null` counts as absent, and a field that nobody asked for is refused, so that
//! what a policy says and ringfence does not know is never silently left out.

use crate::policy::diagnostics::{Code, Finding, Sink, Span, quote};
use crate::policy::source::Spanned;
use crate::policy::source::Word;
use crate::policy::source::yaml::{Node, Value};

/// A mapping whose fields are taken out one by one.
pub(super) struct Object<'a> {
    /// What it is, with its article, for messages.
    what: &'static str,
    pub(super) span: Span,
    entries: Vec<(Node<'a>, Node<'a>)>,
}

impl<'a> Object<'a> {
    /// Opens a mapping; a blank counts as one without fields.
    pub(super) fn open(node: Node<'a>, what: &'static str, sink: &mut Sink<'_>) -> Option<Self> {
        let span = node.span;
        match node.value {
            Value::Mapping(entries) => Some(Self { what, span, entries }),
            Value::Blank => Some(Self { what, span, entries: Vec::new() }),
            _ => {
                wrong_type(&node, what, sink);
                None
            }
        }
    }

    /// The place of a field's name, if it is written.
    pub(super) fn place(&self, name: &str) -> Option<Span> {
        self.entries.iter().find(|(key, _)| key.text() == name).map(|(key, _)| key.span)
    }

    /// Whether no field is left that is not `null`.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.iter().all(|(_, value)| matches!(value.value, Value::Blank))
    }

    /// The value of a field; `null` is absent.
    pub(super) fn take(&mut self, name: &str) -> Option<Node<'a>> {
        let at = self.entries.iter().position(|(key, _)| key.text() == name)?;
        let (_, node) = self.entries.swap_remove(at);
        (!matches!(node.value, Value::Blank)).then_some(node)
    }

    /// As [`Object::take`], for a field that must be there.
    pub(super) fn need(&mut self, name: &str, sink: &mut Sink<'_>) -> Option<Node<'a>> {
        let node = self.take(name);
        if node.is_none() {
            let text = format!("{} needs a field `{name}`", self.what);
            sink.push(Finding::error(Code::MissingField, self.span, text));
        }
        node
    }

    /// An object in a field.
    pub(super) fn object(&mut self, name: &str, what: &'static str, sink: &mut Sink<'_>) -> Option<Self> {
        Self::open(self.take(name)?, what, sink)
    }

    /// The items of a list in a field; `None` if the field is absent.
    pub(super) fn list(&mut self, name: &str, sink: &mut Sink<'_>) -> Option<Vec<Node<'a>>> {
        let node = self.take(name)?;
        let Value::List(items) = node.value else {
            wrong_type(&node, "a list", sink);
            return None;
        };
        Some(items)
    }

    /// A word in a field.
    pub(super) fn word(&mut self, name: &str, sink: &mut Sink<'_>) -> Option<Word> {
        word(self.take(name)?, sink)
    }

    /// A list of words in a field.
    pub(super) fn words(&mut self, name: &str, sink: &mut Sink<'_>) -> Option<Vec<Word>> {
        Some(self.list(name, sink)?.into_iter().filter_map(|item| word(item, sink)).collect())
    }

    /// A mapping of words to words in a field.
    pub(super) fn map(&mut self, name: &str, sink: &mut Sink<'_>) -> Option<Vec<(Word, Word)>> {
        let node = self.take(name)?;
        let Value::Mapping(entries) = node.value else {
            wrong_type(&node, "a mapping of words to words", sink);
            return None;
        };
        let blank = |node: Node<'a>| match node.value {
            Value::Blank => Node { span: node.span, value: Value::Word("".into()) },
            _ => node,
        };
        Some(entries.into_iter().filter_map(|(k, v)| Some((word(k, sink)?, word(blank(v), sink)?))).collect())
    }

    /// `true` or `false` in a field.
    pub(super) fn boolean(&mut self, name: &str, sink: &mut Sink<'_>) -> Option<bool> {
        let word = self.word(name, sink)?;
        match word.value.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            other => {
                let text = format!("{} is neither `true` nor `false`", quote(other));
                sink.push(Finding::error(Code::UnknownWord, word.span, text).legal(["true", "false"]));
                None
            }
        }
    }

    /// Passes over fields that change nothing about what is allowed.
    pub(super) fn ignore(&mut self, names: &[&str]) {
        self.entries.retain(|(key, _)| !names.contains(&key.text()));
    }

    /// Refuses a field that ringfence does not do; `null` and empty values ask for nothing.
    pub(super) fn refuse(&mut self, name: &str, why: &str, sink: &mut Sink<'_>) {
        let Some(at) = self.entries.iter().position(|(key, _)| key.text() == name) else { return };
        let (key, value) = self.entries.swap_remove(at);
        let empty = match &value.value {
            Value::Blank => true,
            Value::List(items) => items.is_empty(),
            Value::Mapping(entries) => entries.is_empty(),
            Value::Word(_) => false,
        };
        if !empty {
            unsupported(key.span, format!("`{name}` of {} is not supported: {why}", self.what), sink);
        }
    }

    /// Refuses what is left.
    pub(super) fn finish(self, sink: &mut Sink<'_>) {
        for (key, _) in self.entries {
            let text = format!("{} has no field {} that ringfence knows", self.what, quote(key.text()));
            let help =
                "what it would mean is not known, so the policy is refused rather than read without it";
            sink.push(Finding::error(Code::UnknownField, key.span, text).help(help));
        }
    }
}

/// Reports a feature of another system's language that ringfence does not do.
pub(super) fn unsupported(span: Span, message: impl Into<String>, sink: &mut Sink<'_>) {
    sink.push(Finding::error(Code::Unsupported, span, message));
}

/// Reports something that was left out, and by which the policy can only have become narrower.
pub(super) fn narrowed(span: Span, message: impl Into<String>, sink: &mut Sink<'_>) {
    sink.push(Finding::warning(Code::Narrowed, span, message));
}

/// A word.
pub(super) fn word(node: Node<'_>, sink: &mut Sink<'_>) -> Option<Word> {
    let Value::Word(text) = node.value else {
        wrong_type(&node, "a word", sink);
        return None;
    };
    Some(Spanned { value: text.into_owned(), span: node.span })
}

/// A number of at most `max`.
pub(super) fn number(word: &Word, min: u32, max: u32, sink: &mut Sink<'_>) -> Option<u32> {
    let plain = !word.value.is_empty() && word.value.bytes().all(|b| b.is_ascii_digit());
    let number = word.value.parse().ok().filter(|number| plain && (min..=max).contains(number));
    if number.is_none() {
        let text = format!("{} is not a number from {min} to {max}", quote(&word.value));
        sink.push(Finding::error(Code::BadNumber, word.span, text));
    }
    number
}

pub(super) fn wrong_type(node: &Node<'_>, wanted: &str, sink: &mut Sink<'_>) {
    let text = format!("here must stand {wanted}; this is {}", node.kind());
    sink.push(Finding::error(Code::WrongType, node.span, text));
}
