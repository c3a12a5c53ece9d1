//! Label keys and values: those of Kubernetes, so that labels can be taken over as they are.

use std::collections::BTreeSet;

use super::Context;
use super::names::is_plain;
use crate::policy::diagnostics::{Code, Finding, quote};
use crate::policy::source::{LabelsSource, Word, Words};
use crate::policy::valid::Labels;

/// The longest value, and the longest key without its prefix, in characters.
const WORD_MAX: usize = 63;
/// The longest prefix of a key, in characters.
const PREFIX_MAX: usize = 253;
/// The most keys of one object.
const KEYS_MAX: usize = 64;
/// The most values of one key.
const VALUES_MAX: usize = 256;

/// Words that stand for something else where a label key could stand, now or in the imported languages.
pub(crate) const RESERVED: &[&str] = &[
    "workload",
    "network",
    "any",
    "any-workload",
    "not",
    "exists",
    "same",
    "matchLabels",
    "matchExpressions",
];

/// The labels of one object.
pub(super) fn labels(source: &LabelsSource, context: &mut Context<'_, '_>) -> Labels {
    let mut labels = Labels::new();
    context.at_most(source.0.len(), KEYS_MAX, "labels", || Some(source.0.get(KEYS_MAX)?.0.span));
    for (key, values) in &source.0 {
        check_key(key, context);
        let values: BTreeSet<String> = check_values(values, context).into_iter().collect();
        labels.insert(key.value.clone(), values);
    }
    labels
}

/// Reports a word that cannot be a label key.
pub(super) fn check_key(key: &Word, context: &mut Context<'_, '_>) {
    let text = key.value.as_str();
    if RESERVED.contains(&text) {
        let message = format!("{} cannot be a label key: the word has a meaning of its own", quote(text));
        context.sink.push(Finding::error(Code::Reserved, key.span, message));
        return;
    }
    let (prefix, name) = text.rsplit_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    let good_prefix = prefix
        .is_none_or(|prefix| prefix.len() <= PREFIX_MAX && is_plain(prefix, |b| b == b'.' || b == b'-'));
    if !good_prefix || !is_word(name) {
        let help = format!(
            "a key has up to {WORD_MAX} letters, digits, `.`, `_` and `-`, begins and ends with a letter or digit, and \
             may carry a prefix such as `example.org/`"
        );
        let message = format!("{} cannot be a label key", quote(text));
        context.sink.push(Finding::error(Code::BadLabel, key.span, message).help(help));
    }
}

/// Reports words that cannot be label values and values given twice; returns all, sorted, each once.
pub(super) fn check_values(values: &Words, context: &mut Context<'_, '_>) -> Vec<String> {
    context
        .at_most(values.0.len(), VALUES_MAX, "values of one label", || Some(values.0.get(VALUES_MAX)?.span));
    for value in &values.0 {
        // Kubernetes labels may have an empty value, which has to be written in quotes.
        if !value.value.is_empty() && !is_word(&value.value) {
            let help = format!(
                "a value has up to {WORD_MAX} letters, digits, `.`, `_` and `-`, and begins and ends with a letter or digit"
            );
            let message = format!("{} cannot be a label value", quote(&value.value));
            context.sink.push(Finding::error(Code::BadLabel, value.span, message).help(help));
        }
    }
    sorted(values, context)
}

/// The words, sorted, each once; those given twice are reported.
pub(super) fn sorted(words: &Words, context: &mut Context<'_, '_>) -> Vec<String> {
    if let [only] = words.0.as_slice() {
        return vec![only.value.clone()];
    }
    let mut all: Vec<&Word> = words.0.iter().collect();
    all.sort_by(|a, b| a.value.cmp(&b.value).then(a.span.cmp(&b.span)));
    all.dedup_by(|next, kept| {
        let same = next.value == kept.value;
        if same {
            let message = format!("{} stands twice in this list", quote(&next.value));
            let finding = Finding::warning(Code::DuplicateValue, next.span, message);
            context.sink.push(finding.also(kept.span, "first here"));
        }
        same
    });
    all.into_iter().map(|word| word.value.clone()).collect()
}

fn is_word(text: &str) -> bool {
    text.len() <= WORD_MAX && is_plain(text, |b| b".-_".contains(&b))
}
