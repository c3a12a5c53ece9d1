//! Every rule in its tier, every tier in its place.

use std::collections::HashMap;

use super::enforcement::unknown_word;
use super::reach::Reach;
use super::rules::{Group, Maker, number};
use super::selectors::{self, nothing};
use super::{Context, Known, built_in, names, ringfences};
use crate::policy::diagnostics::{Code, Finding, Span, quote};
use crate::policy::source::{PolicySource, RuleSource, RulesetSource, TierSource, Word};
use crate::policy::valid::{Action, INFRASTRUCTURE, Rule, Tier};

/// A tier that ringfence brings itself. Rules in it are kept by name, not in the order written: the same policy in
/// other files is the same policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Native {
    Infrastructure,
    Override,
    Application,
    Boundary,
}

/// Names and orders, indexed by [`Native`].
const NATIVE: [(&str, i32); 4] =
    [(INFRASTRUCTURE, 0), ("override", 1000), ("application", 2000), ("boundary", 3000)];
/// How far from 0 a tier's order may be.
const ORDER_MAX: i32 = 10_000;

/// A word after `action`.
pub(crate) struct ActionWord {
    /// The word.
    pub(crate) name: &'static str,
    /// What it means.
    pub(crate) meaning: &'static str,
    action: Action,
    tier: Native,
    /// Rejects come before denies, and both before what a ringfence denies: so the rule that says most is named, and
    /// rules that disagree never have equal priority.
    priority: u32,
}

/// The actions of a rule at the top of a document or in a ruleset.
pub(crate) const ACTIONS: &[ActionWord] = &[
    ActionWord {
        name: "allow",
        meaning: "Lets the flow through, unless an override matches.",
        action: Action::Allow,
        tier: Native::Application,
        priority: 0,
    },
    ActionWord {
        name: "deny",
        meaning: "Drops the flow silently, unless an `allow` matches.",
        action: Action::Deny,
        tier: Native::Boundary,
        priority: 1,
    },
    ActionWord {
        name: "reject",
        meaning: "As `deny`, and tells the sender: TCP by RST, the rest by an ICMP error. Comes before `deny`.",
        action: Action::Reject,
        tier: Native::Boundary,
        priority: 0,
    },
    ActionWord {
        name: "override-deny",
        meaning: "Drops the flow silently whatever else is allowed.",
        action: Action::Deny,
        tier: Native::Override,
        priority: 1,
    },
    ActionWord {
        name: "override-reject",
        meaning: "As `override-deny`, and tells the sender. Comes before `override-deny`.",
        action: Action::Reject,
        tier: Native::Override,
        priority: 0,
    },
];

/// The actions of a rule of a tier of the user's own.
pub(crate) const TIER_ACTIONS: &[(&str, &str, Action)] = &[
    ("allow", "Opens the gate; no later tier is asked.", Action::Allow),
    ("deny", "Closes the gate; frames are dropped silently.", Action::Deny),
    (
        "reject",
        "Closes the gate and tells the sender: TCP by RST, the rest by an ICMP error.",
        Action::Reject,
    ),
    ("pass", "Leaves the gate to the tiers after this one.", Action::Pass),
];

/// Every tier in order.
pub(super) fn all(
    source: &PolicySource,
    known: &Known<'_>,
    reach: &mut Reach<'_>,
    context: &mut Context<'_, '_>,
) -> Vec<Tier> {
    let mut maker = Maker::new(known, reach, source.rules.len());
    let mut native = NativeTiers::default();
    let alone = Group::default();
    for rule in &source.rules {
        native.add(rule, &alone, &mut maker, context);
    }
    let mut seen = HashMap::new();
    for ruleset in &source.rulesets {
        names::define(&ruleset.name, "ruleset", true, &mut seen, |span| span, |span| *span, context);
        let group = group(ruleset, &mut maker, context);
        for rule in &ruleset.rules {
            native.add(rule, &group, &mut maker, context);
        }
    }
    ringfences::add(&source.ringfences, &mut native, &mut maker, context);
    native.rules[Native::Infrastructure as usize] = built_in::infrastructure(&source.infrastructure, context);

    let mut placed: Vec<(i32, Span, Tier)> = Vec::new();
    for ((name, order), mut rules) in NATIVE.into_iter().zip(native.rules) {
        // The infrastructure tier has its own order already, and no two of its rules have one name.
        if name != INFRASTRUCTURE {
            rules.sort_by(|a, b| (a.priority, &a.name).cmp(&(b.priority, &b.name)));
        }
        placed.push((order, Span::default(), Tier { name: name.to_owned(), rules }));
    }
    own(&source.tiers, &mut placed, &mut maker, context);
    placed.sort_by_key(|(order, ..)| *order);
    placed.into_iter().map(|(.., tier)| tier).collect()
}

/// Rules of ringfence's own tiers while they are collected.
#[derive(Default)]
pub(super) struct NativeTiers {
    rules: [Vec<Rule>; 4],
}

impl NativeTiers {
    /// Makes a rule and puts it where its action belongs.
    fn add<'p>(
        &mut self,
        source: &'p RuleSource,
        group: &Group<'p>,
        maker: &mut Maker<'_, 'p, '_>,
        context: &mut Context<'_, '_>,
    ) {
        let word = action(source.action.as_ref(), context);
        let rule = maker.rule(source, group, word.action, context);
        self.put(word.tier, Rule { priority: word.priority, ..rule });
    }

    pub(super) fn put(&mut self, tier: Native, rule: Rule) {
        self.rules[tier as usize].push(rule);
    }
}

/// What a word after `action` stands for; an unknown one is reported, and drops.
fn action(word: Option<&Word>, context: &mut Context<'_, '_>) -> &'static ActionWord {
    let named = |name: &str| ACTIONS.iter().find(|action| action.name == name);
    let Some(word) = word else { return &ACTIONS[0] };
    named(&word.value).unwrap_or_else(|| {
        unknown_word(word, "an action", ACTIONS.iter().map(|action| action.name), context);
        &ACTIONS[1]
    })
}

fn group<'p>(
    ruleset: &'p RulesetSource,
    maker: &mut Maker<'_, 'p, '_>,
    context: &mut Context<'_, '_>,
) -> Group<'p> {
    let (scope, alive) = selectors::peers(&ruleset.scope, maker.known, maker.reach, context);
    if !alive && let Some(first) = scope.first() {
        let text = "the rules of this ruleset can never match: no workload or network is in its scope";
        nothing(Code::NeverMatches, text, ruleset.scope.span, first, maker.reach, context);
    }
    Group {
        name: Some(&ruleset.name.value),
        scope,
        dead: !alive,
        staged: ruleset.staged.as_ref().is_some_and(|staged| staged.value),
        on_revoke: ruleset.on_revoke.as_ref(),
    }
}

/// The user's own tiers.
fn own<'p>(
    source: &'p [TierSource],
    placed: &mut Vec<(i32, Span, Tier)>,
    maker: &mut Maker<'_, 'p, '_>,
    context: &mut Context<'_, '_>,
) {
    let mut seen: HashMap<&str, Span> = HashMap::new();
    for one in source {
        let name = &one.name;
        names::define(name, "tier", true, &mut seen, |span| span, |span| *span, context);
        if name.value == "default" || NATIVE.iter().any(|(native, _)| *native == name.value) {
            let text = format!("the tier {} is one that ringfence brings itself", quote(&name.value));
            context.error(Code::Reserved, name.span, text);
        }
        let order = number(&one.order, -ORDER_MAX..=ORDER_MAX, context);
        if let Some((taken, span, tier)) = placed.iter().find(|(taken, ..)| Some(*taken) == order) {
            let text = format!("the tier {} has the order {taken} already", quote(&tier.name));
            let finding = Finding::error(Code::DuplicateOrder, one.order.span, text);
            let native = *span == Span::default();
            context.sink.push(if native { finding } else { finding.also(*span, "first here") });
        }
        let alone = Group::default();
        let mut rules: Vec<Rule> = Vec::with_capacity(one.rules.len());
        for rule in &one.rules {
            let action = tier_action(rule.action.as_ref(), context);
            rules.push(maker.rule(rule, &alone, action, context));
        }
        rules.sort_by(|a, b| (a.priority, &a.name).cmp(&(b.priority, &b.name)));
        placed.push((order.unwrap_or(0), one.order.span, Tier { name: name.value.clone(), rules }));
    }
}

fn tier_action(word: Option<&Word>, context: &mut Context<'_, '_>) -> Action {
    let Some(word) = word else { return Action::Allow };
    let found = TIER_ACTIONS.iter().find(|(name, ..)| *name == word.value);
    found.map_or_else(
        || {
            unknown_word(word, "an action", TIER_ACTIONS.iter().map(|(name, ..)| *name), context);
            Action::Deny
        },
        |(.., action)| *action,
    )
}
