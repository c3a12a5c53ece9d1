//! From the text of a policy to a table that could be published.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::policy::PolicyTable;

use super::canary::{Trial, Tried};
use super::overlay::Overlay;
use crate::observe::hits::Rules;
use crate::observe::names::Names;
use crate::policy::analysis::Standing;
use crate::policy::diff::Side;
use crate::policy::valid::ValidPolicy;
use crate::policy::{
    CompileError, CompileOptions, Diagnostics, Loaded, Named, SourceFile, admit, compile, load_texts,
};
use crate::store::StoredFile;

/// A policy that is right and compiled.
pub struct Candidate {
    /// What the table was compiled from.
    pub policy: Arc<ValidPolicy>,
    /// Its source.
    pub files: Arc<[StoredFile]>,
    /// BLAKE3 of what it means, hexadecimal.
    pub hash: String,
    /// What it says that is probably not meant.
    pub warnings: Diagnostics,
    /// The candidate that is on trial in it, if one is.
    pub canary: Option<Tried>,
    /// The table.
    pub table: Arc<PolicyTable>,
    /// The table as if the rules marked `staged` were enforced, if there are any.
    pub staged: Option<Arc<PolicyTable>>,
    /// The rules; index is the rule's id.
    pub rules: Rules,
    /// Of each rule, tiers in order, whether it can decide anything.
    pub standings: Arc<[Standing]>,
    /// The names of its addresses.
    pub names: Arc<Names>,
    /// How long validating took.
    pub validate: Duration,
    /// How long compiling took.
    pub compile: Duration,
}

/// Why a policy is refused.
#[derive(Debug)]
pub enum Refusal {
    /// Its text is wrong.
    Invalid(Diagnostics),
    /// It is right, but cannot be compiled within the limits.
    Uncompilable(CompileError),
    /// It is right, but does not go together with the inventory as it was changed.
    Inventory(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(diagnostics) => diagnostics.fmt(f),
            Self::Uncompilable(error) => error.fmt(f),
            Self::Inventory(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Refusal {}

/// Validates and compiles. Takes as long as it takes: seconds for a hundred thousand workloads.
///
/// # Errors
/// [`Refusal`].
pub fn check(files: Vec<StoredFile>, wires: &[String]) -> Result<Candidate, Refusal> {
    let (files, trial) = Trial::split(files);
    let (files, overlay) = Overlay::split(files);
    let texts: Vec<SourceFile> =
        files.into_iter().map(|f| SourceFile { name: f.name, text: f.text }).collect();
    let start = Instant::now();
    let mut loaded = load_texts(&texts).map_err(Refusal::Invalid)?;
    drop(texts);
    overlay.apply(&mut loaded.policy)?;
    let canary = trial.as_ref().map(|trial| trial.beside(&mut loaded, &overlay)).transpose()?;
    let mut candidate = Candidate { canary, ..Candidate::new(loaded, wires)? };
    let files = overlay.join(candidate.files.to_vec());
    candidate.files = trial.map_or(files.clone(), |trial| trial.join(files)).into();
    Ok(Candidate { validate: start.elapsed().saturating_sub(candidate.compile), ..candidate })
}

impl Candidate {
    /// As one side of a comparison.
    pub(crate) fn side(&self) -> Side<'_> {
        let compiled = Named { table: &self.table, rules: &self.rules };
        Side { policy: &self.policy, compiled, staged: false }
    }

    /// Compiles what was loaded, and lets it pass only if its rules and assertions hold.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn new(loaded: Loaded, wires: &[String]) -> Result<Self, Refusal> {
        let start = Instant::now();
        let options = CompileOptions { wires, ..CompileOptions::default() };
        let compiled = compile(&loaded.policy, &options).map_err(Refusal::Uncompilable)?;
        let staged = staged_table(&loaded.policy, wires)?;
        let compile = start.elapsed();
        let admitted = admit(&loaded.policy, &compiled)
            .map_err(|faults| Refusal::Invalid(faults.with_snippets(&loaded.files)))?;
        Ok(Self {
            hash: loaded.hash().to_hex().to_string(),
            names: Arc::new(Names::new(&loaded.policy)),
            policy: Arc::new(loaded.policy),
            warnings: loaded.warnings.and(admitted.warnings.with_snippets(&loaded.files)),
            files: loaded.files.into_iter().map(|f| StoredFile { name: f.name, text: f.text }).collect(),
            table: Arc::new(compiled.table),
            staged,
            canary: None,
            rules: compiled.rules.into(),
            standings: admitted.standings.into(),
            validate: Duration::ZERO,
            compile,
        })
    }
}

/// The table as if the rules marked `staged` were enforced, if there are any.
pub(super) fn staged_table(
    policy: &ValidPolicy,
    wires: &[String],
) -> Result<Option<Arc<PolicyTable>>, Refusal> {
    if !policy.tiers.iter().flat_map(|tier| &tier.rules).any(|rule| rule.staged) {
        return Ok(None);
    }
    let options = CompileOptions { wires, staged: true, ..CompileOptions::default() };
    Ok(Some(Arc::new(compile(policy, &options).map_err(Refusal::Uncompilable)?.table)))
}
