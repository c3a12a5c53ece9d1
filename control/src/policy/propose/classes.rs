//! Classes of endpoints, and the selectors that match them.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::policy::valid::ServiceRange;

/// What a selector asks of one key.
pub(super) const ANY: u32 = 0;
/// The key must be missing.
pub(super) const ABSENT: u32 = 1;
/// Values of keys begin here.
pub(super) const VALUES: u32 = 2;

/// One end of a rule: what is asked of each key, or one class alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum End {
    Labels(Box<[u32]>),
    Only(u32),
}

/// What a class stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Group<'a> {
    /// Workloads with the same values of the keys: for each key their numbers, sorted; none if the key is missing.
    Labels(Vec<Vec<u32>>),
    /// One workload.
    Workload(&'a str),
    /// The addresses of a network that no workload owns.
    Network(&'a str),
    /// Unknown addresses: the first, and how many bits it shares with all of them.
    Prefix(u128, u8),
    /// Everything that is no workload.
    Anywhere,
}

/// Endpoints that no selector tells apart.
#[derive(Clone, Debug)]
pub(super) struct Class<'a> {
    pub(super) group: Group<'a>,
    /// Workloads; 1 if it stands for none.
    pub(super) size: u64,
    /// As a destination: for these services only, because listeners take the others, or take only these.
    pub(super) services: Option<Arc<[ServiceRange]>>,
    /// The `never` assertions whose end it may be.
    pub(super) never: Vec<u32>,
}

/// What a selector matches.
#[derive(Clone, Debug)]
pub(super) struct Matched {
    pub(super) end: End,
    /// Classes, ascending.
    pub(super) classes: Vec<u32>,
    /// Their workloads, those with services of their own left out.
    pub(super) size: u64,
    /// The classes with services of their own.
    pub(super) special: Vec<u32>,
    /// The `never` assertions whose end any of them may be.
    pub(super) never: Vec<u32>,
}

type ClassKey<'a> = (Group<'a>, Option<Arc<[ServiceRange]>>);

/// The classes of sources, or of destinations.
#[derive(Debug, Default)]
pub(super) struct Side<'a> {
    pub(super) classes: Vec<Class<'a>>,
    index: HashMap<ClassKey<'a>, u32>,
    /// By key and value (or [`ABSENT`]): the classes, ascending.
    postings: HashMap<(usize, u32), Vec<u32>>,
    pub(super) matched: Vec<Matched>,
    known: HashMap<End, u32>,
}

impl<'a> Side<'a> {
    pub(super) fn class(
        &mut self,
        group: Group<'a>,
        services: Option<Arc<[ServiceRange]>>,
        never: impl FnOnce() -> Vec<u32>,
    ) -> u32 {
        let next = u32::try_from(self.classes.len()).unwrap_or(u32::MAX);
        let key = (group, services);
        if let Some(known) = self.index.get(&key) {
            return *known;
        }
        if let Group::Labels(values) = &key.0 {
            for (at, held) in values.iter().enumerate() {
                let asked = if held.is_empty() { &[ABSENT][..] } else { held };
                asked.iter().for_each(|one| self.postings.entry((at, *one)).or_default().push(next));
            }
        }
        let (group, services) = key.clone();
        self.classes.push(Class { group, size: 0, services, never: never() });
        self.index.insert(key, next);
        next
    }

    /// The number of a selector, with what it matches found out. Classes must be complete.
    pub(super) fn intern(&mut self, end: End) -> u32 {
        if let Some(known) = self.known.get(&end) {
            return *known;
        }
        let classes = match &end {
            End::Only(class) => vec![*class],
            End::Labels(asked) => self.matching(asked),
        };
        let (special, plain): (Vec<u32>, Vec<u32>) =
            classes.iter().partition(|class| self.classes[**class as usize].services.is_some());
        let mut never: Vec<u32> =
            classes.iter().flat_map(|class| self.classes[*class as usize].never.iter().copied()).collect();
        never.sort_unstable();
        never.dedup();
        let size = plain.iter().map(|class| self.classes[*class as usize].size).sum();
        let number = u32::try_from(self.matched.len()).unwrap_or(u32::MAX);
        self.known.insert(end.clone(), number);
        self.matched.push(Matched { end, classes, size, special, never });
        number
    }

    pub(super) fn matching(&self, asked: &[u32]) -> Vec<u32> {
        let lists = asked.iter().enumerate().filter(|(_, one)| **one != ANY);
        let lists = lists.map(|(at, one)| self.postings.get(&(at, *one)).map_or(&[][..], Vec::as_slice));
        match lists.min_by_key(|list| list.len()) {
            Some(shortest) => shortest.iter().copied().filter(|class| self.matches(*class, asked)).collect(),
            None => {
                let labelled = |class: &u32| matches!(self.classes[*class as usize].group, Group::Labels(_));
                (0..u32::try_from(self.classes.len()).unwrap_or(u32::MAX)).filter(labelled).collect()
            }
        }
    }

    /// Whether a class has what is asked of each key.
    pub(super) fn matches(&self, class: u32, asked: &[u32]) -> bool {
        let Group::Labels(values) = &self.classes[class as usize].group else { return false };
        values.iter().zip(asked).all(|(held, one)| match *one {
            ANY => true,
            ABSENT => held.is_empty(),
            value => held.contains(&value),
        })
    }
}
