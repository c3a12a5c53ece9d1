//! The compiled label-tuple table, how it is read, and how it is published.
//!
//! An address resolves to an [`Endpoint`] (its class and its workload); two endpoints and a [`ServiceKey`] make a
//! [`Decision`](crate::verdict::Decision). The cost is a bounded number of loads whatever the number of rules and
//! workloads. The table holds no names: the compiler in `control` keeps them beside it.

mod answer;
mod binding;
mod block;
mod change;
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

pub use binding::{Behind, Binding, Listening, Owner};
pub use block::{Block, Chunk, Interval};
pub use class::{ANY_ID, Class, EMPTY_ID, GateMode, ID_LIMIT, LEVELS, Layer, Layers, Level, Side};
pub use decide::DecisionKey;
pub use hit::{Hit, HitAction};
pub use hits::RuleHits;
pub use publish::{DRAFTS_MAX, Draft, PolicyReader, Publisher, Snapshot};
pub use service::ServiceKey;
pub use table::{End, Endpoint, PolicyTable, TableChange, TableError, TableParts, WorkloadParts};
