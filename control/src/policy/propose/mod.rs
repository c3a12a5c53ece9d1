//! Rules for what was seen: the smallest set of label rules that allows it, at a chosen tightness.
//!
//! 1. `ends`: workloads with the same values of the chosen keys are one *class*; what is no workload is a class of its
//!    own. A *selector* (one value, absence or nothing asked of each key) matches whole classes.
//! 2. `seen`: observed flows between classes, by service, are the *cells* that rules must cover.
//! 3. `cover`: which pairs of selectors, so that every cell is in one: the fewest rules first, then the fewest *unseen*
//!    tuples, of source workload, destination workload and service, that they would allow too. Cells that no common pair
//!    can cover are independent; each such part is solved exactly where it is small enough (`exact`), and otherwise by
//!    choosing the pair that covers most, again and again, with improvements after (`greedy`).
//! 4. `rules`: pairs become rules with names; what can be said with one list is one rule.
//!
//! The tightness says which selectors there are. `workload`: names. `tier`: every key of the list. `app`: every key but
//! the tiers' ones, which are asked where that costs no rule. `wide`: the first key, the others where that costs no rule;
//! and any selectors at all, where at least half of what they allow at a service was seen.

mod classes;
mod cover;
mod ends;
mod exact;
mod greedy;
mod rules;
mod seen;
mod text;
#[cfg(test)]
mod tests;

use dataplane::address::Address;

pub use rules::{Proposed, Refused};
pub use text::text;

use super::valid::ValidPolicy;
use ends::Ends;
use seen::Seen;

/// Keys that selectors may ask for.
pub const KEYS_MAX: usize = 8;

/// Which selectors rules may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tightness {
    /// Workloads by name.
    Workload,
    /// Every key.
    Tier,
    /// Every key but the tiers'.
    App,
    /// The first key.
    Wide,
}

impl Tightness {
    /// All, the tightest first.
    pub const ALL: [Self; 4] = [Self::Workload, Self::Tier, Self::App, Self::Wide];

    /// The word for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Workload => "workload",
            Self::Tier => "tier",
            Self::App => "app",
            Self::Wide => "wide",
        }
    }
}

/// How rules shall be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Which selectors they may have.
    pub tightness: Tightness,
    /// The label keys that selectors ask for, the most important first; 1 to [`KEYS_MAX`].
    pub keys: Vec<String>,
    /// Those of them that tell tiers of one application apart.
    pub tier: Vec<String>,
}

impl Terms {
    /// Whether each selector asks for the key of this index.
    fn asks(&self, key: usize) -> bool {
        match self.tightness {
            Tightness::Workload | Tightness::Tier => true,
            Tightness::App => !self.tier.contains(&self.keys[key]),
            Tightness::Wide => key == 0,
        }
    }
}

/// Flows that were seen between two addresses about one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Who opened them.
    pub source: Address,
    /// To whom.
    pub destination: Address,
    /// `protocol << 16 | port`.
    pub service: u32,
    /// How many.
    pub flows: u64,
    /// Whether the policy allows them by a rule already.
    pub allowed: bool,
    /// Whether rules shall be proposed for them.
    pub needed: bool,
}

/// What is proposed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Networks to be named first: name and prefix.
    pub networks: Vec<(String, String)>,
    /// The rules, those with the most flows first.
    pub rules: Vec<Proposed>,
    /// What no rule can be proposed for.
    pub refused: Vec<Refused>,
    /// Whether there are no fewer rules, and of as few none with fewer unseen tuples.
    pub exact: bool,
}

/// Rules that allow what was seen and is needed, under the inventory and the assertions of `policy`.
#[must_use]
pub fn propose(policy: &ValidPolicy, observations: &[Observation], terms: &Terms) -> Plan {
    let mut ends = Ends::new(policy, terms, observations);
    let mut refused = Vec::new();
    let seen = Seen::new(&mut ends, observations, &mut refused);
    let cover::Cover { pairs, exact } = cover::cover(&mut ends, &seen);
    rules::plan(&mut ends, &seen, pairs, exact, refused)
}
