//! Rules, and what rules come from.

use super::super::fields::{Fields, boolean, items, word, words};
use super::super::intent::{RINGFENCE, RULE, RULESET, RULESET_RULE, TIER, TIER_RULE};
use super::super::yaml::Node;
use super::super::{
    PeersSource, RingfenceSource, RuleSource, RulesetSource, Spanned, TierSource, Word, Words,
};
use super::peers::peers;
use crate::policy::diagnostics::{Code, Finding, Sink, Span};

/// What stands after `service`.
pub(super) const SERVICES: &str = "names of services or port specifications";

/// A rule at the top of a document.
pub(super) fn rule(node: Node<'_>, sink: &mut Sink<'_>) -> Option<RuleSource> {
    any_rule(node, RULE, sink)
}

fn any_rule(node: Node<'_>, known: &'static [&'static str], sink: &mut Sink<'_>) -> Option<RuleSource> {
    let mut fields = Fields::open(node, "a rule", known, sink)?;
    let span = fields.span;
    let name = fields.need("name", sink).and_then(|node| word(node, "a name", sink));
    let scoped = known.contains(&"from_anywhere");
    let from = side(&mut fields, ["from", "from_anywhere"], scoped, sink);
    let to = side(&mut fields, ["to", "to_anywhere"], scoped, sink);
    if let (Some(Side::Anywhere(_)), Some(Side::Anywhere(_))) = (&from, &to) {
        let text = "a rule of a ruleset has at least one end in the scope";
        let help = "write `from` or `to`, or move the rule to `rules` at the top of the document";
        sink.push(Finding::error(Code::BadRule, span, text).help(help));
    }
    let service = fields.need("service", sink).and_then(|node| words(node, SERVICES, sink));
    let action = fields.take("action", sink).and_then(|node| word(node, "an action", sink));
    let same = keys(&mut fields, "same", sink);
    let on_revoke = on_revoke(&mut fields, sink);
    let staged = staged(&mut fields, sink);
    let priority = fields.take("priority", sink).and_then(|node| word(node, "a number", sink));
    let gates = fields.take("gates", sink).map(|node| words(node, "`egress`, `ingress` or both", sink));
    let gates = gates.unwrap_or_else(|| Some(Words::default()));
    let (from, from_anywhere) = from?.split();
    let (to, to_anywhere) = to?.split();
    Some(RuleSource {
        name: name?,
        from,
        from_anywhere,
        to,
        to_anywhere,
        service: service?,
        action,
        same: same?,
        on_revoke,
        staged,
        priority,
        gates: gates?,
    })
}

/// One end of a rule.
enum Side {
    /// The scope is added, if there is one.
    Scoped(PeersSource),
    Anywhere(PeersSource),
}

impl Side {
    fn split(self) -> (Option<PeersSource>, Option<PeersSource>) {
        match self {
            Self::Scoped(peers) => (Some(peers), None),
            Self::Anywhere(peers) => (None, Some(peers)),
        }
    }
}

/// `None` if the end is not told, or cannot be read.
fn side(
    fields: &mut Fields<'_>,
    [inside, anywhere]: [&str; 2],
    scoped: bool,
    sink: &mut Sink<'_>,
) -> Option<Side> {
    if !scoped || !fields.has(anywhere) {
        let node = fields.need(inside, sink)?;
        return Some(Side::Scoped(peers(node, sink)?));
    }
    if fields.has(inside) {
        let text = format!("a rule has `{inside}` or `{anywhere}`, not both");
        sink.push(Finding::error(Code::BadRule, fields.span, text));
    }
    let node = fields.take(anywhere, sink)?;
    Some(Side::Anywhere(peers(node, sink)?))
}

/// A list of label keys; `None` if it cannot be read: a rule without it would say more.
fn keys(fields: &mut Fields<'_>, name: &str, sink: &mut Sink<'_>) -> Option<Words> {
    match fields.take(name, sink) {
        Some(node) => words(node, "a label key or a list of them", sink),
        None => Some(Words::default()),
    }
}

fn on_revoke(fields: &mut Fields<'_>, sink: &mut Sink<'_>) -> Option<Word> {
    fields.take("on_revoke", sink).and_then(|node| word(node, "`cut`, `drain 30s` or `keep`", sink))
}

fn staged(fields: &mut Fields<'_>, sink: &mut Sink<'_>) -> Option<Spanned<bool>> {
    fields.take("staged", sink).and_then(|node| boolean(node, sink))
}

/// The rules of a group.
fn rules(
    fields: &mut Fields<'_>,
    known: &'static [&'static str],
    sink: &mut Sink<'_>,
) -> Option<Vec<RuleSource>> {
    let list = items(fields.need("rules", sink)?, "a list of rules", sink);
    Some(list.into_iter().filter_map(|item| any_rule(item, known, sink)).collect())
}

/// A ruleset.
pub(super) fn ruleset(node: Node<'_>, sink: &mut Sink<'_>) -> Option<RulesetSource> {
    let mut fields = Fields::open(node, "a ruleset", RULESET, sink)?;
    let name = fields.need("name", sink).and_then(|node| word(node, "a name", sink));
    let scope = fields.need("scope", sink).and_then(|node| peers(node, sink));
    let on_revoke = on_revoke(&mut fields, sink);
    let staged = staged(&mut fields, sink);
    let rules = rules(&mut fields, RULESET_RULE, sink);
    Some(RulesetSource { name: name?, scope: scope?, rules: rules?, on_revoke, staged })
}

/// A ringfence.
pub(super) fn ringfence(node: Node<'_>, sink: &mut Sink<'_>) -> Option<RingfenceSource> {
    let mut fields = Fields::open(node, "a ringfence", RINGFENCE, sink)?;
    let name = fields.need("name", sink).and_then(|node| word(node, "a name", sink));
    let scope = fields.need("scope", sink).and_then(|node| peers(node, sink));
    let by = keys(&mut fields, "by", sink);
    let service = fields.take("service", sink).map(|node| words(node, SERVICES, sink));
    let service = service.unwrap_or_else(|| Some(Words::default()));
    let outside = fields.take("outside", sink).and_then(|node| word(node, "`deny` or `ignore`", sink));
    let on_revoke = on_revoke(&mut fields, sink);
    let staged = staged(&mut fields, sink);
    Some(RingfenceSource {
        name: name?,
        scope: scope?,
        by: by?,
        service: service?,
        outside,
        on_revoke,
        staged,
    })
}

/// A tier.
pub(super) fn tier(node: Node<'_>, sink: &mut Sink<'_>) -> Option<TierSource> {
    let mut fields = Fields::open(node, "a tier", TIER, sink)?;
    let span: Span = fields.span;
    let name = fields.need("name", sink).and_then(|node| word(node, "a name", sink));
    let order = fields.need("order", sink).and_then(|node| word(node, "a number", sink));
    let rules = rules(&mut fields, TIER_RULE, sink);
    Some(TierSource { name: name?, order: order?, rules: rules?, span })
}
