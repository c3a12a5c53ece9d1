//! The compiled label-tuple table, how it is read, and how it is published.
//!
//! An address resolves to an [`Endpoint`] (its class and its workload); two endpoints and a [`ServiceKey`] make a
//! [`Decision`](crate::verdict::Decision). The cost is a bounded number of loads whatever the number of rules and
//! workloads. The table holds no names: the compiler in `control` keeps them beside it.

mod answer;
mod binding;
mod class;
mod decide;
mod hit;
mod hits;
mod map;
mod publish;
mod ranges;
mod service;
mod table;
#[cfg(test)]
pub(crate) mod testing;

pub use binding::{Behind, Binding, Owner};
pub use class::{ANY_ID, Class, EMPTY_ID, GateMode, LEVELS, Layer, Level};
pub use decide::{Block, DecisionKey, Interval};
pub use hit::{Hit, HitAction};
pub use hits::RuleHits;
pub use publish::{DRAFTS_MAX, Draft, PolicyReader, Publisher, Snapshot};
pub use service::ServiceKey;
pub use table::{Endpoint, PolicyTable, TableError, TableParts};
