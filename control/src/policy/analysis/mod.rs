//! What a policy must pass beside being valid: its rules must not contradict each other, and its assertions must hold.
//! Warnings tell of rules that can never decide anything.
//!
//! Everything here looks at *places*, sets of addresses that no selector tells apart, never at samples: what is found
//! holds for every address that could be seen on the wire, unknown ones included. A flow from an address to itself
//! never crosses a wire and is left out.

mod assertions;
mod conflicts;
mod estate;
mod grid;
mod ranges;
mod shadows;
mod tested;
mod told;
mod work;

#[cfg(test)]
mod tests;

use super::compile::Compiled;
use super::diagnostics::{Code, Diagnostic, Diagnostics, Severity};
use super::valid::{Origin, Selector, Tier, ValidPolicy};
use estate::Estate;
use hashbrown::HashMap;
pub use tested::{Answer, Tested, run_tests};
use told::Findings;
use work::Work;

/// What the analysis says of a policy that may be published.
#[derive(Clone, Debug, Default)]
pub struct Admitted {
    /// What is probably not meant: rules that never decide, and what was not examined.
    pub warnings: Diagnostics,
    /// Of each rule, tiers in order and rules in order within, whether it can decide anything.
    pub standings: Vec<Standing>,
}

/// Whether a rule can decide anything, for any flow between endpoints that are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It decides at least one flow.
    Live,
    /// No two endpoints of this policy match it.
    Dead,
    /// Every flow that it matches is decided by others before it: these, by their place among all rules.
    Shadowed(Vec<u32>),
    /// The limit of work was reached before it was this rule's turn.
    #[default]
    NotExamined,
}

/// Steps for comparing rules without order, and for proving all assertions: some seconds at worst.
const STEPS: u64 = 1 << 31;

/// Steps for telling live rules from shadowed ones, which is only worth a warning.
const STANDING_STEPS: u64 = 1 << 28;

/// Decides whether `policy`, compiled to `compiled`, may be published.
///
/// # Errors
/// Rules of one tier and priority that disagree about a flow, and assertions that do not hold, each with a flow that
/// shows it; and what could not be proved within the limits of work.
pub fn admit(policy: &ValidPolicy, compiled: &Compiled) -> Result<Admitted, Diagnostics> {
    let rules: usize = policy.tiers.iter().map(|tier| tier.rules.len()).sum();
    debug_assert_eq!(compiled.stats.rules, rules, "the table was compiled from this policy");
    let asked: Vec<&[Selector]> = policy.assertions.iter().flat_map(|one| [&*one.from, &*one.to]).collect();
    let estate = Estate::new(policy, &asked)
        .map_err(|error| Diagnostics::of(vec![general(Severity::Error, Code::Limit, &error.to_string())]))?;
    let conflicts = closed(conflicts::find(&estate, &mut Work::new(STEPS)), Code::Conflict, "conflicts");
    if !conflicts.is_empty() {
        return Err(Diagnostics::of(conflicts));
    }
    let asked: Vec<(u32, u32)> = estate.view.asked.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    let mut found = assertions::prove(&estate, compiled, &asked, &mut Work::new(STEPS));
    if found.iter().any(|one| one.severity == Severity::Error) {
        return Err(Diagnostics::of(found));
    }
    let standings = shadows::standings(&estate, &mut Work::new(STANDING_STEPS));
    let warnings = closed(shadows::warnings(&estate, &standings), Code::Shadowed, "rules that never decide");
    found.extend(warnings);
    Ok(Admitted { warnings: Diagnostics::of(found), standings })
}

/// Whether a change of the inventory alone can make an admitted `policy` one that [`admit`] refuses: it has assertions,
/// or rules that nothing orders and whose actions differ. Says nothing of the limits of memory.
#[must_use]
pub fn inventory_can_break(policy: &ValidPolicy) -> bool {
    let is_mixed = |tier: &Tier| {
        let mut action_of = HashMap::new();
        tier.rules.iter().any(|rule| *action_of.entry(rule.priority).or_insert(rule.action) != rule.action)
    };
    !policy.assertions.is_empty() || policy.tiers.iter().any(is_mixed)
}

/// The findings, with a last one that counts those left out.
fn closed(findings: Findings, code: Code, what: &str) -> Vec<Diagnostic> {
    let Findings { mut list, left_out } = findings;
    if let (Some(last), 1..) = (list.last(), left_out) {
        let at = Origin { file: last.file.as_str().into(), line: last.line, column: last.column };
        let message = format!("and {left_out} more {what}");
        list.push(Diagnostic::about(&at, last.severity, code, message, None, Vec::new()));
    }
    list
}

/// About the policy as a whole.
fn general(severity: Severity, code: Code, message: &str) -> Diagnostic {
    let nowhere = Origin { file: "".into(), line: 0, column: 0 };
    Diagnostic::about(&nowhere, severity, code, message, None, Vec::new())
}
