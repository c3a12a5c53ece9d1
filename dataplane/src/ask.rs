//! Asking policy, and the drafts beside it, with every answer counted: the same for a packet and for a connection.

use crate::address::Address;
use crate::counters::WorkerCounters;
use crate::policy::{PolicyTable, ServiceKey, Snapshot};
use crate::verdict::{Answer, Decision, DraftAnswers, RuleId};

/// What `table` says of a flow between two addresses.
pub(crate) fn decide(
    table: &PolicyTable,
    source: Address,
    destination: Address,
    service: ServiceKey,
) -> Decision {
    table.decide(table.resolve(source), table.resolve(destination), service)
}

/// One worker and the policy it asks.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) counters: &'a WorkerCounters,
    pub(crate) worker: usize,
}

impl Ask<'_> {
    /// Asks policy and every draft, and counts each answer under its rule.
    pub(crate) fn decide(
        self,
        source: Address,
        destination: Address,
        service: ServiceKey,
    ) -> (Decision, DraftAnswers) {
        let decision = self.policy(source, destination, service);
        self.count(decision.rule, decision.potential);
        (decision, self.drafts(source, destination, service, decision.answer()))
    }

    /// Asks policy. The caller counts, and asks the drafts too.
    pub(crate) fn policy(self, source: Address, destination: Address, service: ServiceKey) -> Decision {
        decide(&self.snapshot.table, source, destination, service)
    }

    /// What the drafts say where policy says `enforced`. Nothing but records depends on it.
    pub(crate) fn drafts(
        self,
        source: Address,
        destination: Address,
        service: ServiceKey,
        enforced: Answer,
    ) -> DraftAnswers {
        let mut answers = DraftAnswers::agreeing(enforced);
        for (place, draft) in self.snapshot.drafts.iter().enumerate() {
            let decision = decide(&draft.table, source, destination, service);
            draft.hits.count(self.worker, decision.rule);
            answers = answers.with(place, decision.answer());
        }
        answers
    }

    /// Counts a decision under the rule or default that is named for it.
    pub(crate) fn count(self, rule: RuleId, potential: Option<RuleId>) {
        self.counters.decisions.add(1);
        self.snapshot.hits.count(self.worker, rule);
        if potential.is_some() {
            self.counters.potentially_blocked.add(1);
        }
    }
}
