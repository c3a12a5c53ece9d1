//! Pieces of source text that are safe to show: one line, bounded, control characters visible.

use std::collections::{BTreeMap, BTreeSet};

use super::{SourceSnippet, Span};

/// Bytes of context kept on either side of a fault on a long line.
const CONTEXT: usize = 120;
/// Bytes of a fault that are shown.
const FAULT_MAX: usize = 160;

/// The line of `text` at `span`, cut to its neighbourhood if it is long; `None` if the span names no place.
pub(crate) fn snippet_at(text: &str, span: Span) -> Option<SourceSnippet> {
    if span.line == 0 {
        return None;
    }
    let start = text.floor_char_boundary((span.start as usize).min(text.len()));
    let end = text.floor_char_boundary((span.end as usize).clamp(start, text.len()).min(start + FAULT_MAX));
    let from = text.floor_char_boundary(start.saturating_sub(CONTEXT));
    let to = text.floor_char_boundary((end + CONTEXT).min(text.len()));
    let breaks = |c: char| c == '\n' || c == '\r';
    let before = &text[from..start];
    let before = before.rfind(breaks).map_or(before, |at| &before[at + 1..]);
    let fault = &text[start..end];
    let fault = fault.find(breaks).map_or(fault, |at| &fault[..at]);
    let after = &text[start + fault.len()..to];
    let after = after.find(breaks).map_or(after, |at| &after[..at]);
    Some(SourceSnippet {
        start: before.len(),
        end: before.len() + fault.len(),
        text: [before, fault, after].concat(),
    })
}

/// The words at `places`, which are known by line and column only, both from 1; one walk through the text.
pub(super) fn words_at(text: &str, places: &BTreeSet<(u32, u32)>) -> BTreeMap<(u32, u32), SourceSnippet> {
    let mut found = BTreeMap::new();
    let mut wanted = places.iter().peekable();
    let (mut line, mut column) = (1, 1);
    for (start, c) in text.char_indices() {
        while let Some(place) = wanted.next_if(|place| **place <= (line, column)) {
            if *place == (line, column) {
                let ends = |c: char| c.is_whitespace() || matches!(c, ',' | '}' | ']' | '{' | '[' | '#');
                let len = text[start..].find(ends).unwrap_or(text.len() - start);
                let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
                let span = Span { file: 0, line, column, start: small(start), end: small(start + len) };
                found.extend(snippet_at(text, span).map(|snippet| (*place, snippet)));
            }
        }
        if wanted.peek().is_none() {
            break;
        }
        (line, column) =
            if c == '\n' { (line.saturating_add(1), 1) } else { (line, column.saturating_add(1)) };
    }
    found
}

/// Characters of a quoted word that are shown.
const QUOTE_MAX: usize = 64;

/// A word of the user's in backticks: control characters escaped, cut if long.
pub(crate) fn quote(word: &str) -> String {
    let mut shown = String::from("`");
    for (at, c) in word.chars().enumerate() {
        if at == QUOTE_MAX {
            shown.push('…');
            break;
        }
        if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}') {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown.push('`');
    shown
}

#[cfg(test)]
mod tests {
    use super::{quote, snippet_at, words_at};
    use crate::policy::diagnostics::Span;

    #[test]
    fn words_are_found_by_line_and_column() {
        let text = "one\n  - {name: é-rule, from: any}\n";
        for (name, line, column, expected) in [
            ("a word", 2, 12, Some("é-rule")),
            ("the first line", 1, 1, Some("one")),
            ("past the end of the text", 9, 1, None),
            ("past the end of its line", 1, 99, None),
            ("no line", 0, 0, None),
        ] {
            let found = words_at(text, &[(line, column), (2, 6)].into());
            let word = found.get(&(line, column)).map(|found| &found.text[found.start..found.end]);
            assert_eq!(word, expected, "{name}");
            assert_eq!(found[&(2, 6)].text, "  - {name: é-rule, from: any}", "{name}");
        }
    }

    #[test]
    fn snippets_stay_on_their_line_and_inside_their_bounds() {
        let long = format!("{}é{}", "a".repeat(1000), "b".repeat(1000));
        let table: &[(&str, &str, u32, u32, &str)] = &[
            ("middle", "one\ntwo three\nfour", 8, 13, "three"),
            ("end of text", "one", 3, 3, ""),
            ("past the text", "one", 50, 60, ""),
            ("over a line break", "one\ntwo\n", 1, 6, "ne"),
            ("carriage return", "one\r\ntwo", 5, 8, "two"),
            ("long line", &long, 1000, 1002, "é"),
            ("inside a character", &long, 1001, 1002, "é"),
        ];
        for &(name, text, start, end, fault) in table {
            let span = Span { line: 1, column: 1, start, end, file: 0 };
            let snippet = snippet_at(text, span).unwrap();
            assert_eq!(&snippet.text[snippet.start..snippet.end], fault, "{name}");
            assert!(!snippet.text.contains(['\n', '\r']) && snippet.text.len() <= 402, "{name}");
        }
        assert_eq!(snippet_at("x", Span::whole(0)), None);
    }

    #[test]
    fn quotes_hide_nothing_and_end() {
        assert_eq!(quote("a b"), "`a b`");
        assert_eq!(quote("\u{1b}[31m"), "`\\u{1b}[31m`");
        assert!(quote(&"x".repeat(10_000)).len() < 80);
    }
}
