//! Frames in, dispositions out: the packet path of ringfence.
//!
//! Modules stand in the order a packet meets them. `ARCHITECTURE.md` beside this crate walks one SYN through
//! them.

pub mod verdict;
pub mod clock;
pub mod address;
pub mod frame;
pub mod headers;
pub mod flow;
pub mod policy;
pub mod transmit;
pub mod pipeline;
