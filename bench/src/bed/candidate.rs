//! What stands in the middle: how each candidate is set up, and taken away again.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use dataplane::pipeline::Pipeline;

use super::kernel::{self, Redirect};
use super::trial::Shape;
use super::wire::{self, Worker};
use super::{Bed, BedError, intent};
use crate::noop::NoOp;

/// A way to forward between the two links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Candidate {
    /// A ringfence wire, its worker sleeping when idle: judges.
    Ringfence,
    /// The same rings with a stage that forwards everything.
    NoOp,
    /// A ringfence wire whose worker polls the drivers itself: judges.
    RingfenceBusy,
    /// The same with a stage that forwards everything.
    NoOpBusy,
    /// The kernel bridge: forwards everything.
    Bridge,
    /// `ip_forward` without any nft table: forwards everything.
    Router,
    /// `ip_forward` with nft, conntrack and label maps: judges.
    Nft,
    /// `XDP_REDIRECT` through a devmap: forwards everything; the ceiling of this bed.
    Redirect,
}

impl Candidate {
    /// Its name in tables and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ringfence => "ringfence",
            Self::NoOp => "no-op",
            Self::RingfenceBusy => "ringfence-busy",
            Self::NoOpBusy => "no-op-busy",
            Self::Bridge => "bridge",
            Self::Router => "router",
            Self::Nft => "nft",
            Self::Redirect => "redirect",
        }
    }

    /// Whether frames must be addressed to it.
    #[must_use]
    pub const fn routes(self) -> bool {
        matches!(self, Self::Router | Self::Nft)
    }

    /// Whether it judges: what policy denies must not get through.
    #[must_use]
    pub const fn judges(self) -> bool {
        matches!(self, Self::Ringfence | Self::RingfenceBusy | Self::Nft)
    }

    /// Sets it up between the links of `bed`, with the rules of `shape` if it judges.
    ///
    /// # Errors
    /// If the kernel or a tool refuses.
    pub fn start<'a>(self, bed: &'a Bed, shape: &Shape) -> Result<Running<'a>, BedError> {
        let mut running = Running { bed, candidate: self, held: None };
        match self {
            Self::Ringfence | Self::RingfenceBusy => {
                let busy = self == Self::RingfenceBusy;
                running.held = Some(Held::Ringfence(wire::ringfence(bed, shape, busy)?));
            }
            Self::NoOp | Self::NoOpBusy => {
                running.held = Some(Held::NoOp(wire::no_op(bed, self == Self::NoOpBusy)?));
            }
            Self::Bridge => kernel::bridge(bed)?,
            Self::Router => kernel::route(bed)?,
            Self::Nft => {
                kernel::route(bed)?;
                kernel::nft(&bed.candidate, &intent::nft(shape.rules))?;
            }
            Self::Redirect => running.held = Some(Held::Redirect(kernel::redirect(bed)?)),
        }
        bed.pin_napi()?;
        Ok(running)
    }
}

/// A candidate at work, until it is stopped.
#[expect(missing_debug_implementations, reason = "a loaded program has nothing to show")]
pub struct Running<'a> {
    bed: &'a Bed,
    candidate: Candidate,
    held: Option<Held>,
}

enum Held {
    Redirect(Redirect),
    Ringfence(Worker<Pipeline>),
    NoOp(Worker<NoOp>),
}

impl Running<'_> {
    /// Takes it away and says what it dropped, by name.
    ///
    /// # Errors
    /// If something is left behind.
    pub fn stop(self) -> Result<BTreeMap<String, u64>, BedError> {
        let drops = match self.held {
            Some(Held::Ringfence(worker)) => worker.stop(self.bed)?,
            Some(Held::NoOp(worker)) => worker.stop(self.bed)?,
            Some(Held::Redirect(programs)) => {
                drop(programs);
                BTreeMap::new()
            }
            None => BTreeMap::new(),
        };
        match self.candidate {
            Candidate::Ringfence | Candidate::RingfenceBusy | Candidate::NoOp | Candidate::NoOpBusy => {}
            Candidate::Bridge => kernel::unbridge(self.bed)?,
            Candidate::Router => kernel::unroute(self.bed)?,
            Candidate::Nft => {
                kernel::nft(&self.bed.candidate, "flush ruleset")?;
                kernel::unroute(self.bed)?;
            }
            Candidate::Redirect => kernel::unredirect(self.bed)?,
        }
        Ok(drops)
    }
}
