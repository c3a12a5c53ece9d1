//! Flows: key, entry, table, TCP state, fragments, expiry.
//!
//! A packet's [`FlowKey`] finds its flow in the [`FlowTable`]; the [`FlowHandle`] says what was decided, under which
//! epoch, and takes the packet into account. [`fragments`] lets later fragments, which have no ports, follow their
//! first one. Nothing here knows policy: `pipeline` asks it and stamps the answer into the flow.

mod entry;
mod fill;
pub mod fragments;
mod handle;
mod handshake;
mod hash;
mod key;
#[cfg(test)]
#[cfg(loom)]
mod loom;
#[cfg(not(loom))]
mod memory;
#[cfg(loom)]
#[path = "memory_loom.rs"]
mod memory;
mod relayed;
mod ruling;
mod set;
mod state;
mod stamp;
mod sync;
mod table;
mod tags;
pub mod tcp;
mod terms;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;
pub mod timeouts;
mod told;
mod view;

pub use entry::Class;
pub use handle::FlowHandle;
pub use handshake::{Handshake, RoundTrip};
pub use hash::{FlowHash, HashKey};
pub use key::{FlowKey, Orientation};
pub use relayed::Relayed;
pub use ruling::{Ruling, Standing};
pub use table::{Evicted, FlowTable, Inserted, NewFlow, Slot};
pub use view::{FlowView, SweepCursor};
