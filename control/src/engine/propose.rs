//! Rules for the flows that were recorded, and the proof that they do what they are for: together with the policy in
//! force they pass every check, and its table then allows what was seen.

use std::net::IpAddr;

use dataplane::address::Address;
use hashbrown::{HashMap, HashSet};
use jiff::Timestamp;

use super::{Engine, InForce, PublishError, Refusal, check};
use crate::observe::flows::{Completeness, FlowRecord};
use crate::observe::map::{State, decide, state};
use crate::policy::propose::{Observation, Plan, Refused, Terms, propose, text};
use crate::policy::tuple::{Inventory, Kind, Mentioned};
use crate::policy::valid::{ServiceRange, ValidPolicy};
use crate::policy::{CompileOptions, Compiled, Named, compile};
use crate::store::StoredFile;

/// Proposals that are made until what other rules close is known.
const ROUNDS_MAX: u32 = 3;

/// Which ends of flows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndWanted {
    /// Those with these labels.
    Labels(Vec<(String, String)>),
    /// Those that a network of this name is the narrowest of, and no workload.
    Network(String),
    /// Workloads without labels.
    Unlabelled,
    /// Neither a workload nor in a network.
    Unknown,
}

/// Which flows rules are proposed for, and how.
#[derive(Clone, Debug)]
pub struct ProposalTerms {
    /// How.
    pub terms: Terms,
    /// Only flows that were seen at this time or later.
    pub since: Option<Timestamp>,
    /// Only flows that were first seen at this time or earlier.
    pub until: Option<Timestamp>,
    /// Only flows with these labels, each at either end.
    pub labels: Vec<(String, String)>,
    /// Only flows that such an end opened.
    pub from: Option<EndWanted>,
    /// Only flows to such an end.
    pub to: Option<EndWanted>,
    /// Only flows about these services.
    pub service: Option<ServiceRange>,
    /// Flows that were denied, too.
    pub denied: bool,
    /// Flows that a rule of the policy in force allows already, too; not those of the infrastructure tier.
    pub all: bool,
}

/// What is proposed, and what was found out about it.
#[derive(Debug)]
pub struct Proposal {
    /// The rules.
    pub plan: Plan,
    /// The same as a file of the policy language.
    pub text: String,
    /// A name for that file that no file of the policy in force has.
    pub name: String,
    /// The epoch of the policy in force, which the file is for.
    pub epoch: u32,
    /// How much of what happened was recorded.
    pub completeness: Completeness,
    /// Flows that match.
    pub flows: u64,
    /// Of those, flows that a rule of the policy in force allows already.
    pub already: u64,
    /// Of those, flows that were denied, and that were not asked for.
    pub denied: u64,
    /// Why the policy in force could not be published together with the file; none if it could.
    pub refusal: Option<String>,
}

impl Engine {
    /// Proposes rules. Takes as long as compiling the policy takes, and some seconds at most for the largest log.
    ///
    /// # Errors
    /// The policy in force does not compile without its modes, for lack of memory.
    pub fn propose(&self, now: &InForce, wanted: &ProposalTerms) -> Result<Proposal, PublishError> {
        let (records, completeness): (Vec<_>, _) =
            self.with_records(|log| (log.each().collect(), log.completeness()));
        let policy = &now.policy;
        let enforced = Enforced::new(now, &self.wires)?;
        let mut chosen = Chosen::new(policy, wanted);
        let (mut flows, mut already, mut denied) = (0u64, 0u64, 0u64);
        let mut observations = Vec::new();
        for record in records.iter().filter(|record| ServiceRange::ANY.contains(record.service)) {
            let (said, rule) = decide(enforced.named(now), record.source, record.destination, record.service);
            let (allowed, built_in) = (said == State::Allowed, rule.starts_with("infrastructure/"));
            let matches = chosen.admits(record);
            let was_denied = state(record) == State::Blocked && !wanted.denied;
            if matches {
                flows = flows.saturating_add(record.flows);
                match (allowed, was_denied) {
                    (true, _) => already = already.saturating_add(record.flows),
                    (false, true) => denied = denied.saturating_add(record.flows),
                    (false, false) => {}
                }
            }
            if !was_denied || allowed {
                observations.push(Observation {
                    source: record.source.into(),
                    destination: record.destination.into(),
                    service: record.service,
                    flows: record.flows,
                    allowed,
                    needed: matches && !was_denied && (!allowed || (wanted.all && !built_in)),
                });
            }
        }
        let about = about(flows, completeness);
        let files = now.source();
        let name = free_name(&files);
        let mut refused = Vec::new();
        let mut round = 0;
        let (plan, text, refusal) = loop {
            let mut plan = propose(policy, &observations, &wanted.terms);
            plan.refused.extend_from_slice(&refused);
            plan.refused.sort();
            let text = text(&plan, &wanted.terms, &about);
            let file = StoredFile { name: name.clone(), text: text.clone() };
            let checked = check(files.iter().cloned().chain([file]).collect(), &self.wires);
            let (closed, refusal) = match checked {
                Ok(candidate) => {
                    let compiled = Named { table: &candidate.table, rules: &candidate.rules };
                    (still_denied(compiled, &mut observations, &plan), None)
                }
                Err(refusal) => (Vec::new(), Some(refusal.to_string())),
            };
            round += 1;
            // What rules cannot open is not in the next ones, which then open all else.
            if closed.is_empty() || round == ROUNDS_MAX {
                break (plan, text, refusal);
            }
            refused.extend(closed);
        };
        let epoch = now.meta.epoch;
        Ok(Proposal { plan, text, name, epoch, completeness, flows, already, denied, refusal })
    }
}

/// What the rules do not open after all, because other rules come first; it is needed no more.
fn still_denied(compiled: Named<'_>, observations: &mut [Observation], plan: &Plan) -> Vec<Refused> {
    let known: HashSet<_> =
        plan.refused.iter().map(|one| (one.source, one.destination, one.service)).collect();
    let mut closed = Vec::new();
    for one in observations.iter_mut().filter(|one| one.needed) {
        let (source, destination) = (one.source.to_ip(), one.destination.to_ip());
        let (said, rule) = decide(compiled, source, destination, one.service);
        if said == State::Allowed || known.contains(&(source, destination, one.service)) {
            continue;
        }
        one.needed = false;
        let why = match rule.strip_prefix("default/") {
            Some(_) => format!("labels alone do not tell its ends apart: `{rule}` would still close it"),
            None => format!("`{rule}` comes before any rule that allows"),
        };
        closed.push(Refused { source, destination, service: one.service, flows: one.flows, why });
    }
    closed
}

fn about(flows: u64, known: Completeness) -> String {
    let missed = match known.is_complete() {
        true => "complete".to_owned(),
        false => {
            format!("not complete ({} events missed, the daemon down {} times)", known.missed, known.gaps)
        }
    };
    let second = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    format!("from {flows} recorded flows, {missed} from {} to {}", second(known.from), second(known.to))
}

fn free_name(files: &[StoredFile]) -> String {
    let taken = |name: &String| files.iter().any(|file| file.name == *name);
    let mut names = (2..).map(|number| format!("proposed-{number}.yaml"));
    let first = "proposed.yaml".to_owned();
    if taken(&first) { names.find(|name| !taken(name)).unwrap_or(first) } else { first }
}

/// The table in force as if every workload were enforced in full.
struct Enforced(Option<Box<Compiled>>);

impl Enforced {
    fn new(now: &InForce, wires: &[String]) -> Result<Self, PublishError> {
        if now.policy.enforcement.is_empty() {
            return Ok(Self(None));
        }
        let policy = ValidPolicy { enforcement: Vec::new(), ..ValidPolicy::clone(&now.policy) };
        let options = CompileOptions { wires, ..CompileOptions::default() };
        let compiled = compile(&policy, &options)
            .map_err(|error| PublishError::Refused(Refusal::Uncompilable(error)))?;
        Ok(Self(Some(Box::new(compiled))))
    }

    fn named<'a>(&'a self, now: &'a InForce) -> Named<'a> {
        self.0.as_ref().map_or_else(|| now.named(), |compiled| compiled.named())
    }
}

/// Which records are asked for.
struct Chosen<'a> {
    wanted: &'a ProposalTerms,
    inventory: Inventory<'a>,
    mentioned: Mentioned<'a>,
    known: HashMap<IpAddr, Meets>,
}

/// What an address meets: each of the labels, `from`, `to`.
type Meets = (Vec<bool>, bool, bool);

impl<'a> Chosen<'a> {
    fn new(policy: &'a ValidPolicy, wanted: &'a ProposalTerms) -> Self {
        let ends = [&wanted.from, &wanted.to].into_iter().flatten();
        let labels = ends.filter_map(|end| match end {
            EndWanted::Labels(labels) => Some(labels),
            _ => None,
        });
        let keys = labels.flatten().chain(&wanted.labels).map(|(key, _)| key.as_str());
        let mentioned = Mentioned::keys(keys);
        Self { wanted, inventory: Inventory::new(policy), mentioned, known: HashMap::new() }
    }

    fn admits(&mut self, record: &FlowRecord) -> bool {
        let wanted = self.wanted;
        if wanted.since.is_some_and(|since| record.last_seen < since)
            || wanted.until.is_some_and(|until| record.first_seen > until)
            || wanted.service.is_some_and(|service| !service.contains(record.service))
        {
            return false;
        }
        let (source, from, _) = self.meets(record.source).clone();
        let (destination, _, to) = self.meets(record.destination);
        from && *to && source.iter().zip(destination).all(|(a, b)| *a || *b)
    }

    fn meets(&mut self, address: IpAddr) -> &Meets {
        let Self { wanted, inventory, mentioned, known } = self;
        known.entry(address).or_insert_with(|| {
            let at = Address::from(address);
            let tuple = inventory.tuple(mentioned, at);
            let has = |(key, value): &(String, String)| {
                let held = tuple.labels.iter().find(|(have, _)| have == key);
                held.is_some_and(|(_, values)| values.contains(&value.as_str()))
            };
            let owned = tuple.is_workload();
            let network = inventory.network(at).filter(|_| !owned);
            let is = |end: &Option<EndWanted>| match end {
                None => true,
                Some(EndWanted::Labels(labels)) => labels.iter().all(has),
                Some(EndWanted::Network(name)) => network.is_some_and(|network| network.name == *name),
                Some(EndWanted::Unlabelled) => tuple.kind == Kind::Unlabelled,
                Some(EndWanted::Unknown) => !owned && network.is_none(),
            };
            (wanted.labels.iter().map(has).collect(), is(&wanted.from), is(&wanted.to))
        })
    }
}
