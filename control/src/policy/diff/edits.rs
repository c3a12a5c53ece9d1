//! What was edited: which rules can make a difference, and what a summary says.

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::policy::valid::{Rule, ValidPolicy};

/// Names of one kind that a summary lists, at most.
const NAMES_MAX: usize = 100;

/// What was added, removed and changed, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Edits {
    /// Rules.
    pub rules: Edited,
    /// Workloads.
    pub workloads: Edited,
    /// Networks.
    pub networks: Edited,
    /// Whether the entries under `enforcement` differ.
    pub enforcement: bool,
    /// Whether the frames that are neither IP nor ARP and pass differ.
    pub ether_types: bool,
}

/// What was added, removed and changed of one kind: counts, and the first hundred names of each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Edited {
    /// How many were added, removed, changed.
    pub count: [usize; 3],
    /// Names that only the new policy has.
    pub added: Vec<String>,
    /// Names that only the old policy has.
    pub removed: Vec<String>,
    /// Names whose meaning changed.
    pub changed: Vec<String>,
}

impl Edited {
    fn between<'a, T>(
        old: impl Iterator<Item = (&'a str, T)>,
        new: impl Iterator<Item = (&'a str, T)>,
        same: impl Fn(&T, &T) -> bool,
    ) -> Self {
        let mut edited = Self::default();
        let mut before: HashMap<&str, T> = old.collect();
        let note = |count: &mut usize, names: &mut Vec<String>, name: &str| {
            *count += 1;
            if names.len() < NAMES_MAX {
                names.push(name.to_owned());
            }
        };
        for (name, now) in new {
            match before.remove(name) {
                None => note(&mut edited.count[0], &mut edited.added, name),
                Some(then) if !same(&then, &now) => note(&mut edited.count[2], &mut edited.changed, name),
                Some(_) => {}
            }
        }
        let mut gone: Vec<&str> = before.into_keys().collect();
        gone.sort_unstable();
        gone.into_iter().for_each(|name| note(&mut edited.count[1], &mut edited.removed, name));
        edited
    }

    fn words(&self, what: &str, into: &mut Vec<String>) {
        for (count, names, sign) in [
            (self.count[0], &self.added, '+'),
            (self.count[1], &self.removed, '-'),
            (self.count[2], &self.changed, '~'),
        ] {
            match (count, names.first()) {
                (0, _) | (_, None) => {}
                (1, Some(name)) => into.push(format!("{sign}{what} {name}")),
                (count, _) => into.push(format!("{sign}{count} {what}s")),
            }
        }
    }
}

impl Edits {
    /// Compares by name.
    #[must_use]
    pub fn between(old: &ValidPolicy, new: &ValidPolicy) -> Self {
        Self {
            rules: Edited::between(rules(old), rules(new), |a, b| a.0 == b.0 && same_rule(a.1, b.1)),
            workloads: Edited::between(
                old.workloads.iter().map(|one| (one.name.as_str(), one)),
                new.workloads.iter().map(|one| (one.name.as_str(), one)),
                |a, b| {
                    a.labels == b.labels
                        && a.addresses == b.addresses
                        && a.macs == b.macs
                        && a.wire == b.wire
                        && a.listeners.len() == b.listeners.len()
                        && a.listeners.iter().zip(&b.listeners).all(|(a, b)| {
                            a.name == b.name && a.labels == b.labels && a.services == b.services
                        })
                },
            ),
            networks: Edited::between(
                old.networks.iter().map(|one| (one.name.as_str(), one)),
                new.networks.iter().map(|one| (one.name.as_str(), one)),
                |a, b| a.labels == b.labels && a.prefixes == b.prefixes,
            ),
            enforcement: !same_enforcement(old, new),
            ether_types: old.ether_types != new.ether_types,
        }
    }

    /// `+rule shop-to-db, ~2 workloads`; empty if nothing was edited.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words = Vec::new();
        self.rules.words("rule", &mut words);
        self.workloads.words("workload", &mut words);
        self.networks.words("network", &mut words);
        if self.enforcement {
            words.push("~enforcement".into());
        }
        if self.ether_types {
            words.push("~ether_types".into());
        }
        words.join(", ")
    }
}

type Placed<'a> = (&'a str, &'a Rule);

fn rules(policy: &ValidPolicy) -> impl Iterator<Item = (&str, Placed<'_>)> {
    let tiers = policy.tiers.iter();
    tiers.flat_map(|tier| tier.rules.iter().map(|rule| (rule.name.as_str(), (tier.name.as_str(), rule))))
}

/// Whether two rules differ in nothing but their names and places.
fn same_rule(a: &Rule, b: &Rule) -> bool {
    a.from == b.from
        && a.to == b.to
        && a.services == b.services
        && a.action == b.action
        && a.gates == b.gates
        && a.same == b.same
        && a.on_revoke == b.on_revoke
        && a.staged == b.staged
        && a.priority == b.priority
}

/// Whether the same entries stand in the same order.
pub(super) fn same_enforcement(old: &ValidPolicy, new: &ValidPolicy) -> bool {
    let same = |(a, b): (&crate::policy::valid::Enforcement, &crate::policy::valid::Enforcement)| {
        a.select == b.select && a.ingress == b.ingress && a.egress == b.egress
    };
    old.enforcement.len() == new.enforcement.len() && old.enforcement.iter().zip(&new.enforcement).all(same)
}

/// The rules of each policy that can make a difference: those that the other lacks, and those that stand elsewhere
/// among the ones that both have.
pub(super) fn deciding<'a>(
    old: &'a ValidPolicy,
    new: &'a ValidPolicy,
    staged: [bool; 2],
) -> [Vec<&'a Rule>; 2] {
    let list = |policy: &'a ValidPolicy, staged: bool| -> Vec<Placed<'a>> {
        rules(policy).map(|(_, placed)| placed).filter(|(_, rule)| staged || !rule.staged).collect()
    };
    let (old, new) = (list(old, staged[0]), list(new, staged[1]));
    let mut places: HashMap<_, Vec<usize>> = HashMap::new();
    for (at, placed) in old.iter().enumerate().rev() {
        places.entry(content(*placed)).or_default().push(at);
    }
    let partner: Vec<Option<usize>> =
        new.iter().map(|placed| places.get_mut(&content(*placed))?.pop()).collect();
    let stays = ascending(&partner);
    let mut unmoved = vec![false; old.len()];
    let mut changed = [Vec::new(), Vec::new()];
    for (at, (_, rule)) in new.iter().enumerate() {
        match partner[at] {
            Some(partner) if stays[at] => unmoved[partner] = true,
            _ => changed[1].push(*rule),
        }
    }
    changed[0].extend(old.iter().zip(unmoved).filter(|(_, unmoved)| !unmoved).map(|((_, rule), _)| *rule));
    changed
}

/// All of a rule that its effect on a verdict depends on, but for its place. Name, origin and what is done with live
/// flows have none.
fn content<'a>((tier, rule): Placed<'a>) -> impl std::hash::Hash + Eq + 'a {
    (tier, &rule.from, &rule.to, &rule.services, rule.action, rule.gates, &rule.same)
}

/// Marks a longest ascending selection (patience sorting, in n log n).
fn ascending(places: &[Option<usize>]) -> Vec<bool> {
    // tails[k]: the index whose value is the least at the end of a selection of length k + 1.
    let (mut tails, mut before) = (Vec::<usize>::new(), vec![None; places.len()]);
    for (at, place) in places.iter().enumerate() {
        let Some(place) = place else { continue };
        let length = tails.partition_point(|tail| places[*tail].is_some_and(|value| value < *place));
        before[at] = length.checked_sub(1).map(|last| tails[last]);
        if length == tails.len() {
            tails.push(at);
        } else {
            tails[length] = at;
        }
    }
    let mut marked = vec![false; places.len()];
    let mut next = tails.last().copied();
    while let Some(at) = next {
        marked[at] = true;
        next = before[at];
    }
    marked
}

#[cfg(test)]
mod tests {
    use super::ascending;

    #[test]
    fn a_longest_ascending_selection_is_found() {
        for (places, expected) in [
            (vec![], 0),
            (vec![Some(0), Some(1), Some(2)], 3),
            (vec![Some(2), Some(1), Some(0)], 1),
            (vec![Some(1), None, Some(2), Some(0), Some(3)], 3),
            (vec![Some(4), Some(0), Some(1), Some(2), Some(3)], 4),
        ] {
            let marked = ascending(&places);
            let kept: Vec<usize> = places
                .iter()
                .zip(&marked)
                .filter(|(_, kept)| **kept)
                .filter_map(|(place, _)| *place)
                .collect();
            assert_eq!(kept.len(), expected, "{places:?}");
            assert!(kept.is_sorted(), "{places:?} {kept:?}");
        }
    }
}
