//! What a change of policy changes, in label terms: which (source labels → destination labels, service) become
//! allowed or denied.
//!
//! 1. `ends`: addresses of which neither policy can tell anything different are one group.
//! 2. `edits`: which rules can make a difference.
//! 3. `pairs`: the pairs of groups that these rules, or what changed about the ends themselves, can touch are decided
//!    by both tables at every service at which either decision changes. So the result is exact, and its cost follows
//!    the size of the change.
//! 4. `rows`: pairs that change alike become one row, described by the labels that tell them from all others.
//!
//! The number of pairs compared is bounded ([`Limits::pairs`]); a result that stops there says so and how much is
//! missing.

mod edits;
mod ends;
mod pairs;
mod rows;
#[cfg(test)]
mod tests;

use dataplane::address::Address;
use dataplane::policy::ServiceKey;
use dataplane::verdict::Decision;
use serde::Serialize;
use utoipa::ToSchema;

use super::compile::Named;
use super::valid::{ServiceRange, ValidPolicy};
pub use edits::{Edited, Edits};
use ends::Ends;
use pairs::{Comparison, Services};
use rows::{Describer, Row};

/// A policy with its table.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The policy.
    pub policy: &'a ValidPolicy,
    /// What it was compiled to.
    pub compiled: Named<'a>,
    /// Whether rules marked `staged` count in that table.
    pub staged: bool,
}

/// How much a diff may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pairs of groups that are compared; each takes about a microsecond.
    pub pairs: u64,
    /// Rows that are described.
    pub rows: usize,
}

impl Default for Limits {
    /// Four million pairs, a thousand rows.
    fn default() -> Self {
        Self { pairs: 4_000_000, rows: 1000 }
    }
}

/// A flow that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Who opened it.
    pub source: Address,
    /// To whom.
    pub destination: Address,
    /// At what service.
    pub service: ServiceKey,
    /// How often.
    pub flows: u64,
}

/// What becomes of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Becomes {
    /// Denied before, allowed now.
    Allow,
    /// Allowed before, denied now.
    Deny,
}

impl Becomes {
    /// What the second decision makes of the first; `None` if both allow or neither does.
    #[must_use]
    pub fn between(old: Decision, new: Decision) -> Option<Self> {
        match (old.verdict.is_allow(), new.verdict.is_allow()) {
            (false, true) => Some(Self::Allow),
            (true, false) => Some(Self::Deny),
            _ => None,
        }
    }
}

/// What a change of policy changes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Diff {
    /// The changes, those with the most pairs first.
    pub changes: Vec<Change>,
    /// Rows that are not in `changes`, because they were too many.
    pub changes_left_out: usize,
    /// What it comes to.
    pub totals: Totals,
    /// What was edited, by name.
    pub edits: Edits,
    /// The same in one line; empty if nothing was edited.
    pub summary: String,
    /// What the reader should know about this result; empty if it is complete.
    pub notes: Vec<String>,
}

/// Sources and destinations that all become the same thing at the same services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Change {
    /// What becomes of their flows.
    pub becomes: Becomes,
    /// Any of these sources: labels over the keys that the policies mention.
    pub from: Vec<String>,
    /// Any of these destinations.
    pub to: Vec<String>,
    /// At any of these services.
    pub services: Vec<String>,
    /// Pairs of workloads; an end that is no workload counts as one.
    pub pairs: u64,
    /// Recorded flows.
    pub flows: u64,
    /// One of these flows.
    pub example: Example,
}

/// One flow that changes, with the rules that decide it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Example {
    /// The source: a workload's name, or an address.
    pub source: String,
    /// The destination.
    pub destination: String,
    /// The service.
    pub service: String,
    /// The rule or default that decided under the old policy.
    pub old_rule: String,
    /// The rule or default that decides under the new one.
    pub new_rule: String,
}

/// What a diff comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Totals {
    /// Pairs of workloads that become allowed at some service.
    pub pairs_allowed: u64,
    /// Pairs of workloads that become denied at some service.
    pub pairs_denied: u64,
    /// Recorded flows that become allowed.
    pub flows_allowed: u64,
    /// Recorded flows that become denied.
    pub flows_denied: u64,
    /// Recorded flows that were looked at.
    pub flows: u64,
}

/// Compares two policies, and counts the flows of `seen` that change.
#[must_use]
pub fn diff(old: Side<'_>, new: Side<'_>, seen: impl Iterator<Item = Seen>, limits: Limits) -> Diff {
    let policies = [old.policy, new.policy];
    let ends = Ends::new(policies);
    let mut comparison = Comparison::new(&ends, [old, new]);
    let rules = edits::deciding(policies[0], policies[1], [old.staged, new.staged]);
    let found = pairs::compare(&ends, &mut comparison, rules, limits.pairs);
    let mut totals = Totals::default();
    let mut rows: Vec<(u64, Row)> = Vec::new();
    let mut counted = hashbrown::HashSet::new();
    for bucket in found.buckets {
        for &(from, to) in &bucket.pairs {
            if counted.insert((bucket.becomes, from, to)) {
                *totals.pairs(bucket.becomes) += ends.pairs(from, to);
            }
        }
        let weigh = |row: Row| (weight(&ends, &row), row);
        rows.extend(rows::rows(bucket).into_iter().map(weigh));
    }
    rows.sort_by(|(a, x), (b, y)| {
        b.cmp(a).then_with(|| {
            (x.becomes, &x.from, &x.to, &x.services).cmp(&(y.becomes, &y.from, &y.to, &y.services))
        })
    });
    let flows = count(&ends, &comparison, &rows, seen, &mut totals);
    let changes_left_out = rows.len().saturating_sub(limits.rows);
    let mut describer = Describer::new(&ends);
    let told = rows.iter().zip(flows).take(limits.rows);
    let changes = told
        .map(|((pairs, row), flows)| Change {
            becomes: row.becomes,
            from: describer.describe(&row.from),
            to: describer.describe(&row.to),
            services: services(&row.services),
            pairs: *pairs,
            flows,
            example: example(&ends, &comparison, [old, new], row),
        })
        .collect();
    let mut notes = Vec::new();
    if found.skipped > 0 {
        notes.push(format!(
            "only {} of {} pairs of label tuples were compared: pairs, flows and rows are lower bounds",
            found.compared,
            found.compared + found.skipped
        ));
    }
    if changes_left_out > 0 {
        notes.push(format!(
            "{changes_left_out} rows with the fewest pairs are left out; the totals count them"
        ));
    }
    let edits = Edits::between(policies[0], policies[1]);
    Diff { changes, changes_left_out, totals, summary: edits.words(), edits, notes }
}

impl Totals {
    fn pairs(&mut self, becomes: Becomes) -> &mut u64 {
        match becomes {
            Becomes::Allow => &mut self.pairs_allowed,
            Becomes::Deny => &mut self.pairs_denied,
        }
    }

    fn flows(&mut self, becomes: Becomes) -> &mut u64 {
        match becomes {
            Becomes::Allow => &mut self.flows_allowed,
            Becomes::Deny => &mut self.flows_denied,
        }
    }
}

/// How many pairs of workloads a row has.
fn weight(ends: &Ends<'_>, row: &Row) -> u64 {
    let of = |from: &u32| row.to.iter().map(|to| ends.pairs(*from, *to)).fold(0, u64::saturating_add);
    row.from.iter().map(of).fold(0, u64::saturating_add)
}

/// Counts the flows that change, in all and for each row.
fn count(
    ends: &Ends<'_>,
    comparison: &Comparison<'_>,
    rows: &[(u64, Row)],
    seen: impl Iterator<Item = Seen>,
    totals: &mut Totals,
) -> Vec<u64> {
    let mut of_source: hashbrown::HashMap<u32, Vec<usize>> = hashbrown::HashMap::new();
    for (at, (_, row)) in rows.iter().enumerate() {
        row.from.iter().for_each(|from| of_source.entry(*from).or_default().push(at));
    }
    let mut flows = vec![0; rows.len()];
    for one in seen {
        totals.flows += one.flows;
        let (Some(from), Some(to)) = (ends.of(one.source), ends.of(one.destination)) else { continue };
        let Some([old, new]) = comparison.decisions(from, to, one.service) else { continue };
        let Some(becomes) = Becomes::between(old, new) else { continue };
        *totals.flows(becomes) += one.flows;
        let key = one.service.value();
        let holds = |row: &Row| {
            row.becomes == becomes
                && row.to.binary_search(&to).is_ok()
                && row.services.iter().any(|(first, last)| *first <= key && key <= *last)
        };
        if let Some(at) =
            of_source.get(&from).and_then(|rows_of| rows_of.iter().find(|at| holds(&rows[**at].1)))
        {
            flows[*at] += one.flows;
        }
    }
    flows
}

fn example(ends: &Ends<'_>, comparison: &Comparison<'_>, sides: [Side<'_>; 2], row: &Row) -> Example {
    let found = row.from.iter().find_map(|from| {
        // Not a workload with itself, if there is another.
        let others = row.to.iter().filter(|to| *to != from).chain(&row.to);
        others.copied().find_map(|to| {
            let key = ServiceKey::from_value(row.services.first()?.0)?;
            Some((*from, to, key, comparison.decisions(*from, to, key)?))
        })
    });
    let Some((from, to, key, decisions)) = found else {
        return Example {
            source: String::new(),
            destination: String::new(),
            service: String::new(),
            old_rule: String::new(),
            new_rule: String::new(),
        };
    };
    let name = |group: u32| {
        let address = ends.groups[group as usize].example.iter().flatten().next();
        let name = |address: &Address| {
            ends.owner(*address).map_or_else(|| address.to_ip().to_string(), str::to_owned)
        };
        address.map(name).unwrap_or_default()
    };
    let rule = |side: usize| sides[side].compiled.rule_name(decisions[side].rule).to_owned();
    Example {
        source: name(from),
        destination: name(to),
        service: ServiceRange { first: key.value(), last: key.value() }.to_string(),
        old_rule: rule(0),
        new_rule: rule(1),
    }
}

/// Ranges of the service space as the policy language writes them.
fn services(ranges: &Services) -> Vec<String> {
    let mut words = Vec::new();
    for &(first, last) in ranges {
        let mut first = first;
        while first <= last {
            let end_of_protocol = first | 0xffff;
            let whole = first & 0xffff == 0 && end_of_protocol <= last;
            // Whole protocols stand together, the others apart.
            let end = if whole {
                (((last + 1) & !0xffff) - 1).max(end_of_protocol)
            } else {
                end_of_protocol.min(last)
            };
            words.push(ServiceRange { first, last: end }.to_string());
            first = end + 1;
        }
    }
    words
}
