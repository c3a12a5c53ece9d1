//! Names of objects: their letters, their length, and that each is given once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

use super::Context;
use crate::policy::diagnostics::{Code, Finding, Span, quote};
use crate::policy::source::Word;

/// The longest name, in bytes.
const NAME_MAX: usize = 253;

/// Beginnings of rule names that ringfence uses itself.
const RESERVED: &[&str] = &["default/", "infrastructure/"];

/// Whether `text` begins and ends with a letter or digit and holds only those and what `inner` accepts.
pub(super) fn is_plain(text: &str, inner: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    let ends = bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric);
    ends && bytes.iter().all(|&b| b.is_ascii_alphanumeric() || inner(b))
}

/// Checks the name of a `kind` of object, and that it is the first of that name; records its place in `seen`.
/// `slash`: whether the name may have parts, as in `shop/db`.
pub(super) fn define<'p, T>(
    word: &'p Word,
    kind: &str,
    slash: bool,
    seen: &mut HashMap<&'p str, T>,
    entry: impl FnOnce(Span) -> T,
    place: impl FnOnce(&T) -> Span,
    context: &mut Context<'_, '_>,
) {
    check(word, kind, slash, context);
    match seen.entry(&word.value) {
        Entry::Vacant(free) => {
            free.insert(entry(word.span));
        }
        Entry::Occupied(taken) => {
            let text = format!("there are two {kind}s named {}", quote(&word.value));
            let finding = Finding::error(Code::DuplicateName, word.span, text);
            context.sink.push(finding.also(place(taken.get()), "first here"));
        }
    }
}

/// Checks the letters and the length of a name.
pub(super) fn check(word: &Word, kind: &str, slash: bool, context: &mut Context<'_, '_>) {
    let name = word.value.as_str();
    let marks = if slash { "`.`, `_`, `-` and `/`" } else { "`.`, `_` and `-`" };
    let legal = |b: u8| b".-_".contains(&b) || (slash && b == b'/');
    if !is_plain(name, legal) || name.len() > NAME_MAX {
        let text = format!("{} cannot be the name of a {kind}", quote(name));
        let help = format!(
            "a name has letters a-z and A-Z, digits, {marks}, begins and ends with a letter or digit, and has at most \
             {NAME_MAX} characters"
        );
        context.sink.push(Finding::error(Code::BadName, word.span, text).help(help));
    } else if name.parse::<IpAddr>().is_ok() {
        let text = format!("{} cannot be the name of a {kind}: it is an address", quote(name));
        context.error(Code::BadName, word.span, text);
    } else if kind == "rule"
        && let Some(prefix) = RESERVED.iter().find(|prefix| name.starts_with(**prefix))
    {
        let text =
            format!("names of rules that begin with `{prefix}` are kept for what ringfence brings itself");
        context.error(Code::Reserved, word.span, text);
    }
}
