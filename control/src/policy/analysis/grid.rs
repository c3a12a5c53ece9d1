//! All pairs of places that matter to a question, grouped so that few are left.
//!
//! A question concerns flows from some profiles to others and some rules. Sources that satisfy the same `from` lists of
//! these rules, have the same values of the keys in their `same`, and the same mode and family, get the same answer:
//! they are one group; destinations likewise. With `s` and `d` groups of sources and destinations and `k` rules, all
//! pairs that a rule reaches are met in at most `s · k · d` steps, usually far fewer: a rule is only looked at from
//! the groups that satisfy its `from`, and leads only to those that satisfy its `to`. Each step is taken from the
//! caller's work, so that the bound is the caller's.

use std::net::IpAddr;

use dataplane::policy::GateMode;
use hashbrown::HashMap;

use super::estate::{Estate, intersection, pair};
use super::ranges;
use super::work::{Exhausted, Work};
use crate::policy::compile::view::Place;
use crate::policy::valid::ServiceRange;

/// Places of one side that the question cannot tell apart.
pub(super) struct Group<'e> {
    /// One of them.
    pub(super) place: &'e Place,
    /// Another, if there is one.
    other: Option<&'e Place>,
    /// The lists of interest that they satisfy, ascending.
    lists: Vec<u32>,
}

/// The groups of both sides.
pub(super) struct Grid<'e, 'p> {
    estate: &'e Estate<'p>,
    pub(super) sources: Vec<Group<'e>>,
    pub(super) destinations: Vec<Group<'e>>,
    /// Of each group of sources, the rules whose `from` it satisfies, ascending.
    rules: Vec<Vec<u32>>,
    /// The groups of destinations that satisfy each list, ascending.
    with: HashMap<u32, Vec<u32>>,
    /// The groups of destinations by mode.
    modes: Vec<(GateMode, Vec<u32>)>,
}

/// What a question is about.
pub(super) struct Question<'q> {
    /// Profiles of sources, ascending.
    pub(super) from: &'q [u32],
    /// Profiles of destinations, ascending.
    pub(super) to: &'q [u32],
    pub(super) services: &'q [ServiceRange],
    /// The rules that can make a difference, ascending.
    pub(super) rules: &'q [u32],
}

/// What tells groups apart: family, mode, services (of destinations), lists.
type GroupKey = (bool, GateMode, u32, Vec<u32>);

impl<'e, 'p> Grid<'e, 'p> {
    pub(super) fn new(
        estate: &'e Estate<'p>,
        question: &Question<'_>,
        work: &mut Work,
    ) -> Result<Self, Exhausted> {
        let rules = || question.rules.iter().map(|at| &estate.rules[*at as usize]);
        let keys = rules().flat_map(|one| &one.rule.same).flat_map(|key| estate.view.values(key));
        let values: Vec<u32> = keys.copied().collect();
        let wanted = |lists: &mut dyn Iterator<Item = u32>| {
            let mut wanted: Vec<u32> = lists.chain(values.iter().copied()).collect();
            wanted.sort_unstable();
            wanted.dedup();
            wanted
        };
        let (from, to) = (wanted(&mut rules().map(|one| one.from)), wanted(&mut rules().map(|one| one.to)));
        let sources = question.from.iter().flat_map(|profile| estate.sources(*profile));
        let sources = sources.map(|at| &estate.view.sources[*at as usize]);
        let destinations = question.to.iter().flat_map(|profile| estate.destinations(*profile));
        let destinations = destinations.map(|at| &estate.view.destinations[*at as usize]);
        let spoken = |place: &&Place| ranges::meet(estate.view.services(place), question.services);
        let mut grid = Self {
            estate,
            sources: groups(estate, sources, &from, work)?,
            destinations: groups(estate, destinations.filter(spoken), &to, work)?,
            rules: Vec::new(),
            with: HashMap::new(),
            modes: Vec::new(),
        };
        for (at, group) in (0..).zip(&grid.destinations) {
            work.take(group.lists.len())?;
            group.lists.iter().for_each(|list| grid.with.entry(*list).or_default().push(at));
            match grid.modes.iter_mut().find(|(mode, _)| *mode == group.place.mode) {
                Some((_, groups)) => groups.push(at),
                None => grid.modes.push((group.place.mode, vec![at])),
            }
        }
        let mut by_from: HashMap<u32, Vec<u32>> = HashMap::new();
        for &at in question.rules {
            by_from.entry(estate.rules[at as usize].from).or_default().push(at);
        }
        for group in &grid.sources {
            let lists = group.lists.iter().filter_map(|list| by_from.get(list));
            let mut rules: Vec<u32> = lists.flatten().copied().collect();
            work.take(rules.len())?;
            rules.sort_unstable();
            grid.rules.push(rules);
        }
        Ok(grid)
    }

    /// The rules whose `from` a group of sources satisfies, ascending.
    pub(super) fn rules_from(&self, source: usize) -> &[u32] {
        &self.rules[source]
    }

    /// Appends the groups of destinations that a rule reaches from a group of sources which satisfies its `from`;
    /// some may be named twice.
    pub(super) fn reached(
        &self,
        source: usize,
        rule: u32,
        into: &mut Vec<u32>,
        work: &mut Work,
    ) -> Result<(), Exhausted> {
        let one = &self.estate.rules[rule as usize];
        let Some(all) = self.with.get(&one.to) else { return Ok(()) };
        let profile = self.sources[source].place.profile;
        let Some((first, others)) = one.rule.same.split_first() else {
            work.take(all.len())?;
            into.extend(all);
            return Ok(());
        };
        for value in self.estate.values(first, profile) {
            let having = self.with.get(value).map_or(&[][..], Vec::as_slice);
            work.take(having.len() * (1 + others.len()))?;
            into.extend(having.iter().filter(|at| {
                let destination = self.destinations[**at as usize].place.profile;
                all.binary_search(at).is_ok()
                    && others.iter().all(|key| self.estate.share(key, profile, destination))
            }));
        }
        Ok(())
    }

    /// The rules, of those asked about, that match between two groups, in order.
    pub(super) fn rules_between(
        &self,
        source: usize,
        destination: usize,
        work: &mut Work,
    ) -> Result<Vec<u32>, Exhausted> {
        work.take(self.rules[source].len())?;
        let (from, to) = (&self.sources[source], &self.destinations[destination]);
        let matches = |at: &&u32| {
            let one = &self.estate.rules[**at as usize];
            let shares = |key: &String| self.estate.share(key, from.place.profile, to.place.profile);
            to.lists.binary_search(&one.to).is_ok() && one.rule.same.iter().all(shares)
        };
        Ok(self.rules[source].iter().filter(matches).copied().collect())
    }

    /// The groups of destinations, by mode.
    pub(super) fn modes(&self) -> &[(GateMode, Vec<u32>)] {
        &self.modes
    }

    /// Addresses between which a packet can go from one group to the other.
    pub(super) fn pair(&self, source: usize, destination: usize) -> Option<(IpAddr, IpAddr)> {
        let (source, destination) = (&self.sources[source], &self.destinations[destination]);
        let others = [(Some(source.place), destination.other), (source.other, Some(destination.place))];
        pair(source.place, destination.place)
            .or_else(|| others.into_iter().find_map(|(source, destination)| pair(source?, destination?)))
    }
}

/// Groups places by what they have of the `wanted` lists.
fn groups<'e>(
    estate: &'e Estate<'_>,
    places: impl Iterator<Item = &'e Place>,
    wanted: &[u32],
    work: &mut Work,
) -> Result<Vec<Group<'e>>, Exhausted> {
    let mut index: HashMap<GroupKey, usize> = HashMap::new();
    let mut groups: Vec<Group<'e>> = Vec::new();
    for place in places {
        let held = estate.lists.get(place.profile);
        work.take(1 + held.len().min(wanted.len()))?;
        let lists = intersection(held, wanted);
        let key = (place.address.is_ipv6(), place.mode, place.services, lists);
        if let Some(&known) = index.get(&key) {
            groups[known].other.get_or_insert(place);
            continue;
        }
        groups.push(Group { place, other: None, lists: key.3.clone() });
        index.insert(key, groups.len() - 1);
    }
    Ok(groups)
}
