//! What rules would also match: recorded flows that other rules decided.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Engine, lock};
use crate::policy::explain::Matching;

/// Looks at a rule's end for one answer; some seconds at worst.
const LOOKS: u64 = 20_000_000;

/// For every rule in force, the recorded flows that it matches and did not decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Also {
    /// Flows, by the rule's name; rules without any are left out.
    pub flows: HashMap<String, u64>,
    /// Flows that were looked at: all that are recorded, whatever policy decided them.
    pub examined: u64,
    /// Flows that were not: it would have been too much work, or only the labels of their ends are known any more.
    pub not_examined: u64,
}

impl Engine {
    /// Looks at every flow record under the policy and inventory in force; `None` without a policy. Takes seconds for
    /// tens of thousands of rules, less the next time.
    pub fn also(&self) -> Option<Also> {
        let now = self.in_force()?;
        let records: Vec<_> = self.with_records(|log| log.each().collect());
        let mut slot = lock(&self.matching);
        let known = slot.take().filter(|(epoch, _)| *epoch == now.snapshot.epoch);
        let fresh = || {
            let table = Arc::clone(&now.snapshot.table);
            (now.snapshot.epoch, Matching::new(Arc::clone(&now.policy), table))
        };
        let (_, matching) = slot.insert(known.unwrap_or_else(fresh));
        matching.limit(LOOKS);
        let (mut also, mut sums) = (Also::default(), HashMap::<u32, u64>::new());
        for record in &records {
            // Of these only labels are known, and an address of one: others may have matched other rules.
            if record.folded.is_some() {
                also.not_examined = also.not_examined.saturating_add(record.flows);
                continue;
            }
            let Some(rules) = matching.rules(record.source, record.destination, record.service) else {
                also.not_examined = also.not_examined.saturating_add(record.flows);
                continue;
            };
            also.examined = also.examined.saturating_add(record.flows);
            for at in rules.iter().filter(|at| matching.name(**at) != &*record.rule) {
                let sum = sums.entry(*at).or_default();
                *sum = sum.saturating_add(record.flows);
            }
        }
        also.flows = sums.into_iter().map(|(at, flows)| (matching.name(at).to_owned(), flows)).collect();
        Some(also)
    }
}
