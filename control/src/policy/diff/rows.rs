//! Many pairs as few rows: sets of sources and destinations, described by the labels that tell them apart.

use hashbrown::HashMap;

use super::Becomes;
use super::ends::Ends;
use super::pairs::{Bucket, Services};
use crate::policy::tuple::{KIND, LISTENERS, NAME, NETWORKS, facet};

/// Sources and destinations that all become the same thing at the same services.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) becomes: Becomes,
    pub(super) services: Services,
    /// Sorted.
    pub(super) from: Vec<u32>,
    /// Sorted.
    pub(super) to: Vec<u32>,
}

/// Every pair of the bucket in one row, with as few rows as one pass over sources or destinations gives.
pub(super) fn rows(bucket: Bucket) -> Vec<Row> {
    let by_source = grouped(bucket.pairs.iter().copied());
    let by_destination = grouped(bucket.pairs.iter().map(|(from, to)| (*to, *from)));
    let sources_first = by_source.len() <= by_destination.len();
    let rectangles = if sources_first { by_source } else { by_destination };
    let row = |(a, b): (Vec<u32>, Vec<u32>)| {
        let (from, to) = if sources_first { (a, b) } else { (b, a) };
        Row { becomes: bucket.becomes, services: bucket.services.clone(), from, to }
    };
    rectangles.into_iter().map(row).collect()
}

/// First members with equal sets of second members, and that set.
fn grouped(pairs: impl Iterator<Item = (u32, u32)>) -> Vec<(Vec<u32>, Vec<u32>)> {
    let mut of: HashMap<u32, Vec<u32>> = HashMap::new();
    for (first, second) in pairs {
        of.entry(first).or_default().push(second);
    }
    let mut sets: HashMap<Vec<u32>, Vec<u32>> = HashMap::new();
    for (first, mut seconds) in of {
        seconds.sort_unstable();
        sets.entry(seconds).or_default().push(first);
    }
    let mut rectangles: Vec<(Vec<u32>, Vec<u32>)> = sets.into_iter().map(|(b, a)| (a, b)).collect();
    rectangles.iter_mut().for_each(|(a, _)| a.sort_unstable());
    rectangles.sort_unstable();
    rectangles
}

/// Describes sets of groups by as few labels as tell them from all others.
pub(super) struct Describer {
    /// The facets, the least telling last.
    names: Vec<String>,
    /// For each group, the number of its value of each facet; 0 is none.
    values: Vec<Vec<u32>>,
    /// The values of each facet; the first is none.
    words: Vec<Vec<String>>,
    known: HashMap<Vec<u32>, Vec<String>>,
}

/// The facet that says what the old policy knew.
const BEFORE: &str = "(before)";

impl Describer {
    pub(super) fn new(ends: &Ends<'_>) -> Self {
        let mut facets: Vec<(String, Vec<String>, HashMap<String, u32>)> = Vec::new();
        let mut index: HashMap<String, usize> = HashMap::new();
        let mut rows: Vec<Vec<(usize, u32)>> = Vec::with_capacity(ends.groups.len());
        for group in &ends.groups {
            let mut row = Vec::new();
            let shown = group.shown();
            let mut told: Vec<(&str, String)> = group.tuples[shown].facets();
            let before = before(&group.tuples, shown);
            told.extend(before.map(|before| (BEFORE, before)));
            for (name, value) in told {
                let at = *index.entry(name.to_owned()).or_insert_with(|| {
                    facets.push((name.to_owned(), vec![String::new()], HashMap::new()));
                    facets.len() - 1
                });
                let (_, words, numbers) = &mut facets[at];
                let next = u32::try_from(words.len()).unwrap_or(u32::MAX);
                let number = *numbers.entry(value.clone()).or_insert(next);
                if number == next {
                    words.push(value);
                }
                row.push((at, number));
            }
            rows.push(row);
        }
        // Names tell most and are tried to be left out first; what an end is tells least.
        let rank = |name: &str, values: usize| match name {
            NAME | LISTENERS => (0, 0),
            NETWORKS => (1, 0),
            KIND => (3, 1),
            BEFORE => (3, 0),
            _ => (2, usize::MAX - values),
        };
        let mut order: Vec<usize> = (0..facets.len()).collect();
        order.sort_by_key(|at| (rank(&facets[*at].0, facets[*at].1.len()), facets[*at].0.clone()));
        let place: HashMap<usize, usize> = order.iter().enumerate().map(|(to, from)| (*from, to)).collect();
        let values = rows.into_iter().map(|row| {
            let mut values = vec![0; facets.len()];
            row.into_iter().for_each(|(at, number)| values[place[&at]] = number);
            values
        });
        Self {
            values: values.collect(),
            names: order.iter().map(|at| facets[*at].0.clone()).collect(),
            words: order.iter().map(|at| facets[*at].1.clone()).collect(),
            known: HashMap::new(),
        }
    }

    /// The set in words: each word describes a part of it, and nothing outside.
    pub(super) fn describe(&mut self, set: &[u32]) -> Vec<String> {
        if let Some(known) = self.known.get(set) {
            return known.clone();
        }
        let mut kept: Vec<bool> = vec![true; self.names.len()];
        for at in 0..self.names.len() {
            kept[at] = false;
            if !self.is_exact(set, &kept) {
                kept[at] = true;
            }
        }
        self.remind(set, &mut kept);
        let mut words: Vec<String> = set.iter().map(|group| self.words(*group, &kept)).collect();
        words.sort_unstable();
        words.dedup();
        self.known.insert(set.to_vec(), words.clone());
        words
    }

    /// Where the past tells a set from others, what all of it have in common is said too.
    fn remind(&self, set: &[u32], kept: &mut [bool]) {
        let value = |group: &u32, at: usize| self.values[*group as usize][at];
        let past = self.names.iter().position(|name| name == BEFORE).filter(|past| kept[*past]);
        if past.is_none_or(|past| set.iter().all(|group| value(group, past) == 0)) {
            return;
        }
        for (at, kept) in kept.iter_mut().enumerate() {
            let label = ![KIND, NAME, NETWORKS, LISTENERS].contains(&self.names[at].as_str());
            let common = set.first().is_some_and(|first| {
                value(first, at) != 0 && set.iter().all(|group| value(group, at) == value(first, at))
            });
            *kept |= label && common;
        }
    }

    /// Whether no group outside `set` looks like one inside when only the `kept` facets are seen.
    fn is_exact(&self, set: &[u32], kept: &[bool]) -> bool {
        let seen = |group: &[u32]| {
            let mut hash = 0xcbf2_9ce4_8422_2325_u64;
            for (value, kept) in group.iter().zip(kept) {
                hash = (hash ^ if *kept { u64::from(*value) } else { 0 }).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                hash ^= hash >> 29;
            }
            hash
        };
        let inside: hashbrown::HashSet<u64> =
            set.iter().map(|group| seen(&self.values[*group as usize])).collect();
        let like = self.values.iter().filter(|group| inside.contains(&seen(group))).count();
        like == set.len()
    }

    fn words(&self, group: u32, kept: &[bool]) -> String {
        let (mut words, mut kind, mut before) = (Vec::new(), None, String::new());
        let values = &self.values[group as usize];
        for (at, name) in self.names.iter().enumerate().filter(|(at, _)| kept[*at]) {
            let value = &self.words[at][values[at] as usize];
            match (name.as_str(), values[at]) {
                (KIND | NAME | NETWORKS | LISTENERS | BEFORE, 0) => {}
                (KIND, _) => kind = Some(facet(KIND, value)),
                (BEFORE, _) => before = format!(" ({value})"),
                (key, 0) => words.push(format!("{key}=(none)")),
                (name, _) => words.push(facet(name, value)),
            }
        }
        words.sort_unstable();
        // What an end is goes without saying where labels say more.
        if words.is_empty() || kind.as_deref().is_some_and(|kind| kind != "(workload)") {
            words.extend(kind);
        }
        let words = if words.is_empty() { "any".into() } else { words.join(",") };
        format!("{words}{before}")
    }
}

/// What the old policy knew of an end, if that differs.
fn before(tuples: &[crate::policy::tuple::Tuple<'_>; 2], shown: usize) -> Option<String> {
    let [old, new] = tuples;
    match (old.is_workload(), new.is_workload()) {
        _ if old == new => None,
        (false, true) => Some("new".into()),
        (true, false) if shown == 0 => Some("removed".into()),
        _ => {
            let now = new.facets();
            let differs = |one: &&(&str, String)| !now.contains(one);
            let was: Vec<String> =
                old.facets().iter().filter(differs).map(|(name, value)| facet(name, value)).collect();
            Some(if was.is_empty() { "changed".into() } else { format!("was {}", was.join(",")) })
        }
    }
}
