//! What is wanted: rules as written, alone and in groups.

use schemars::JsonSchema;

use super::{PeersSource, Span, Spanned, Word, Words, schema};

/// Who may speak to whom. Replies belong to the flow that was opened and need no rule.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(rename = "rule", deny_unknown_fields)]
pub struct RuleSource {
    /// Unique among rules; letters as for a workload. `default/` and `infrastructure/` are taken. In a ruleset the
    /// full name is `RULESET/RULE`.
    pub name: Word,
    /// Who opens the flow. In a ruleset the scope is added.
    #[schemars(with = "PeersSource")]
    pub from: Option<PeersSource>,
    /// In a ruleset, instead of `from`: who opens the flow, inside the scope or not.
    #[schemars(default, with = "PeersSource")]
    pub from_anywhere: Option<PeersSource>,
    /// Who is spoken to. In a ruleset the scope is added.
    #[schemars(with = "PeersSource")]
    pub to: Option<PeersSource>,
    /// In a ruleset, instead of `to`: who is spoken to, inside the scope or not.
    #[schemars(default, with = "PeersSource")]
    pub to_anywhere: Option<PeersSource>,
    /// Names of services, port specifications, or `any`. At least one, at most 4,096.
    pub service: Words,
    /// `allow`, if not told.
    #[schemars(default, with = "schema::Action")]
    pub action: Option<Word>,
    /// Label keys of which both ends must share a value: `app` lets the shop speak with the shop only. At most 8.
    #[schemars(default)]
    pub same: Words,
    /// What becomes of live flows that this rule allowed once policy allows them no more: `cut` (the default),
    /// `drain 30s` (they may go on for so long, up to 65535 s, in `s`, `m` or `h`), or `keep`.
    #[schemars(default, with = "schema::OnRevoke")]
    pub on_revoke: Option<Word>,
    /// `true`: the rule is evaluated and recorded beside those in force, but decides nothing.
    #[schemars(default, with = "bool")]
    pub staged: Option<Spanned<bool>>,
    /// In a tier: order among its rules, 0 to 4294967295, lower first; 0 if not told.
    #[schemars(default, with = "u32")]
    pub priority: Option<Word>,
    /// In a tier: the gates at which the rule speaks, `egress` (the source's), `ingress` (the destination's), or both,
    /// which is the default.
    #[schemars(default, with = "schema::Gates")]
    pub gates: Words,
}

/// Fields of a rule at the top of a document.
pub(super) const RULE: &[&str] = &["name", "from", "to", "service", "action", "same", "on_revoke", "staged"];
/// Fields of a rule of a ruleset.
pub(super) const RULESET_RULE: &[&str] = &[
    "name",
    "from",
    "from_anywhere",
    "to",
    "to_anywhere",
    "service",
    "action",
    "same",
    "on_revoke",
    "staged",
];
/// Fields of a rule of a tier.
pub(super) const TIER_RULE: &[&str] =
    &["name", "priority", "from", "to", "service", "action", "same", "gates", "on_revoke", "staged"];

/// Rules that share a scope.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(rename = "ruleset", deny_unknown_fields)]
pub struct RulesetSource {
    /// Unique among rulesets; letters as for a workload.
    pub name: Word,
    /// Added to `from` and `to` of every rule: all requirements of both must hold.
    pub scope: PeersSource,
    /// The rules.
    #[schemars(with = "Vec<schema::RulesetRule>")]
    pub rules: Vec<RuleSource>,
    /// For its rules that allow and do not say it themselves.
    #[schemars(default, with = "schema::OnRevoke")]
    pub on_revoke: Option<Word>,
    /// `true`: all its rules are staged.
    #[schemars(default, with = "bool")]
    pub staged: Option<Spanned<bool>>,
}

pub(super) const RULESET: &[&str] = &["name", "scope", "rules", "on_revoke", "staged"];

/// A group of endpoints that speak among themselves and with nobody else, unless a rule says otherwise. It stands for
/// an allow in the tier `application` and denies in the tier `boundary`.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(rename = "ringfence", deny_unknown_fields)]
pub struct RingfenceSource {
    /// Unique among ringfences; letters as for a workload. Its rules are `NAME/inside`, and `NAME/inbound` and
    /// `NAME/outbound`, or `NAME/across`.
    pub name: Word,
    /// Its members: workloads, and addresses of networks that carry such labels.
    pub scope: PeersSource,
    /// Label keys: each value is a ring of its own, and only members that share a value of every key may speak.
    /// Without it, all members are one ring. At most 8.
    #[schemars(default)]
    pub by: Words,
    /// What members of one ring may speak; `any` if not told.
    #[schemars(default)]
    pub service: Words,
    /// Flows between a member and others: `deny` (the default), or `ignore`, and then only flows from member to member
    /// are judged.
    #[schemars(default, with = "schema::Outside")]
    pub outside: Option<Word>,
    /// As for a rule, for the flows inside.
    #[schemars(default, with = "schema::OnRevoke")]
    pub on_revoke: Option<Word>,
    /// As for a rule.
    #[schemars(default, with = "bool")]
    pub staged: Option<Spanned<bool>>,
}

pub(super) const RINGFENCE: &[&str] = &["name", "scope", "by", "service", "outside", "on_revoke", "staged"];

/// An ordered list of rules with a place among the other tiers.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(rename = "tier", deny_unknown_fields)]
pub struct TierSource {
    /// Unique among tiers; letters as for a workload.
    pub name: Word,
    /// Lower is evaluated first, -10000 to 10000; unique. `infrastructure` has 0, `override` 1000, `application` 2000,
    /// `boundary` 3000.
    #[schemars(with = "i16")]
    pub order: Word,
    /// The rules. Rules of equal priority must not disagree where they overlap.
    #[schemars(with = "Vec<schema::TierRule>")]
    pub rules: Vec<RuleSource>,
    /// Where it was written.
    #[schemars(skip)]
    pub span: Span,
}

pub(super) const TIER: &[&str] = &["name", "order", "rules"];
