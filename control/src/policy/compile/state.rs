//! All steps in order, and what they leave behind for changes.

use dataplane::policy::{Behind, Class, End, Listening, PolicyTable, TableParts, WorkloadParts};
use dataplane::verdict::{RuleId, WireId};
use hashbrown::HashSet;

use super::block::{Blocks, RuleParts};
use super::class::Classes;
use super::entry::{Entry, Pair, Pairs};
use super::error::CompileError;
use super::level::{self, Levels};
use super::member::{self, Members};
use super::profile::{Answering, Profiles};
use super::same::Same;
use super::space::Space;
use super::vocabulary::{PeersId, Vocabulary, number};
use super::{CompileOptions, Compiled, Limits, Stats, rules};
use crate::policy::valid::{Mode, Rule, ValidPolicy, Workload};

/// What a change to the inventory builds on.
pub(super) struct State {
    pub(super) limits: Limits,
    pub(super) wires: Vec<String>,
    pub(super) vocabulary: Vocabulary,
    pub(super) space: Space,
    pub(super) profiles: Profiles,
    /// Peer lists of the enforcement, with the modes they give egress and ingress gates.
    pub(super) enforced: Vec<(PeersId, Option<Mode>, Option<Mode>)>,
    pub(super) same: Same,
    pub(super) pairs: Pairs,
    pub(super) levels: Levels,
    pub(super) blocks: Blocks,
    /// By profile.
    pub(super) classes: Vec<Class>,
}

/// Rules become pairs of peer lists; those with `same` wait for the values.
struct Named {
    pairs: Pairs,
    same: Same,
    parts: RuleParts,
}

fn name(
    policy: &ValidPolicy,
    all: &[(&crate::policy::valid::Tier, &Rule)],
    vocabulary: &mut Vocabulary,
    staged: bool,
) -> Result<Named, CompileError> {
    let is_compiled = |rule: &Rule| staged || !rule.staged;
    let stages = rules::stages(policy, is_compiled)?;
    let mut named = Named { pairs: Pairs::default(), same: Same::default(), parts: RuleParts::default() };
    for (((at, (_, rule)), stage), hits) in (0..).zip(all).zip(stages).zip(rules::hits(all)?) {
        named.parts.push(hits, &rule.services);
        if !is_compiled(rule) {
            continue;
        }
        if rule.same.is_empty() {
            let (from, to) = (vocabulary.peers(&rule.from), vocabulary.peers(&rule.to));
            named.pairs.add(at, Pair { stage, from, to });
        } else {
            named.same.add(at, stage, rule, vocabulary);
        }
    }
    Ok(named)
}

impl State {
    pub(super) fn new(
        policy: &ValidPolicy,
        options: &CompileOptions<'_>,
    ) -> Result<(Self, Compiled), CompileError> {
        let limits = options.limits;
        let all = rules::all(policy);
        let mut vocabulary = Vocabulary::default();
        let Named { mut pairs, mut same, parts } = name(policy, &all, &mut vocabulary, options.staged)?;
        let enforcement = policy.enforcement.iter();
        let enforced: Vec<PeersId> = enforcement.map(|e| vocabulary.peers(&e.select)).collect();
        policy.networks.iter().for_each(|network| vocabulary.observe(&network.labels));
        policy.workloads.iter().for_each(|workload| observe(&mut vocabulary, workload));

        let space = Space::new(&policy.networks, &vocabulary, limits)?;
        let mut profiles = Profiles::new(&policy.workloads, &space, &vocabulary);
        let mut correlated = Vec::new();
        for held in profiles.tokens().iter() {
            same.meet(held, &mut vocabulary, limits, &mut correlated)?;
        }
        for (rule, pair) in correlated {
            pairs.add(rule, pair);
        }

        let (levels, classes) = tell_apart(policy, &enforced, &vocabulary, &profiles, &pairs, limits)?;
        let mut entry = Entry::new(limits, 0);
        entry.all(&pairs, &levels)?;
        let mut blocks = Blocks::new(parts, limits);
        let entries = entry.finish(&pairs, &mut blocks)?;

        let of = |profile: u32| classes[profile as usize];
        let parts = TableParts {
            workloads: workloads(policy, options.wires, &profiles, of),
            v4_ranges: profiles.v4_ranges(&space, of),
            v6_ranges: profiles.v6_ranges(&space, of),
            entries,
            intervals: blocks.take(true),
            ether_types: policy.ether_types.clone(),
            revoke: rules::revocations(&all),
            rules: RuleId::FIRST.0 + u32::try_from(all.len()).unwrap_or(u32::MAX),
        };
        let mut stats = Stats {
            classes: classes.iter().collect::<HashSet<_>>().len(),
            addresses: profiles.owned().len(),
            ranges: parts.v4_ranges.len() + parts.v6_ranges.len(),
            rules: all.len(),
            peer_lists: vocabulary.peer_lists(),
            entries: parts.entries.len(),
            intervals: blocks.made(),
            bytes: 0,
        };
        let table = PolicyTable::new(parts).map_err(CompileError::Table)?;
        stats.bytes = table.bytes();
        profiles.forget_addresses();
        let enforcement = policy.enforcement.iter().zip(enforced);
        let state = Self {
            limits,
            wires: options.wires.to_vec(),
            vocabulary,
            space,
            profiles,
            enforced: enforcement.map(|(e, peers)| (peers, e.egress, e.ingress)).collect(),
            same,
            pairs,
            levels,
            blocks,
            classes,
        };
        Ok((state, Compiled { table, rules: rules::infos(policy), stats }))
    }
}

/// The class of each profile, and the levels by which it is numbered.
fn tell_apart(
    policy: &ValidPolicy,
    enforced: &[PeersId],
    vocabulary: &Vocabulary,
    profiles: &Profiles,
    pairs: &Pairs,
    limits: Limits,
) -> Result<(Levels, Vec<Class>), CompileError> {
    let members = Members::new(vocabulary, profiles, limits)?;
    let modes = member::modes(&policy.enforcement, enforced, &members, profiles);
    let (used_from, used_to) = pairs.used(vocabulary.peer_lists());
    let from = members.transposed(profiles.len(), |peers| used_from[peers as usize]);
    let to = members.transposed(profiles.len(), |peers| used_to[peers as usize]);
    let met = Classes::new(&from, &to, &modes);

    let universal: Vec<bool> =
        (0..number(vocabulary.peer_lists())).map(|peers| vocabulary.is_universal(peers)).collect();
    let mut levels = level::choose(&met, pairs, &universal);
    let classes = levels.classes(&met).ok_or(CompileError::TooManyClasses)?;
    let of_profile = |profile| classes[met.of(profile) as usize];
    let classes = (0..number(profiles.len())).map(of_profile).collect();
    Ok((levels, classes))
}

/// Mentions the values that a workload and its listeners have of keys that rules correlate by.
pub(super) fn observe(vocabulary: &mut Vocabulary, workload: &Workload) {
    vocabulary.observe(&workload.labels);
    workload.listeners.iter().for_each(|listener| vocabulary.observe(&listener.labels));
}

/// The workloads as the table holds them.
fn workloads(
    policy: &ValidPolicy,
    wires: &[String],
    profiles: &Profiles,
    class: impl Fn(u32) -> Class,
) -> Vec<WorkloadParts> {
    let mut owned = profiles.owned().iter().peekable();
    let mut answers = profiles.answers().iter().peekable();
    let mut at = 0;
    let of = |(owner, workload): (u32, &Workload)| {
        let mut ends = Vec::with_capacity(workload.addresses.len());
        while let Some((address, profile, _)) = owned.next_if(|(_, _, of)| *of == owner) {
            let mut listening = Vec::new();
            while let Some(answer) = answers.next_if(|answer| answer.at == at) {
                listening.push(answered(answer, &class));
            }
            ends.push(End { address: (*address).into(), class: class(*profile), listening });
            at += 1;
        }
        WorkloadParts { behind: behind(workload, wires), macs: workload.macs.clone(), ends }
    };
    (0..).zip(&policy.workloads).map(of).collect()
}

pub(super) fn answered(answer: &Answering, class: impl Fn(u32) -> Class) -> Listening {
    Listening { first: answer.range.first, last: answer.range.last, class: class(answer.profile) }
}

pub(super) fn behind(workload: &Workload, wires: &[String]) -> Behind {
    match &workload.wire {
        Some(name) if !wires.is_empty() => {
            let found = wires.iter().position(|wire| wire == name).and_then(|at| u16::try_from(at).ok());
            found.map_or(Behind::Elsewhere, |at| Behind::Wire(WireId(at)))
        }
        _ => Behind::NotTold,
    }
}
