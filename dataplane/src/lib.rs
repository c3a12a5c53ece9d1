//! Frames in, dispositions out: the packet path of ringfence.
//!
//! Modules stand in the order a packet meets them. `ARCHITECTURE.md` beside this crate walks one SYN through
//! them.

pub mod address;
pub mod clock;
pub mod counters;
pub mod flow;
pub mod frame;
pub mod headers;
pub mod pipeline;
pub mod policy;
pub mod transmit;
pub mod verdict;
pub mod worker;
