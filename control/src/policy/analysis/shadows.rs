//! Rules that can never decide anything.
//!
//! A rule is *live* if for some flow that it matches, at a gate where it speaks, no rule before it in its tier matches
//! and every earlier tier either has no match or passes. What mode the gate is in is not looked at: a rule that waits
//! for a gate to be enforced is not dead.
//!
//! Most rules are shown to be live by the first flows that are tried. Of the others, most are shadowed by one rule
//! that matches all they match; only what is left is examined pair by pair. Each step is counted, and a rule whose
//! turn comes after the last one is [`Standing::NotExamined`].

use std::collections::BTreeSet;

use hashbrown::{HashMap, HashSet};

use super::Standing;
use super::estate::{Estate, Placed, includes};
use super::grid::{Grid, Question};
use super::ranges;
use super::told;
use super::work::{Exhausted, Work};
use crate::policy::diagnostics::{Code, Diagnostic, Severity, quote};
use crate::policy::valid::{Action, Origin, ServiceRange};

/// Sources, and destinations, of which flows are tried before pairs are looked at one by one.
const TRIED: usize = 4;
/// The most rules that a message names.
const NAMED: usize = 3;

/// The standing of every rule.
pub(super) fn standings(estate: &Estate<'_>, work: &mut Work) -> Vec<Standing> {
    let mut by_from: HashMap<u32, Vec<u32>> = HashMap::new();
    let mut by_to: HashMap<u32, Vec<u32>> = HashMap::new();
    for (at, one) in (0..).zip(&estate.rules) {
        by_from.entry(one.from).or_default().push(at);
        by_to.entry(one.to).or_default().push(at);
    }
    let shadows = Shadows { estate, by_from, by_to };
    let rules = 0..estate.rules.len();
    rules.map(|rule| shadows.standing(rule, work).unwrap_or(Standing::NotExamined)).collect()
}

struct Shadows<'a, 'p> {
    estate: &'a Estate<'p>,
    /// The rules by peer list, ascending.
    by_from: HashMap<u32, Vec<u32>>,
    by_to: HashMap<u32, Vec<u32>>,
}

impl<'p> Shadows<'_, 'p> {
    fn rule(&self, at: u32) -> &Placed<'p> {
        &self.estate.rules[at as usize]
    }

    fn standing(&self, at: usize, work: &mut Work) -> Result<Standing, Exhausted> {
        let one = &self.estate.rules[at];
        let (from, to) = (self.estate.view.matched(one.from), self.estate.view.matched(one.to));
        let same: Vec<&str> = one.rule.same.iter().map(String::as_str).collect();
        if self.estate.flow(from, to, &same, &one.rule.services, work)?.is_none() {
            return Ok(Standing::Dead);
        }
        let (mut blocking, mut takers) = (BTreeSet::new(), BTreeSet::new());
        for (source, destination, services) in self.samples(one, from, to) {
            let before = self.before(at, source, destination, work)?;
            if !self.left(one, &before, &services, &mut takers, work)?.is_empty() {
                return Ok(Standing::Live);
            }
            blocking.extend(before);
        }
        for &other in &blocking {
            let rule = self.rule(other);
            work.take(from.len().min(to.len()) + 1)?;
            if self.hides(rule, one) {
                return Ok(Standing::Shadowed(vec![other]));
            }
        }
        self.every_pair(at, from, to, work)
    }

    /// Some pairs of profiles that the rule matches and between which there can be a flow, with its services.
    fn samples(&self, one: &Placed<'_>, from: &[u32], to: &[u32]) -> Vec<(u32, u32, Vec<ServiceRange>)> {
        let some = |list: &[u32]| -> Vec<u32> {
            list.iter().rev().step_by((list.len() / TRIED).max(1)).take(TRIED).copied().collect()
        };
        let (sources, destinations) = (some(from), some(to));
        let pairs = sources.iter().flat_map(|source| destinations.iter().map(move |to| (*source, *to)));
        let shares =
            |(source, to): &(u32, u32)| one.rule.same.iter().all(|key| self.estate.share(key, *source, *to));
        let spoken = |(source, to): (u32, u32)| {
            Some((source, to, self.estate.services_between(source, to, &one.rule.services)?))
        };
        pairs.filter(shares).filter_map(spoken).collect()
    }

    /// The rules before `at` that count beside it and match flows between two profiles, in order.
    fn before(
        &self,
        at: usize,
        source: u32,
        destination: u32,
        work: &mut Work,
    ) -> Result<Vec<u32>, Exhausted> {
        let estate = self.estate;
        let (from, to) = (estate.lists.get(source), estate.lists.get(destination));
        fn rules<'b>(by: &'b HashMap<u32, Vec<u32>>, lists: &'b [u32]) -> impl Iterator<Item = &'b Vec<u32>> {
            lists.iter().filter_map(|list| by.get(list))
        }
        work.take(from.len() + to.len())?;
        let count = |by, lists| rules(by, lists).map(Vec::len).sum::<usize>();
        let (by_from, by_to) = (count(&self.by_from, from), count(&self.by_to, to));
        work.take(by_from.min(by_to))?;
        let (candidates, other): (Vec<&Vec<u32>>, _) = if by_from <= by_to {
            (rules(&self.by_from, from).collect(), to)
        } else {
            (rules(&self.by_to, to).collect(), from)
        };
        let counts = |candidate: &u32| {
            let rule = self.rule(*candidate);
            let list = if by_from <= by_to { rule.to } else { rule.from };
            self.may_hide(*candidate, at)
                && other.binary_search(&list).is_ok()
                && rule.rule.same.iter().all(|key| estate.share(key, source, destination))
        };
        let mut found: Vec<u32> = candidates
            .into_iter()
            .flat_map(|rules| &rules[..rules.partition_point(|rule| (*rule as usize) < at)])
            .copied()
            .filter(counts)
            .collect();
        found.sort_unstable();
        Ok(found)
    }

    /// Whether `other` comes before `at` and counts where that one does.
    fn may_hide(&self, other: u32, at: usize) -> bool {
        let (other, one) = (self.rule(other), &self.estate.rules[at]);
        !other.rule.staged || one.rule.staged
    }

    /// What is left of `services` for `one`, at all gates where it speaks together, if `before` match as well. Those
    /// that take something from it are added to `takers`.
    fn left(
        &self,
        one: &Placed<'_>,
        before: &[u32],
        services: &[ServiceRange],
        takers: &mut BTreeSet<u32>,
        work: &mut Work,
    ) -> Result<Vec<ServiceRange>, Exhausted> {
        let gates = [
            (one.rule.gates.egress, (|rule| rule.rule.gates.egress) as fn(&Placed<'_>) -> bool),
            (one.rule.gates.ingress, |rule| rule.rule.gates.ingress),
        ];
        let mut all = Vec::new();
        for (_, speaks) in gates.into_iter().filter(|(speaks, _)| *speaks) {
            let mut left = services.to_vec();
            let mut rest = before;
            while let Some(first) = rest.first().filter(|_| !left.is_empty()) {
                let tier = self.rule(*first).tier;
                let len = rest.iter().take_while(|other| self.rule(**other).tier == tier).count();
                let (of_tier, after) = rest.split_at(len);
                rest = after;
                work.take(len * (1 + left.len()))?;
                let mut open = left.clone();
                for (at, other) in of_tier.iter().map(|at| (*at, self.rule(*at))) {
                    let matched: Vec<_> = ranges::common(&open, &other.rule.services).collect();
                    if matched.is_empty() || !speaks(other) {
                        continue;
                    }
                    if tier == one.tier || other.rule.action != Action::Pass {
                        left = ranges::without(&left, &matched);
                        takers.insert(at);
                    }
                    open = ranges::without(&open, &other.rule.services);
                }
            }
            all = ranges::union(&all, &left);
        }
        Ok(all)
    }

    /// Whether `other`, which comes before `one`, decides all that `one` matches.
    fn hides(&self, other: &Placed<'_>, one: &Placed<'_>) -> bool {
        let view = &self.estate.view;
        let gates = (!one.rule.gates.egress || other.rule.gates.egress)
            && (!one.rule.gates.ingress || other.rule.gates.ingress);
        // In an earlier tier a rule may itself be passed over, which only looking at each flow can tell.
        let decides = other.tier == one.tier || !self.estate.passes(other.tier);
        gates
            && decides
            && other.rule.same.iter().all(|key| one.rule.same.contains(key))
            && ranges::holds(&other.rule.services, &one.rule.services)
            && includes(view.matched(other.from), view.matched(one.from))
            && includes(view.matched(other.to), view.matched(one.to))
    }

    /// Looks at all pairs that the rule matches.
    fn every_pair(
        &self,
        at: usize,
        from: &[u32],
        to: &[u32],
        work: &mut Work,
    ) -> Result<Standing, Exhausted> {
        let one = &self.estate.rules[at];
        let number = u32::try_from(at).unwrap_or(u32::MAX);
        work.take(at)?;
        let counts = |other: &u32| {
            self.may_hide(*other, at) && ranges::meet(&self.rule(*other).rule.services, &one.rule.services)
        };
        let mut rules: Vec<u32> = (0..number).filter(counts).collect();
        rules.push(number);
        let question = Question { from, to, services: &one.rule.services, rules: &rules };
        let grid = Grid::new(self.estate, &question, work)?;
        let mut shadowing = BTreeSet::new();
        let mut reached = Vec::new();
        for source in 0..grid.sources.len() {
            reached.clear();
            grid.reached(source, number, &mut reached, work)?;
            reached.sort_unstable();
            reached.dedup();
            for destination in reached.iter().map(|at| *at as usize) {
                if grid.pair(source, destination).is_none() {
                    continue;
                }
                let mut before = grid.rules_between(source, destination, work)?;
                before.pop();
                let place = grid.destinations[destination].place;
                let services: Vec<_> =
                    ranges::common(self.estate.view.services(place), &one.rule.services).collect();
                if !self.left(one, &before, &services, &mut shadowing, work)?.is_empty() {
                    return Ok(Standing::Live);
                }
            }
        }
        Ok(Standing::Shadowed(shadowing.into_iter().collect()))
    }
}

/// Warnings for the rules that are written in files: built-in ones may well have nothing to do.
pub(super) fn warnings(estate: &Estate<'_>, standings: &[Standing]) -> told::Findings {
    let mut findings = told::Findings::default();
    let written = |one: &&Placed<'_>| one.rule.origin.line > 0 && !one.rule.origin.file.starts_with('<');
    // What is written at one place may stand for several rules (a ringfence does): it is dead if all of them are.
    let all = || estate.rules.iter().zip(standings);
    let is_live = |standing: &Standing| matches!(standing, Standing::Live);
    let live: HashSet<&Origin> =
        all().filter(|(_, standing)| is_live(standing)).map(|(one, _)| &one.rule.origin).collect();
    let mut unexamined: Vec<&Placed<'_>> = Vec::new();
    for (one, standing) in all().filter(|(one, _)| written(one)) {
        match standing {
            Standing::Live => {}
            Standing::NotExamined => unexamined.push(one),
            Standing::Dead => {
                let empty = |list| estate.view.matched(list).is_empty();
                // A side that selects nothing was reported where it is written.
                if !empty(one.from) && !empty(one.to) && !live.contains(&one.rule.origin) {
                    findings.push(|| dead(one));
                }
            }
            Standing::Shadowed(by) => findings.push(|| shadowed(estate, one, by)),
        }
    }
    if let (Some(first), Some(last)) = (unexamined.first(), unexamined.last()) {
        let message = format!(
            "whether {} rules, from {} to {}, can decide anything was not examined: it would be too much work",
            unexamined.len(),
            quote(&first.rule.name),
            quote(&last.rule.name)
        );
        findings.list.push(warning(first, Code::NotExamined, message));
    }
    findings
}

fn warning(one: &Placed<'_>, code: Code, message: String) -> Diagnostic {
    Diagnostic::about(&one.rule.origin, Severity::Warning, code, message, None, Vec::new())
}

fn dead(one: &Placed<'_>) -> Diagnostic {
    let message = format!(
        "the rule {} can never match: there are no two endpoints of which one is selected by `from`, the other by \
         `to`, and which its other conditions allow",
        quote(&one.rule.name)
    );
    warning(one, Code::NeverMatches, message)
}

fn shadowed(estate: &Estate<'_>, one: &Placed<'_>, by: &[u32]) -> Diagnostic {
    let rule = |at: &u32| estate.rules.get(*at as usize);
    let others: Vec<&Placed<'_>> = by.iter().filter_map(rule).collect();
    let mut names: Vec<String> = others.iter().take(NAMED).map(|other| quote(&other.rule.name)).collect();
    if others.len() > NAMED {
        names.push(format!("{} more", others.len() - NAMED));
    }
    let (who, matches) = match names.as_slice() {
        [only] => (only.clone(), "matches"),
        _ => (format!("{} together", names.join(", ")), "match"),
    };
    let message = format!(
        "the rule {} never decides anything: {who}, which comes before it, {matches} all that it matches",
        quote(&one.rule.name)
    );
    let message = if others.len() > 1 { message.replace("which comes", "which come") } else { message };
    let mut told = warning(one, Code::Shadowed, message);
    told.related = others.iter().take(NAMED).map(|other| told::related(other)).collect();
    told
}
