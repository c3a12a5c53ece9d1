//! From pairs of selectors to rules: names, numbers, and lists where one rule says as much as several.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use dataplane::address::Address;
use hashbrown::HashSet;

use super::classes::{ABSENT, ANY, End, Group};
use super::ends::Ends;
use super::seen::{Cell, Seen, allows};
use super::{Observation, Plan};
use crate::observe::names::service_name;
use crate::policy::service::normalise;
use crate::policy::valid::{Requirement, Selector, ServiceRange, ValidPolicy};

/// Services of one rule; more make another rule.
const SERVICES_MAX: usize = 4096;
/// Names in one list; more make another rule.
const LIST_MAX: usize = 1000;
/// Letters of one end in a rule's name.
const NAME_MAX: usize = 60;

/// A proposed rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// Its name, which no rule of the policy has.
    pub name: String,
    /// Who may open.
    pub from: Selector,
    /// To whom.
    pub to: Selector,
    /// What: sorted, disjoint, not adjacent.
    pub services: Vec<ServiceRange>,
    /// Observed flows that it allows.
    pub flows: u64,
    /// Of those, flows that the policy allows already.
    pub already: u64,
    /// Tuples of source workload, destination workload and service that it allows. An end that is no workload counts as
    /// one.
    pub allows: u64,
    /// Of those, tuples that were not seen.
    pub unseen: u64,
}

/// Flows that no rule is proposed for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refused {
    /// Who opened them.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// The service.
    pub service: u32,
    /// How many.
    pub flows: u64,
    /// Why, and what would help.
    pub why: String,
}

impl Refused {
    fn new(one: &Observation, why: String) -> Self {
        let (source, destination) = (one.source.to_ip(), one.destination.to_ip());
        Self { source, destination, service: one.service, flows: one.flows, why }
    }

    pub(super) fn quarantined(one: &Observation) -> Self {
        let why = "an end is a workload without labels, which is in quarantine: label it first";
        Self::new(one, why.into())
    }

    pub(super) fn forbidden(one: &Observation, assertion: &str) -> Self {
        Self::new(one, format!("the assertion `{assertion}` says never"))
    }
}

/// A rule that is being made.
struct Draft {
    /// The selectors of each end; several only where all are classes of their own.
    ends: [Vec<u32>; 2],
    services: BTreeSet<u32>,
}

pub(super) fn plan(
    ends: &mut Ends<'_>,
    seen: &Seen,
    pairs: Vec<super::cover::Chosen>,
    exact: bool,
    mut refused: Vec<Refused>,
) -> Plan {
    let drafts =
        pairs.into_iter().map(|([from, to], services)| Draft { ends: [vec![from], vec![to]], services });
    let mut drafts: Vec<Draft> = drafts.collect();
    for side in [0, 1] {
        drafts = listed(ends, drafts, side);
    }
    let networks = networks(ends, &drafts);
    let mut taken: HashSet<String> = names(ends.policy);
    let mut rules: Vec<Proposed> =
        drafts.iter().flat_map(|draft| rule(ends, seen, draft, &mut taken)).collect();
    rules.sort_by(|a, b| b.flows.cmp(&a.flows).then_with(|| a.name.cmp(&b.name)));
    refused.sort();
    Plan { networks, rules, refused, exact }
}

fn names(policy: &ValidPolicy) -> HashSet<String> {
    policy.tiers.iter().flat_map(|tier| &tier.rules).map(|rule| rule.name.clone()).collect()
}

/// Rules that differ only in the classes of one side become one rule with a list, as far as a list can name them.
fn listed(ends: &Ends<'_>, drafts: Vec<Draft>, side: usize) -> Vec<Draft> {
    // What a selector's list can hold, and what is the same: the other end, the services.
    let mut groups: BTreeMap<(u8, Vec<u32>, BTreeSet<u32>), Vec<u32>> = BTreeMap::new();
    let mut rest = Vec::new();
    for draft in drafts {
        let kind = |number: &u32| match &ends.sides[side].matched[*number as usize].end {
            End::Only(class) => match ends.sides[side].classes[*class as usize].group {
                Group::Workload(_) => Some(0),
                Group::Network(_) => Some(1),
                Group::Prefix(..) => Some(2),
                Group::Labels(_) | Group::Anywhere => None,
            },
            End::Labels(_) => None,
        };
        match draft.ends[side].first().and_then(kind) {
            Some(kind) => {
                let [from, to] = draft.ends;
                let (own, other) = if side == 0 { (from, to) } else { (to, from) };
                groups.entry((kind, other, draft.services)).or_default().extend(own);
            }
            None => rest.push(draft),
        }
    }
    for ((_, other, services), mut own) in groups {
        own.sort_unstable();
        for own in own.chunks(LIST_MAX) {
            let ends = if side == 0 { [own.to_vec(), other.clone()] } else { [other.clone(), own.to_vec()] };
            rest.push(Draft { ends, services: services.clone() });
        }
    }
    rest
}

/// The name of a network that a proposal names for unknown addresses.
fn prefix(first: u128, len: u8) -> (String, String) {
    let address = Address::from_bits(first).to_ip();
    let len = if address.is_ipv4() { len.saturating_sub(96) } else { len };
    let word = address.to_string().replace(':', "-");
    (format!("seen-{}-{len}", word.trim_matches('-')), format!("{address}/{len}"))
}

/// The networks that rules name and the policy does not.
fn networks(ends: &Ends<'_>, drafts: &[Draft]) -> Vec<(String, String)> {
    let mut found = BTreeSet::new();
    for draft in drafts {
        for (side, numbers) in draft.ends.iter().enumerate() {
            for number in numbers {
                if let End::Only(class) = ends.sides[side].matched[*number as usize].end
                    && let Group::Prefix(first, len) = ends.sides[side].classes[class as usize].group
                {
                    found.insert(prefix(first, len));
                }
            }
        }
    }
    found.into_iter().collect()
}

fn rule(ends: &Ends<'_>, seen: &Seen, draft: &Draft, taken: &mut HashSet<String>) -> Vec<Proposed> {
    let all = |service: &u32| service_name(*service).parse::<ServiceRange>().ok();
    let mut ranges: Vec<ServiceRange> = draft.services.iter().filter_map(all).collect();
    normalise(&mut ranges);
    let [from, to] = [0, 1].map(|side| selector(ends, side, &draft.ends[side]));
    let [from_word, to_word] = [0, 1].map(|side| called(ends, side, &draft.ends[side]));
    let one = |services: &[ServiceRange]| {
        let (mut sum, mut most) = (Cell::default(), 0u64);
        let keys = draft.services.iter().filter(|key| services.iter().any(|range| range.contains(**key)));
        for service in keys {
            for pair in draft.ends[0].iter().flat_map(|from| draft.ends[1].iter().map(|to| [*from, *to])) {
                let cell = seen.between(ends, pair, *service);
                sum.pairs += cell.pairs;
                sum.flows = sum.flows.saturating_add(cell.flows);
                sum.allowed = sum.allowed.saturating_add(cell.allowed);
                most = most.saturating_add(allows(ends, pair, *service));
            }
        }
        Proposed {
            name: unique(&format!("proposed/{from_word}-to-{to_word}"), taken),
            from: from.clone(),
            to: to.clone(),
            services: services.to_vec(),
            flows: sum.flows,
            already: sum.allowed,
            allows: most,
            unseen: most.saturating_sub(sum.pairs),
        }
    };
    ranges.chunks(SERVICES_MAX).map(one).collect()
}

fn unique(name: &str, taken: &mut HashSet<String>) -> String {
    let mut found = name.to_owned();
    let mut number = 1;
    while !taken.insert(found.clone()) {
        number += 1;
        found = format!("{name}-{number}");
    }
    found
}

/// A selector in the policy's words.
fn selector(ends: &Ends<'_>, side: usize, numbers: &[u32]) -> Selector {
    let mut workloads = BTreeSet::new();
    let mut networks = BTreeSet::new();
    for number in numbers {
        let class = match &ends.sides[side].matched[*number as usize].end {
            End::Labels(asked) => return labels(ends, side, asked),
            End::Only(class) => *class,
        };
        match &ends.sides[side].classes[class as usize].group {
            Group::Workload(name) => {
                workloads.insert((*name).to_owned());
            }
            Group::Network(name) => {
                networks.insert((*name).to_owned());
            }
            Group::Prefix(first, len) => {
                networks.insert(prefix(*first, *len).0);
            }
            Group::Anywhere => return Selector { requirements: vec![Requirement::NoWorkload] },
            Group::Labels(_) => {}
        }
    }
    let requirements = if networks.is_empty() {
        vec![Requirement::Workload(workloads.into_iter().collect())]
    } else {
        // Workloads in it have rules of their own.
        vec![Requirement::Network(networks.into_iter().collect()), Requirement::NoWorkload]
    };
    Selector { requirements }
}

fn labels(ends: &Ends<'_>, side: usize, asked: &[u32]) -> Selector {
    let mut requirements = Vec::new();
    let mut least = asked.to_vec();
    for (at, one) in asked.iter().enumerate().filter(|(_, one)| **one == ABSENT) {
        // Not worth a word if nothing else has that key.
        least[at] = ANY;
        let matched = ends.sides[side].matching(asked).len();
        if ends.sides[side].matching(&least).len() != matched {
            least[at] = *one;
        }
    }
    for (key, one) in ends.terms.keys.iter().zip(&least) {
        match *one {
            ANY => {}
            ABSENT => requirements.push(Requirement::NotExists(key.clone())),
            value => requirements.push(Requirement::In(key.clone(), vec![ends.word(value).to_owned()])),
        }
    }
    if requirements.is_empty() || networks_match(ends.policy, &requirements) {
        requirements.push(Requirement::AnyWorkload);
    }
    Selector { requirements }
}

/// Whether addresses that no workload owns could satisfy the requirements, by labels of networks.
fn networks_match(policy: &ValidPolicy, requirements: &[Requirement]) -> bool {
    let has = |key: &String, values: &[String]| {
        let held = policy.networks.iter().filter_map(|network| network.labels.get(key));
        held.flatten().any(|value| values.contains(value))
    };
    let labelled = || policy.networks.iter().any(|network| !network.labels.is_empty());
    requirements.iter().all(|one| match one {
        Requirement::In(key, values) => has(key, values),
        _ => labelled(),
    })
}

/// A word for an end in a rule's name.
fn called(ends: &Ends<'_>, side: usize, numbers: &[u32]) -> String {
    let word = |number: &u32| match &ends.sides[side].matched[*number as usize].end {
        End::Labels(asked) => {
            let values = asked.iter().filter(|one| **one > ABSENT).map(|one| ends.word(*one));
            values.filter(|value| !value.is_empty()).collect::<Vec<_>>().join("-")
        }
        End::Only(class) => match &ends.sides[side].classes[*class as usize].group {
            Group::Workload(name) | Group::Network(name) => (*name).to_owned(),
            Group::Prefix(first, len) => prefix(*first, *len).0,
            Group::Anywhere => "anywhere".into(),
            Group::Labels(_) => String::new(),
        },
    };
    let first =
        numbers.first().map(word).filter(|word| !word.is_empty()).unwrap_or_else(|| "any-workload".into());
    let text: String = first.chars().take(NAME_MAX).collect();
    let mut text = text.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
    if numbers.len() > 1 {
        text.push_str(&format!("-and-{}-more", numbers.len() - 1));
    }
    text
}
