//! How many other pairs of workloads a change opens and closes, for one service.

use std::collections::BTreeSet;
use std::net::IpAddr;

use dataplane::address::Address;
use dataplane::policy::PolicyTable;

use super::change::applied;
use super::edit::Edit;
use super::end::End;
use super::scene::Scene;
use crate::policy::compile::{CompileOptions, Named, compile};
use crate::policy::valid::{Rule, Selector, Workload};

/// The most workloads and rules that are compiled anew to measure the changes of one explanation.
const OBJECTS_MAX: usize = 300_000;
/// The most pairs looked at.
const PAIRS_MAX: usize = 250_000;
/// The most looks at a network to tell which workloads a rule selects.
const LOOKS_MAX: usize = 5_000_000;

/// Pairs of workloads other than the one asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Effect {
    pub(super) opens: Option<u64>,
    pub(super) closes: Option<u64>,
}

/// How much may still be compiled for one explanation.
pub(super) struct Budget {
    objects: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { objects: OBJECTS_MAX }
    }
}

/// What `edits` open and close.
pub(super) fn effect(scene: &Scene<'_>, compiled: Named<'_>, edits: &[Edit], budget: &mut Budget) -> Effect {
    let Some(pairs) = touched(scene, edits) else { return Effect::default() };
    if pairs.is_empty() {
        return Effect { opens: Some(0), closes: Some(0) };
    }
    let rules: usize = scene.policy.tiers.iter().map(|tier| tier.rules.len()).sum();
    let Some(left) = budget.objects.checked_sub(scene.policy.workloads.len() + rules) else {
        return Effect::default();
    };
    budget.objects = left;
    let Ok(after) = compile(&applied(scene.policy, edits), &CompileOptions::default()) else {
        return Effect::default();
    };
    let (mut opens, mut closes) = (0, 0);
    for (from, to) in pairs {
        let workload = |at: usize| scene.policy.workloads.get(at);
        let Some((from, to)) = workload(from).zip(workload(to)).and_then(|(from, to)| common(from, to))
        else {
            continue;
        };
        let allows = |table: &PolicyTable| {
            let [from, to] = [from, to].map(|address| table.resolve(Address::from(address)));
            table.decide(from, to, scene.service).verdict.is_allow()
        };
        match (allows(compiled.table), allows(&after.table)) {
            (false, true) => opens += 1,
            (true, false) => closes += 1,
            _ => {}
        }
    }
    Effect { opens: Some(opens), closes: Some(closes) }
}

/// The first addresses of one family.
fn common(from: &Workload, to: &Workload) -> Option<(IpAddr, IpAddr)> {
    from.addresses.iter().find_map(|from| {
        let to = to.addresses.iter().find(|to| to.is_ipv4() == from.is_ipv4())?;
        Some((*from, *to))
    })
}

/// The pairs, by index, whose verdict the edits may change; `None` if there are too many.
fn touched(scene: &Scene<'_>, edits: &[Edit]) -> Option<BTreeSet<(usize, usize)>> {
    let workloads = &scene.policy.workloads;
    let index = |name: &str| workloads.iter().position(|workload| workload.name == name);
    let own = |end: &End<'_>| end.workload.and_then(|workload| index(&workload.name));
    let mut pairs = BTreeSet::new();
    for edit in edits {
        let (froms, tos): (Vec<usize>, Vec<usize>) = match edit {
            // For the pair asked about only.
            Edit::AddRule { .. } | Edit::AddNetwork { .. } => continue,
            Edit::AddLabel { workload, .. }
            | Edit::RemoveLabel { workload, .. }
            | Edit::Enforcement { workload, .. } => {
                let at = index(workload)?;
                pairs.extend((0..workloads.len()).flat_map(|other| [(at, other), (other, at)]));
                continue;
            }
            Edit::Remove { origin, .. } => members(scene, |rule| rule.origin == *origin)?,
            Edit::Enforce { rule: name } | Edit::Extend { rule: name, .. } => {
                members(scene, |rule| rule.name == *name)?
            }
        };
        if pairs.len() + froms.len().saturating_mul(tos.len()) > PAIRS_MAX {
            return None;
        }
        pairs.extend(froms.iter().flat_map(|from| tos.iter().map(|to| (*from, *to))));
    }
    if let (Some(from), Some(to)) = (own(&scene.from), own(&scene.to)) {
        pairs.remove(&(from, to));
    }
    pairs.retain(|(from, to)| from != to);
    (pairs.len() <= PAIRS_MAX).then_some(pairs)
}

/// The workloads, by index, that may be a source, and those that may be a destination, of such rules.
fn members(scene: &Scene<'_>, chosen: impl Fn(&Rule) -> bool) -> Option<(Vec<usize>, Vec<usize>)> {
    let rules: Vec<&Rule> =
        scene.policy.tiers.iter().flat_map(|tier| &tier.rules).filter(|rule| chosen(rule)).collect();
    let workloads = &scene.policy.workloads;
    let prefixes: usize = scene.policy.networks.iter().map(|network| network.prefixes.len()).sum();
    if workloads.len().saturating_mul(prefixes + rules.len()) > LOOKS_MAX {
        return None;
    }
    let (mut froms, mut tos) = (Vec::new(), Vec::new());
    for (at, workload) in workloads.iter().enumerate() {
        // Another address, or another network around it, may make the difference: any of them counts.
        let any = |service, side: fn(&Rule) -> &Vec<Selector>| {
            workload.addresses.iter().any(|address| {
                let end = End::of(scene.policy, Some(workload), *address, service);
                rules.iter().any(|rule| end.is_selected(side(rule)))
            })
        };
        if any(None, |rule| &rule.from) {
            froms.push(at);
        }
        if any(Some(scene.service), |rule| &rule.to) {
            tos.push(at);
        }
    }
    Some((froms, tos))
}
