//! Selectors: words to requirements, names looked up.

use std::collections::HashMap;

use super::reach::Reach;
use super::{Context, Known, labels};
use crate::policy::diagnostics::{Code, Finding, Span, quote};
use crate::policy::source::{PeersSource, RequirementSource, SelectorSource, TestSource, Words};
use crate::policy::valid::{Requirement, Selector};
use crate::policy::words::nearest;

/// The most selectors of one list.
const SELECTORS_MAX: usize = 1_024;
/// The most requirements of one selector.
const REQUIREMENTS_MAX: usize = 64;
/// The most names after `workload` or `network`.
const NAMES_MAX: usize = 10_000;

/// The selectors of one side, sorted, each once, and whether any of them can match something.
pub(super) fn peers(
    source: &PeersSource,
    known: &Known<'_>,
    reach: &mut Reach<'_>,
    context: &mut Context<'_, '_>,
) -> (Vec<Selector>, bool) {
    let read = read(source, known, context);
    settle(read, reach, context)
}

/// The selectors of one side as written.
pub(super) fn read(
    source: &PeersSource,
    known: &Known<'_>,
    context: &mut Context<'_, '_>,
) -> Vec<(Selector, Span)> {
    let list = &source.selectors;
    context.at_most(list.len(), SELECTORS_MAX, "selectors", || Some(source.span));
    let any = list.iter().find(|selector| matches!(selector, SelectorSource::Any(_)));
    if let (Some(SelectorSource::Any(span)), 2..) = (any, list.len()) {
        context.error(
            Code::BadSelector,
            *span,
            "`any` includes every other selector of this list: it stands alone",
        );
    }
    list.iter().map(|one| selector(one, known, context)).collect()
}

/// How many words a requirement holds.
fn words_of(one: &Requirement) -> usize {
    match one {
        Requirement::In(_, words) | Requirement::NotIn(_, words) => 1 + words.len(),
        Requirement::Workload(words) | Requirement::Network(words) | Requirement::NotNetwork(words) => {
            words.len()
        }
        _ => 1,
    }
}

/// What is in both: each of `selectors` with each of `scope`; all of them if there is no scope.
pub(super) fn with_scope(
    selectors: Vec<(Selector, Span)>,
    scope: &[Selector],
    span: Span,
    context: &mut Context<'_, '_>,
) -> Vec<(Selector, Span)> {
    if scope.is_empty() {
        return selectors;
    }
    let count = selectors.len().saturating_mul(scope.len());
    context.at_most(count, SELECTORS_MAX, "selectors, those of the scope multiplied in", || Some(span));
    let words: usize = scope.iter().map(|one| one.requirements.iter().map(words_of).sum::<usize>()).sum();
    if count > SELECTORS_MAX || !context.may_copy(words.saturating_mul(selectors.len()), span) {
        return selectors;
    }
    let both = |one: &Selector, scope: &Selector| {
        let mut requirements = [one.requirements.as_slice(), &scope.requirements].concat();
        requirements.sort();
        requirements.dedup();
        Selector { requirements }
    };
    let with_all = |(one, span): &(Selector, Span)| {
        scope.iter().map(|scope| (both(one, scope), *span)).collect::<Vec<_>>()
    };
    selectors.iter().flat_map(with_all).collect()
}

/// Warns of selectors that match nothing beside others that do; returns all sorted, each once, and whether any of them
/// can match something.
pub(super) fn settle(
    mut selectors: Vec<(Selector, Span)>,
    reach: &mut Reach<'_>,
    context: &mut Context<'_, '_>,
) -> (Vec<Selector>, bool) {
    let mut alive = true;
    if context.sink.errors() == 0 {
        // With a scope of several selectors, one that was written stands here several times.
        let mut living: Vec<Span> =
            selectors.iter().filter(|(one, _)| reach.matches(one)).map(|(_, span)| *span).collect();
        living.sort_unstable();
        alive = !living.is_empty();
        let dead = |span: &Span| alive && living.binary_search(span).is_err();
        let mut told = None;
        for (one, span) in selectors.iter().filter(|(_, span)| dead(span)) {
            if told != Some(*span) {
                told = Some(*span);
                let text = "no workload or network matches this selector";
                nothing(Code::MatchesNothing, text, *span, one, reach, context);
            }
        }
    }
    selectors.sort();
    selectors.dedup_by(|next, kept| next.0 == kept.0);
    (selectors.into_iter().map(|(selector, _)| selector).collect(), alive)
}

/// Warns that `selector` matches nothing, with a guess at what was meant.
pub(super) fn nothing(
    code: Code,
    text: &str,
    span: Span,
    selector: &Selector,
    reach: &Reach<'_>,
    context: &mut Context<'_, '_>,
) {
    let mut finding = Finding::warning(code, span, text);
    if context.sink.suggests()
        && let Some(why) = reach.why(selector)
    {
        finding = finding.help(why);
    }
    context.sink.push(finding);
}

fn selector(source: &SelectorSource, known: &Known<'_>, context: &mut Context<'_, '_>) -> (Selector, Span) {
    let (mut requirements, span) = match source {
        SelectorSource::Any(span) => (Vec::new(), *span),
        SelectorSource::AnyWorkload(span) => (vec![Requirement::AnyWorkload], *span),
        SelectorSource::NoWorkload(span) => (vec![Requirement::NoWorkload], *span),
        SelectorSource::All(span, all) => {
            context.at_most(all.len(), REQUIREMENTS_MAX, "requirements", || {
                Some(all.get(REQUIREMENTS_MAX)?.key.span)
            });
            (all.iter().map(|one| requirement(one, known, context)).collect(), *span)
        }
    };
    requirements.sort();
    requirements.dedup();
    (Selector { requirements }, span)
}

fn requirement(source: &RequirementSource, known: &Known<'_>, context: &mut Context<'_, '_>) -> Requirement {
    let key = source.key.value.clone();
    match (&source.test, key.as_str()) {
        (TestSource::In(names), "workload") => {
            look_up(names, "workload", Code::UnknownWorkload, &known.workloads, context);
            Requirement::Workload(labels::sorted(names, context))
        }
        (TestSource::In(names), "network") => {
            look_up(names, "network", Code::UnknownNetwork, &known.networks, context);
            Requirement::Network(labels::sorted(names, context))
        }
        (TestSource::Not(names, _), "network") => {
            look_up(names, "network", Code::UnknownNetwork, &known.networks, context);
            Requirement::NotNetwork(labels::sorted(names, context))
        }
        (TestSource::Exists(true, _), "workload") => Requirement::AnyWorkload,
        (TestSource::Exists(false, _), "workload") => Requirement::NoWorkload,
        (test, _) => {
            labels::check_key(&source.key, context);
            match test {
                TestSource::In(values) => Requirement::In(key, labels::check_values(values, context)),
                TestSource::Not(values, _) => Requirement::NotIn(key, labels::check_values(values, context)),
                TestSource::Exists(true, _) => Requirement::Exists(key),
                TestSource::Exists(false, _) => Requirement::NotExists(key),
            }
        }
    }
}

fn look_up(
    names: &Words,
    kind: &str,
    code: Code,
    known: &HashMap<&str, Span>,
    context: &mut Context<'_, '_>,
) {
    context.at_most(names.0.len(), NAMES_MAX, "names", || Some(names.0.get(NAMES_MAX)?.span));
    for name in names.0.iter().filter(|name| !known.contains_key(name.value.as_str())) {
        if !context.whole {
            continue;
        }
        let text = format!("there is no {kind} {}", quote(&name.value));
        let mut finding = Finding::error(code, name.span, text);
        if context.sink.suggests()
            && let Some(meant) = nearest(&name.value, known.keys().copied())
        {
            finding = finding.help(format!("did you mean `{meant}`?"));
        }
        // All names of a small policy help; a thousand would not.
        if known.len() <= 24 {
            let mut all: Vec<&str> = known.keys().copied().collect();
            all.sort_unstable();
            finding = finding.legal(all);
        }
        context.sink.push(finding);
    }
}
