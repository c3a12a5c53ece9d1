//! Assertions, proved over every pair of places.
//!
//! The question of one assertion concerns the flows from what its `from` matches to what its `to` matches, and the
//! enforced rules that could match one of them. A pair of groups that no such rule reaches is decided by the modes of
//! its two gates alone, so one pair of each two modes is looked at. Every other pair is put to the compiled table
//! itself, at each service where its decision may change.
//!
//! With `s` and `d` groups of sources and destinations, `k` rules and `c` cuts of a pair's services, that is at most
//! `s · d · (k + c)` steps. Groups are as many as the rules that matter can tell apart, not as many as workloads.

use dataplane::address::Address;
use dataplane::policy::{GateMode, PolicyTable, ServiceKey};
use dataplane::verdict::{Decision, RuleId};
use hashbrown::HashSet;

use super::estate::{Estate, Flow, Placed, meet, meet_steps};
use super::grid::{Grid, Question};
use super::work::{Exhausted, Work};
use super::{ranges, told};
use crate::policy::compile::Compiled;
use crate::policy::diagnostics::{Code, Diagnostic, Severity, quote};
use crate::policy::valid::{Assertion, AssertionKind, INFRASTRUCTURE, ServiceRange};

/// A flow that the assertion does not allow, and what the table says of it.
struct Violation {
    flow: Flow,
    decision: Decision,
}

/// The assertions that do not hold or could not be proved; and warnings for those that speak of nothing. `asked` are
/// the peer lists of each assertion, `from` and `to`.
pub(super) fn prove(
    estate: &Estate<'_>,
    compiled: &Compiled,
    asked: &[(u32, u32)],
    work: &mut Work,
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (one, &(from, to)) in estate.policy.assertions.iter().zip(asked) {
        let (from, to) = (estate.view.matched(from), estate.view.matched(to));
        let proof = Proof { estate, table: &compiled.table, one, spares_infrastructure: is_about_any(one) };
        match proof.search(from, to, work) {
            Ok(None) if from.is_empty() || to.is_empty() => found.push(vacuous(one, from.is_empty())),
            Ok(None) => {}
            Ok(Some(violation)) => found.push(broken(estate, compiled, one, &violation)),
            Err(Exhausted) => found.push(unproved(one)),
        }
    }
    found
}

struct Proof<'a, 'p> {
    estate: &'a Estate<'p>,
    table: &'a PolicyTable,
    one: &'a Assertion,
    /// Whether what the infrastructure tier lets through is left out: see [`AssertionKind::Never`].
    spares_infrastructure: bool,
}

/// Whether an assertion is about every service, but for those that it leaves out by name.
fn is_about_any(one: &Assertion) -> bool {
    one.kind == AssertionKind::Never && ranges::union(&one.services, &one.except) == [ServiceRange::ANY]
}

impl Proof<'_, '_> {
    /// Looks for a flow that violates the assertion.
    fn search(&self, from: &[u32], to: &[u32], work: &mut Work) -> Result<Option<Violation>, Exhausted> {
        let services = self.one.services.as_slice();
        let rules = self.rules(from, to, work)?;
        let grid = Grid::new(self.estate, &Question { from, to, services, rules: &rules }, work)?;
        let mut seen = vec![false; grid.destinations.len()];
        let mut reached = Vec::new();
        // The modes of two gates without a rule that were found to be right.
        let mut right: HashSet<(GateMode, GateMode)> = HashSet::new();
        for source in 0..grid.sources.len() {
            reached.clear();
            for rule in grid.rules_from(source) {
                grid.reached(source, *rule, &mut reached, work)?;
            }
            reached.retain(|at| !std::mem::replace(&mut seen[*at as usize], true));
            for at in &reached {
                if let Some(violation) = self.between(&grid, source, *at as usize, work)? {
                    return Ok(Some(violation));
                }
            }
            work.take(grid.modes().len())?;
            for (mode, destinations) in grid.modes() {
                let modes = (grid.sources[source].place.mode, *mode);
                if right.contains(&modes) {
                    continue;
                }
                for at in destinations.iter().map(|at| *at as usize) {
                    work.take(1)?;
                    if !seen[at] && grid.pair(source, at).is_some() {
                        if let Some(violation) = self.between(&grid, source, at, work)? {
                            return Ok(Some(violation));
                        }
                        right.insert(modes);
                        break;
                    }
                }
            }
            reached.iter().for_each(|at| seen[*at as usize] = false);
        }
        Ok(None)
    }

    /// The enforced rules that match a flow of which the assertion speaks.
    fn rules(&self, from: &[u32], to: &[u32], work: &mut Work) -> Result<Vec<u32>, Exhausted> {
        let mut rules = Vec::new();
        for (at, one) in (0..).zip(&self.estate.rules) {
            work.take(1)?;
            if one.rule.staged || !ranges::meet(&one.rule.services, &self.one.services) {
                continue;
            }
            let (sources, destinations) =
                (self.estate.view.matched(one.from), self.estate.view.matched(one.to));
            work.take(meet_steps(sources, from) + meet_steps(destinations, to))?;
            if meet(sources, from) && meet(destinations, to) {
                rules.push(at);
            }
        }
        Ok(rules)
    }

    fn is_spared(&self, decision: &Decision) -> bool {
        let rule = written(self.estate, decision.rule);
        self.spares_infrastructure && rule.is_some_and(|one| one.tier_name == INFRASTRUCTURE)
    }

    /// Asks the table about one pair of groups, at each service where its answer may change.
    fn between(
        &self,
        grid: &Grid<'_, '_>,
        source: usize,
        destination: usize,
        work: &mut Work,
    ) -> Result<Option<Violation>, Exhausted> {
        let Some((source, to)) = grid.pair(source, destination) else { return Ok(None) };
        let services = self.estate.view.services(grid.destinations[destination].place);
        let ends = (self.table.resolve(Address::from(source)), self.table.resolve(Address::from(to)));
        let mut cuts = Vec::new();
        self.table.cuts(ends.0, ends.1, &mut cuts);
        work.take(8 + 4 * cuts.len())?;
        cuts.sort_unstable();
        for range in ranges::common(services, &self.one.services) {
            let after = cuts.partition_point(|cut| *cut <= range.first);
            let within = cuts[after..].iter().copied().take_while(|cut| *cut <= range.last);
            let mut first = range.first;
            for next in within.chain([range.last + 1]).filter(|next| *next > range.first) {
                let piece = ServiceRange { first, last: next - 1 };
                first = next;
                if piece.last < piece.first {
                    continue;
                }
                work.take(1)?;
                let service = ranges::example(piece);
                let Some(key) = ServiceKey::from_value(service) else { continue };
                let decision = self.table.decide(ends.0, ends.1, key);
                let violates = match self.one.kind {
                    AssertionKind::Never => decision.verdict.is_allow() && !self.is_spared(&decision),
                    AssertionKind::Always => !decision.verdict.is_allow(),
                };
                if violates {
                    let flow = Flow { source, destination: to, service };
                    return Ok(Some(Violation { flow, decision }));
                }
            }
        }
        Ok(None)
    }
}

/// The rule behind an id; `None` for a named default.
fn written<'e, 'p>(estate: &'e Estate<'p>, rule: RuleId) -> Option<&'e Placed<'p>> {
    estate.rules.get((rule.0 as usize).checked_sub(RuleId::FIRST.0 as usize)?)
}

fn about(one: &Assertion, severity: Severity, code: Code, message: String, help: Option<&str>) -> Diagnostic {
    Diagnostic::about(&one.origin, severity, code, message, help.map(str::to_owned), Vec::new())
}

fn broken(estate: &Estate<'_>, compiled: &Compiled, one: &Assertion, violation: &Violation) -> Diagnostic {
    let Violation { flow, decision } = violation;
    let rule = quote(compiled.rule_name(decision.rule));
    let verdict = match (decision.verdict.is_allow(), decision.potential) {
        (true, Some(potential)) => format!(
            "is allowed: its gate is in mode `observe`, else {} would have stopped it",
            quote(compiled.rule_name(potential))
        ),
        (true, None) => format!("is allowed by {rule} at the {} gate", decision.gate.name()),
        (false, _) => format!("is stopped by {rule} at the {} gate", decision.gate.name()),
    };
    let kind = match one.kind {
        AssertionKind::Never => "never",
        AssertionKind::Always => "always",
    };
    let flow = told::flow(estate.policy, flow);
    let message = format!("the assertion {} (`{kind}`) does not hold: {flow} {verdict}", quote(&one.name));
    let rule = written(estate, decision.rule);
    let help = match rule {
        None => None,
        Some(one) if one.tier_name == INFRASTRUCTURE => Some(
            "this rule is built in: turn it off under `infrastructure`, or leave its services out with `except`",
        ),
        Some(_) => Some("`ringfence explain` shows every rule that has to do with this flow"),
    };
    let mut told = about(one, Severity::Error, Code::Assertion, message, help);
    told.related.extend(rule.filter(|one| one.tier_name != INFRASTRUCTURE).map(told::related));
    told
}

fn unproved(one: &Assertion) -> Diagnostic {
    let message = format!(
        "the assertion {} could not be proved within the limit of work: too many different endpoints and rules have \
         to do with it",
        quote(&one.name)
    );
    let help = "split it into assertions about fewer endpoints or fewer services";
    about(one, Severity::Error, Code::Limit, message, Some(help))
}

fn vacuous(one: &Assertion, from: bool) -> Diagnostic {
    let side = if from { "from" } else { "to" };
    let message =
        format!("the assertion {} speaks of no flow: its `{side}` matches nothing", quote(&one.name));
    about(one, Severity::Warning, Code::MatchesNothing, message, None)
}
