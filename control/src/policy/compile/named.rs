//! A table and the names of its rules, borrowed: what explanations need of a compiled policy.

use dataplane::policy::PolicyTable;
use dataplane::verdict::RuleId;

use super::{Compiled, RuleInfo};

/// A table with the names of its rules, wherever the two are kept.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// The table.
    pub table: &'a PolicyTable,
    /// Its rules and named defaults; the index is the [`RuleId`].
    pub rules: &'a [RuleInfo],
}

impl<'a> Named<'a> {
    /// The name of a rule or default; `?` for an id of another table.
    #[must_use]
    pub fn rule_name(self, rule: RuleId) -> &'a str {
        self.rules.get(rule.0 as usize).map_or("?", |info| &info.name)
    }
}

impl Compiled {
    /// The table with the names of its rules.
    #[must_use]
    pub fn named(&self) -> Named<'_> {
        Named { table: &self.table, rules: &self.rules }
    }
}
