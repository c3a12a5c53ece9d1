//! A valid policy to the table that workers read.
//!
//! Each step narrows what the next one looks at:
//! 1. `vocabulary`: the labels, names and peer lists that the policy mentions become numbers; all others vanish.
//! 2. `space`: the prefixes of all networks are cut into disjoint ranges.
//! 3. `profile`: each address becomes the set of mentioned things that hold for it.
//! 4. `member`: peer lists are evaluated over profiles, through inverted lists.
//! 5. `class`: profiles with the same memberships and modes become one class.
//! 6. `level`: peer lists are told narrow from wide so that the fewest entries result.
//! 7. `entry`: rules are entered under pairs of ids, and `block` cuts their services into intervals.

mod block;
mod class;
mod entry;
mod error;
mod level;
pub(in crate::policy) mod lists;
mod member;
mod named;
mod profile;
mod space;
pub(in crate::policy) mod view;
mod vocabulary;

use std::sync::Arc;

use dataplane::policy::{Behind, Hit, HitAction, PolicyTable, TableParts};
use dataplane::verdict::{OnRevoke, RuleId, WireId};

use super::valid::{Action, INFRASTRUCTURE, Origin, Rule, Tier, ValidPolicy};
use class::Classes;
pub use error::{CompileError, Part};
use member::Members;
pub use named::Named;
use profile::Profiles;
use space::Space;
use vocabulary::{Vocabulary, number};

/// What the compiler must know beside the policy.
#[derive(Clone, Copy, Debug, Default)]
pub struct CompileOptions<'a> {
    /// The wires of this process by name; the index is the [`WireId`]. A workload that names another wire is
    /// elsewhere. Empty means that no wire is known (`check`, `explain`, `replay`): then no workload is told where
    /// it is.
    pub wires: &'a [String],
    /// What a compile may use.
    pub limits: Limits,
    /// Compile the rules marked `staged` too: the table then decides as if they were enforced. Rules have the same
    /// ids either way.
    pub staged: bool,
}

/// What a compile may use before it gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most memory of any one part, bytes: memberships, entries, or intervals.
    pub bytes: u64,
}

impl Default for Limits {
    /// 1 GiB for each part.
    fn default() -> Self {
        Self { bytes: 1 << 30 }
    }
}

/// A compiled policy: the table, and what belongs to it but not on the packet path.
#[derive(Debug)]
pub struct Compiled {
    /// What workers read.
    pub table: PolicyTable,
    /// Every rule and named default; the index is the [`RuleId`].
    pub rules: Vec<RuleInfo>,
    /// How large the parts became.
    pub stats: Stats,
}

impl Compiled {
    /// The name of a rule or default; `?` for an id of another table.
    #[must_use]
    pub fn rule_name(&self, rule: RuleId) -> &str {
        self.rules.get(rule.0 as usize).map_or("?", |info| &info.name)
    }
}

/// A rule or named default of a compiled policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleInfo {
    /// Its unique name.
    pub name: Arc<str>,
    /// Its tier; `default` for the named defaults.
    pub tier: Arc<str>,
    /// Where it was written; `None` for the named defaults.
    pub origin: Option<Origin>,
}

/// How large the parts of a table became.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Sets of addresses that the policy cannot tell apart.
    pub classes: usize,
    /// Workload addresses.
    pub addresses: usize,
    /// Disjoint ranges of the address space outside workloads.
    pub ranges: usize,
    /// Rules, without the named defaults.
    pub rules: usize,
    /// Distinct peer lists of rules and enforcement.
    pub peer_lists: usize,
    /// Entries of the decision table.
    pub entries: usize,
    /// Service intervals, shared ones once.
    pub intervals: usize,
    /// The table's size on the heap, bytes.
    pub bytes: usize,
}

/// Compiles `policy`.
///
/// The time grows with the number of labels, memberships and entries, not with rules × workloads.
///
/// # Errors
/// The table would need more than [`Limits::bytes`], or more numbers than 32 bits can count.
pub fn compile(policy: &ValidPolicy, options: &CompileOptions<'_>) -> Result<Compiled, CompileError> {
    let rules: Vec<(&Tier, &Rule)> =
        policy.tiers.iter().flat_map(|tier| tier.rules.iter().map(move |rule| (tier, rule))).collect();
    let hits = hits(&rules)?;
    let is_compiled = |rule: &Rule| options.staged || !rule.staged;
    let stages = stages(policy, is_compiled)?;

    let mut vocabulary = Vocabulary::default();
    let pairs: Vec<_> =
        rules.iter().map(|(_, rule)| (vocabulary.peers(&rule.from), vocabulary.peers(&rule.to))).collect();
    let compiled = (0..).zip(&rules).filter(|(_, (_, rule))| is_compiled(rule)).map(|(at, _)| at);
    let enforced: Vec<_> = policy.enforcement.iter().map(|e| vocabulary.peers(&e.select)).collect();

    let space = Space::new(&policy.networks, &vocabulary);
    let profiles = Profiles::new(policy.workloads.iter(), &space, &vocabulary);
    let members = Members::new(&vocabulary, &profiles, options.limits)?;
    let modes = member::modes(&policy.enforcement, &enforced, &members, &profiles);
    let from = members.by_profile(pairs.iter().map(|pair| pair.0), profiles.len());
    let to = members.by_profile(pairs.iter().map(|pair| pair.1), profiles.len());
    let classes = Classes::new(&from, &to, &modes);

    let grouped = entry::Pairs::new(compiled.map(|at: u32| (at, stages[at as usize], pairs[at as usize])));
    let levels = level::choose(&classes, &grouped, vocabulary.peer_lists());
    let services: Vec<_> = rules.iter().map(|(_, rule)| &*rule.services).collect();
    let blocks = block::Builder::new(&services, &hits, options.limits);
    let entered = entry::enter(&grouped, &levels, blocks, options.limits)?;

    let parts = TableParts {
        classes: levels.classes(&classes),
        addresses: profiles.addresses(|profile| classes.of(profile)),
        v4_ranges: profiles.v4_ranges(&space, |profile| classes.of(profile)),
        v6_ranges: profiles.v6_ranges(&space, |profile| classes.of(profile)),
        entries: entered.entries,
        intervals: entered.intervals,
        bindings: bindings(policy, options.wires),
        ether_types: policy.ether_types.clone(),
        revoke: revocations(&rules),
        rules: RuleId::FIRST.0 + u32::try_from(rules.len()).unwrap_or(u32::MAX),
    };
    let mut stats = Stats {
        classes: parts.classes.len(),
        addresses: parts.addresses.len(),
        ranges: parts.v4_ranges.len() + parts.v6_ranges.len(),
        rules: rules.len(),
        peer_lists: vocabulary.peer_lists(),
        entries: parts.entries.len(),
        intervals: parts.intervals.len(),
        bytes: 0,
    };
    let table = PolicyTable::new(parts).map_err(CompileError::Table)?;
    stats.bytes = table.bytes();
    Ok(Compiled { table, rules: infos(policy), stats })
}

/// The id of the rule at `index` in order of evaluation.
fn rule_id(index: usize) -> RuleId {
    RuleId(number(index).saturating_add(RuleId::FIRST.0))
}

/// Each rule's hit at the gates it speaks at, in order of evaluation.
fn hits(rules: &[(&Tier, &Rule)]) -> Result<Vec<block::GateHits>, CompileError> {
    let hit = |(at, (tier, rule)): (usize, &(&Tier, &Rule))| {
        let action = match rule.action {
            Action::Allow => HitAction::Allow,
            Action::Deny => HitAction::Deny,
            Action::Reject => HitAction::Reject,
            Action::Pass => HitAction::Pass,
        };
        let hit = Hit::new(rule_id(at), action, tier.name == INFRASTRUCTURE)?;
        let hit = if rule.on_revoke == OnRevoke::Cut { hit } else { hit.with_revoke() };
        let speaks = |gate: bool| if gate { hit } else { Hit::NONE };
        Some(block::GateHits { egress: speaks(rule.gates.egress), ingress: speaks(rule.gates.ingress) })
    };
    let hits: Option<Vec<_>> = rules.iter().enumerate().map(hit).collect();
    hits.ok_or(CompileError::TooManyRules { rules: rules.len() })
}

/// The stage of each rule: a tier with a rule that passes is the last of its stage.
fn stages(policy: &ValidPolicy, is_compiled: impl Fn(&Rule) -> bool) -> Result<Vec<u8>, CompileError> {
    let mut stages = Vec::new();
    let mut stage = 0_usize;
    for tier in &policy.tiers {
        let of_tier = u8::try_from(stage).map_err(|_| CompileError::TooManyStages)?;
        stages.extend(tier.rules.iter().map(|_| of_tier));
        let passes = |rule: &Rule| rule.action == Action::Pass && is_compiled(rule);
        stage += usize::from(tier.rules.iter().any(passes));
    }
    Ok(stages)
}

fn revocations(rules: &[(&Tier, &Rule)]) -> Vec<(RuleId, OnRevoke)> {
    let said = rules.iter().enumerate().map(|(at, (_, rule))| (rule_id(at), rule.on_revoke));
    said.filter(|(_, on_revoke)| *on_revoke != OnRevoke::Cut).collect()
}

fn infos(policy: &ValidPolicy) -> Vec<RuleInfo> {
    let default: Arc<str> = "default".into();
    let named = |name: &str| RuleInfo { name: name.into(), tier: Arc::clone(&default), origin: None };
    let mut infos: Vec<_> = RuleId::DEFAULT_NAMES.into_iter().map(named).collect();
    for tier in &policy.tiers {
        let name: Arc<str> = tier.name.as_str().into();
        infos.extend(tier.rules.iter().map(|rule| RuleInfo {
            name: rule.name.as_str().into(),
            tier: Arc::clone(&name),
            origin: Some(rule.origin.clone()),
        }));
    }
    infos
}

fn bindings(policy: &ValidPolicy, wires: &[String]) -> Vec<(Behind, Vec<[u8; 6]>)> {
    let behind = |wire: &Option<String>| match wire {
        Some(name) if !wires.is_empty() => {
            let found = wires.iter().position(|wire| wire == name).and_then(|at| u16::try_from(at).ok());
            found.map_or(Behind::Elsewhere, |at| Behind::Wire(WireId(at)))
        }
        _ => Behind::NotTold,
    };
    policy.workloads.iter().map(|workload| (behind(&workload.wire), workload.macs.clone())).collect()
}

#[cfg(test)]
mod tests;
