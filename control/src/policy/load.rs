//! Files to a policy: the entry of everything that reads one.

mod files;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use super::analysis::{Admitted, admit};
use super::compile::Compiled;
use super::diagnostics::{Code, Diagnostics, Finding, Sink, Span};
use super::import::{Foreign, lower};
use super::source::{PolicySource, read};
use super::valid::ValidPolicy;
use super::validate::validate;

/// The largest file, in bytes: 256 MiB.
pub const FILE_BYTES_MAX: usize = 256 << 20;
/// The largest load, in bytes over all files: 512 MiB. The policy in memory takes about twenty bytes for each byte of
/// text at worst.
pub const LOAD_BYTES_MAX: usize = 512 << 20;
/// The most files of one load.
pub const FILES_MAX: usize = 10_000;

/// A file and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its name, as the user gave it, or as it was found below a directory that the user gave.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A policy that can be used, and what it was made from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The policy.
    pub policy: ValidPolicy,
    /// What is probably not meant as it stands.
    pub warnings: Diagnostics,
    /// The files, in the order in which they were read.
    pub files: Vec<SourceFile>,
}

impl Loaded {
    /// Whether the policy, compiled to `compiled`, may be published: see [`super::admit`]. The warnings are those of
    /// loading and these, each with its text.
    ///
    /// # Errors
    /// As [`super::admit`].
    pub fn admit(&self, compiled: &Compiled) -> Result<Admitted, Diagnostics> {
        let admitted = admit(&self.policy, compiled).map_err(|faults| faults.with_snippets(&self.files))?;
        let warnings = self.warnings.clone().and(admitted.warnings.with_snippets(&self.files));
        Ok(Admitted { warnings, ..admitted })
    }

    /// Identifies what the policy means: see [`super::hash`].
    #[must_use]
    pub fn hash(&self) -> blake3::Hash {
        super::hash::hash(&self.policy)
    }
}

/// Reads a policy from files and directories. Of a directory, every `*.yaml`, `*.yml` and `*.json` below it is read,
/// in the order of their paths; names that begin with a dot are left out. All files make one policy.
///
/// # Errors
/// Every fault of every file, up to [`DIAGNOSTICS_MAX`](super::diagnostics::DIAGNOSTICS_MAX): files that cannot be
/// read, text that is no policy, and policy that makes no sense.
pub fn load(paths: &[PathBuf]) -> Result<Loaded, Diagnostics> {
    let found = files::read_all(paths);
    check(found.files, found.faults)
}

/// As [`load`], for texts that are in memory already.
///
/// # Errors
/// As [`load`].
pub fn load_texts(texts: &[SourceFile]) -> Result<Loaded, Diagnostics> {
    let too_large = |file: &SourceFile| file.text.len() > FILE_BYTES_MAX;
    let total: usize = texts.iter().map(|file| file.text.len()).sum();
    let mut faults: Vec<Fault> = Vec::new();
    for (index, file) in texts.iter().enumerate().filter(|(_, file)| too_large(file)) {
        let message = format!("{} has more than {FILE_BYTES_MAX} bytes", file.name);
        faults.push(Fault { file: index, code: Code::Limit, span: None, message });
    }
    if faults.is_empty() && (total > LOAD_BYTES_MAX || texts.len() > FILES_MAX) {
        let message = format!("more than {FILES_MAX} files, or more than {LOAD_BYTES_MAX} bytes");
        faults.push(Fault { file: FILES_MAX.min(texts.len()) - 1, code: Code::Limit, span: None, message });
    }
    check(texts.to_vec(), faults)
}

/// What kept a file from being read.
struct Fault {
    /// Its number.
    file: usize,
    code: Code,
    /// Line, column and offset, if it is about a place in it.
    span: Option<(u32, u32, u32)>,
    message: String,
}

/// Parses and validates `files`, but for those that have a fault.
fn check(files: Vec<SourceFile>, faults: Vec<Fault>) -> Result<Loaded, Diagnostics> {
    let mut sink = Sink::new(&files);
    let mut whole = faults.is_empty();
    for fault in &faults {
        let whole = Span::whole(fault.file);
        let span =
            fault.span.map_or(whole, |(line, column, at)| Span { line, column, start: at, end: at, ..whole });
        sink.push(Finding::error(fault.code, span, &fault.message));
    }
    if files.is_empty() {
        sink.push(Finding::error(Code::Empty, Span::default(), "no policy file was given"));
    }
    let mut source = PolicySource::default();
    let mut foreign = Foreign::default();
    for (index, file) in files.iter().enumerate() {
        if !faults.iter().any(|fault| fault.file == index) {
            whole &= read(file, index, &mut source, &mut foreign, &mut sink);
        }
    }
    let names: Vec<Arc<str>> = files.iter().map(|file| file.name.as_str().into()).collect();
    let mut policy = validate(&source, names.clone(), whole, &mut sink);
    lower(foreign, &source, &names, &mut policy, &mut sink);
    drop(source);
    let warnings = sink.finish()?;
    Ok(Loaded { policy, warnings, files })
}
