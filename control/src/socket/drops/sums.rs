//! Recorded drops, summed up by rule, and by who was kept from whom.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;

use hashbrown::HashMap;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::Dropped;
use crate::observe::names::Who;
use crate::policy::valid::Labels;

/// Services that are named of one pair.
const SERVICES_MAX: usize = 5;

/// What a rule or default dropped.
#[derive(Debug, Serialize, ToSchema)]
pub struct RuleCount {
    /// The rule or default; none for what no policy dropped.
    pub rule: Option<String>,
    /// The reason.
    pub reason: &'static str,
    /// Drops.
    pub count: u64,
    /// When the last was seen.
    #[schema(value_type = String)]
    pub last: Timestamp,
}

/// One end in label terms.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, ToSchema)]
pub struct EndLabels {
    /// The labels; of what has none, what it is called.
    pub labels: BTreeMap<String, BTreeSet<String>>,
    /// What it is called, if it has no labels.
    pub who: Option<Who>,
}

impl EndLabels {
    fn of(who: &Who, labels: &Labels) -> Self {
        Self { labels: labels.clone(), who: labels.is_empty().then(|| who.clone()) }
    }
}

/// What was dropped between two sets of labels for one reason.
#[derive(Debug, Serialize, ToSchema)]
pub struct PairCount {
    /// Who sent it.
    pub source: EndLabels,
    /// To whom.
    pub destination: EndLabels,
    /// The reason.
    pub reason: &'static str,
    /// The rule or default, if policy dropped it.
    pub rule: Option<String>,
    /// The services, those dropped most first, at most 5.
    pub services: Vec<String>,
    /// How many services there are.
    pub services_in_all: usize,
    /// Different pairs of workloads, networks and unknown ends behind it.
    pub ends: usize,
    /// Drops.
    pub count: u64,
    /// When the last was seen.
    #[schema(value_type = String)]
    pub last: Timestamp,
}

/// The `limit` largest, largest first; equal ones in the order of their keys.
fn top<K: Hash + Eq + Ord, V>(all: HashMap<K, V>, limit: usize, size: impl Fn(&V) -> u64) -> Vec<(K, V)> {
    let mut all: Vec<(K, V)> = all.into_iter().collect();
    all.sort_by(|a, b| size(&b.1).cmp(&size(&a.1)).then_with(|| a.0.cmp(&b.0)));
    all.truncate(limit);
    all
}

/// By rule and reason.
pub(super) fn rules(chosen: &[Dropped], limit: usize) -> Vec<RuleCount> {
    let mut sums: HashMap<(Option<&str>, &'static str), (u64, Timestamp)> = HashMap::new();
    for Dropped { count, .. } in chosen {
        let sum = sums.entry((count.kind.rule.as_deref(), count.kind.reason)).or_insert((0, count.last));
        *sum = (sum.0 + count.count, sum.1.max(count.last));
    }
    let view = |((rule, reason), (count, last)): ((Option<&str>, _), _)| RuleCount {
        rule: rule.map(str::to_owned),
        reason,
        count,
        last,
    };
    top(sums, limit, |sum| sum.0).into_iter().map(view).collect()
}

#[derive(Default)]
struct Pair<'a> {
    count: u64,
    last: Timestamp,
    services: HashMap<&'a str, u64>,
    ends: BTreeSet<[&'a Who; 2]>,
}

/// By the labels of both ends, reason and rule. What was no IP packet has no ends.
pub(super) fn pairs(chosen: &[Dropped], limit: usize) -> Vec<PairCount> {
    let mut sums: HashMap<([EndLabels; 2], &'static str, Option<&str>), Pair<'_>> = HashMap::new();
    for one in chosen {
        let (Some([from, to]), count) = (&one.ends, &one.count) else { continue };
        let ends = [EndLabels::of(&from.who, &from.labels), EndLabels::of(&to.who, &to.labels)];
        let sum = sums.entry((ends, count.kind.reason, count.kind.rule.as_deref())).or_default();
        sum.count += count.count;
        sum.last = sum.last.max(count.last);
        sum.ends.insert([&from.who, &to.who]);
        *sum.services.entry(count.kind.service.as_deref().unwrap_or("")).or_default() += count.count;
    }
    let view = |((ends, reason, rule), pair): ((_, _, Option<&str>), Pair<'_>)| {
        let [source, destination]: [EndLabels; 2] = ends;
        let services_in_all = pair.services.len();
        let services = top(pair.services, SERVICES_MAX, |count| *count);
        PairCount {
            source,
            destination,
            reason,
            rule: rule.map(str::to_owned),
            services: services.into_iter().map(|(name, _)| name.to_owned()).collect(),
            services_in_all,
            ends: pair.ends.len(),
            count: pair.count,
            last: pair.last,
        }
    };
    top(sums, limit, |pair| pair.count).into_iter().map(view).collect()
}
