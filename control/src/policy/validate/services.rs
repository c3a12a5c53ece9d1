//! Services: named ones, and what a rule's `service` stands for.

use super::{Context, Known, names};
use crate::policy::diagnostics::{Code, Finding, quote};
use crate::policy::service::{self, EXAMPLES};
use crate::policy::source::{ServiceSource, Word, Words};
use crate::policy::valid::ServiceRange;
use crate::policy::words::nearest;

/// The most entries of one service, and of one rule's `service`.
const ENTRIES_MAX: usize = 4_096;

/// Records every named service in `known`.
pub(super) fn define<'p>(source: &'p [ServiceSource], known: &mut Known<'p>, context: &mut Context<'_, '_>) {
    for service in source {
        let name = &service.name;
        if service::protocol_names().any(|protocol| protocol == name.value) {
            let text = format!("{} is a protocol and cannot be the name of a service", quote(&name.value));
            context.error(Code::Reserved, name.span, text);
        }
        let words = &service.ports.0;
        context.at_most(words.len(), ENTRIES_MAX, "ports", || Some(words.get(ENTRIES_MAX)?.span));
        let mut ranges: Vec<_> = words.iter().filter_map(|word| range(word, context)).collect();
        service::normalise(&mut ranges);
        let entry = |span| (span, ranges);
        names::define(name, "service", false, &mut known.services, entry, |(span, _)| *span, context);
    }
}

/// One port specification.
fn range(word: &Word, context: &mut Context<'_, '_>) -> Option<ServiceRange> {
    match word.value.parse() {
        Ok(range) => Some(range),
        Err(error) => {
            let mut finding =
                Finding::error(Code::BadService, word.span, error.to_string()).legal(error.legal());
            if let service::ServiceError::Protocol(name) | service::ServiceError::IcmpType(name, _) = &error {
                let words = error.legal().into_iter().chain(service::protocol_names());
                if let Some(meant) = nearest(name, words) {
                    finding = finding.help(format!("did you mean `{meant}`?"));
                }
            }
            context.sink.push(finding);
            None
        }
    }
}

/// What a list of names and port specifications stands for: sorted, disjoint, not adjacent.
pub(super) fn resolve(words: &Words, known: &Known<'_>, context: &mut Context<'_, '_>) -> Vec<ServiceRange> {
    context
        .at_most(words.0.len(), ENTRIES_MAX, "services in one rule", || Some(words.0.get(ENTRIES_MAX)?.span));
    let mut ranges = Vec::with_capacity(words.0.len());
    for word in &words.0 {
        let name = word.value.as_str();
        if let Some((_, service)) = known.services.get(name) {
            if context.may_copy(service.len(), word.span) {
                ranges.extend_from_slice(service);
            }
        } else if name.contains('/') || service::protocol_names().any(|protocol| protocol == name) {
            ranges.extend(range(word, context));
        } else if context.whole {
            unknown(word, known, context);
        }
    }
    service::normalise(&mut ranges);
    ranges
}

fn unknown(word: &Word, known: &Known<'_>, context: &mut Context<'_, '_>) {
    let text = format!("there is no service {}", quote(&word.value));
    if !context.sink.suggests() {
        return context.error(Code::UnknownService, word.span, text);
    }
    let mut names: Vec<&str> = known.services.keys().copied().collect();
    names.sort_unstable();
    let mut legal: Vec<&str> = names.iter().copied().take(12).collect();
    legal.extend(EXAMPLES);
    let mut finding = Finding::error(Code::UnknownService, word.span, text).legal(legal);
    let meant = nearest(&word.value, names).or_else(|| nearest(&word.value, service::protocol_names()));
    if let Some(meant) = meant {
        finding = finding.help(format!("did you mean `{meant}`?"));
    }
    context.sink.push(finding);
}
