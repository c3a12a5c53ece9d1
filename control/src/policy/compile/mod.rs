//! A valid policy to the table that workers read.
//!
//! Each step narrows what the next one looks at:
//! 1. `vocabulary`: the labels, names and peer lists that the policy mentions become numbers; all others vanish.
//! 2. `space`: the prefixes of all networks are cut into disjoint ranges.
//! 3. `profile`: each address becomes the set of mentioned things that hold for it.
//! 4. `same`: rules that correlate their ends get a pair of peer lists for each combination of values there is.
//! 5. `member`: peer lists are evaluated over profiles, through inverted lists.
//! 6. `class`: profiles with the same memberships and modes become one class.
//! 7. `level`: peer lists are told narrow from wide so that the fewest entries result.
//! 8. `entry`: rules are entered under pairs of ids, and `block` cuts their services into intervals.
//!
//! `state` runs them all; `incremental` keeps what they made, and for one workload that comes, changes or goes repeats
//! only what is new about it.

mod block;
mod class;
mod entry;
mod error;
mod incremental;
mod level;
pub(in crate::policy) mod lists;
mod matcher;
mod member;
mod named;
mod profile;
mod rules;
mod same;
mod space;
mod state;
pub(in crate::policy) mod view;
mod vocabulary;

use std::sync::Arc;

use dataplane::policy::PolicyTable;
use dataplane::verdict::RuleId;

use super::valid::{Origin, ValidPolicy};
pub use error::{CompileError, Part};
pub use incremental::{Applied, ApplyError, Compiler, WorkloadChange};
pub use named::Named;

/// What the compiler must know beside the policy.
#[derive(Clone, Copy, Debug, Default)]
pub struct CompileOptions<'a> {
    /// The wires of this process by name; the index is the [`WireId`](dataplane::verdict::WireId). A workload that names another wire is
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
    state::State::new(policy, options).map(|(_, compiled)| compiled)
}

#[cfg(test)]
mod tests;
