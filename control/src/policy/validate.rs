//! [`PolicySource`] to [`ValidPolicy`]: every fault of every file is reported before the policy is refused.

mod addresses;
mod built_in;
mod enforcement;
mod inventory;
mod labels;
mod names;
mod proof;
mod reach;
mod ringfences;
mod rules;
mod selectors;
mod services;
mod tiers;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

pub(crate) use built_in::BUILT_IN;
pub(crate) use labels::RESERVED as RESERVED_KEYS;
pub(crate) use proof::VERDICTS;
pub(crate) use ringfences::OUTSIDE;
pub(crate) use tiers::{ACTIONS, TIER_ACTIONS};

use super::diagnostics::{Code, Finding, Sink, Span};
use super::source::PolicySource;
use super::valid::{Mode, Origin, ServiceRange, ValidPolicy};

/// The most workloads, and the most rules, of a policy.
pub const OBJECTS_MAX: usize = 1_000_000;
/// The most networks, and the most services.
const GROUPS_MAX: usize = 100_000;
/// The most entries under `enforcement`.
const ENFORCEMENT_MAX: usize = 10_000;
/// The most EtherTypes.
const ETHER_TYPES_MAX: usize = 1_024;

/// The most rulesets.
const RULESETS_MAX: usize = 100_000;
/// The most ringfences, and the most assertions.
const STATEMENTS_MAX: usize = 10_000;
/// The most policy tests.
const TESTS_MAX: usize = 100_000;
/// The most tiers of the user's own.
const TIERS_MAX: usize = 100;

/// The most service ranges and words of selectors that rules get by naming services and standing in scopes, all rules
/// together: a few lines must not stand for gigabytes.
const COPIED_MAX: usize = 8_000_000;

/// The modes of enforcement, with what they mean.
pub(crate) const MODES: &[(&str, Mode, &str)] = &[
    ("off", Mode::Off, "No rule is looked at; everything passes."),
    ("observe", Mode::Observe, "Nothing is dropped; what would be is recorded as potentially blocked."),
    ("selective", Mode::Selective, "Only denies stop a flow; what no rule matches passes."),
    ("full", Mode::Full, "What no rule allows is dropped."),
];

/// What the checks share.
struct Context<'a, 's> {
    sink: &'s mut Sink<'a>,
    /// The files' names, by number.
    files: Vec<Arc<str>>,
    /// Whether every file could be read whole; if not, a missing object is no fault of the one who refers to it.
    whole: bool,
    /// Ranges and words that rules got by naming a service or standing in a scope.
    copied: usize,
}

impl Context<'_, '_> {
    fn origin(&self, span: Span) -> Origin {
        let file = self.files.get(span.file as usize).cloned().unwrap_or_default();
        Origin { file, line: span.line, column: span.column }
    }

    fn error(&mut self, code: Code, span: Span, message: impl Into<String>) {
        self.sink.push(Finding::error(code, span, message));
    }

    /// Whether `count` more things may be copied into a rule; the first that may not are reported at `span`.
    fn may_copy(&mut self, count: usize, span: Span) -> bool {
        let before = self.copied;
        self.copied = before.saturating_add(count);
        if before <= COPIED_MAX && self.copied > COPIED_MAX {
            let text = format!(
                "named services and scopes stand for more than {COPIED_MAX} ranges and words in the rules up to here"
            );
            self.error(Code::Limit, span, text);
        }
        self.copied <= COPIED_MAX
    }

    /// Reports a list that is longer than it may be, at the first element too many.
    fn at_most(&mut self, count: usize, max: usize, what: &str, extra: impl FnOnce() -> Option<Span>) {
        if count > max {
            let span = extra().unwrap_or_default();
            self.error(Code::Limit, span, format!("{count} {what}, and at most {max} are allowed"));
        }
    }
}

/// What names stand for.
#[derive(Default)]
struct Known<'p> {
    workloads: HashMap<&'p str, Span>,
    networks: HashMap<&'p str, Span>,
    services: HashMap<&'p str, (Span, Vec<ServiceRange>)>,
}

/// Checks `source` and resolves its names. What is returned is only fit for use if `sink` has no error afterwards.
///
/// `whole`: whether every file could be read whole.
pub(crate) fn validate(
    source: &PolicySource,
    files: Vec<Arc<str>>,
    whole: bool,
    sink: &mut Sink<'_>,
) -> ValidPolicy {
    let mut context = Context { sink, files, whole, copied: 0 };
    limits(source, &mut context);
    let mut known = Known::default();
    services::define(&source.services, &mut known, &mut context);
    let workloads = inventory::workloads(&source.workloads, &mut known, &mut context);
    let networks = inventory::networks(&source.networks, &mut known, &mut context);
    let mut reach = reach::Reach::new(&workloads, &networks);
    let tiers = tiers::all(source, &known, &mut reach, &mut context);
    let enforcement = enforcement::enforcement(&source.enforcement, &known, &mut reach, &mut context);
    let ether_types = built_in::ether_types(&source.ether_types, &mut context);
    drop(reach);
    let assertions = proof::assertions(&source.assertions, &known, &mut context);
    let tests = proof::tests(&source.tests, &workloads, &tiers, &known, &mut context);
    ValidPolicy { workloads, networks, tiers, enforcement, ether_types, assertions, tests }
}

fn limits(source: &PolicySource, context: &mut Context<'_, '_>) {
    let PolicySource { workloads, networks, services, rules, enforcement, ether_types, .. } = source;
    let objects = OBJECTS_MAX;
    context.at_most(workloads.len(), objects, "workloads", || Some(workloads.get(objects)?.name.span));
    let grouped =
        source.rulesets.iter().map(|one| &one.rules).chain(source.tiers.iter().map(|one| &one.rules));
    let count = rules.len() + grouped.clone().map(Vec::len).sum::<usize>();
    context.at_most(count, objects, "rules", || {
        Some(rules.iter().chain(grouped.flatten()).nth(objects)?.name.span)
    });
    context.at_most(networks.len(), GROUPS_MAX, "networks", || Some(networks.get(GROUPS_MAX)?.name.span));
    context.at_most(services.len(), GROUPS_MAX, "services", || Some(services.get(GROUPS_MAX)?.name.span));
    let rulesets = &source.rulesets;
    context.at_most(rulesets.len(), RULESETS_MAX, "rulesets", || Some(rulesets.get(RULESETS_MAX)?.name.span));
    let rings = &source.ringfences;
    context.at_most(rings.len(), STATEMENTS_MAX, "ringfences", || Some(rings.get(STATEMENTS_MAX)?.name.span));
    let tiers = &source.tiers;
    context.at_most(tiers.len(), TIERS_MAX, "tiers", || Some(tiers.get(TIERS_MAX)?.name.span));
    let entries = enforcement;
    context.at_most(entries.len(), ENFORCEMENT_MAX, "enforcement entries", || {
        Some(entries.get(ENFORCEMENT_MAX)?.span)
    });
    let types = &ether_types.0;
    context.at_most(types.len(), ETHER_TYPES_MAX, "EtherTypes", || Some(types.get(ETHER_TYPES_MAX)?.span));
    let claims = &source.assertions;
    context.at_most(claims.len(), STATEMENTS_MAX, "assertions", || {
        Some(claims.get(STATEMENTS_MAX)?.claim.name.span)
    });
    let tests = &source.tests;
    context.at_most(tests.len(), TESTS_MAX, "tests", || Some(tests.get(TESTS_MAX)?.span));
}
