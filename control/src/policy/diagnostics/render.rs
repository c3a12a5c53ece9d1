//! Diagnostics as text for people.

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet};

use super::{Diagnostic, Diagnostics, Severity, SourceSnippet};

pub(super) fn render(all: &Diagnostics, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut text = String::new();
    for diagnostic in &all.list {
        text.push_str(&renderer.render(&[group(diagnostic)]));
        text.push_str("\n\n");
    }
    let errors = all.list.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
    let warnings = all.list.len() - errors;
    let _ = write!(text, "{}, {}", counted(errors, "error"), counted(warnings, "warning"));
    if all.omitted > 0 {
        let _ = write!(text, ", {} more not shown", all.omitted);
    }
    text.push('\n');
    text
}

fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn group(diagnostic: &Diagnostic) -> Group<'_> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(&diagnostic.message).id(diagnostic.code.name()));
    for element in
        place(&diagnostic.file, diagnostic.line, diagnostic.column, diagnostic.snippet.as_ref(), None)
    {
        group = group.element(element);
    }
    for other in &diagnostic.related {
        let label = Some(other.message.as_str());
        for element in place(&other.file, other.line, other.column, other.snippet.as_ref(), label) {
            group = group.element(element);
        }
    }
    if !diagnostic.legal.is_empty() {
        group = group.element(Level::NOTE.message(format!("legal here: {}", diagnostic.legal.join(", "))));
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help));
    }
    group
}

/// One place: its name and position, and its text if there is any.
fn place<'a>(
    file: &'a str,
    line: u32,
    column: u32,
    snippet: Option<&'a SourceSnippet>,
    label: Option<&'a str>,
) -> Vec<Element<'a>> {
    let Some(snippet) = snippet else { return vec![Origin::path(file).into()] };
    let kind = if label.is_none() { AnnotationKind::Primary } else { AnnotationKind::Context };
    let annotation = kind.span(snippet.start..snippet.end).label(label);
    let shown = Snippet::source(&snippet.text).line_start(line as usize).annotation(annotation);
    let from_the_start = snippet.text[..snippet.start].chars().count() + 1 == column as usize;
    if from_the_start {
        return vec![shown.path(file).into()];
    }
    // In a line that was cut the renderer cannot know the column.
    vec![Origin::path(file).line(line as usize).char_column(column as usize).into(), shown.into()]
}
