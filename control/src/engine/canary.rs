//! A candidate on trial: in force for some workloads, beside the policy that is in force for the others.
//!
//! It is kept beside the files of the stable policy as one more, [`NAME`], so that records and history hold it too:
//! going back is publishing an earlier record, and promoting is publishing the candidate's own files.

use serde::{Deserialize, Serialize};

use super::overlay::Overlay;
use super::{Engine, PublishError, Refusal};
use crate::policy::canary::merge;
use crate::policy::{Loaded, SourceFile, load_texts};
use crate::store::StoredFile;

/// The name of the file that holds it; no path looks like this.
pub(super) const NAME: &str = "(canary)";
/// The name of the document that holds its selector.
const SELECTOR: &str = "(canary selector)";

/// What is tried, and on whom.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Trial {
    /// A selector as the policy language writes it.
    select: String,
    /// The candidate.
    files: Vec<StoredFile>,
}

/// What is said of a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The selector.
    pub select: String,
    /// How many workloads it selects.
    pub workloads: usize,
}

impl Trial {
    /// Takes the trial out of the files of a policy.
    pub(super) fn split(files: Vec<StoredFile>) -> (Vec<StoredFile>, Option<Self>) {
        let (own, files): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.name == NAME);
        (files, own.first().and_then(|file| serde_json::from_str(&file.text).ok()))
    }

    /// The trial among a policy's files.
    pub(super) fn of(files: &[StoredFile]) -> Option<Self> {
        let own = files.iter().find(|file| file.name == NAME)?;
        serde_json::from_str(&own.text).ok()
    }

    /// `files`, the stable policy's, with this trial beside them.
    pub(super) fn join(&self, files: Vec<StoredFile>) -> Vec<StoredFile> {
        let (mut files, _) = Self::split(files);
        files.push(StoredFile { name: NAME.into(), text: serde_json::to_string(self).unwrap_or_default() });
        files
    }

    /// The stable policy with this trial in force beside it.
    ///
    /// # Errors
    /// The candidate or the selector is wrong, or they do not go together.
    pub(super) fn beside(&self, stable: &mut Loaded, overlay: &Overlay) -> Result<Tried, Refusal> {
        let named = |file: &StoredFile| SourceFile { name: file.name.clone(), text: file.text.clone() };
        let mut texts: Vec<SourceFile> = self.files.iter().map(named).collect();
        let select = self.select.replace(['\n', '\r'], " ");
        let text = format!("ringfence: 1\nenforcement:\n- ingress: full\n  select: {select}\n");
        texts.push(SourceFile { name: SELECTOR.into(), text });
        let mut candidate = load_texts(&texts).map_err(Refusal::Invalid)?;
        overlay.apply(&mut candidate.policy)?;
        // The last file's only entry is the last of all.
        let asked = candidate.policy.enforcement.pop().map_or_else(Vec::new, |entry| entry.select);
        let merged = merge(&stable.policy, &candidate.policy, &asked)
            .map_err(|error| Refusal::Inventory(error.to_string()))?;
        stable.policy = merged.policy;
        Ok(Tried { select: self.select.clone(), workloads: merged.workloads })
    }
}

impl Engine {
    /// The files of the policy in force with `files` on trial for the workloads that `select` selects, and the epoch
    /// that must still be in force when they are published. A trial before it ends.
    ///
    /// # Errors
    /// [`PublishError::NothingInForce`].
    pub fn on_trial(
        &self,
        select: String,
        files: Vec<StoredFile>,
    ) -> Result<(Vec<StoredFile>, u32), PublishError> {
        let now = self.in_force().ok_or(PublishError::NothingInForce)?;
        Ok((Trial { select, files }.join(now.source()), now.meta.epoch))
    }

    /// The files of the candidate that is on trial, and the epoch in force.
    ///
    /// # Errors
    /// [`PublishError::NoCanary`] if there is none.
    pub fn tried(&self) -> Result<(Vec<StoredFile>, u32), PublishError> {
        let now = self.in_force().ok_or(PublishError::NoCanary)?;
        let trial = Trial::of(&now.files).ok_or(PublishError::NoCanary)?;
        Ok((trial.files, now.meta.epoch))
    }
}
