//! The compiled label-tuple table, how it is read, and how it is published.
//!
//! An address resolves to an [`Endpoint`] (its class and its workload); two endpoints and a [`ServiceKey`] make a
//! [`Decision`](crate::verdict::Decision). The cost is a bounded number of loads whatever the number of rules and
//! workloads. The table holds no names: the compiler in `control` keeps them beside it.

mod binding;
mod decide;
mod hits;
mod map;
mod publish;
mod ranges;
mod service;
mod table;
#[cfg(test)]
pub(crate) mod testing;

pub use binding::{Behind, Binding, Owner};
pub use decide::{
    ANY_ID, Block, Class, DecisionKey, EMPTY_ID, GateMode, Hit, HitAction, Interval, LEVELS, Layer, Level,
};
pub use hits::RuleHits;
pub use publish::{PolicyReader, Publisher, Snapshot};
pub use service::ServiceKey;
pub use table::{Endpoint, PolicyTable, TableError, TableParts};
