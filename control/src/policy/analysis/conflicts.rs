//! Rules that have no order among them must not disagree.
//!
//! Rules of one tier with one priority are compared if their actions differ. Peer lists are compared as sets of
//! profiles, so each pair costs in proportion to the shorter list, and lists that meet nothing are left out before
//! single rules are looked at.
//!
//! What counts is the inventory there is: two selectors that only a future workload would satisfy both are no
//! conflict yet. Labels are sets, so that almost any two selectors could be satisfied by one workload some day; to
//! refuse all of these would refuse nearly every policy. A change of the inventory passes through the same check, and
//! the relabelling that makes two rules meet is refused then. `symbolic` warns where there is no inventory to look at.

use hashbrown::HashMap;

use super::estate::{Estate, Flow, Placed, intersection, meet, meet_steps};
use super::ranges;
use super::told::{self, Findings};
use super::work::{Exhausted, Work};
use crate::policy::diagnostics::{Code, Diagnostic, Severity, quote};
use crate::policy::valid::{Action, Rule};

/// Two rules that disagree about a flow.
struct Conflict {
    flow: Flow,
    gate: &'static str,
}

/// Every rule that conflicts with another, each with one other.
pub(super) fn find(estate: &Estate<'_>, work: &mut Work) -> Findings {
    let mut findings = Findings::default();
    let mut rest = estate.rules.as_slice();
    while let Some(first) = rest.first() {
        let order = |one: &Placed<'_>| (one.tier, one.rule.priority);
        let len = rest.iter().take_while(|one| order(one) == order(first)).count();
        let (group, after) = rest.split_at(len);
        rest = after;
        if among(estate, group, work, &mut findings).is_err() {
            findings.list.push(unfinished(first, group.len()));
        }
    }
    findings
}

/// Compares the rules of each action of `group` with those of the actions that more rules have.
fn among(
    estate: &Estate<'_>,
    group: &[Placed<'_>],
    work: &mut Work,
    findings: &mut Findings,
) -> Result<(), Exhausted> {
    let mut by_action: Vec<(Action, Vec<&Placed<'_>>)> = Vec::new();
    for one in group {
        match by_action.iter_mut().find(|(action, _)| *action == one.rule.action) {
            Some((_, rules)) => rules.push(one),
            None => by_action.push((one.rule.action, vec![one])),
        }
    }
    by_action.sort_by_key(|(_, rules)| rules.len());
    for (at, (_, few)) in by_action.iter().enumerate() {
        for (_, many) in &by_action[at + 1..] {
            between(estate, few, many, work, findings)?;
        }
    }
    Ok(())
}

/// Compares each of `few` with each of `many` whose `from` meets its own.
fn between(
    estate: &Estate<'_>,
    few: &[&Placed<'_>],
    many: &[&Placed<'_>],
    work: &mut Work,
    findings: &mut Findings,
) -> Result<(), Exhausted> {
    let by_from = |rules: &[&Placed<'_>]| {
        let mut by_from: HashMap<u32, Vec<usize>> = HashMap::new();
        for (at, one) in rules.iter().enumerate() {
            by_from.entry(one.from).or_default().push(at);
        }
        let mut by_from: Vec<_> = by_from.into_iter().collect();
        by_from.sort_unstable();
        by_from
    };
    let (few_by_from, many_by_from) = (by_from(few), by_from(many));
    for (from, rules) in few_by_from {
        let matched = estate.view.matched(from);
        let mut near: Vec<usize> = Vec::new();
        for (other, rules) in &many_by_from {
            let others = estate.view.matched(*other);
            work.take(meet_steps(matched, others))?;
            if meet(matched, others) {
                near.extend(rules);
            }
        }
        for rule in rules.into_iter().map(|at| few[at]) {
            for other in near.iter().map(|at| many[*at]) {
                if let Some(conflict) = conflict(estate, rule, other, work)? {
                    findings.push(|| told(estate, rule, other, &conflict));
                    break;
                }
            }
        }
    }
    Ok(())
}

/// A flow that both rules match, at a gate where both speak.
fn conflict(
    estate: &Estate<'_>,
    one: &Placed<'_>,
    other: &Placed<'_>,
    work: &mut Work,
) -> Result<Option<Conflict>, Exhausted> {
    let (egress, ingress) = (
        one.rule.gates.egress && other.rule.gates.egress,
        one.rule.gates.ingress && other.rule.gates.ingress,
    );
    work.take(1)?;
    if !(egress || ingress) || !ranges::meet(&one.rule.services, &other.rule.services) {
        return Ok(None);
    }
    let (to, other_to) = (estate.view.matched(one.to), estate.view.matched(other.to));
    work.take(meet_steps(to, other_to))?;
    if !meet(to, other_to) {
        return Ok(None);
    }
    let from = intersection(estate.view.matched(one.from), estate.view.matched(other.from));
    let to = intersection(to, other_to);
    work.take(from.len() + to.len())?;
    let services: Vec<_> = ranges::common(&one.rule.services, &other.rule.services).collect();
    let flow = estate.flow(&from, &to, &keys(one.rule, other.rule), &services, work)?;
    Ok(flow.map(|flow| Conflict { flow, gate: if egress { "egress" } else { "ingress" } }))
}

fn keys<'r>(one: &'r Rule, other: &'r Rule) -> Vec<&'r str> {
    let mut keys: Vec<&str> = one.same.iter().chain(&other.same).map(String::as_str).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn told(estate: &Estate<'_>, one: &Placed<'_>, other: &Placed<'_>, conflict: &Conflict) -> Diagnostic {
    let message = format!(
        "{} ({}) and {} ({}) disagree about {} at the {} gate, and nothing says which comes first: both are of tier \
         {}, priority {}",
        quote(&one.rule.name),
        one.rule.action.name(),
        quote(&other.rule.name),
        other.rule.action.name(),
        told::flow(estate.policy, &conflict.flow),
        conflict.gate,
        quote(one.tier_name),
        one.rule.priority,
    );
    let help =
        "give one of them a lower `priority`, move it to another tier, or narrow its selectors or services";
    let related = vec![told::related(other)];
    Diagnostic::about(
        &one.rule.origin,
        Severity::Error,
        Code::Conflict,
        message,
        Some(help.to_owned()),
        related,
    )
}

fn unfinished(first: &Placed<'_>, rules: usize) -> Diagnostic {
    let message = format!(
        "the {rules} rules of tier {}, priority {}, were not all compared with each other: there are too many whose \
         actions differ",
        quote(first.tier_name),
        first.rule.priority
    );
    let help = "give the rules of each action a priority of their own, then they need no comparison";
    let (code, severity) = (Code::Limit, Severity::Error);
    Diagnostic::about(&first.rule.origin, severity, code, message, Some(help.to_owned()), Vec::new())
}
