//! What would allow what policy drops: the smallest change, and what else it opens.

use dataplane::policy::ServiceKey;
use dataplane::verdict::DropReason;
use serde::Serialize;
use utoipa::ToSchema;

use super::Dropped;
use crate::engine::Engine;
use crate::observe::names::Who;
use crate::policy::explain::Change;
use crate::policy::{explain, service};

/// Changes told of one pair beside the smallest.
const ALTERNATIVES: usize = 2;

/// What would allow one kind of drop.
#[derive(Debug, Serialize, ToSchema)]
pub struct Suggestion {
    /// Who sends, as `explain` takes it.
    pub source: String,
    /// To whom.
    pub destination: String,
    /// The service.
    pub service: String,
    /// Recorded drops of it.
    pub count: u64,
    /// What the policy in force says now; it may allow it already.
    pub verdict: &'static str,
    /// By which rule or default.
    pub rule: String,
    /// The smallest change that allows it, with how many other pairs of workloads it opens (`null`: too many to
    /// count), one that turns enforcement down only if there is no other; none if it is allowed already.
    #[schema(value_type = Option<Object>)]
    pub change: Option<Change>,
    /// Other changes that do.
    #[schema(value_type = Vec<Object>)]
    pub alternatives: Vec<Change>,
}

fn is_by_policy(reason: &str) -> bool {
    [DropReason::Policy, DropReason::Rejected, DropReason::Revoked].iter().any(|one| one.name() == reason)
}

/// For the most frequent of `chosen` that policy dropped, at most `limit`; none without a policy.
pub(super) fn suggestions(engine: &Engine, chosen: &[Dropped], limit: usize) -> Vec<Suggestion> {
    let Some(now) = engine.in_force().filter(|_| limit > 0) else { return Vec::new() };
    let side = now.side();
    let mut told: Vec<Suggestion> = Vec::new();
    for one in chosen.iter().filter(|one| is_by_policy(one.count.kind.reason)) {
        let (Some([from, to]), Some(name)) = (&one.ends, &one.count.kind.service) else { continue };
        // A workload by its address, because it may have several and only one was meant.
        let (source, destination) = (from.address.to_string(), to.address.to_string());
        let called = |who: &Who, address: String| match who {
            Who::Workload(name) => name.clone(),
            _ => address,
        };
        let ends = [called(&from.who, source.clone()), called(&to.who, destination.clone())];
        if let Some(known) =
            told.iter_mut().find(|s| s.source == ends[0] && s.destination == ends[1] && s.service == *name)
        {
            known.count += one.count.count;
            continue;
        }
        if told.len() == limit {
            break;
        }
        let Ok(key) = service::parse_one(name) else { continue };
        let [_, protocol, high, low] = key.to_be_bytes();
        let key = ServiceKey::new(protocol, u16::from_be_bytes([high, low]));
        let Ok(explained) = explain(side.policy, side.compiled, &source, &destination, key) else { continue };
        let mut changes: Vec<Change> = Vec::new();
        if explained.verdict != "allow" {
            changes.extend(explained.change.into_iter().chain(explained.alternatives));
            // The sort is stable: among the others the smallest stays first.
            changes.sort_by_key(Change::turns_enforcement_down);
        }
        let mut changes = changes.into_iter();
        let [source, destination] = ends;
        told.push(Suggestion {
            source,
            destination,
            service: name.clone(),
            count: one.count.count,
            verdict: explained.verdict,
            rule: explained.rule,
            change: changes.next(),
            alternatives: changes.take(ALTERNATIVES).collect(),
        });
    }
    told
}
