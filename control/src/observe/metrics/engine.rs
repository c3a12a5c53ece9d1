//! The policy in force, its rules and drafts, the flow table, the records and the exporters.

use dataplane::clock::Now;

use super::RULES_MAX;
use super::family::{Families, Labels, label};
use crate::engine::Engine;
use crate::observe::export::ExporterView;

/// Stands for the rules that have no series of their own; no rule can have this name.
const OTHER: &str = "(other)";

pub(super) fn gather(engine: &Engine, into: &mut Families) {
    policy(engine, into);
    rules(engine, into);
    drafts(engine, into);
    table(engine, into);
    exporters(&engine.exporters(), into);
}

fn policy(engine: &Engine, into: &mut Families) {
    let (publishes, last) = engine.publishes();
    into.count(
        "ringfence_policy_publishes",
        "Policies that were published and taken by every worker",
        publishes,
    );
    into.seconds(
        "ringfence_policy_publish_seconds",
        "Seconds that the last publish took, from its text until every worker decided by it; 0 before the first",
        last.as_secs_f64(),
    );
    let now = engine.in_force();
    let now = now.as_deref();
    let of = |value: &dyn Fn(&crate::engine::InForce) -> u64| now.map_or(0, value);
    into.level(
        "ringfence_policy_epoch",
        "The epoch of the policy in force; 0 while there is none and everything is dropped",
        of(&|now| now.meta.epoch.into()),
    );
    into.level(
        "ringfence_policy_table_epoch",
        "The epoch of the table in force, which rises with drafts and workloads too",
        of(&|now| now.snapshot.epoch.0.into()),
    );
    into.level("ringfence_policy_rules", "Rules and defaults in force", of(&|now| now.rules.len() as u64));
    into.level(
        "ringfence_policy_workloads",
        "Workloads in force",
        of(&|now| now.policy.workloads.len() as u64),
    );
    into.level(
        "ringfence_policy_table_bytes",
        "Bytes of the table in force",
        of(&|now| now.snapshot.table.bytes() as u64),
    );
    into.seconds(
        "ringfence_policy_compile_seconds",
        "Seconds that compiling the policy in force took",
        now.map_or(0.0, |now| now.compile.as_secs_f64()),
    );
}

fn rules(engine: &Engine, into: &mut Families) {
    let (named, other) = engine.with_hits(|hits| hits.first(RULES_MAX));
    let named = named.into_iter().map(|(name, count)| (label("rule", &*name), count));
    into.counts(
        "ringfence_rule_hits",
        "Decisions by the rule or default that made them; rules beyond the first thousand are (other)",
        named.chain([(label("rule", OTHER), other)]),
    );
}

fn drafts(engine: &Engine, into: &mut Families) {
    let drafts = engine.drafts();
    into.level("ringfence_drafts", "Drafts evaluated beside the policy in force", drafts.len() as u64);
    let decisions = drafts.iter().map(|draft| {
        let hits = engine.draft_hits(draft);
        let decisions = hits.iter().fold(0, |sum: u64, (_, hits)| sum.wrapping_add(*hits));
        (label("draft", &*draft.meta.name), decisions)
    });
    into.counts("ringfence_draft_decisions", "Decisions that a draft would have made", decisions);
}

fn table(engine: &Engine, into: &mut Families) {
    if let Some(flows) = engine.flow_table() {
        into.level("ringfence_flows", "Flows that live", flows.live(Now::read()) as u64);
        into.level("ringfence_flow_capacity", "Flows that there is room for", flows.capacity() as u64);
    }
    let (kinds, missed) = engine.with_records(|log| (log.len(), log.completeness().missed));
    into.level("ringfence_flow_records", "Kinds of flow that are recorded", kinds as u64);
    into.count(
        "ringfence_flow_records_missed",
        "Events that the flow records on disk miss; outlives a restart",
        missed,
    );
}

fn exporters(all: &[ExporterView], into: &mut Families) {
    let of = |value: fn(&ExporterView) -> u64| -> Vec<(Labels, u64)> {
        all.iter().map(|one| (label("exporter", one.name), value(one))).collect()
    };
    into.counts("ringfence_export_events_sent", "Flow events that an exporter sent", of(|one| one.sent));
    let lost = all.iter().flat_map(|one| {
        [("queue_full", one.queue_full), ("failed", one.failed)].map(|(cause, count)| {
            (vec![("exporter", one.name.to_owned()), ("cause", cause.to_owned())], count)
        })
    });
    into.counts("ringfence_export_events_lost", "Flow events that an exporter lost, by cause", lost);
    into.counts("ringfence_export_bytes", "Bytes that an exporter sent", of(|one| one.bytes));
    into.levels("ringfence_export_events_waiting", "Flow events that wait to be sent", of(|one| one.waiting));
}
