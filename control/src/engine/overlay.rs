//! The inventory as it was changed since the policy's files were written: workloads put, relabelled and removed.
//!
//! It is kept beside the files as one more, [`NAME`], so that records, drafts and history hold it too, and what is
//! published later keeps it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Refusal;
use crate::policy::valid::{ServiceRange, ValidPolicy, Workload};
use crate::policy::{Diagnostics, SourceFile, load_texts};
use crate::store::{Event, StoredFile};

/// The name of the file that holds it; no path looks like this.
pub(super) const NAME: &str = "(inventory)";

/// Workloads that are not as the files say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Overlay {
    /// As the policy language writes them, by name.
    put: BTreeMap<String, Value>,
    /// Removed, whatever the files say.
    removed: BTreeSet<String>,
}

impl Overlay {
    /// Takes the overlay out of the files of a policy.
    pub(super) fn split(files: Vec<StoredFile>) -> (Vec<StoredFile>, Self) {
        let (own, files): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.name == NAME);
        let overlay = own.first().and_then(|file| serde_json::from_str(&file.text).ok());
        (files, overlay.unwrap_or_default())
    }

    /// The overlay of a policy's files.
    pub(super) fn of(files: &[StoredFile]) -> Self {
        let own = files.iter().find(|file| file.name == NAME);
        own.and_then(|file| serde_json::from_str(&file.text).ok()).unwrap_or_default()
    }

    /// `files` with this overlay in place of theirs.
    pub(super) fn join(&self, files: Vec<StoredFile>) -> Vec<StoredFile> {
        let (mut files, _) = Self::split(files);
        if *self != Self::default() {
            let text = serde_json::to_string(self).unwrap_or_default();
            files.push(StoredFile { name: NAME.into(), text });
        }
        files
    }

    /// Takes a change in.
    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::WorkloadPut { name, workload } => {
                self.removed.remove(name);
                self.put.insert(name.clone(), workload.clone());
            }
            Event::WorkloadRemoved(name) => {
                self.put.remove(name);
                self.removed.insert(name.clone());
            }
            Event::Confirmed | Event::Staged(_) | Event::Dropped(_) => {}
        }
    }

    /// Changes the workloads of `policy`.
    ///
    /// # Errors
    /// A workload that this version refuses, or whose address another one has.
    pub(super) fn apply(&self, policy: &mut ValidPolicy) -> Result<(), Refusal> {
        if *self == Self::default() {
            return Ok(());
        }
        policy.workloads.retain(|one| !self.removed.contains(&one.name) && !self.put.contains_key(&one.name));
        policy.workloads.extend(read(self.put.values()).map_err(Refusal::Invalid)?);
        let mut owners = hashbrown::HashMap::new();
        for workload in &policy.workloads {
            for address in &workload.addresses {
                if let Some(owner) = owners.insert(address, &workload.name) {
                    return Err(Refusal::Inventory(format!(
                        "address {address} belongs to workload `{owner}` and to `{}`: one of them was put beside the \
                         policy's files (ringfence workload remove NAME takes it away)",
                        workload.name
                    )));
                }
            }
        }
        Ok(())
    }
}

/// Workloads from how the policy language writes them.
///
/// # Errors
/// All that is wrong with them.
pub(super) fn read<'a>(written: impl Iterator<Item = &'a Value>) -> Result<Vec<Workload>, Diagnostics> {
    let all: Vec<&Value> = written.collect();
    let text = json!({"ringfence": 1, "workloads": all}).to_string();
    let loaded = load_texts(&[SourceFile { name: NAME.into(), text }])?;
    Ok(loaded.policy.workloads)
}

/// A workload as the policy language writes it.
pub(super) fn written(workload: &Workload) -> Value {
    let services = |ranges: &[ServiceRange]| ranges.iter().map(ServiceRange::to_string).collect::<Vec<_>>();
    let mac = |mac: &[u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
    let mut value = json!({"name": workload.name, "addresses": workload.addresses});
    if !workload.labels.is_empty() {
        value["labels"] = json!(workload.labels);
    }
    if !workload.macs.is_empty() {
        value["macs"] = workload.macs.iter().map(mac).collect();
    }
    if let Some(wire) = &workload.wire {
        value["wire"] = json!(wire);
    }
    if !workload.listeners.is_empty() {
        let listeners = workload
            .listeners
            .iter()
            .map(|one| json!({"name": one.name, "service": services(&one.services), "labels": one.labels}));
        value["listeners"] = listeners.collect();
    }
    value
}
