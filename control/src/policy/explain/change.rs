//! The smallest change that flips a verdict: edits are proposed, tried, and measured.

use std::collections::HashSet;

use dataplane::verdict::{Gate, Verdict};
use serde::Serialize;

use super::edit::{BUILT_IN_FILE, Edit, FIRST_TIER, nowhere};
use super::effect::{Budget, Effect, effect};
use super::end::{End, Regime, unlike};
use super::scene::{GateView, Scene};
use crate::policy::compile::Named;
use crate::policy::valid::{Action, Mode, Requirement, Rule, Selector, ServiceRange, ValidPolicy};

/// The most label edits of one proposal.
const LABELS_MAX: usize = 3;
/// The most proposals that come from one kind of edit.
const KIND_MAX: usize = 16;
/// The most changes measured.
const MEASURED_MAX: usize = 12;
/// The most changes told.
const TOLD_MAX: usize = 5;

/// A change of the policy after which the verdict on the flow is the opposite.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// What to do, one sentence for each edit.
    pub edits: Vec<String>,
    /// The verdict then.
    pub verdict: &'static str,
    /// How many other pairs of workloads it allows for this service that were denied; `null` if there are too many to
    /// count.
    pub opens: Option<u64>,
    /// How many other pairs of workloads it denies for this service that were allowed; `null` as for `opens`.
    pub closes: Option<u64>,
    #[serde(skip)]
    made: Vec<Edit>,
}

impl Change {
    /// The policy once the change is made.
    #[must_use]
    pub fn apply(&self, policy: &ValidPolicy) -> ValidPolicy {
        applied(policy, &self.made)
    }
}

impl Change {
    /// Whether it turns enforcement down: that opens more than `opens` tells, for whoever is no workload too.
    #[must_use]
    pub fn turns_enforcement_down(&self) -> bool {
        self.made.iter().any(|edit| matches!(edit, Edit::Enforcement { .. }))
    }
}

impl PartialEq for Change {
    fn eq(&self, other: &Self) -> bool {
        let parts = |one: &Self| (one.edits.clone(), one.verdict, one.opens, one.closes);
        parts(self) == parts(other)
    }
}

impl Eq for Change {}

pub(super) fn applied(policy: &ValidPolicy, edits: &[Edit]) -> ValidPolicy {
    let mut policy = policy.clone();
    edits.iter().for_each(|edit| edit.apply(&mut policy));
    policy
}

/// Changes that flip the verdict, the smallest first: fewest edits, then fewest other pairs opened or closed. There
/// always is one.
pub(super) fn changes(scene: &Scene<'_>, compiled: Named<'_>) -> Vec<Change> {
    let allowed = scene.allows(&[]);
    let flips = |edits: &Vec<Edit>| scene.allows(edits) != allowed;
    let mut singles = if allowed { stops(scene) } else { openings(scene) };
    let mut seen = HashSet::new();
    singles.retain(|edits| seen.insert(edits.iter().map(ToString::to_string).collect::<Vec<_>>()));
    let mut found: Vec<Vec<Edit>> = singles.iter().filter(|edits| flips(edits)).cloned().collect();
    if found.is_empty() {
        found.extend(pairs(&singles).filter(flips).take(TOLD_MAX));
    }
    if found.is_empty() {
        found.extend(Some(last_resort(scene, !allowed)).filter(flips));
    }
    found.sort_by_key(Vec::len);
    let verdict = if allowed { Verdict::Deny } else { Verdict::Allow };
    let mut budget = Budget::default();
    let mut told: Vec<Change> = found
        .into_iter()
        .take(MEASURED_MAX)
        .map(|made| {
            let Effect { opens, closes } = effect(scene, compiled, &made, &mut budget);
            let verdict =
                scene.judge(&made).iter().map(|gate| gate.verdict).find(|v| !v.is_allow()).unwrap_or(verdict);
            let edits = made.iter().map(ToString::to_string).collect();
            Change { edits, verdict: verdict.name(), opens, closes, made }
        })
        .collect();
    // The sort is stable: among equals the kinds keep their order.
    told.sort_by_key(|change| {
        let others = change.opens.zip(change.closes).map_or(u64::MAX, |(opens, closes)| opens + closes);
        (change.made.len(), others)
    });
    told.truncate(TOLD_MAX);
    told
}

/// Two proposals at once.
fn pairs(singles: &[Vec<Edit>]) -> impl Iterator<Item = Vec<Edit>> {
    let few = &singles[..singles.len().min(2 * KIND_MAX)];
    few.iter()
        .enumerate()
        .flat_map(move |(at, one)| few[at + 1..].iter().map(move |two| [&one[..], two].concat()))
}

/// What may open a closed flow.
fn openings(scene: &Scene<'_>) -> Vec<Vec<Edit>> {
    let gates = scene.judge(&[]);
    let closed = || gates.iter().filter(|gate| !gate.verdict.is_allow());
    let mut all = vec![exact(scene, "application", Action::Allow)];
    let unlabelled: Vec<Edit> = labelled(scene);
    if !unlabelled.is_empty() {
        all.push(unlabelled);
    }
    all.extend(nearly(scene, |action| action == Action::Allow));
    all.extend(closed().filter_map(remove));
    all.extend(closed().flat_map(|gate| unlabel(scene, gate)));
    for gate in closed() {
        let modes: &[Mode] = match gate.regime {
            Regime::Full => &[Mode::Selective, Mode::Observe],
            Regime::Selective => &[Mode::Observe],
            Regime::Off | Regime::Observe | Regime::Quarantine | Regime::Unmanaged => &[],
        };
        all.extend(modes.iter().filter_map(|mode| enforce(scene, gate.gate, *mode)));
    }
    all
}

/// What may close an open flow.
fn stops(scene: &Scene<'_>) -> Vec<Vec<Edit>> {
    let gates = scene.judge(&[]);
    let mut all = vec![exact(scene, "override", Action::Deny)];
    all.extend(gates.iter().filter_map(remove));
    all.extend(gates.iter().flat_map(|gate| unlabel(scene, gate)));
    all.extend(nearly(scene, |action| matches!(action, Action::Deny | Action::Reject)));
    for gate in &gates {
        if matches!(gate.regime, Regime::Off | Regime::Observe | Regime::Selective) {
            all.extend(enforce(scene, gate.gate, Mode::Full));
        }
    }
    all
}

/// Some label for each end that has none, and is in quarantine therefore.
fn labelled(scene: &Scene<'_>) -> Vec<Edit> {
    let mut names: Vec<&str> = [&scene.from, &scene.to]
        .into_iter()
        .filter(|end| end.own.is_empty())
        .filter_map(|end| end.workload.map(|workload| workload.name.as_str()))
        .collect();
    names.dedup();
    let label = |workload: &str| Edit::AddLabel {
        workload: workload.to_owned(),
        key: "labelled".to_owned(),
        value: "true".to_owned(),
    };
    names.into_iter().map(label).collect()
}

/// A rule for this flow and no other.
fn exact(scene: &Scene<'_>, tier: &'static str, action: Action) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut side = |end: &End<'_>| {
        let only = if let Some(workload) = end.workload {
            Requirement::Workload(vec![workload.name.clone()])
        } else {
            let name = format!("host-{}", end.address.to_string().replace(':', "-").trim_end_matches('-'));
            let known =
                edits.iter().any(|edit| matches!(edit, Edit::AddNetwork { name: n, .. } if *n == name));
            if !known {
                edits.push(Edit::AddNetwork { name: name.clone(), address: end.address });
            }
            Requirement::Network(vec![name])
        };
        vec![Selector { requirements: vec![only] }]
    };
    let (from, to) = (side(&scene.from), side(&scene.to));
    let key = scene.service.value();
    let services = vec![ServiceRange { first: key, last: key }];
    let name = format!("explain/{}", action.name());
    edits.push(Edit::AddRule {
        tier,
        rule: Rule { name, from, to, services, action, origin: nowhere(), ..Rule::default() },
    });
    edits
}

/// The rules that would match but for labels, for the service, or for being staged: with what they lack.
fn nearly(scene: &Scene<'_>, wanted: impl Fn(Action) -> bool) -> Vec<Vec<Edit>> {
    let mut found: Vec<Vec<Edit>> = Vec::new();
    let rules = scene.policy.tiers.iter().flat_map(|tier| &tier.rules);
    // What is built in can be switched off, not changed.
    for rule in rules.filter(|rule| wanted(rule.action) && !is_built_in(rule)) {
        let mut edits = Vec::new();
        let name = || rule.name.clone();
        if rule.staged {
            edits.push(Edit::Enforce { rule: name() });
        }
        if !scene.covers(rule, &[]) {
            edits.push(Edit::Extend { rule: name(), key: scene.service.value() });
        }
        let (Some(from), Some(to)) = (labels(&scene.from, &rule.from), labels(&scene.to, &rule.to)) else {
            continue;
        };
        edits.extend(from.into_iter().chain(to));
        if let Some(key) = unlike(rule, &scene.from.edited(&edits), &scene.to.edited(&edits)) {
            edits.extend(share(scene, key));
        }
        if !edits.is_empty() && edits.len() <= LABELS_MAX {
            found.push(edits);
        }
    }
    found.sort_by_key(Vec::len);
    found.truncate(KIND_MAX);
    found
}

fn is_built_in(rule: &Rule) -> bool {
    &*rule.origin.file == BUILT_IN_FILE
}

/// The labels that `end` lacks, or has too many, for the nearest of the selectors; `None` if labels cannot help.
fn labels(end: &End<'_>, selectors: &[Selector]) -> Option<Vec<Edit>> {
    let mut edits = Vec::new();
    for missing in end.missing(selectors) {
        let workload = &end.workload?.name;
        let add = |key: &String, value: &str| Edit::AddLabel {
            workload: workload.clone(),
            key: key.clone(),
            value: value.to_owned(),
        };
        let mut remove = |key: &String, values: &mut dyn Iterator<Item = &String>| {
            let edit = |value: &String| Edit::RemoveLabel {
                workload: workload.clone(),
                key: key.clone(),
                value: value.clone(),
            };
            edits.extend(values.map(edit));
        };
        let own = |key: &String| end.own.get(key).into_iter().flatten();
        match missing {
            Requirement::In(key, values) => edits.push(add(key, values.first()?)),
            Requirement::Exists(key) => edits.push(add(key, "true")),
            Requirement::NotIn(key, values) => {
                remove(key, &mut own(key).filter(|value| values.contains(value)));
            }
            Requirement::NotExists(key) => remove(key, &mut own(key)),
            Requirement::Workload(_)
            | Requirement::Network(_)
            | Requirement::AnyWorkload
            | Requirement::NotNetwork(_)
            | Requirement::NoWorkload => return None,
        }
    }
    Some(edits)
}

/// A value of `key` that one end has, for the other.
fn share(scene: &Scene<'_>, key: &str) -> Option<Edit> {
    let give = |giver: &End<'_>, taker: &End<'_>| {
        Some(Edit::AddLabel {
            workload: taker.workload?.name.clone(),
            key: key.to_owned(),
            value: giver.values(key).next()?.to_owned(),
        })
    };
    give(&scene.from, &scene.to).or_else(|| give(&scene.to, &scene.from))
}

/// Takes from a workload the labels by which the deciding rule selects it, as long as some are left: without any it would be in
/// quarantine.
fn unlabel(scene: &Scene<'_>, gate: &GateView<'_>) -> Vec<Vec<Edit>> {
    let Some(hit) = gate.hit() else { return Vec::new() };
    let mut all = Vec::new();
    for (end, selectors) in [(&scene.from, &hit.rule.from), (&scene.to, &hit.rule.to)] {
        let Some(workload) = end.workload else { continue };
        for requirement in selectors.iter().flat_map(|selector| &selector.requirements) {
            let (Requirement::In(key, _) | Requirement::Exists(key)) = requirement else { continue };
            let held = end.own.get(key).into_iter().flatten();
            let taken = held.filter(|value| match requirement {
                Requirement::In(_, values) => values.contains(value),
                _ => true,
            });
            let edits: Vec<Edit> = taken
                .map(|value| Edit::RemoveLabel {
                    workload: workload.name.clone(),
                    key: key.clone(),
                    value: value.clone(),
                })
                .collect();
            let left = end.own.values().map(std::collections::BTreeSet::len).sum::<usize>() > edits.len();
            if left && !edits.is_empty() && edits.len() <= LABELS_MAX && all.len() < KIND_MAX {
                all.push(edits);
            }
        }
    }
    all
}

/// The rule that decides at a gate, gone.
fn remove(gate: &GateView<'_>) -> Option<Vec<Edit>> {
    let rule = gate.hit()?.rule;
    Some(vec![Edit::Remove { name: rule.name.clone(), origin: rule.origin.clone() }])
}

/// Another mode for the gate's own workload.
fn enforce(scene: &Scene<'_>, gate: Gate, mode: Mode) -> Option<Vec<Edit>> {
    let end = if gate == Gate::Egress { &scene.from } else { &scene.to };
    let workload = end.workload?.name.clone();
    Some(vec![Edit::Enforcement { workload, gate, mode }])
}

/// What flips every verdict: a rule before all others, with a label for an end in quarantine, which looks at no rule
/// but infrastructure, or with full enforcement of a source that would not look at it.
fn last_resort(scene: &Scene<'_>, open: bool) -> Vec<Edit> {
    let mut edits = exact(scene, FIRST_TIER, if open { Action::Allow } else { Action::Deny });
    if open {
        edits.extend(labelled(scene));
    } else if let [egress, _] = scene.judge(&[])
        && matches!(egress.regime, Regime::Off | Regime::Observe)
    {
        edits.extend(enforce(scene, Gate::Egress, Mode::Full).into_iter().flatten());
    }
    edits
}
