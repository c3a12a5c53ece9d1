//! Which rules match a flow, whichever of them decides: what a rule would also match that others decide before it.
//!
//! A rule matches if it is enforced, speaks at a gate, covers the service, and selects both ends. Order, tiers and the
//! modes of gates are not looked at. What matches depends on the classes of both ends and on the service only, so
//! each combination is examined once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use dataplane::address::Address;
use dataplane::policy::{Class, PolicyTable, ServiceKey};

use super::end::{End, unlike};
use crate::policy::valid::{Rule, Selector, ValidPolicy, Workload};

/// Numbers of rules that are remembered, all combinations together: 16 MiB.
const REMEMBERED_MAX: usize = 4 << 20;

/// A destination: its class, and which listener of which workload answers.
type Answering = (Class, Option<(u32, u32)>);
/// Rules by their place among all, ascending.
type Places = Arc<[u32]>;

/// The rules of one policy, with what was found out about them.
#[derive(Debug)]
pub struct Matching {
    policy: Arc<ValidPolicy>,
    table: Arc<PolicyTable>,
    sources: HashMap<Class, Places>,
    destinations: HashMap<Answering, Places>,
    pairs: HashMap<(Class, Answering, u32), Places>,
    /// Numbers that may still be remembered.
    room: usize,
    /// Looks at a rule's end that may still be taken.
    left: u64,
}

impl Matching {
    /// Of `policy`, which was compiled to `table`.
    #[must_use]
    pub fn new(policy: Arc<ValidPolicy>, table: Arc<PolicyTable>) -> Self {
        let (sources, destinations, pairs) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { policy, table, sources, destinations, pairs, room: REMEMBERED_MAX, left: 0 }
    }

    /// From now on at most `looks` looks at a rule's end are taken.
    pub const fn limit(&mut self, looks: u64) {
        self.left = looks;
    }

    /// The name of the rule at a place among all.
    #[must_use]
    pub fn name(&self, at: u32) -> &str {
        rule(&self.policy, at).map_or("", |rule| &rule.name)
    }

    /// Whether there is room to remember so many numbers, which is taken.
    fn takes_room(&mut self, numbers: usize) -> bool {
        let left = self.room.checked_sub(numbers + 8);
        self.room = left.unwrap_or(self.room);
        left.is_some()
    }

    /// The rules that match, by their place among all, in order of evaluation. `None` if that would be too much work.
    pub fn rules(&mut self, source: IpAddr, destination: IpAddr, service: u32) -> Option<Places> {
        let [_, protocol, high, low] = service.to_be_bytes();
        let key = ServiceKey::new(protocol, u16::from_be_bytes([high, low]));
        let [from, to] = [source, destination].map(|ip| self.table.resolve(Address::from(ip)));
        let answering = (to.class(), to.owner().and_then(|owner| self.listener(owner.index(), service)));
        let pair = (from.class(), answering, service);
        if let Some(known) = self.pairs.get(&pair) {
            return Some(Arc::clone(known));
        }
        let (policy, owners) = (Arc::clone(&self.policy), [from, to].map(|end| end.owner()));
        let workload = |at: usize| owners[at].and_then(|owner| policy.workloads.get(owner.index() as usize));
        let from = End::of(&policy, workload(0), source, None);
        let to = End::of(&policy, workload(1), destination, Some(key));
        let froms = self.ends(|all| all.sources.get(&pair.0), &from, |rule| &rule.from)?;
        if !self.sources.contains_key(&pair.0) && self.takes_room(froms.len()) {
            self.sources.insert(pair.0, Arc::clone(&froms));
        }
        let tos = self.ends(|all| all.destinations.get(&answering), &to, |rule| &rule.to)?;
        if !self.destinations.contains_key(&answering) && self.takes_room(tos.len()) {
            self.destinations.insert(answering, Arc::clone(&tos));
        }
        let matches = |at: &u32| {
            let Some(rule) = rule(&policy, *at) else { return false };
            tos.binary_search(at).is_ok()
                && rule.services.iter().any(|range| range.contains(service))
                && unlike(rule, &from, &to).is_none()
        };
        self.left = self.left.checked_sub(froms.len() as u64 + 1)?;
        let found: Places = froms.iter().copied().filter(matches).collect();
        if self.takes_room(found.len()) {
            self.pairs.insert(pair, Arc::clone(&found));
        }
        Some(found)
    }

    /// Which listener of a workload answers.
    fn listener(&self, owner: u32, service: u32) -> Option<(u32, u32)> {
        let workload: &Workload = self.policy.workloads.get(owner as usize)?;
        let answers = workload
            .listeners
            .iter()
            .position(|one| one.services.iter().any(|range| range.contains(service)));
        Some((owner, u32::try_from(answers?).ok()?))
    }

    /// The rules that select `end` on one side.
    fn ends(
        &mut self,
        known: impl Fn(&Self) -> Option<&Places>,
        end: &End<'_>,
        side: fn(&Rule) -> &Vec<Selector>,
    ) -> Option<Places> {
        if let Some(known) = known(self) {
            return Some(Arc::clone(known));
        }
        let rules = self.policy.tiers.iter().map(|tier| tier.rules.len() as u64).sum();
        self.left = self.left.checked_sub(rules)?;
        let counts = |rule: &Rule| !rule.staged && (rule.gates.egress || rule.gates.ingress);
        let selected =
            (0..).zip(every(&self.policy)).filter(|(_, rule)| counts(rule) && end.is_selected(side(rule)));
        Some(selected.map(|(at, _)| at).collect())
    }
}

/// Every rule, in order of evaluation.
fn every(policy: &ValidPolicy) -> impl Iterator<Item = &Rule> {
    policy.tiers.iter().flat_map(|tier| &tier.rules)
}

/// The rule at a place among all.
fn rule(policy: &ValidPolicy, at: u32) -> Option<&Rule> {
    let mut at = at as usize;
    for tier in &policy.tiers {
        match tier.rules.get(at) {
            None => at -= tier.rules.len(),
            found => return found,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{CompileOptions, SourceFile, compile, load_texts};

    const POLICY: &str = "ringfence: 1
workloads:
  - {name: web, labels: {app: shop, role: web}, addresses: [10.0.0.1, \"fd00::1\"]}
  - {name: crm, labels: {app: crm, role: web}, addresses: [10.0.0.3]}
  - name: db
    labels: {app: shop, role: db}
    addresses: [10.0.0.2, \"fd00::2\"]
    listeners: [{name: admin, service: tcp/9000, labels: {role: admin}}]
networks:
  - {name: office, cidrs: [192.0.2.0/24], labels: {zone: office}}
rules:
  - {name: wide, from: any, to: {app: shop}, service: tcp}
  - {name: narrow, from: {role: web}, to: {role: db}, service: tcp/5432}
  - {name: alike, from: any, to: any, same: [app], service: any}
  - {name: admin, from: {zone: office}, to: {role: admin}, service: tcp}
  - {name: later, from: any, to: any, service: any, staged: true}
";

    fn matching() -> Matching {
        let files = [SourceFile { name: "p".into(), text: POLICY.into() }];
        let policy = load_texts(&files).unwrap_or_else(|faults| panic!("{faults}")).policy;
        let table = compile(&policy, &CompileOptions::default()).unwrap().table;
        Matching::new(Arc::new(policy), Arc::new(table))
    }

    #[test]
    fn every_match_is_found_whatever_the_order() {
        let mut matching = matching();
        matching.limit(1 << 20);
        let tcp = |port: u32| 6 << 16 | port;
        for round in 0..2 {
            for (source, destination, service, expected) in [
                ("10.0.0.1", "10.0.0.2", tcp(5432), &["alike", "narrow", "wide"][..]),
                ("fd00::1", "fd00::2", tcp(5432), &["alike", "narrow", "wide"]),
                ("10.0.0.3", "10.0.0.2", tcp(5432), &["narrow", "wide"]),
                ("10.0.0.3", "10.0.0.2", 17 << 16 | 5432, &[]),
                ("10.0.0.1", "10.0.0.2", 17 << 16 | 5432, &["alike"]),
                ("192.0.2.7", "10.0.0.2", tcp(9000), &["admin", "wide"]),
                ("192.0.2.7", "10.0.0.2", tcp(9001), &["wide"]),
                ("10.0.0.1", "10.0.0.2", tcp(9000), &["alike", "wide"]),
                ("10.0.0.2", "198.51.100.1", tcp(443), &[]),
            ] {
                let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
                let found = matching.rules(source, destination, service).unwrap();
                let own = |at: &u32| {
                    let rule = rule(&matching.policy, *at).unwrap();
                    (!rule.origin.file.starts_with('<')).then(|| rule.name.clone())
                };
                let found: Vec<String> = found.iter().filter_map(own).collect();
                assert_eq!(found, expected, "{source} {destination} {service:#x}, round {round}");
            }
        }
        assert!(matching.pairs.len() < 9, "classes share what was found");
    }

    #[test]
    fn work_is_bounded() {
        let mut matching = matching();
        let mut ask = |looks, room| {
            matching.limit(looks);
            matching.room = room;
            matching.rules("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap(), 6 << 16 | 5432)
        };
        assert!(ask(20, 0).is_none(), "there are more rules than that");
        let found = ask(1 << 20, 0).unwrap();
        assert!(ask(20, 0).is_none(), "nothing was remembered without room");
        assert_eq!(ask(1 << 20, 1 << 20), Some(Arc::clone(&found)));
        assert_eq!(ask(0, 1 << 20), Some(found), "what is remembered takes no look");
    }
}
