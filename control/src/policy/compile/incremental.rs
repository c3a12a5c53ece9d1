//! One workload comes, changes or goes: what is new about it is compiled, everything else is shared with the table
//! before.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use dataplane::address::Address;
use dataplane::policy::{Class, End, PolicyTable, TableChange, WorkloadParts};
use hashbrown::HashMap;

use super::entry::{Entry, LEVELS, Pairs};
use super::error::CompileError;
use super::matcher::Matcher;
use super::member::Modes;
use super::state::{State, answered, behind, observe};
use super::vocabulary::{PeersId, number};
use super::{CompileOptions, Compiled, Limits};
use crate::policy::valid::{ValidPolicy, Workload};

/// A change to the inventory.
#[derive(Clone, Debug)]
pub enum WorkloadChange {
    /// Adds a workload, or puts it in the place of the one with its name. It must be valid by itself, as `validate`
    /// makes sure.
    Put(Box<Workload>),
    /// Removes the workload with this name; the last one takes its place in the order of workloads.
    Remove(String),
}

/// What a change led to.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The table after it. Rules have the ids they had.
    pub table: Arc<PolicyTable>,
    /// How many entries were made for it.
    pub entries: usize,
    /// Everything was compiled anew, since more had gathered than was worth keeping.
    pub whole: bool,
}

/// Why a change was refused; policy and table are as before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// Another workload has this address.
    AddressTaken {
        /// The address.
        address: IpAddr,
        /// Who has it.
        owner: String,
    },
    /// There is no workload of this name.
    NoSuchWorkload(String),
    /// The table that would result cannot be compiled.
    Compile(CompileError),
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressTaken { address, owner } => {
                write!(f, "address {address} belongs to workload `{owner}`: remove it there first")
            }
            Self::NoSuchWorkload(name) => write!(f, "there is no workload `{name}`"),
            Self::Compile(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ApplyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Compile(error) => Some(error),
            Self::AddressTaken { .. } | Self::NoSuchWorkload(_) => None,
        }
    }
}

impl From<CompileError> for ApplyError {
    fn from(error: CompileError) -> Self {
        Self::Compile(error)
    }
}

/// A policy with its table, kept so that a change to one workload costs little. Owns the policy: rules, networks and
/// enforcement stay; for a change of those, make a new one.
pub struct Compiler {
    policy: ValidPolicy,
    table: Arc<PolicyTable>,
    /// Index of each workload by name.
    names: HashMap<String, u32>,
    limits: Limits,
    wires: Vec<String>,
    staged: bool,
    kept: Kept,
    /// Sets of peer lists there were when everything was compiled.
    begun_with: usize,
}

/// What changes build on.
struct Kept {
    state: State,
    matcher: Matcher,
    /// The pairs that each peer list is in, on either side.
    by_from: Vec<Vec<u32>>,
    by_to: Vec<Vec<u32>>,
    /// How many pairs were placed in entries, those of sets that nothing has any more included.
    placed: usize,
}

/// Sets of peer lists that may gather, beyond as many as there were, before everything is compiled anew.
const GATHERED_MAX: usize = 10_000;

impl Compiler {
    /// Compiles `policy` and keeps it.
    ///
    /// # Errors
    /// As [`compile`](super::compile).
    pub fn new(policy: ValidPolicy, options: &CompileOptions<'_>) -> Result<(Self, Compiled), CompileError> {
        let (state, compiled) = State::new(&policy, options)?;
        let names = (0..).zip(&policy.workloads);
        let names = names.map(|(at, workload)| (workload.name.as_str().into(), at)).collect();
        let kept = Kept::new(state, compiled.stats.entries);
        let compiler = Self {
            table: Arc::new(compiled.table.clone()),
            names,
            limits: options.limits,
            wires: options.wires.to_vec(),
            staged: options.staged,
            begun_with: kept.sets(),
            kept,
            policy,
        };
        Ok((compiler, compiled))
    }

    /// The policy as it is after all changes; the index of a workload is its owner's in the table.
    #[must_use]
    pub const fn policy(&self) -> &ValidPolicy {
        &self.policy
    }

    /// The table of that policy.
    #[must_use]
    pub const fn table(&self) -> &Arc<PolicyTable> {
        &self.table
    }

    /// Where the workload of this name is in the order of workloads.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.names.get(name).map(|at| *at as usize)
    }

    /// Applies one change.
    ///
    /// # Errors
    /// [`ApplyError`]; nothing has changed then.
    pub fn apply(&mut self, change: WorkloadChange) -> Result<Applied, ApplyError> {
        match self.attempt(change.clone()) {
            Err(ApplyError::Compile(_)) => {}
            done => return done,
        }
        // What has gathered counts against the limits: without it the change may fit.
        self.whole()?;
        let again = self.attempt(change).map(|applied| Applied { whole: true, ..applied });
        if let Err(ApplyError::Compile(_)) = again {
            // What the attempt has left would be taken for compiled.
            self.whole()?;
        }
        again
    }

    fn attempt(&mut self, change: WorkloadChange) -> Result<Applied, ApplyError> {
        match change {
            WorkloadChange::Put(workload) => self.put(*workload),
            WorkloadChange::Remove(name) => self.remove(&name),
        }
    }

    fn put(&mut self, workload: Workload) -> Result<Applied, ApplyError> {
        let end = number(self.policy.workloads.len());
        let known = self.names.get(workload.name.as_str()).copied();
        let index = known.unwrap_or(end);
        self.check_addresses(&workload, index)?;
        let mut change =
            TableChange { workloads: end + u32::from(known.is_none()), ..TableChange::default() };
        if let Some(old) = known.and_then(|at| self.policy.workloads.get(at as usize)) {
            let gone = old.addresses.iter().filter(|address| !workload.addresses.contains(address));
            change.remove = gone.map(|address| Address::from(*address)).collect();
        }
        let parts = self.kept.describe(&workload, &mut change)?;
        change.put.push((index, parts));
        let (table, entries) = self.next(change)?;
        match known {
            Some(at) => self.policy.workloads[at as usize] = workload,
            None => {
                self.names.insert(workload.name.as_str().into(), index);
                self.policy.workloads.push(workload);
            }
        }
        self.finish(table, entries)
    }

    fn remove(&mut self, name: &str) -> Result<Applied, ApplyError> {
        let index = *self.names.get(name).ok_or_else(|| ApplyError::NoSuchWorkload(name.to_owned()))?;
        let last = number(self.policy.workloads.len().saturating_sub(1));
        let gone = &self.policy.workloads[index as usize].addresses;
        let mut change = TableChange {
            workloads: last,
            remove: gone.iter().map(|address| Address::from(*address)).collect(),
            ..TableChange::default()
        };
        if index != last {
            let parts = self.kept.describe(&self.policy.workloads[last as usize], &mut change)?;
            change.put.push((index, parts));
        }
        let (table, entries) = self.next(change)?;
        self.policy.workloads.swap_remove(index as usize);
        self.names.remove(name);
        if let Some(moved) = self.policy.workloads.get(index as usize) {
            self.names.insert(moved.name.as_str().into(), index);
        }
        self.finish(table, entries)
    }

    fn check_addresses(&self, workload: &Workload, index: u32) -> Result<(), ApplyError> {
        for &address in &workload.addresses {
            let owner = self.table.owner(Address::from(address)).filter(|owner| *owner != index);
            if let Some(owner) = owner.and_then(|owner| self.policy.workloads.get(owner as usize)) {
                return Err(ApplyError::AddressTaken { address, owner: owner.name.clone() });
            }
        }
        Ok(())
    }

    fn next(&mut self, change: TableChange) -> Result<(PolicyTable, usize), CompileError> {
        let entries = change.entries.len();
        Ok((self.table.changed(change).map_err(CompileError::Table)?, entries))
    }

    fn finish(&mut self, table: PolicyTable, entries: usize) -> Result<Applied, ApplyError> {
        self.table = Arc::new(table);
        let whole = self.kept.sets() > 2 * self.begun_with + GATHERED_MAX;
        if whole {
            self.whole()?;
        }
        Ok(Applied { table: Arc::clone(&self.table), entries, whole })
    }

    /// Compiles everything anew.
    fn whole(&mut self) -> Result<(), CompileError> {
        let options = CompileOptions { wires: &self.wires, limits: self.limits, staged: self.staged };
        let (state, compiled) = State::new(&self.policy, &options)?;
        self.kept = Kept::new(state, compiled.stats.entries);
        self.begun_with = self.kept.sets();
        self.table = Arc::new(compiled.table);
        Ok(())
    }
}

impl Kept {
    fn new(state: State, placed: usize) -> Self {
        let matcher = Matcher::new(&state.profiles, &state.vocabulary);
        let mut kept = Self { state, matcher, by_from: Vec::new(), by_to: Vec::new(), placed };
        (0..number(kept.state.pairs.len())).for_each(|pair| kept.index(pair));
        kept
    }

    fn index(&mut self, pair: u32) {
        let of = self.state.pairs.get(pair);
        for (lists, peers) in [(&mut self.by_from, of.from), (&mut self.by_to, of.to)] {
            let peers = peers as usize;
            if lists.len() <= peers {
                lists.resize(peers + 1, Vec::new());
            }
            lists[peers].push(pair);
        }
    }

    fn sets(&self) -> usize {
        self.state.levels.from.count() + self.state.levels.to.count()
    }

    /// The workload as the table holds it, and in `change` what must be entered for it.
    fn describe(
        &mut self,
        workload: &Workload,
        change: &mut TableChange,
    ) -> Result<WorkloadParts, CompileError> {
        let state = &mut self.state;
        observe(&mut state.vocabulary, workload);
        let (mut addresses, mut answers) = (Vec::new(), Vec::new());
        let each = |address, profile| addresses.push((address, profile));
        state.profiles.describe(workload, &state.space, &state.vocabulary, &mut answers, 0, each);
        let mut entry = Entry::new(state.limits, self.placed);
        for profile in number(state.classes.len())..number(state.profiles.len()) {
            let class = self.class(profile, &mut entry)?;
            self.state.classes.push(class);
        }
        self.placed = entry.placed();
        let State { pairs, blocks, classes, wires, .. } = &mut self.state;
        change.entries.extend(entry.finish(pairs, blocks)?);
        change.intervals = blocks.take(false);
        let class = |profile: u32| classes[profile as usize];
        let end = |(at, (address, profile)): (usize, (IpAddr, u32))| {
            let own = answers.iter().filter(|answer| answer.at == at);
            let listening = own.map(|answer| answered(answer, class)).collect();
            End { address: address.into(), class: class(profile), listening }
        };
        let ends = addresses.into_iter().enumerate().map(end).collect();
        Ok(WorkloadParts { behind: behind(workload, wires), macs: workload.macs.clone(), ends })
    }

    /// The class of a profile that was not met before, with its new ids entered.
    fn class(&mut self, profile: u32, entry: &mut Entry) -> Result<Class, CompileError> {
        self.correlate(profile)?;
        let State { vocabulary, profiles, enforced, pairs, levels, .. } = &mut self.state;
        let held = profiles.tokens().get(profile);
        let lists = self.matcher.lists_of(held, vocabulary);
        let told = |gate: fn(&(PeersId, Option<_>, Option<_>)) -> Option<_>| {
            let matching = enforced.iter().filter(|(peers, ..)| lists.binary_search(peers).is_ok());
            matching.filter_map(gate).next()
        };
        let modes = Modes::of(held, (told(|one| one.1), told(|one| one.2)));
        let used = |by: &[Vec<u32>]| -> Vec<PeersId> {
            let is_used = |peers: &&PeersId| by.get(**peers as usize).is_some_and(|pairs| !pairs.is_empty());
            lists.iter().filter(is_used).copied().collect()
        };
        let (from, to) = (used(&self.by_from), used(&self.by_to));
        let pairs: &Pairs = pairs;
        let from = levels.from.place(&from, modes.egress).ok_or(CompileError::TooManyClasses)?;
        for (level, id) in LEVELS.into_iter().zip(from.new) {
            if let Some(id) = id {
                entry.source((level, id), (pairs, &self.by_from), levels)?;
                levels.from.register(level, id);
            }
        }
        let to = levels.to.place(&to, modes.ingress).ok_or(CompileError::TooManyClasses)?;
        for (level, id) in LEVELS.into_iter().zip(to.new) {
            if let Some(id) = id {
                entry.destination((level, id), (pairs, &self.by_to), levels)?;
                levels.to.register(level, id);
            }
        }
        Ok(Class { from: from.side, to: to.side })
    }

    /// Peer lists for combinations of correlated values that the profile is the first to have.
    fn correlate(&mut self, profile: u32) -> Result<(), CompileError> {
        let State { vocabulary, profiles, same, limits, .. } = &mut self.state;
        let mut met = Vec::new();
        same.meet(profiles.tokens().get(profile), vocabulary, *limits, &mut met)?;
        for (rule, pair) in met {
            if let Some(new) = self.state.pairs.add(rule, pair) {
                self.index(new);
                self.state.levels.mark(pair.from, pair.to);
            }
        }
        self.matcher.extend(&self.state.vocabulary);
        Ok(())
    }
}

impl fmt::Debug for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workloads = self.policy.workloads.len();
        f.debug_struct("Compiler").field("workloads", &workloads).finish_non_exhaustive()
    }
}
