//! Two policies in one: selected workloads live under the candidate, everything else under the stable policy.
//!
//! Each gate belongs to one endpoint, so that each gate is decided by one of the two policies, whole: the gates of a
//! canary workload by the candidate, those of every other endpoint by the stable policy. A flow between the two must
//! pass both. Canary workloads carry the label [`KEY`], and every rule that only one policy has is bound to the gates
//! of its own endpoints; a rule that both have stays as it is. The inventory must be the same, since an address can
//! only be one endpoint.

use std::collections::BTreeSet;
use std::fmt;

use dataplane::address::Address;

use super::tuple::{Inventory, Mentioned};
use super::valid::{
    Enforcement, Gates, Mode, Network, Origin, Requirement, Rule, Selector, Tier, ValidPolicy, Workload,
};

/// The label key of canary workloads; no policy should use it.
pub const KEY: &str = "ringfence/canary";
/// Its value.
const VALUE: &str = "candidate";

/// Both policies, and how many workloads are canaries.
#[derive(Clone, Debug)]
pub struct Canary {
    /// What is compiled.
    pub policy: ValidPolicy,
    /// Canary workloads.
    pub workloads: usize,
}

/// Why two policies cannot be in force beside each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CanaryError {
    /// The selector selects no labelled workload.
    Nobody,
    /// A workload or network is in only one of them, or differs.
    Inventory {
        /// `workload` or `network`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// They let different EtherTypes pass; those belong to no endpoint.
    EtherTypes,
    /// They have this tier in different places.
    TierOrder(String),
}

impl fmt::Display for CanaryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("no labelled workload is selected as canary"),
            Self::Inventory { what, name } => write!(
                f,
                "a canary keeps the inventory, but the {what} `{name}` is not the same in both policies: publish the \
                 inventory first"
            ),
            Self::EtherTypes => f.write_str(
                "a canary keeps `ether_types`, which belong to no workload: publish that change first",
            ),
            Self::TierOrder(tier) => {
                write!(
                    f,
                    "the tier `{tier}` stands in another order in the policy in force: publish that change first"
                )
            }
        }
    }
}

impl std::error::Error for CanaryError {}

/// Puts `candidate` in force at the gates of the workloads that `select` matches, and `stable` at all others.
/// Workloads without labels stay in quarantine whatever policy says, so they are never canaries.
///
/// # Errors
/// [`CanaryError`].
pub fn merge(
    stable: &ValidPolicy,
    candidate: &ValidPolicy,
    select: &[Selector],
) -> Result<Canary, CanaryError> {
    differs("workload", &stable.workloads, &candidate.workloads, |one| &one.name, same_workload)?;
    differs("network", &stable.networks, &candidate.networks, |one| &one.name, same_network)?;
    if stable.ether_types != candidate.ether_types {
        return Err(CanaryError::EtherTypes);
    }
    let chosen = chosen(stable, select);
    if chosen.is_empty() {
        return Err(CanaryError::Nobody);
    }
    let mut workloads = stable.workloads.clone();
    for at in &chosen {
        workloads[*at].labels.insert(KEY.to_owned(), BTreeSet::from([VALUE.to_owned()]));
    }
    let mut assertions = candidate.assertions.clone();
    let told: BTreeSet<&str> = candidate.assertions.iter().map(|one| one.name.as_str()).collect();
    assertions.extend(stable.assertions.iter().filter(|one| !told.contains(one.name.as_str())).cloned());
    let policy = ValidPolicy {
        workloads,
        networks: stable.networks.clone(),
        tiers: tiers(stable, candidate)?,
        enforcement: enforcement(&stable.enforcement, &candidate.enforcement),
        ether_types: stable.ether_types.clone(),
        assertions,
        ..ValidPolicy::default()
    };
    Ok(Canary { policy, workloads: chosen.len() })
}

/// The indices of the workloads that are selected.
fn chosen(policy: &ValidPolicy, select: &[Selector]) -> Vec<usize> {
    let origin = Origin { file: "".into(), line: 0, column: 0 };
    let asked = Enforcement { select: select.to_vec(), ingress: Some(Mode::Full), egress: None, origin };
    let asking = ValidPolicy { enforcement: vec![asked], ..ValidPolicy::default() };
    let (mentioned, inventory) = (Mentioned::of(&[policy, &asking]), Inventory::new(policy));
    let is_chosen = |one: &Workload| {
        let mut addresses = one.addresses.iter().map(|address| Address::from(*address));
        !one.labels.is_empty()
            && addresses.any(|address| inventory.tuple(&mentioned, address).matches(select, &[]))
    };
    policy.workloads.iter().enumerate().filter(|(_, one)| is_chosen(one)).map(|(at, _)| at).collect()
}

fn differs<T>(
    what: &'static str,
    stable: &[T],
    candidate: &[T],
    name: impl Fn(&T) -> &String,
    same: impl Fn(&T, &T) -> bool,
) -> Result<(), CanaryError> {
    let mut left: hashbrown::HashMap<&str, &T> = stable.iter().map(|one| (name(one).as_str(), one)).collect();
    let unlike = |one: &&T| !left.remove(name(one).as_str()).is_some_and(|other| same(one, other));
    let found = candidate.iter().find(unlike).map(|one| name(one).clone());
    match found.or_else(|| left.keys().min().map(|name| (*name).to_owned())) {
        Some(name) => Err(CanaryError::Inventory { what, name }),
        None => Ok(()),
    }
}

fn same_workload(a: &Workload, b: &Workload) -> bool {
    let listeners = |one: &Workload| -> Vec<_> {
        one.listeners.iter().map(|one| (one.name.clone(), one.services.clone(), one.labels.clone())).collect()
    };
    let sorted = |one: &Workload| {
        let mut addresses = one.addresses.clone();
        addresses.sort_unstable();
        addresses
    };
    (&a.labels, &a.macs, &a.wire, sorted(a), listeners(a))
        == (&b.labels, &b.macs, &b.wire, sorted(b), listeners(b))
}

fn same_network(a: &Network, b: &Network) -> bool {
    let sorted = |one: &Network| {
        let mut prefixes = one.prefixes.clone();
        prefixes.sort_unstable();
        prefixes
    };
    a.labels == b.labels && sorted(a) == sorted(b)
}

/// Every tier of both, in an order that is right for both.
fn tiers(stable: &ValidPolicy, candidate: &ValidPolicy) -> Result<Vec<Tier>, CanaryError> {
    let (mut old, mut new) = (stable.tiers.as_slice(), candidate.tiers.as_slice());
    let mut all = Vec::new();
    let has = |tiers: &[Tier], name: &str| tiers.iter().any(|tier| tier.name == name);
    loop {
        let (a, b) = (old.first(), new.first());
        let (a, b) = match (a, b) {
            (None, None) => return Ok(all),
            (Some(a), Some(b)) if a.name == b.name => (Some(a), Some(b)),
            (Some(a), _) if !has(new, &a.name) => (Some(a), None),
            (_, Some(b)) if !has(old, &b.name) => (None, Some(b)),
            (a, b) => {
                return Err(CanaryError::TierOrder(
                    a.or(b).map_or_else(String::new, |tier| tier.name.clone()),
                ));
            }
        };
        all.extend(tier(a, b));
        old = &old[usize::from(a.is_some())..];
        new = &new[usize::from(b.is_some())..];
    }
}

/// One tier: what both have as it is, the rest bound to its own gates.
fn tier(stable: Option<&Tier>, candidate: Option<&Tier>) -> Option<Tier> {
    let name = stable.or(candidate)?.name.clone();
    let rules = |tier: Option<&Tier>| tier.map_or_else(Vec::new, |tier| tier.rules.clone());
    let mut waiting: hashbrown::HashMap<String, Rule> =
        rules(candidate).into_iter().map(|rule| (rule.name.clone(), rule)).collect();
    let mut all = Vec::new();
    for rule in rules(stable) {
        match waiting.get(&rule.name) {
            Some(other) if same_rule(&rule, other) => {
                waiting.remove(&rule.name);
                all.push(rule);
            }
            _ => all.extend(bound(&rule, outside)),
        }
    }
    for mut rule in rules(candidate).into_iter().filter(|rule| waiting.contains_key(&rule.name)) {
        rule.name = format!("canary/{}", rule.name);
        all.extend(bound(&rule, inside));
    }
    all.sort_by_key(|rule| rule.priority);
    Some(Tier { name, rules: all })
}

fn same_rule(a: &Rule, b: &Rule) -> bool {
    (&a.from, &a.to, &a.services, a.action, a.gates, &a.same, a.on_revoke, a.staged, a.priority)
        == (&b.from, &b.to, &b.services, b.action, b.gates, &b.same, b.on_revoke, b.staged, b.priority)
}

/// The rule at each of its gates, only for the endpoints that `side` leaves it.
fn bound(rule: &Rule, side: fn(&[Selector]) -> Vec<Selector>) -> impl Iterator<Item = Rule> {
    let egress = rule.gates.egress.then(|| Rule {
        from: side(&rule.from),
        gates: Gates { egress: true, ingress: false },
        ..rule.clone()
    });
    let ingress = rule.gates.ingress.then(|| Rule {
        to: side(&rule.to),
        gates: Gates { egress: false, ingress: true },
        ..rule.clone()
    });
    egress.into_iter().chain(ingress)
}

/// Only canaries.
fn inside(selectors: &[Selector]) -> Vec<Selector> {
    selectors
        .iter()
        .map(|one| with(one, &[Requirement::In(KEY.to_owned(), vec![VALUE.to_owned()])]))
        .collect()
}

/// Everything but canaries: what is no workload, and workloads without the label.
fn outside(selectors: &[Selector]) -> Vec<Selector> {
    let workload = [Requirement::AnyWorkload, Requirement::NotExists(KEY.to_owned())];
    let both = |one: &Selector| [with(one, &[Requirement::NoWorkload]), with(one, &workload)];
    selectors.iter().flat_map(both).collect()
}

fn with(selector: &Selector, more: &[Requirement]) -> Selector {
    Selector { requirements: selector.requirements.iter().chain(more).cloned().collect() }
}

/// The first entry that matches counts, so each side's are bound to its own workloads.
fn enforcement(stable: &[Enforcement], candidate: &[Enforcement]) -> Vec<Enforcement> {
    let same = |(a, b): (&Enforcement, &Enforcement)| {
        (&a.select, a.ingress, a.egress) == (&b.select, b.ingress, b.egress)
    };
    if stable.len() == candidate.len() && stable.iter().zip(candidate).all(same) {
        return stable.to_vec();
    }
    let bind = |one: &Enforcement, side: fn(&[Selector]) -> Vec<Selector>| Enforcement {
        select: side(&one.select),
        ..one.clone()
    };
    let old = stable.iter().map(|one| bind(one, outside));
    candidate.iter().map(|one| bind(one, inside)).chain(old).collect()
}
