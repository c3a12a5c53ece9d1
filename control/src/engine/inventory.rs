//! Changes of the inventory, through the same gate as changes of policy: compiled, proved against the assertions,
//! limited in what they may cut, made durable, published.

use std::sync::Arc;
use std::time::Instant;

use dataplane::policy::PolicyTable;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::canary::Trial;
use super::candidate::{Refusal, staged_table};
use super::overlay;
use super::publish::next_epoch;
use super::{CutLimit, Engine, InForce, PublishError, lock};
use crate::policy::compile::{ApplyError, Compiler, WorkloadChange};
use crate::policy::diff::Side;
use crate::policy::valid::{Labels, ValidPolicy, Workload};
use crate::policy::{CompileOptions, Compiled, Named, admit, inventory_can_break};
use crate::store::{Entry, Event};

/// A journal longer than this takes no more changes: publishing the policy again begins a new one. Some 200,000
/// changes, bytes.
const JOURNAL_BYTES: u64 = 64 << 20;

/// What shall become of a workload.
#[derive(Clone, Debug)]
pub enum InventoryChange {
    /// It is as written here, by the policy language's own fields, `name` included.
    Put(serde_json::Value),
    /// These keys get these values, and those of the second list go.
    Label(Labels, Vec<String>),
    /// It is gone.
    Remove,
}

/// A change of the inventory that every worker has taken.
#[derive(Debug, Serialize, ToSchema)]
pub struct InventoryChanged {
    /// The workload.
    pub workload: String,
    /// The epoch of the table that has the change.
    pub table_epoch: u32,
    /// How long compiling the change took, ms.
    pub compile_ms: f64,
    /// How long proving took that no assertion breaks, ms.
    pub prove_ms: f64,
    /// How long it took from the request's turn until every worker decided by it, ms.
    pub taken_ms: f64,
}

/// The compiler of the policy in force, kept from one change of the inventory to the next.
pub(super) struct Kept {
    /// The record whose policy it compiles.
    record: u32,
    compiler: Compiler,
    /// Whether a change of the inventory can break an assertion or make rules conflict.
    proves: bool,
    /// The policy before the last change, and that change: once nobody reads it, it becomes the policy after the next
    /// one, so that none is copied.
    before: Option<(Arc<ValidPolicy>, Edit)>,
}

/// What a change does to the order of workloads, as [`WorkloadChange`] says.
struct Edit {
    at: usize,
    change: WorkloadChange,
}

impl Edit {
    fn new(compiler: &Compiler, name: &str, change: WorkloadChange) -> Self {
        let at = compiler.position(name).unwrap_or(compiler.policy().workloads.len());
        Self { at, change }
    }

    fn apply(&self, workloads: &mut Vec<Workload>) {
        match (&self.change, workloads.get_mut(self.at)) {
            (WorkloadChange::Put(workload), Some(known)) => known.clone_from(workload),
            (WorkloadChange::Put(workload), None) => workloads.push(Workload::clone(workload)),
            (WorkloadChange::Remove(_), Some(_)) => drop(workloads.swap_remove(self.at)),
            (WorkloadChange::Remove(_), None) => {}
        }
    }
}

impl Kept {
    fn new(now: &InForce, wires: &[String]) -> Result<Self, PublishError> {
        let options = CompileOptions { wires, ..CompileOptions::default() };
        let (compiler, _) = Compiler::new(ValidPolicy::clone(&now.policy), &options)
            .map_err(|error| PublishError::Refused(Refusal::Uncompilable(error)))?;
        let proves = inventory_can_break(&now.policy);
        Ok(Self { record: now.meta.epoch, compiler, proves, before: None })
    }

    /// The compiler's policy, which `edit` led to, for others to read.
    fn policy(&mut self, edit: &Edit) -> Arc<ValidPolicy> {
        let unread = self.before.take().and_then(|(mut policy, missed)| {
            let own = Arc::get_mut(&mut policy)?;
            missed.apply(&mut own.workloads);
            edit.apply(&mut own.workloads);
            Some(policy)
        });
        unread.unwrap_or_else(|| Arc::new(self.compiler.policy().clone()))
    }
}

/// A change that passed the gate.
struct Passed {
    event: Event,
    policy: Arc<ValidPolicy>,
    table: Arc<PolicyTable>,
    staged: Option<Arc<PolicyTable>>,
    compile_ms: f64,
    prove_ms: f64,
}

impl Engine {
    /// Changes one workload: when this returns, the change is on disk and every worker decides by it.
    ///
    /// # Errors
    /// [`PublishError`]; but for [`PublishError::NotTaken`] nothing has changed then.
    pub async fn change_workload(
        self: &Arc<Self>,
        name: String,
        change: InventoryChange,
        cut: Option<CutLimit>,
        uid: u32,
    ) -> Result<InventoryChanged, PublishError> {
        let engine = Arc::clone(self);
        let done = tokio::spawn(async move {
            let _turn = engine.turn.lock().await;
            let start = Instant::now();
            let (helper, workload) = (Arc::clone(&engine), name.clone());
            let passed =
                tokio::task::spawn_blocking(move || helper.prepare_change(&workload, change, cut, uid)).await;
            let (now, passed) = passed.unwrap_or(Err(PublishError::Interrupted))?;
            let (compile_ms, prove_ms) = (passed.compile_ms, passed.prove_ms);
            let epoch = engine.publish_change(&now, passed);
            engine.taken(epoch, start).await?;
            Ok(InventoryChanged {
                workload: name,
                table_epoch: epoch.0,
                compile_ms,
                prove_ms,
                taken_ms: start.elapsed().as_secs_f64() * 1e3,
            })
        });
        done.await.unwrap_or(Err(PublishError::Interrupted))
    }

    fn prepare_change(
        &self,
        name: &str,
        change: InventoryChange,
        cut: Option<CutLimit>,
        uid: u32,
    ) -> Result<(Arc<InForce>, Passed), PublishError> {
        let now = self.in_force().ok_or(PublishError::NothingInForce)?;
        if Trial::of(&now.files).is_some() {
            return Err(PublishError::CanaryInForce);
        }
        let mut slot = lock(&self.compiler);
        let known = slot.take().filter(|kept| kept.record == now.meta.epoch);
        let kept = slot.insert(known.map_or_else(|| Kept::new(&now, &self.wires), Ok)?);
        let (change, event) = resolve(&kept.compiler, name, change)?;
        // Whatever fails from here on, the next change begins with a compiler of its own.
        let Some(mut kept) = slot.take() else { return Err(PublishError::Interrupted) };
        let start = Instant::now();
        let edit = Edit::new(&kept.compiler, name, change.clone());
        let applied = kept.compiler.apply(change).map_err(|error| match error {
            ApplyError::NoSuchWorkload(name) => PublishError::NoWorkload(name),
            ApplyError::Compile(error) => PublishError::Refused(Refusal::Uncompilable(error)),
            taken @ ApplyError::AddressTaken { .. } => {
                PublishError::Refused(Refusal::Inventory(taken.to_string()))
            }
        })?;
        let compile_ms = start.elapsed().as_secs_f64() * 1e3;
        let start = Instant::now();
        let passed = Passed {
            staged: staged_table(kept.compiler.policy(), &self.wires).map_err(PublishError::Refused)?,
            policy: kept.policy(&edit),
            table: applied.table,
            event,
            compile_ms,
            prove_ms: 0.0,
        };
        if kept.proves {
            prove(&now, &passed)?;
        }
        self.limit(&now, &passed, cut)?;
        let prove_ms = start.elapsed().as_secs_f64() * 1e3;
        self.keep(uid, passed.event.clone())?;
        *slot = Some(Kept { before: Some((Arc::clone(&now.policy), edit)), ..kept });
        Ok((now, Passed { prove_ms, ..passed }))
    }

    /// The limit of cuts.
    fn limit(&self, now: &InForce, passed: &Passed, cut: Option<CutLimit>) -> Result<(), PublishError> {
        if let Some(limit) = cut {
            let compiled = Named { table: &passed.table, rules: &now.rules };
            let side = Side { policy: &passed.policy, compiled, staged: false };
            let simulation = self.simulate(now, side);
            if simulation.exceeds(limit) {
                return Err(PublishError::Cuts(Box::new(simulation), limit));
            }
        }
        Ok(())
    }

    /// Makes the change durable.
    fn keep(&self, uid: u32, event: Event) -> Result<(), PublishError> {
        let mut store = lock(&self.store);
        if store.journal_bytes() > JOURNAL_BYTES {
            return Err(PublishError::JournalFull);
        }
        let entry = Entry { epoch: next_epoch(&store)?, at: Timestamp::now(), uid, event };
        store.append(&entry).map_err(PublishError::Store)
    }

    fn publish_change(&self, now: &InForce, passed: Passed) -> dataplane::verdict::Epoch {
        let tables = {
            let mut drafts = lock(&self.drafts);
            drafts.follow_inventory(&passed.policy, passed.staged);
            drafts.tables()
        };
        let snapshot = self.publisher.publish_with(passed.table, tables);
        let epoch = snapshot.epoch;
        lock(&now.inventory).note(&passed.event);
        self.release(InForce { snapshot, policy: passed.policy, ..now.clone() });
        epoch
    }
}

/// Assertions and contradictions.
fn prove(now: &InForce, passed: &Passed) -> Result<(), PublishError> {
    let rules = now.rules.len() - dataplane::verdict::RuleId::FIRST.0 as usize;
    let compiled = Compiled {
        table: PolicyTable::clone(&passed.table),
        rules: now.rules.to_vec(),
        stats: crate::policy::compile::Stats { rules, ..Default::default() },
    };
    let admitted = admit(&passed.policy, &compiled);
    admitted.map(|_| ()).map_err(|faults| PublishError::Refused(Refusal::Invalid(faults)))
}

/// The change in the compiler's words and in the journal's.
fn resolve(
    compiler: &Compiler,
    name: &str,
    change: InventoryChange,
) -> Result<(WorkloadChange, Event), PublishError> {
    let known = || {
        let found = compiler.position(name).and_then(|at| compiler.policy().workloads.get(at));
        found.ok_or_else(|| PublishError::NoWorkload(name.to_owned()))
    };
    let workload = match change {
        InventoryChange::Remove => {
            known()?;
            return Ok((WorkloadChange::Remove(name.to_owned()), Event::WorkloadRemoved(name.to_owned())));
        }
        InventoryChange::Put(mut written) => {
            written["name"] = name.into();
            one(&written)?
        }
        InventoryChange::Label(set, gone) => {
            let mut workload = known()?.clone();
            workload.labels.retain(|key, _| !gone.contains(key));
            workload.labels.extend(set);
            workload
        }
    };
    // As it will be read again at the next start: labels are checked as those of a file are.
    let written = overlay::written(&workload);
    let workload = one(&written)?;
    let event = Event::WorkloadPut { name: name.to_owned(), workload: written };
    Ok((WorkloadChange::Put(Box::new(workload)), event))
}

fn one(written: &serde_json::Value) -> Result<Workload, PublishError> {
    let read = overlay::read(std::iter::once(written));
    let read = read.map_err(|faults| PublishError::Refused(Refusal::Invalid(faults)))?;
    read.into_iter().next().ok_or(PublishError::Interrupted)
}
