//! Since when the rules in force are in force.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::Rules;

/// The tables there were, oldest first, those with the same rules as one: when the first of them was published.
#[derive(Debug, Default)]
pub struct Lineage(Vec<(Timestamp, Rules)>);

impl Lineage {
    pub(super) fn new<'a>(tables: impl Iterator<Item = (Timestamp, &'a Rules)>) -> Self {
        let mut distinct: Vec<(Timestamp, Rules)> = Vec::new();
        for (at, rules) in tables {
            if distinct.last().is_none_or(|(_, last)| !Arc::ptr_eq(last, rules)) {
                distinct.push((at, Arc::clone(rules)));
            }
        }
        Self(distinct)
    }

    /// Since when a rule of each name has been in force without interruption, for the rules in force; at least since
    /// then, if that is the oldest table known. A rule that was edited is the same rule if its name is.
    #[must_use]
    pub fn since(&self) -> HashMap<Arc<str>, Timestamp> {
        let mut tables = self.0.iter().rev();
        let Some((at, rules)) = tables.next() else { return HashMap::new() };
        let mut since: HashMap<Arc<str>, Timestamp> =
            rules.iter().map(|rule| (Arc::clone(&rule.name), *at)).collect();
        // Those that every table so far has had.
        let mut after = *at;
        for (at, rules) in tables {
            let mut any = false;
            for rule in rules.iter() {
                if let Some(known) = since.get_mut(&rule.name).filter(|known| **known == after) {
                    *known = *at;
                    any = true;
                }
            }
            if !any {
                break;
            }
            after = *at;
        }
        since
    }
}
