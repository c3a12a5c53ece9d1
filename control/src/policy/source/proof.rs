//! What must hold: assertions and policy tests as written.

use schemars::JsonSchema;

use super::{PeersSource, Span, Word, Words, schema};
use crate::policy::valid::AssertionKind;

/// What must hold of every flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssertionSource {
    /// `never` or `always`.
    pub kind: AssertionKind,
    /// What it is about.
    pub claim: ClaimSource,
}

pub(super) const ASSERTION: &[&str] = &["never", "always"];

/// The flows that an assertion is about.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(rename = "claim", deny_unknown_fields)]
pub struct ClaimSource {
    /// Unique among assertions; letters as for a workload.
    pub name: Word,
    /// Who opens the flow.
    pub from: PeersSource,
    /// Who is spoken to.
    pub to: PeersSource,
    /// Names of services, port specifications, or `any`, which is the default of `never`; `always` must say it. With
    /// `any`, `never` leaves out what the built-in infrastructure rules let through, as if they stood under `except`.
    #[schemars(default)]
    pub service: Words,
    /// Services that are left out.
    #[schemars(default)]
    pub except: Words,
}

pub(super) const CLAIM: &[&str] = &["name", "from", "to", "service", "except"];

/// One flow and the verdict that is expected.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(rename = "test", deny_unknown_fields)]
pub struct PolicyTestSource {
    /// Unique among tests; `FROM -> TO SERVICE` if not told.
    #[schemars(default, with = "String")]
    pub name: Option<Word>,
    /// Who opens the flow: the name of a workload, or an address.
    pub from: Word,
    /// Who is spoken to, likewise.
    pub to: Word,
    /// One port, ICMP type, or protocol without ports: `tcp/443`.
    pub service: Word,
    /// The verdict.
    #[schemars(with = "schema::Expect")]
    pub expect: Word,
    /// The rule or named default (`default/deny`) that must be the cause.
    #[schemars(default, with = "String")]
    pub rule: Option<Word>,
    /// Where it was written.
    #[schemars(skip)]
    pub span: Span,
}

pub(super) const TEST: &[&str] = &["name", "from", "to", "service", "expect", "rule"];
