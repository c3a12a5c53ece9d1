//! What is wrong with a policy, where, and what would be right.

mod code;
mod render;
mod snippet;

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

pub use code::Code;
pub(crate) use snippet::{quote, snippet_at};

use super::load::SourceFile;
use super::valid::Origin;

/// The most errors, and the most warnings, that one load keeps; the others are counted in
/// [`Diagnostics::omitted`].
pub const DIAGNOSTICS_MAX: usize = 500;

/// Faults up to which suggestions are looked for.
const SUGGESTIONS_MAX: usize = 50;

/// The most entries of [`Diagnostic::legal`].
const LEGAL_MAX: usize = 24;

/// Whether a policy with this diagnostic can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The policy is refused.
    Error,
    /// The policy is accepted, but probably does not say what was meant.
    Warning,
}

/// A piece of a source file, small enough to show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SourceSnippet {
    /// One line of the file, or the part of a long line around the fault.
    pub text: String,
    /// First byte of the fault in `text`.
    pub start: usize,
    /// The byte after the fault in `text`; never below `start`.
    pub end: usize,
}

/// A second place that belongs to a diagnostic, such as the first use of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Related {
    /// The file, as the user named it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is there.
    pub message: String,
    /// The text there.
    pub snippet: Option<SourceSnippet>,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// The stable name of the kind of fault.
    pub code: Code,
    /// The file, as the user named it.
    pub file: String,
    /// Line, from 1; 0 if the file as a whole is meant.
    pub line: u32,
    /// Column in characters, from 1; 0 if the file as a whole is meant.
    pub column: u32,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What may stand there instead, if that is a list of words; at most 24, the last an ellipsis if there are more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub legal: Vec<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The text there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snippet: Option<SourceSnippet>,
    /// The other places it has to do with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Related>,
}

impl Diagnostic {
    /// About what stands at `origin`; without the text there, which [`Diagnostics::with_snippets`] looks up.
    pub(crate) fn about(
        origin: &Origin,
        severity: Severity,
        code: Code,
        message: impl Into<String>,
        help: Option<String>,
        related: Vec<Related>,
    ) -> Self {
        Self {
            severity,
            code,
            file: origin.file.as_ref().to_owned(),
            line: origin.line,
            column: origin.column,
            message: message.into(),
            legal: Vec::new(),
            help,
            snippet: None,
            related,
        }
    }
}

impl Related {
    /// What stands at `origin`, without its text.
    pub(crate) fn at(origin: &Origin, message: impl Into<String>) -> Self {
        let file = origin.file.as_ref().to_owned();
        Self { file, line: origin.line, column: origin.column, message: message.into(), snippet: None }
    }
}

/// Everything that one load found, in order of file, line and column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diagnostics {
    /// The faults.
    #[serde(rename = "diagnostics")]
    list: Vec<Diagnostic>,
    /// How many more there were beyond [`DIAGNOSTICS_MAX`].
    omitted: usize,
}

impl Diagnostics {
    /// The faults in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// How many faults are listed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many more there were beyond [`DIAGNOSTICS_MAX`].
    #[must_use]
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// From faults found after loading, in order of file, line and column; those beyond [`DIAGNOSTICS_MAX`] are only
    /// counted, warnings before errors.
    pub(crate) fn of(mut list: Vec<Diagnostic>) -> Self {
        list.sort_by_key(|one| one.severity);
        let omitted = list.len().saturating_sub(DIAGNOSTICS_MAX);
        list.truncate(DIAGNOSTICS_MAX);
        list.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        Self { list, omitted }
    }

    /// These, and after them `others`.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.list.extend(others.list);
        self.omitted += others.omitted;
        self
    }

    /// Looks up the text at every place that has none yet in the files that were loaded.
    #[must_use]
    pub fn with_snippets(mut self, files: &[SourceFile]) -> Self {
        for file in files {
            let here = |name: &str, line: u32, has: bool| !has && line > 0 && name == file.name;
            let mut places = BTreeSet::new();
            for one in &self.list {
                let also = one.related.iter().filter(|at| here(&at.file, at.line, at.snippet.is_some()));
                places.extend(also.map(|at| (at.line, at.column)));
                if here(&one.file, one.line, one.snippet.is_some()) {
                    places.insert((one.line, one.column));
                }
            }
            if places.is_empty() {
                continue;
            }
            let found = snippet::words_at(&file.text, &places);
            for one in &mut self.list {
                if here(&one.file, one.line, one.snippet.is_some()) {
                    one.snippet = found.get(&(one.line, one.column)).cloned();
                }
                for at in &mut one.related {
                    if here(&at.file, at.line, at.snippet.is_some()) {
                        at.snippet = found.get(&(at.line, at.column)).cloned();
                    }
                }
            }
        }
        self
    }

    /// For people: each fault with its line of source, and a closing count. `color` adds ANSI colours.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        render::render(self, color)
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

/// Where something stands in the files of one load. Offsets are bytes; lines and columns count from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// Index of the file.
    pub(crate) file: u32,
    /// Line; 0 for the file as a whole.
    pub(crate) line: u32,
    /// Column in characters.
    pub(crate) column: u32,
    /// First byte.
    pub(crate) start: u32,
    /// The byte after the last.
    pub(crate) end: u32,
}

impl Span {
    /// The whole of file number `file`.
    pub(crate) fn whole(file: usize) -> Self {
        Self { file: u32::try_from(file).unwrap_or(u32::MAX), ..Self::default() }
    }
}

/// A fault as the checks report it, before its place is looked up.
pub(crate) struct Finding {
    severity: Severity,
    code: Code,
    span: Span,
    message: String,
    legal: Vec<String>,
    help: Option<String>,
    related: Vec<(Span, &'static str)>,
}

impl Finding {
    pub(crate) fn error(code: Code, span: Span, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            severity: Severity::Error,
            code,
            span,
            message,
            legal: Vec::new(),
            help: None,
            related: Vec::new(),
        }
    }

    pub(crate) fn warning(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, message) }
    }

    /// What to do about it.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The words that may stand there; cut to a readable number.
    pub(crate) fn legal<'a>(mut self, words: impl IntoIterator<Item = &'a str>) -> Self {
        let mut words = words.into_iter();
        self.legal = words.by_ref().take(LEGAL_MAX).map(str::to_owned).collect();
        if words.next().is_some()
            && let Some(last) = self.legal.last_mut()
        {
            "…".clone_into(last);
        }
        self
    }

    /// Another place it has to do with, and what is there.
    pub(crate) fn also(mut self, span: Span, what: &'static str) -> Self {
        self.related.push((span, what));
        self
    }
}

/// Collects findings and turns them into diagnostics.
pub(crate) struct Sink<'a> {
    files: &'a [SourceFile],
    errors: Vec<(Span, Diagnostic)>,
    warnings: Vec<(Span, Diagnostic)>,
    errors_omitted: usize,
    warnings_omitted: usize,
}

impl<'a> Sink<'a> {
    pub(crate) fn new(files: &'a [SourceFile]) -> Self {
        Self { files, errors: Vec::new(), warnings: Vec::new(), errors_omitted: 0, warnings_omitted: 0 }
    }

    /// How many errors were reported so far.
    pub(crate) fn errors(&self) -> usize {
        self.errors.len() + self.errors_omitted
    }

    /// Whether looking for what may have been meant is still worth its time: it is for the faults that somebody will
    /// read first, not for the thousandth.
    pub(crate) fn suggests(&self) -> bool {
        self.errors.len() + self.warnings.len() < SUGGESTIONS_MAX
    }

    pub(crate) fn push(&mut self, finding: Finding) {
        let (kept, omitted) = match finding.severity {
            Severity::Error => (&mut self.errors, &mut self.errors_omitted),
            Severity::Warning => (&mut self.warnings, &mut self.warnings_omitted),
        };
        if kept.len() < DIAGNOSTICS_MAX {
            kept.push((finding.span, diagnostic(self.files, finding)));
        } else {
            *omitted += 1;
        }
    }

    /// The warnings if there was no error, otherwise everything.
    pub(crate) fn finish(mut self) -> Result<Diagnostics, Diagnostics> {
        let failed = self.errors() > 0;
        let omitted = self.errors_omitted + self.warnings_omitted;
        self.errors.append(&mut self.warnings);
        self.errors.sort_by_key(|(span, diagnostic)| (*span, diagnostic.severity));
        let list = self.errors.into_iter().map(|(_, diagnostic)| diagnostic).collect();
        let all = Diagnostics { list, omitted };
        if failed { Err(all) } else { Ok(all) }
    }
}

fn diagnostic(files: &[SourceFile], finding: Finding) -> Diagnostic {
    let file = |span: Span| files.get(span.file as usize);
    let name = |span: Span| file(span).map_or_else(String::new, |file| file.name.clone());
    let snippet = |span: Span| file(span).and_then(|file| snippet_at(&file.text, span));
    let related = finding.related.iter().map(|&(span, what)| Related {
        file: name(span),
        line: span.line,
        column: span.column,
        message: what.to_owned(),
        snippet: snippet(span),
    });
    Diagnostic {
        severity: finding.severity,
        code: finding.code,
        file: name(finding.span),
        line: finding.span.line,
        column: finding.span.column,
        related: related.collect(),
        snippet: snippet(finding.span),
        message: finding.message,
        legal: finding.legal,
        help: finding.help,
    }
}
