//! A new process takes the place of the one that runs, and no client of a proxy is refused meanwhile.
//!
//! The listening sockets themselves change hands, so a client that connects at any moment is in the queue of one that
//! somebody accepts from. They travel over the control socket, to who may change policy:
//!
//! ```text
//! new  POST /v1/handover, upgrade to `ringfence-handover`
//! old  101, then `listener` with a descriptor, for each; then `end`          it still serves
//! new  `release`
//! old  `released`     nothing is published any more; the wires, the state directory and the socket are free
//! new  `serving`      its policy is in force and its proxies accept
//! old  accepts no more; its connections go on until they end, under the policy that the new one publishes
//! ```
//!
//! If the new process fails before `serving`, the old one takes everything back.

mod predecessor;
mod successor;
#[cfg(test)]
mod tests;

pub(super) use predecessor::Predecessor;
pub use predecessor::TakeOverError;
pub(super) use successor::Successor;

/// What the connection is upgraded to.
pub(crate) const PROTOCOL: &str = "ringfence-handover";
/// The longest word of the protocol, bytes, its line feed included.
const WORD_MAX: usize = 16;
