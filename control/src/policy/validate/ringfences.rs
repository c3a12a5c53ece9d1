//! Ringfences: an allow inside, denies around.

use std::borrow::Cow;
use std::collections::HashMap;

use super::enforcement::unknown_word;
use super::rules::{Maker, keys, revocation};
use super::selectors::{self, nothing};
use super::tiers::{Native, NativeTiers};
use super::{Context, names, services};
use crate::policy::diagnostics::Code;
use crate::policy::source::RingfenceSource;
use crate::policy::valid::{Action, Gates, OnRevoke, Rule, Selector, ServiceRange};

/// What may stand after `outside`, with what it means.
pub(crate) const OUTSIDE: &[(&str, &str)] = &[
    ("deny", "Flows between a member and anybody else are denied, unless a rule allows them."),
    ("ignore", "Only flows from member to member are judged."),
];

/// The priority of a ringfence's rules in their tiers: after those that somebody wrote.
const PRIORITY: u32 = 2;
const INGRESS: Gates = Gates { egress: false, ingress: true };
const EGRESS: Gates = Gates { egress: true, ingress: false };

/// Adds what the ringfences stand for.
pub(super) fn add<'p>(
    source: &'p [RingfenceSource],
    tiers: &mut NativeTiers,
    maker: &mut Maker<'_, 'p, '_>,
    context: &mut Context<'_, '_>,
) {
    let mut seen = HashMap::new();
    for one in source {
        names::define(&one.name, "ringfence", true, &mut seen, |span| span, |span| *span, context);
        let (scope, alive) = selectors::peers(&one.scope, maker.known, maker.reach, context);
        if !alive && let Some(first) = scope.first() {
            let text = "this ringfence has no members: no workload or network is in its scope";
            nothing(Code::NeverMatches, text, one.scope.span, first, maker.reach, context);
        }
        let inside = Rule {
            services: match one.service.0.as_slice() {
                [] => vec![ServiceRange::ANY],
                _ => services::resolve(&one.service, maker.known, context),
            },
            action: Action::Allow,
            same: keys(&one.by, context),
            on_revoke: one.on_revoke.as_ref().map_or(OnRevoke::Cut, |word| revocation(word, context)),
            ..part(one, scope.clone(), scope.clone(), context)
        };
        let any = || vec![Selector::default()];
        let around = if ignores_outside(one, context) {
            vec![("across", part(one, scope.clone(), scope, context))]
        } else {
            let into = Rule { gates: INGRESS, ..part(one, any(), scope.clone(), context) };
            let out = Rule { gates: EGRESS, ..part(one, scope, any(), context) };
            vec![("inbound", into), ("outbound", out)]
        };
        let around = around.into_iter().map(|(name, rule)| (Native::Boundary, name, rule));
        for (tier, name, rule) in [(Native::Application, "inside", inside)].into_iter().chain(around) {
            let name = format!("{}/{name}", one.name.value);
            maker.claim(Cow::Owned(name.clone()), one.name.span, context);
            tiers.put(tier, Rule { name, ..rule });
        }
    }
}

/// A deny of everything at both gates, to be changed by what the part needs.
fn part(source: &RingfenceSource, from: Vec<Selector>, to: Vec<Selector>, context: &Context<'_, '_>) -> Rule {
    Rule {
        from,
        to,
        services: vec![ServiceRange::ANY],
        action: Action::Deny,
        staged: source.staged.as_ref().is_some_and(|staged| staged.value),
        priority: PRIORITY,
        origin: context.origin(source.name.span),
        ..Rule::default()
    }
}

fn ignores_outside(source: &RingfenceSource, context: &mut Context<'_, '_>) -> bool {
    let Some(word) = &source.outside else { return false };
    if !OUTSIDE.iter().any(|(name, _)| *name == word.value) {
        unknown_word(word, "what a ringfence does outside", OUTSIDE.iter().map(|(name, _)| *name), context);
    }
    word.value == "ignore"
}
