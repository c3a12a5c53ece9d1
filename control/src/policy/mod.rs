//! Policy in three types, each made only from the last: [`source::PolicySource`] (as written, with spans) →
//! [`valid::ValidPolicy`] (the only constructor that can refuse) → [`dataplane::policy::PolicyTable`].

pub mod diagnostics;
mod load;
pub mod source;
mod words;
pub mod service;
pub mod valid;
mod validate;
mod import;
mod hash;
mod shown;
pub(crate) mod tuple;
mod write;
pub mod compile;
pub mod analysis;
pub mod canary;
pub mod diff;
pub mod explain;
pub mod matrix;
pub mod propose;

pub use analysis::{Admitted, Standing, Tested, admit, inventory_can_break, run_tests};
pub use compile::{
    Applied, ApplyError, CompileError, CompileOptions, Compiled, Compiler, Limits, Named, RuleInfo,
    WorkloadChange, compile,
};
pub use diagnostics::{Diagnostic, Diagnostics};
pub use explain::{ExplainError, Explanation, explain};
pub use hash::hash;
pub use load::{FILE_BYTES_MAX, FILES_MAX, LOAD_BYTES_MAX, Loaded, SourceFile, load, load_texts};
pub use matrix::{Matrix, matrix};
pub use source::{PolicySource, json_schema};
pub use validate::OBJECTS_MAX;
pub use write::{WriteError, write};
