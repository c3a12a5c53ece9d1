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
use super::overlay::{self, Overlay};
use super::publish::next_epoch;
use super::{CutLimit, Engine, InForce, PublishError, lock};
use crate::observe::names::Names;
use crate::policy::compile::{ApplyError, Compiler, WorkloadChange};
use crate::policy::diff::Side;
use crate::policy::valid::{Labels, ValidPolicy, Workload};
use crate::policy::{CompileOptions, Compiled, Named, admit};
use crate::store::{Entry, Event, StoredFile};

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
}

/// A change that passed the gate.
struct Passed {
    event: Event,
    policy: Arc<ValidPolicy>,
    table: Arc<PolicyTable>,
    staged: Option<Arc<PolicyTable>>,
    files: Arc<[StoredFile]>,
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
        let (change, event) = resolve(&now, name, change)?;
        let mut kept = lock(&self.compiler);
        if kept.as_ref().is_none_or(|kept| kept.record != now.meta.epoch) {
            let options = CompileOptions { wires: &self.wires, ..CompileOptions::default() };
            let (compiler, _) = Compiler::new(ValidPolicy::clone(&now.policy), &options)
                .map_err(|error| PublishError::Refused(Refusal::Uncompilable(error)))?;
            *kept = Some(Kept { record: now.meta.epoch, compiler });
        }
        // Whatever fails from here on, the next change begins with a compiler of its own.
        let Some(Kept { record, mut compiler }) = kept.take() else { return Err(PublishError::Interrupted) };
        let start = Instant::now();
        let applied = compiler.apply(change).map_err(|error| match error {
            ApplyError::NoSuchWorkload(name) => PublishError::NoWorkload(name),
            ApplyError::Compile(error) => PublishError::Refused(Refusal::Uncompilable(error)),
            taken @ ApplyError::AddressTaken { .. } => {
                PublishError::Refused(Refusal::Inventory(taken.to_string()))
            }
        })?;
        let compile_ms = start.elapsed().as_secs_f64() * 1e3;
        let mut overlay = Overlay::of(&now.files);
        overlay.note(&event);
        let start = Instant::now();
        let passed = Passed {
            staged: staged_table(compiler.policy(), &self.wires).map_err(PublishError::Refused)?,
            policy: Arc::new(compiler.policy().clone()),
            table: applied.table,
            files: overlay.join(now.files.to_vec()).into(),
            event,
            compile_ms,
            prove_ms: 0.0,
        };
        self.prove(&now, &passed, cut)?;
        let prove_ms = start.elapsed().as_secs_f64() * 1e3;
        self.keep(uid, passed.event.clone())?;
        *kept = Some(Kept { record, compiler });
        Ok((now, Passed { prove_ms, ..passed }))
    }

    /// Assertions, contradictions and the limit of cuts.
    fn prove(&self, now: &InForce, passed: &Passed, cut: Option<CutLimit>) -> Result<(), PublishError> {
        let rules = now.rules.len() - dataplane::verdict::RuleId::FIRST.0 as usize;
        let compiled = Compiled {
            table: PolicyTable::clone(&passed.table),
            rules: now.rules.to_vec(),
            stats: crate::policy::compile::Stats { rules, ..Default::default() },
        };
        admit(&passed.policy, &compiled).map_err(|faults| PublishError::Refused(Refusal::Invalid(faults)))?;
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
            drafts.follow_inventory(&passed.policy, passed.staged, &passed.files);
            drafts.tables()
        };
        let snapshot = self.publisher.publish_with(passed.table, tables);
        let epoch = snapshot.epoch;
        let names = Arc::new(Names::new(&passed.policy));
        self.release(InForce { snapshot, policy: passed.policy, files: passed.files, names, ..now.clone() });
        epoch
    }
}

/// The change in the compiler's words and in the journal's.
fn resolve(
    now: &InForce,
    name: &str,
    change: InventoryChange,
) -> Result<(WorkloadChange, Event), PublishError> {
    let known = || {
        let found = now.policy.workloads.iter().find(|one| one.name == name);
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
