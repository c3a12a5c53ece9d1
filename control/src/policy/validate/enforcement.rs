//! Enforcement, and words out of a list.

use super::reach::Reach;
use super::selectors::{nothing, peers};
use super::{Context, Known, MODES};
use crate::policy::diagnostics::{Code, Finding, quote};
use crate::policy::source::{EnforcementSource, Word};
use crate::policy::valid::{Enforcement, Mode};
use crate::policy::words::nearest;

/// Every entry, in the order written: the first that matches counts.
pub(super) fn enforcement(
    source: &[EnforcementSource],
    known: &Known<'_>,
    reach: &mut Reach<'_>,
    context: &mut Context<'_, '_>,
) -> Vec<Enforcement> {
    let mut all = Vec::with_capacity(source.len());
    for one in source {
        let (select, alive) = peers(&one.select, known, reach, context);
        if !alive && let Some(first) = select.first() {
            let text = "this entry has no effect: no workload is selected here";
            nothing(Code::MatchesNothing, text, one.select.span, first, reach, context);
        }
        let ingress = one.ingress.as_ref().and_then(|word| mode(word, context));
        let egress = one.egress.as_ref().and_then(|word| mode(word, context));
        all.push(Enforcement { select, ingress, egress, origin: context.origin(one.span) });
    }
    all
}

fn mode(word: &Word, context: &mut Context<'_, '_>) -> Option<Mode> {
    let mode = MODES.iter().find(|(name, ..)| *name == word.value).map(|(_, mode, _)| *mode);
    if mode.is_none() {
        unknown_word(word, "a mode", MODES.iter().map(|(name, ..)| *name), context);
    }
    mode
}

/// Reports a word that is none of `legal`.
pub(super) fn unknown_word<'w>(
    word: &Word,
    what: &str,
    legal: impl Iterator<Item = &'w str> + Clone,
    context: &mut Context<'_, '_>,
) {
    let text = format!("{} is not {what}", quote(&word.value));
    let mut finding = Finding::error(Code::UnknownWord, word.span, text).legal(legal.clone());
    if let Some(meant) = nearest(&word.value, legal) {
        finding = finding.help(format!("did you mean `{meant}`?"));
    }
    context.sink.push(finding);
}
