//! Policy in three types, each made only from the last: [`source::PolicySource`] (as written, with spans) →
//! [`valid::ValidPolicy`] (the only constructor that can refuse) → [`dataplane::policy::PolicyTable`].

pub mod compile;
pub mod valid;

pub use compile::{CompileError, CompileOptions, Compiled, Limits, RuleInfo, compile};
