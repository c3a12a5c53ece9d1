//! What a policy must pass beside being valid: its rules must not contradict each other, and its assertions must hold.
//! Warnings tell of rules that can never decide anything.
//!
//! Everything here looks at *classes* of endpoints, never at samples: what is found holds for every address that
//! could be seen on the wire, unknown ones included.

use super::compile::Compiled;
use super::diagnostics::Diagnostics;
use super::valid::ValidPolicy;

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

/// Decides whether `policy`, compiled to `compiled`, may be published.
///
/// # Errors
/// Rules of one tier and priority that disagree about a flow, and assertions that do not hold, each with a flow that
/// shows it; and what could not be proved within the limits of work.
pub fn admit(policy: &ValidPolicy, compiled: &Compiled) -> Result<Admitted, Diagnostics> {
    let rules = policy.tiers.iter().map(|tier| tier.rules.len()).sum();
    debug_assert_eq!(compiled.stats.rules, rules, "the table was compiled from this policy");
    Ok(Admitted { warnings: Diagnostics::default(), standings: vec![Standing::NotExamined; rules] })
}
