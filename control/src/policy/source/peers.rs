//! Who is meant: selectors as written.

use super::{Span, Word, Words};

/// One selector, or a list of which any may match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeersSource {
    /// Where it was written.
    pub span: Span,
    /// The selectors.
    pub selectors: Vec<SelectorSource>,
}

/// Which endpoints are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SelectorSource {
    /// `any`: every address there is.
    Any(Span),
    /// `any-workload`: every workload, labelled or not.
    AnyWorkload(Span),
    /// `no-workload`: every address that no workload owns.
    NoWorkload(Span),
    /// Those for which all requirements hold.
    All(Span, Vec<RequirementSource>),
}

/// One requirement of a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequirementSource {
    /// A label key, or one of the words `workload` and `network`.
    pub key: Word,
    /// What must hold for it.
    pub test: TestSource,
}

/// What must hold for a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestSource {
    /// It has one of these values.
    In(Words),
    /// It has none of these values.
    Not(Words, Span),
    /// It is there, or is not.
    Exists(bool, Span),
}
