//! Rules to tiers, and enforcement.

use std::collections::HashMap;

use super::reach::Reach;
use super::selectors::{nothing, peers};
use super::{ACTIONS, Context, Known, MODES, built_in, names, services};
use crate::policy::diagnostics::{Code, Finding, Span, quote};
use crate::policy::source::{EnforcementSource, PeersSource, PolicySource, RuleSource, Word};
use crate::policy::valid::{Action, Enforcement, Gates, INFRASTRUCTURE, Mode, Rule, Selector, Tier};
use crate::policy::words::nearest;

/// The tiers of the native language in order, after [`INFRASTRUCTURE`]; each holds one action, so that the order of
/// its rules has no meaning. They are kept by name: the same policy in other files is the same policy.
const TIERS: [&str; 3] = ["override", "application", "boundary"];

/// Every rule in its tier.
pub(super) fn tiers(
    source: &PolicySource,
    known: &Known<'_>,
    reach: &mut Reach<'_>,
    context: &mut Context<'_, '_>,
) -> Vec<Tier> {
    let mut rules: [Vec<Rule>; 3] = Default::default();
    let mut seen: HashMap<&str, Span> = HashMap::with_capacity(source.rules.len());
    for one in &source.rules {
        names::define(&one.name, "rule", true, &mut seen, |span| span, |span| *span, context);
        let (tier, action) = action(one.action.as_ref(), context);
        rules[tier].push(rule(one, action, known, reach, context));
    }
    let infrastructure = built_in::infrastructure(&source.infrastructure, context);
    let mut tiers = vec![Tier { name: INFRASTRUCTURE.to_owned(), rules: infrastructure }];
    for (name, mut rules) in TIERS.into_iter().zip(rules) {
        rules.sort_by(|a, b| a.name.cmp(&b.name));
        tiers.push(Tier { name: name.to_owned(), rules });
    }
    tiers
}

/// The index in [`TIERS`] and the action that a word stands for.
fn action(word: Option<&Word>, context: &mut Context<'_, '_>) -> (usize, Action) {
    match word.map_or("allow", |word| word.value.as_str()) {
        "allow" => (1, Action::Allow),
        "deny" => (2, Action::Deny),
        "override-deny" => (0, Action::Deny),
        _ => {
            if let Some(word) = word {
                unknown_word(word, "an action", ACTIONS.iter().map(|(name, _)| *name), context);
            }
            (2, Action::Deny)
        }
    }
}

fn rule(
    source: &RuleSource,
    action: Action,
    known: &Known<'_>,
    reach: &mut Reach<'_>,
    context: &mut Context<'_, '_>,
) -> Rule {
    let mut side = |side: &PeersSource| {
        let (selectors, alive) = peers(side, known, reach, context);
        if !alive && let Some(first) = selectors.first() {
            never(&source.name, side.span, first, reach, context);
        }
        selectors
    };
    let (from, to) = (side(&source.from), side(&source.to));
    Rule {
        name: source.name.value.clone(),
        from,
        to,
        services: services::resolve(&source.service, known, context),
        action,
        gates: Gates { egress: true, ingress: true },
        origin: context.origin(source.name.span),
        ..Rule::default()
    }
}

fn never(rule: &Word, span: Span, selector: &Selector, reach: &Reach<'_>, context: &mut Context<'_, '_>) {
    let text =
        format!("the rule {} can never match: no workload or network is selected here", quote(&rule.value));
    nothing(Code::NeverMatches, &text, span, selector, reach, context);
}

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
