//! The ends that flows can have, grouped by what both policies can tell of them.

use std::net::IpAddr;

use dataplane::address::Address;
use hashbrown::{HashMap, HashSet};

use crate::policy::tuple::{Inventory, Kind, Label, Mentioned, Tuple};
use crate::policy::valid::{Enforcement, Mode, Prefix, Requirement, Selector, ValidPolicy};

/// All addresses of which both policies can tell the same.
#[derive(Debug)]
pub(super) struct Group<'a> {
    /// What the old and the new policy can tell.
    pub(super) tuples: [Tuple<'a>; 2],
    /// One IPv4 and one IPv6 address of it.
    pub(super) example: [Option<Address>; 2],
    /// Workloads with an IPv4 address in it, with an IPv6 address, and with both; 1 for what is no workload.
    count: [u64; 3],
    /// The two policies treat its gates, or choose its rules, differently.
    pub(super) changed: bool,
}

impl Group<'_> {
    pub(super) fn is_workload(&self) -> bool {
        self.tuples.iter().any(Tuple::is_workload)
    }

    /// The tuple by which people know it: the new one, but for what is gone.
    pub(super) fn shown(&self) -> usize {
        usize::from(self.tuples[1].is_workload() || !self.tuples[0].is_workload())
    }
}

/// All groups.
#[derive(Debug)]
pub(super) struct Ends<'a> {
    mentioned: Mentioned<'a>,
    inventories: [Inventory<'a>; 2],
    index: HashMap<[Tuple<'a>; 2], u32>,
    pub(super) groups: Vec<Group<'a>>,
}

impl<'a> Ends<'a> {
    pub(super) fn new(policies: [&'a ValidPolicy; 2]) -> Self {
        let mut ends = Self {
            mentioned: Mentioned::of(&policies),
            inventories: policies.map(Inventory::new),
            index: HashMap::new(),
            groups: Vec::new(),
        };
        ends.workloads(policies);
        ends.ranges(policies);
        ends.mark(policies);
        ends
    }

    fn tuples(&self, address: Address) -> [Tuple<'a>; 2] {
        [0, 1].map(|side: usize| self.inventories[side].tuple(&self.mentioned, address))
    }

    /// The group of an address; `None` if no group has its tuples, which only an address of a range without any free
    /// address can meet.
    pub(super) fn of(&self, address: Address) -> Option<u32> {
        self.index.get(&self.tuples(address)).copied()
    }

    /// Who owns `address`, by name: in the new policy, else in the old one.
    pub(super) fn owner(&self, address: Address) -> Option<&'a str> {
        self.inventories.iter().rev().find_map(|one| one.owner(address)).map(|one| one.name.as_str())
    }

    fn group(&mut self, address: Address) -> u32 {
        let tuples = self.tuples(address);
        let next = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        let at = *self.index.entry(tuples.clone()).or_insert(next);
        if at == next {
            self.groups.push(Group { tuples, example: [None; 2], count: [0; 3], changed: false });
        }
        self.groups[at as usize].example[usize::from(!address.is_v4())].get_or_insert(address);
        at
    }

    /// Every workload of either policy counts once in each group in which it has an address.
    fn workloads(&mut self, policies: [&'a ValidPolicy; 2]) {
        let mut later: HashMap<&str, &[IpAddr]> =
            policies[1].workloads.iter().map(|one| (one.name.as_str(), one.addresses.as_slice())).collect();
        for workload in &policies[0].workloads {
            let others = later.remove(workload.name.as_str()).unwrap_or_default();
            self.workload(workload.addresses.iter().chain(others));
        }
        for workload in &policies[1].workloads {
            if later.contains_key(workload.name.as_str()) {
                self.workload(workload.addresses.iter());
            }
        }
    }

    fn workload<'i>(&mut self, addresses: impl Iterator<Item = &'i IpAddr>) {
        let mut at: Vec<(u32, [bool; 2])> = Vec::new();
        for address in addresses {
            let address = Address::from(*address);
            let group = self.group(address);
            let families = match at.iter_mut().find(|(have, _)| *have == group) {
                Some((_, families)) => families,
                None => &mut at.push_mut((group, [false; 2])).1,
            };
            families[usize::from(!address.is_v4())] = true;
        }
        for (group, [v4, v6]) in at {
            let count = &mut self.groups[group as usize].count;
            count[0] += u64::from(v4);
            count[1] += u64::from(v6);
            count[2] += u64::from(v4 && v6);
        }
    }

    /// One address of every piece of the address space that networks cut and no workload owns.
    fn ranges(&mut self, policies: [&'a ValidPolicy; 2]) {
        let prefixes =
            || policies.iter().flat_map(|policy| &policy.networks).flat_map(|network| &network.prefixes);
        for v4 in [true, false] {
            let end = |prefix: &Prefix| {
                let len = u32::from(prefix.len) + if v4 { 96 } else { 0 };
                let bits = Address::from(prefix.address).bits();
                (bits | u128::MAX.checked_shr(len).unwrap_or(0)).checked_add(1)
            };
            let own = || prefixes().filter(|prefix| prefix.address.is_ipv4() == v4);
            let first = if v4 { Address::v4([0; 4]).bits() } else { 0 };
            let beyond = if v4 { Address::v4([255; 4]).bits() + 1 } else { u128::MAX };
            let mut starts: Vec<u128> = vec![first, beyond];
            starts.extend(own().map(|prefix| Address::from(prefix.address).bits()));
            starts.extend(own().filter_map(end));
            starts.sort_unstable();
            starts.dedup();
            for range in starts.windows(2).filter(|range| range[0] >= first && range[1] <= beyond) {
                self.range(range[0], range[1], v4);
            }
        }
    }

    /// The first address from `first` to before `end` that no workload owns stands for all.
    fn range(&mut self, first: u128, end: u128, v4: bool) {
        let owned = |bits: u128| {
            self.inventories.iter().any(|one| one.owner(Address::from_bits(bits)).is_some())
                // IPv4 addresses lie inside the IPv6 space, as mapped ones.
                || (!v4 && Address::from_bits(bits).is_v4())
        };
        let Some(free) = (first..end).find(|bits| !owned(*bits)) else { return };
        let group = self.group(Address::from_bits(free));
        let count = &mut self.groups[group as usize].count;
        count[usize::from(!v4)] = 1;
        count[2] = count[0] & count[1];
    }

    fn mark(&mut self, policies: [&'a ValidPolicy; 2]) {
        let same_modes = super::edits::same_enforcement(policies[0], policies[1]);
        for group in &mut self.groups {
            let [old, new] = &group.tuples;
            group.changed = old != new || (!same_modes && modes(policies[0], old) != modes(policies[1], new));
        }
    }

    /// How many pairs of workloads two groups make; an end that is no workload counts as one.
    pub(super) fn pairs(&self, from: u32, to: u32) -> u64 {
        let (a, b) = (&self.groups[from as usize], &self.groups[to as usize]);
        let count = |at: usize| a.count[at].saturating_mul(b.count[at]);
        let all = count(0).saturating_add(count(1)).saturating_sub(count(2));
        let same = if from == to && a.is_workload() { a.count[0] + a.count[1] - a.count[2] } else { 0 };
        all.saturating_sub(same)
    }

    /// The groups that any selector of a list may match, for each of `lists`, as that side's policy sees them.
    pub(super) fn matching(&self, side: usize, lists: &[&[Selector]]) -> Vec<Vec<u32>> {
        let mut holding: HashMap<(&str, &str), Vec<u32>> = HashMap::new();
        for (at, group) in (0..).zip(&self.groups) {
            let tuple = &group.tuples[side];
            let labels = tuple.labels.iter().chain(tuple.listeners.iter().flat_map(|(_, labels)| labels));
            let pairs: HashSet<(&str, &str)> =
                labels.flat_map(|(key, values)| values.iter().map(|value| (*key, *value))).collect();
            pairs.into_iter().for_each(|pair| holding.entry(pair).or_default().push(at));
        }
        let all = || 0..u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        let matched = |list: &&[Selector]| {
            let mut found: Vec<u32> = Vec::new();
            for selector in *list {
                let one = std::slice::from_ref(selector);
                let meets = |at: &u32| self.groups[*at as usize].tuples[side].may_match(one);
                match proposed(selector, &holding) {
                    Some(proposed) => found.extend(proposed.into_iter().filter(meets)),
                    None => found.extend(all().filter(meets)),
                }
            }
            found.sort_unstable();
            found.dedup();
            found
        };
        lists.iter().map(matched).collect()
    }
}

/// The groups that hold a value of the requirement with the fewest.
fn proposed(selector: &Selector, holding: &HashMap<(&str, &str), Vec<u32>>) -> Option<Vec<u32>> {
    let lists = selector.requirements.iter().filter_map(|one| match one {
        Requirement::In(key, values) => {
            Some(values.iter().filter_map(|value| holding.get(&(key.as_str(), value.as_str()))).collect())
        }
        _ => None,
    });
    let fewest =
        lists.min_by_key(|lists: &Vec<&Vec<u32>>| lists.iter().map(|list| list.len()).sum::<usize>());
    fewest.map(|lists| lists.into_iter().flatten().copied().collect())
}

/// The modes that are told for the gates of an end: egress, ingress, and ingress of each listener.
fn modes(policy: &ValidPolicy, tuple: &Tuple<'_>) -> Vec<Mode> {
    if tuple.kind != Kind::Workload {
        return Vec::new();
    }
    let told = |instead: &[Label<'_>], mode: fn(&Enforcement) -> Option<Mode>| {
        let mut matching = policy.enforcement.iter().filter(|one| tuple.matches(&one.select, instead));
        matching.find_map(mode).unwrap_or(Mode::Full)
    };
    let listeners = tuple.listeners.iter().map(|(_, labels)| told(labels, |one| one.ingress));
    [told(&[], |one| one.egress), told(&[], |one| one.ingress)].into_iter().chain(listeners).collect()
}
