//! Why a change was refused, in the words of who asked for it.

use std::fmt;
use std::time::Duration;

use dataplane::policy::DRAFTS_MAX;

use super::{Awaiting, CutLimit, Refusal, STAGED, Simulation};
use crate::store::StoreError;

/// Why a publish was refused, or is not complete.
#[derive(Debug)]
pub enum PublishError {
    /// The policy is wrong; the old one stays in force.
    Refused(Refusal),
    /// It could not be made durable; the old one stays in force.
    Store(StoreError),
    /// The policy in force waits to be confirmed; until then it can only be confirmed or rolled back.
    Unconfirmed(Awaiting),
    /// Nothing waits to be confirmed, or something else than what was named; what waits, if anything does.
    NothingToConfirm(Option<Awaiting>),
    /// There is no policy before it that it could revert to.
    NothingToRevert,
    /// Another policy is in force than the one that was named.
    Overtaken {
        /// The epoch that was named.
        named: u32,
        /// The epoch in force; 0 if none is.
        in_force: u32,
    },
    /// It would stop more of what speaks now than it may; the old one stays in force.
    Cuts(Box<Simulation>, CutLimit),
    /// No policy is in force whose inventory could change.
    NothingInForce,
    /// No candidate is on trial.
    NoCanary,
    /// A candidate is on trial, which keeps the inventory as it is.
    CanaryInForce,
    /// There is no such workload.
    NoWorkload(String),
    /// So many changes of the inventory were made that the policy must be published again.
    JournalFull,
    /// No draft has this name.
    NoDraft(String),
    /// A draft cannot have this name.
    DraftName(String),
    /// There are as many drafts as there may be.
    TooManyDrafts,
    /// It is in force, but some workers have not said so in time.
    NotTaken {
        /// Its epoch.
        epoch: u32,
        /// How long was waited.
        waited: Duration,
        /// The workers that have not taken it.
        workers: Vec<usize>,
    },
    /// All 2^31 epochs of this state directory are used up.
    Exhausted,
    /// The helper thread could not do its work: a bug, or a runtime that is stopping.
    Interrupted,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Store(error @ StoreError::NoRecord { .. }) => error.fmt(f),
            Self::Store(error) => {
                write!(f, "the policy was not published, because it could not be stored: {error}")
            }
            Self::NotTaken { epoch, waited, workers } => write!(
                f,
                "epoch {epoch} is published, but after {} ms {} {workers:?} {} not taken it",
                waited.as_millis(),
                if workers.len() == 1 { "worker" } else { "workers" },
                if workers.len() == 1 { "has" } else { "have" },
            ),
            Self::Unconfirmed(waits) => write!(
                f,
                "the policy of epoch {} waits to be confirmed, for {} s more: `ringfence policy confirm` keeps it, \
                 `ringfence policy rollback {}` brings the one before back",
                waits.epoch,
                waits.left_ms.div_ceil(1000),
                waits.revert_to
            ),
            Self::NothingToConfirm(None) => {
                f.write_str("no policy waits to be confirmed; `ringfence policy history` shows what happened")
            }
            Self::NothingToConfirm(Some(waits)) => {
                write!(f, "what waits to be confirmed is epoch {}, with {} ms left", waits.epoch, waits.left_ms)
            }
            Self::NothingToRevert => {
                f.write_str("nothing is in force that an unconfirmed policy could give way to: publish without --confirm-within")
            }
            Self::Overtaken { named, in_force } => write!(
                f,
                "epoch {in_force} is in force, not {named}: somebody changed the policy; look at it and try again"
            ),
            Self::Cuts(simulation, limit) => f.write_str(&simulation.refusal(*limit)),
            Self::NothingInForce => f.write_str("no policy is in force: publish one first"),
            Self::NoCanary => f.write_str("no policy is on trial: `ringfence policy publish --canary` tries one"),
            Self::CanaryInForce => f.write_str(
                "a policy is on trial for some workloads, which keeps the inventory as it is: promote it \
                 (`ringfence policy promote`) or go back (`ringfence policy rollback EPOCH`) first",
            ),
            Self::NoWorkload(name) => {
                write!(f, "there is no workload `{name}`; `ringfence workloads` lists them")
            }
            Self::JournalFull => f.write_str(
                "the journal of inventory changes is full: publish the policy again, which keeps them and begins a new one",
            ),
            Self::NoDraft(name) => {
                write!(f, "there is no draft `{name}`; `ringfence policy drafts` lists them")
            }
            Self::DraftName(name) => write!(
                f,
                "`{name}` cannot name a draft: 1 to 63 lower-case letters, digits, `.`, `_` and `-`, beginning with a \
                 letter or digit, and not `{STAGED}`"
            ),
            Self::TooManyDrafts => write!(
                f,
                "there are {DRAFTS_MAX} drafts already, which is the most: drop one (ringfence policy drop NAME). \
                 Rules marked `staged` in the policy in force count as one"
            ),
            Self::Exhausted => {
                f.write_str("every epoch of this state directory is used up; use a new state_dir")
            }
            Self::Interrupted => f.write_str("the policy was not published: its compilation was interrupted"),
        }
    }
}

impl std::error::Error for PublishError {}
