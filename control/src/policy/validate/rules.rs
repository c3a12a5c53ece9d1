//! One rule: its ends with the scope added, its words made values.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::enforcement::unknown_word;
use super::reach::Reach;
use super::selectors::{self, nothing};
use super::{Context, Known, labels, names, services};
use crate::policy::diagnostics::{Code, Finding, Span, quote};
use crate::policy::source::{PeersSource, RuleSource, Word, Words};
use crate::policy::valid::{Action, Gates, OnRevoke, Rule, Selector};

/// The most keys of one `same` or `by`.
const KEYS_MAX: usize = 8;
/// The longest full name, `RULESET/RULE`, in bytes.
const FULL_NAME_MAX: usize = 253;
/// Units of time, in seconds.
const UNITS: [(char, u32); 3] = [('s', 1), ('m', 60), ('h', 3600)];

/// What the rules of one group share.
#[derive(Default)]
pub(super) struct Group<'p> {
    /// Goes before the names of its rules.
    pub(super) name: Option<&'p str>,
    /// Added to the ends that are in it; without a selector, nothing is.
    pub(super) scope: Vec<Selector>,
    /// Nothing is in the scope, and this was said already.
    pub(super) dead: bool,
    pub(super) staged: bool,
    pub(super) on_revoke: Option<&'p Word>,
}

/// Makes rules.
pub(super) struct Maker<'a, 'p, 'v> {
    pub(super) known: &'a Known<'p>,
    pub(super) reach: &'a mut Reach<'v>,
    seen: HashMap<Cow<'p, str>, Span>,
}

impl<'a, 'p, 'v> Maker<'a, 'p, 'v> {
    pub(super) fn new(known: &'a Known<'p>, reach: &'a mut Reach<'v>, rules: usize) -> Self {
        Self { known, reach, seen: HashMap::with_capacity(rules) }
    }

    /// `action` is the rule's own, found already.
    pub(super) fn rule(
        &mut self,
        source: &'p RuleSource,
        group: &Group<'p>,
        action: Action,
        context: &mut Context<'_, '_>,
    ) -> Rule {
        names::check(&source.name, "rule", true, context);
        let name = match group.name {
            Some(group) => Cow::Owned(format!("{group}/{}", source.name.value)),
            None => Cow::Borrowed(source.name.value.as_str()),
        };
        self.claim(name.clone(), source.name.span, context);
        let from = self.side(&source.from, &source.from_anywhere, source, group, context);
        let to = self.side(&source.to, &source.to_anywhere, source, group, context);
        if let (Some(word), false) = (&source.on_revoke, action == Action::Allow) {
            let text = "`on_revoke` is about flows that a rule allowed, and this one allows none";
            context.error(Code::BadRule, word.span, text);
        }
        let on_revoke = source.on_revoke.as_ref().or(group.on_revoke).filter(|_| action == Action::Allow);
        Rule {
            name: name.into_owned(),
            from,
            to,
            services: services::resolve(&source.service, self.known, context),
            action,
            gates: gates(&source.gates, context),
            same: keys(&source.same, context),
            on_revoke: on_revoke.map_or(OnRevoke::Cut, |word| revocation(word, context)),
            staged: group.staged || source.staged.as_ref().is_some_and(|staged| staged.value),
            priority: source
                .priority
                .as_ref()
                .and_then(|word| number(word, 0..=u32::MAX, context))
                .unwrap_or(0),
            origin: context.origin(source.name.span),
        }
    }

    /// Reports a name that a rule has already.
    pub(super) fn claim(&mut self, name: Cow<'p, str>, span: Span, context: &mut Context<'_, '_>) {
        if name.len() > FULL_NAME_MAX {
            let text = format!("the full name {} has more than {FULL_NAME_MAX} characters", quote(&name));
            context.error(Code::BadName, span, text);
        }
        match self.seen.entry(name) {
            Entry::Vacant(free) => {
                free.insert(span);
            }
            Entry::Occupied(taken) => {
                let text = format!("there are two rules named {}", quote(taken.key()));
                let finding = Finding::error(Code::DuplicateName, span, text);
                context.sink.push(finding.also(*taken.get(), "first here"));
            }
        }
    }

    fn side(
        &mut self,
        inside: &Option<PeersSource>,
        anywhere: &Option<PeersSource>,
        rule: &RuleSource,
        group: &Group<'_>,
        context: &mut Context<'_, '_>,
    ) -> Vec<Selector> {
        let no_scope = Vec::new();
        let (source, scope) = match (inside, anywhere) {
            (Some(inside), _) => (inside, &group.scope),
            (None, Some(anywhere)) => (anywhere, &no_scope),
            (None, None) => return no_scope,
        };
        let read = selectors::read(source, self.known, context);
        let read = selectors::with_scope(read, scope, source.span, context);
        let (selectors, alive) = selectors::settle(read, self.reach, context);
        if !alive
            && !group.dead
            && let Some(first) = selectors.first()
        {
            let text = format!(
                "the rule {} can never match: no workload or network is selected here",
                quote(&rule.name.value)
            );
            nothing(Code::NeverMatches, &text, source.span, first, self.reach, context);
        }
        selectors
    }
}

/// Label keys that both ends share, sorted, each once.
pub(super) fn keys(words: &Words, context: &mut Context<'_, '_>) -> Vec<String> {
    context.at_most(words.0.len(), KEYS_MAX, "keys", || Some(words.0.get(KEYS_MAX)?.span));
    words.0.iter().for_each(|word| labels::check_key(word, context));
    labels::sorted(words, context)
}

/// `cut`, `keep`, or `drain` with a time.
pub(super) fn revocation(word: &Word, context: &mut Context<'_, '_>) -> OnRevoke {
    let text = word.value.as_str();
    match (text, text.strip_prefix("drain ").map(seconds)) {
        ("cut", _) => return OnRevoke::Cut,
        ("keep", _) => return OnRevoke::Keep,
        (_, Some(Some(seconds))) => return OnRevoke::Drain(seconds),
        _ => {}
    }
    let message = format!("{} does not say what becomes of live flows", quote(text));
    let finding = Finding::error(Code::BadRevocation, word.span, message);
    let help = "a time to drain is a number with `s`, `m` or `h`, at most 65535 s: `drain 30s`";
    context.sink.push(finding.legal(["cut", "drain 30s", "keep"]).help(help));
    OnRevoke::Cut
}

/// `30s`, `5m`, `2h`: 1 to 65535 seconds.
fn seconds(text: &str) -> Option<u16> {
    let (digits, factor) =
        UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(*unit)?, factor)))?;
    let plain = (1..=5).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let number: u32 = digits.parse().ok().filter(|_| plain)?;
    u16::try_from(number * factor).ok().filter(|seconds| *seconds > 0)
}

fn gates(words: &Words, context: &mut Context<'_, '_>) -> Gates {
    if words.0.is_empty() {
        return Gates { egress: true, ingress: true };
    }
    let legal = ["egress", "ingress"];
    for word in words.0.iter().filter(|word| !legal.contains(&word.value.as_str())) {
        unknown_word(word, "a gate", legal.into_iter(), context);
    }
    let [egress, ingress] = legal.map(|gate| words.0.iter().any(|word| word.value == gate));
    Gates { egress, ingress }
}

/// A whole number in `range`; anything else is reported.
pub(super) fn number<T: FromStr + PartialOrd + Display>(
    word: &Word,
    range: RangeInclusive<T>,
    context: &mut Context<'_, '_>,
) -> Option<T> {
    let digits = word.value.strip_prefix('-').unwrap_or(&word.value);
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let number = word.value.parse().ok().filter(|number| plain && range.contains(number));
    if number.is_none() {
        let (first, last) = (range.start(), range.end());
        let text = format!("{} is not a whole number from {first} to {last}", quote(&word.value));
        context.error(Code::BadNumber, word.span, text);
    }
    number
}
