//! Which selectors can match anything: for warnings, so a "cannot tell" counts as "can".
//!
//! Labels that a workload may inherit from a network are taken as possible wherever the workload has no value of
//! its own; which network contains which address is not looked at.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::policy::diagnostics::quote;
use crate::policy::valid::{Network, Requirement, Selector, Workload};
use crate::policy::words::nearest;

/// Workloads looked at in one load; after that every selector counts as one that can match.
const WORK_MAX: usize = 5_000_000;

pub(super) struct Reach<'v> {
    /// By name.
    workloads: &'v [Workload],
    has_networks: bool,
    /// Workloads by own label.
    own: HashMap<&'v str, HashMap<&'v str, Vec<u32>>>,
    /// Labels of networks.
    inherited: HashMap<&'v str, HashSet<&'v str>>,
    /// Answers already found.
    answers: HashMap<Selector, bool>,
    work: usize,
}

impl<'v> Reach<'v> {
    pub(super) fn new(workloads: &'v [Workload], networks: &'v [Network]) -> Self {
        let mut own: HashMap<&str, HashMap<&str, Vec<u32>>> = HashMap::new();
        for (index, workload) in (0_u32..).zip(workloads) {
            let listeners = workload.listeners.iter().flat_map(|listener| &listener.labels);
            for (key, values) in workload.labels.iter().chain(listeners) {
                let by_value = own.entry(key).or_default();
                for value in values {
                    by_value.entry(value).or_default().push(index);
                }
            }
        }
        let mut inherited: HashMap<&str, HashSet<&str>> = HashMap::new();
        for (key, values) in networks.iter().flat_map(|network| &network.labels) {
            inherited.entry(key).or_default().extend(values.iter().map(String::as_str));
        }
        let has_networks = !networks.is_empty();
        Self { workloads, has_networks, own, inherited, answers: HashMap::new(), work: 0 }
    }

    /// Whether any endpoint of this policy may match.
    pub(super) fn matches(&mut self, selector: &Selector) -> bool {
        if selector.requirements.is_empty() {
            return true;
        }
        if let Some(answer) = self.answers.get(selector) {
            return *answer;
        }
        let answer = self.search(selector);
        self.answers.insert(selector.clone(), answer);
        answer
    }

    fn search(&mut self, selector: &Selector) -> bool {
        if self.work > WORK_MAX {
            return true;
        }
        let all = &selector.requirements;
        // What matches endpoints that nobody knows always may match something.
        if all.iter().all(|one| matches!(one, Requirement::NoWorkload | Requirement::NotNetwork(_))) {
            return true;
        }
        if let Some(Requirement::Workload(names)) =
            all.iter().find(|one| matches!(one, Requirement::Workload(_)))
        {
            self.work += names.len();
            return names.iter().any(|name| self.named(name).is_none_or(|one| self.satisfies(one, all)));
        }
        let workloads_only =
            |one: &Requirement| matches!(one, Requirement::Workload(_) | Requirement::AnyWorkload);
        if self.has_networks && all.iter().all(|one| !workloads_only(one) && self.may_inherit(one)) {
            return true;
        }
        let Some(lists) = all.iter().filter_map(|one| self.owners(one)).min_by_key(|lists| total(lists))
        else {
            self.work += self.workloads.len();
            return self.workloads.iter().any(|one| self.satisfies(one, all));
        };
        let mut work = 0;
        let found = lists.iter().flat_map(|list| list.iter()).any(|index| {
            work += 1;
            self.workloads.get(*index as usize).is_none_or(|one| self.satisfies(one, all))
        });
        self.work += work;
        found
    }

    fn named(&self, name: &str) -> Option<&Workload> {
        let at = self.workloads.binary_search_by(|workload| workload.name.as_str().cmp(name)).ok()?;
        self.workloads.get(at)
    }

    /// The workloads that may satisfy `one`, if only their own labels can.
    fn owners(&self, one: &Requirement) -> Option<Vec<&[u32]>> {
        match one {
            Requirement::In(key, values) if !self.may_inherit(one) => {
                let by_value = self.own.get(key.as_str());
                let lists = values.iter().filter_map(|value| by_value?.get(value.as_str()));
                Some(lists.map(Vec::as_slice).collect())
            }
            _ => None,
        }
    }

    /// Whether an endpoint without a value of its own may satisfy `one`.
    fn may_inherit(&self, one: &Requirement) -> bool {
        match one {
            Requirement::In(key, values) => self
                .inherited
                .get(key.as_str())
                .is_some_and(|inherited| values.iter().any(|value| inherited.contains(value.as_str()))),
            Requirement::Exists(key) => self.inherited.contains_key(key.as_str()),
            _ => true,
        }
    }

    fn satisfies(&self, workload: &Workload, all: &[Requirement]) -> bool {
        // A listener's values stand in place of the workload's own, for some flows.
        let in_place = |key: &str, test: &dyn Fn(&BTreeSet<String>) -> bool| {
            workload.listeners.iter().filter_map(|one| one.labels.get(key)).any(test)
        };
        let has_any =
            |held: &BTreeSet<String>, values: &[String]| values.iter().any(|value| held.contains(value));
        all.iter().all(|one| match one {
            Requirement::In(key, values) => {
                let own = workload.labels.get(key).map(|own| has_any(own, values));
                own.unwrap_or_else(|| self.may_inherit(one)) || in_place(key, &|held| has_any(held, values))
            }
            Requirement::NotIn(key, values) => {
                workload.labels.get(key).is_none_or(|own| !has_any(own, values))
                    || in_place(key, &|held| !has_any(held, values))
            }
            Requirement::Exists(key) => {
                workload.labels.contains_key(key) || self.may_inherit(one) || in_place(key, &|_| true)
            }
            Requirement::NotExists(key) => !workload.labels.contains_key(key),
            Requirement::Workload(names) => names.binary_search(&workload.name).is_ok(),
            Requirement::Network(_) | Requirement::NotNetwork(_) | Requirement::AnyWorkload => true,
            Requirement::NoWorkload => false,
        })
    }

    /// What may have been meant by a selector that matches nothing.
    pub(super) fn why(&self, selector: &Selector) -> Option<String> {
        selector.requirements.iter().find_map(|one| {
            let Requirement::In(key, values) = one else { return None };
            let own = self.own.get(key.as_str());
            let inherited = self.inherited.get(key.as_str());
            if own.is_none() && inherited.is_none() {
                let keys = self.own.keys().chain(self.inherited.keys()).copied();
                let meant =
                    nearest(key, keys).map_or_else(String::new, |key| format!("; did you mean `{key}`?"));
                return Some(format!("nothing has a label {}{meant}", quote(key)));
            }
            let has = |value: &str| {
                own.is_some_and(|own| own.contains_key(value))
                    || inherited.is_some_and(|all| all.contains(value))
            };
            let missing = values.iter().find(|value| !has(value))?;
            let candidates =
                own.into_iter().flat_map(HashMap::keys).chain(inherited.into_iter().flatten()).copied();
            let meant = nearest(missing, candidates)
                .map_or_else(String::new, |word| format!("; did you mean `{word}`?"));
            Some(format!("nothing has the label {}: {}{meant}", quote(key), quote(missing)))
        })
    }
}

fn total(lists: &[&[u32]]) -> usize {
    lists.iter().map(|list| list.len()).sum()
}
