//! What a policy would have done with the flows that were recorded, and which live flows it would end: every one is
//! decided by the candidate's own table, the one that workers would read.

use std::collections::BTreeMap;
use std::fmt::Write;

use dataplane::address::Address;
use dataplane::clock::Now;
use dataplane::policy::ServiceKey;
use dataplane::verdict::{Decision, OnRevoke};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Engine, InForce};
use crate::observe::flows::FlowRecord;
use crate::observe::live::Ends;
use crate::observe::names::service_name;
use crate::policy::diff::{Becomes, Seen, Side};
use crate::policy::tuple::{Inventory, Mentioned, Tuple};

/// Rows of each list.
const ROWS_MAX: usize = 1000;
/// Rows that a refusal names.
const NAMED_MAX: usize = 5;

/// How much of what speaks now a policy may stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutLimit {
    /// Live flows that may die; with `simulated`, recorded flows that may be denied count too.
    pub flows: u64,
    /// Only if the record of flows is complete.
    pub simulated: bool,
}

/// What a policy would do to the flows there were and are.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Simulation {
    /// What was recorded, and what is missing from it.
    pub recorded: Recorded,
    /// Recorded flows that would be decided otherwise, by label pair; the most frequent first.
    pub changes: Vec<Simulated>,
    /// Recorded flows that would be allowed, and were not.
    pub allowed: u64,
    /// Recorded flows that would be denied, and were not.
    pub denied: u64,
    /// Live flows that were looked at.
    pub live: u64,
    /// Live flows that would end, by label pair; those that die at once first, then the most.
    pub cuts: Vec<Cut>,
    /// Live flows that would die at their next packet.
    pub cut: u64,
    /// Live flows that would be let to drain, and then die.
    pub drained: u64,
    /// Live flows that would no longer be allowed, but are kept by the rule that let them in.
    pub kept: u64,
    /// Rows left out of `changes` and `cuts`, because they were too many; the sums count them.
    pub left_out: usize,
}

/// The record of flows.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Recorded {
    /// Flows in it.
    pub flows: u64,
    /// Since when.
    #[schema(value_type = String)]
    pub from: Timestamp,
    /// Until when.
    #[schema(value_type = String)]
    pub to: Timestamp,
    /// Events of that time that it missed.
    pub missed: u64,
    /// How often in that time nobody recorded, because the daemon was down.
    pub gaps: u32,
    /// Flows in it that are known by the labels of their ends only: each group of them was decided by one pair of its
    /// addresses, which is exact as far as policy goes by labels.
    pub folded: u64,
}

/// Recorded flows between two sets of labels that would be decided otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Simulated {
    /// What would become of them.
    pub becomes: Becomes,
    /// The labels of who opened them, over the keys that the policies mention.
    pub from: String,
    /// The labels of whom they were opened to.
    pub to: String,
    /// The service.
    pub service: String,
    /// How many.
    pub flows: u64,
    /// Their bytes, both directions.
    pub bytes: u64,
    /// The rule or default that decides them now.
    pub old_rule: String,
    /// The rule or default that would.
    pub new_rule: String,
    /// One of them: who opened it, and to whom.
    pub example: [String; 2],
    /// When the last packet of any was seen.
    #[schema(value_type = String)]
    pub last_seen: Timestamp,
}

/// Live flows between two sets of labels that would end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Cut {
    /// The labels of who opened them, over the keys that the policies mention.
    pub from: String,
    /// The labels of whom they were opened to.
    pub to: String,
    /// The service.
    pub service: String,
    /// `cut`, `drain` or `keep`: what the rule that let them in says of their end.
    pub on_revoke: &'static str,
    /// How many.
    pub flows: u64,
    /// Their bytes so far, both directions.
    pub bytes: u64,
    /// Age of the youngest and of the oldest, seconds.
    pub age_s: [u32; 2],
    /// The rule or default that allows them now.
    pub old_rule: String,
    /// The rule or default that would end them.
    pub new_rule: String,
    /// One of them: who opened it, and to whom.
    pub example: [String; 2],
}

impl Simulation {
    /// Whether more would be stopped than `limit` allows, or it cannot be known.
    #[must_use]
    pub const fn exceeds(&self, limit: CutLimit) -> bool {
        let recorded = if limit.simulated { self.denied } else { 0 };
        self.cut + self.drained > limit.flows
            || recorded > limit.flows
            || (limit.simulated && self.recorded.missed > 0)
    }

    /// Why it is refused under `limit`, naming what it would stop most.
    pub(super) fn refusal(&self, limit: CutLimit) -> String {
        let mut text = format!(
            "the policy was not published: it would end {} of {} live flows",
            self.cut + self.drained,
            self.live
        );
        if limit.simulated {
            let _ = write!(text, " and deny {} of {} recorded ones", self.denied, self.recorded.flows);
        }
        let _ = write!(text, "; at most {} may be", limit.flows);
        if limit.simulated && self.recorded.missed > 0 {
            let _ = write!(
                text,
                ". The record of flows is not complete, {} events are missing",
                self.recorded.missed
            );
        }
        for cut in self.cuts.iter().filter(|cut| cut.on_revoke != "keep").take(NAMED_MAX) {
            let _ = write!(
                text,
                "\n  {} live: {} -> {} {} ({} ⇒ {})",
                cut.flows, cut.from, cut.to, cut.service, cut.old_rule, cut.new_rule
            );
        }
        for one in
            self.changes.iter().filter(|one| limit.simulated && one.becomes == Becomes::Deny).take(NAMED_MAX)
        {
            let _ = write!(
                text,
                "\n  {} recorded: {} -> {} {} ({} ⇒ {})",
                one.flows, one.from, one.to, one.service, one.old_rule, one.new_rule
            );
        }
        text
    }
}

/// What rows are told apart by: ends, service, and the rules before and after.
type RowKey<'a> = (u32, u32, u32, &'a str, &'a str, &'static str);

/// Decides flows by both tables, and gives their ends names.
struct Judge<'a> {
    sides: [Side<'a>; 2],
    mentioned: Mentioned<'a>,
    inventories: [Inventory<'a>; 2],
    tuples: hashbrown::HashMap<Tuple<'a>, u32>,
    words: Vec<String>,
}

impl<'a> Judge<'a> {
    fn new(sides: [Side<'a>; 2]) -> Self {
        let policies = sides.map(|side| side.policy);
        Self {
            sides,
            mentioned: Mentioned::of(&policies),
            inventories: policies.map(Inventory::new),
            tuples: hashbrown::HashMap::new(),
            words: Vec::new(),
        }
    }

    fn decide(&self, source: Address, destination: Address, service: u32) -> Option<[Decision; 2]> {
        let key = ServiceKey::from_value(service)?;
        Some(self.sides.map(|side| {
            let table = side.compiled.table;
            table.decide(table.resolve(source), table.resolve(destination), key)
        }))
    }

    /// The number of the label tuple of an address: the new policy's, unless only the old one knows a workload there.
    fn labels(&mut self, address: Address) -> u32 {
        let side = usize::from(
            self.inventories[1].owner(address).is_some() || self.inventories[0].owner(address).is_none(),
        );
        let tuple = self.inventories[side].tuple(&self.mentioned, address);
        let next = u32::try_from(self.words.len()).unwrap_or(u32::MAX);
        let words = &mut self.words;
        *self.tuples.entry(tuple).or_insert_with_key(|tuple| {
            words.push(tuple.to_string());
            next
        })
    }

    fn name(&self, address: Address) -> String {
        let owner = self.inventories.iter().rev().find_map(|one| one.owner(address));
        owner.map_or_else(|| address.to_ip().to_string(), |workload| workload.name.clone())
    }

    fn rule(&self, side: usize, decision: Decision) -> &'a str {
        self.sides[side].compiled.rule_name(decision.rule)
    }
}

impl Engine {
    /// The flows that were recorded, live ones among them.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let seen = |one: FlowRecord| {
            let (source, destination) = (one.source.into(), one.destination.into());
            let service = ServiceKey::from_value(one.service)?;
            Some(Seen { source, destination, service, flows: one.flows })
        };
        self.with_records(|log| log.each().filter_map(seen).collect())
    }

    /// Decides every recorded and every live flow by the table of `candidate`.
    #[must_use]
    pub fn simulate(&self, now: &InForce, candidate: Side<'_>) -> Simulation {
        let mut judge = Judge::new([now.side(), candidate]);
        let mut simulation = self.recorded(&mut judge);
        self.live(&mut judge, &mut simulation);
        simulation
    }

    fn recorded(&self, judge: &mut Judge<'_>) -> Simulation {
        let (records, held): (Vec<_>, _) =
            self.with_records(|log| (log.each().collect(), log.completeness()));
        let mut rows: BTreeMap<RowKey<'_>, Simulated> = BTreeMap::new();
        let (mut flows, mut allowed, mut denied) = (0, 0, 0);
        for one in records {
            flows += one.flows;
            let (source, destination) = (Address::from(one.source), Address::from(one.destination));
            let Some([old, new]) = judge.decide(source, destination, one.service) else { continue };
            let Some(becomes) = Becomes::between(old, new) else { continue };
            *if becomes == Becomes::Allow { &mut allowed } else { &mut denied } += one.flows;
            let (from, to) = (judge.labels(source), judge.labels(destination));
            let rules = (judge.rule(0, old), judge.rule(1, new));
            let row =
                rows.entry((from, to, one.service, rules.0, rules.1, "")).or_insert_with(|| Simulated {
                    becomes,
                    from: judge.words[from as usize].clone(),
                    to: judge.words[to as usize].clone(),
                    service: service_name(one.service),
                    flows: 0,
                    bytes: 0,
                    old_rule: rules.0.to_owned(),
                    new_rule: rules.1.to_owned(),
                    example: [judge.name(source), judge.name(destination)],
                    last_seen: one.last_seen,
                });
            row.flows += one.flows;
            row.bytes += one.bytes;
            row.last_seen = row.last_seen.max(one.last_seen);
        }
        let mut changes: Vec<Simulated> = rows.into_values().collect();
        changes.sort_by_key(|row| std::cmp::Reverse(row.flows));
        let left_out = changes.len().saturating_sub(ROWS_MAX);
        changes.truncate(ROWS_MAX);
        let recorded = Recorded {
            flows,
            from: held.from,
            to: held.to,
            missed: held.missed,
            gaps: held.gaps,
            folded: held.folded,
        };
        Simulation {
            recorded,
            changes,
            allowed,
            denied,
            live: 0,
            cuts: Vec::new(),
            cut: 0,
            drained: 0,
            kept: 0,
            left_out,
        }
    }

    fn live(&self, judge: &mut Judge<'_>, simulation: &mut Simulation) {
        let Some(table) = &self.flows else { return };
        let now = Now::read();
        let mut rows: BTreeMap<RowKey<'_>, Cut> = BTreeMap::new();
        for view in table.views(now).filter(|view| !view.cut) {
            simulation.live += 1;
            let Ends { source, destination, service, .. } = Ends::of(&view);
            let Some([old, new]) = judge.decide(source, destination, service) else { continue };
            // What policy does not allow now lives on by the leave of an older rule, which is not asked again.
            if Becomes::between(old, new) != Some(Becomes::Deny) {
                continue;
            }
            let (sum, on_revoke) = match old.on_revoke {
                OnRevoke::Cut => (&mut simulation.cut, "cut"),
                OnRevoke::Drain(_) => (&mut simulation.drained, "drain"),
                OnRevoke::Keep => (&mut simulation.kept, "keep"),
            };
            *sum += 1;
            let (from, to) = (judge.labels(source), judge.labels(destination));
            let rules = (judge.rule(0, old), judge.rule(1, new));
            // A worker's clock may be a little ahead of ours.
            let age = now.as_millis32().wrapping_sub(view.opened).cast_signed().max(0).cast_unsigned() / 1000;
            let row = rows.entry((from, to, service, rules.0, rules.1, on_revoke)).or_insert_with(|| Cut {
                from: judge.words[from as usize].clone(),
                to: judge.words[to as usize].clone(),
                service: service_name(service),
                on_revoke,
                flows: 0,
                bytes: 0,
                age_s: [age, age],
                old_rule: rules.0.to_owned(),
                new_rule: rules.1.to_owned(),
                example: [judge.name(source), judge.name(destination)],
            });
            row.flows += 1;
            row.bytes += view.bytes.iter().sum::<u64>();
            row.age_s = [row.age_s[0].min(age), row.age_s[1].max(age)];
        }
        simulation.cuts = rows.into_values().collect();
        simulation.cuts.sort_by(|a, b| {
            (a.on_revoke, std::cmp::Reverse(a.flows)).cmp(&(b.on_revoke, std::cmp::Reverse(b.flows)))
        });
        simulation.left_out += simulation.cuts.len().saturating_sub(ROWS_MAX);
        simulation.cuts.truncate(ROWS_MAX);
    }
}
