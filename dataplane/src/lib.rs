//! Frames in, dispositions out: the packet path of ringfence.
//!
//! Modules stand in the order a packet meets them. `ARCHITECTURE.md` beside this crate walks one SYN through
//! them.

// Words that every stage shares.
pub mod verdict;

pub mod address;
pub mod clock;
pub mod counters;

// The path. `worker` turns the loop over the rings; `pipeline` is what it does with a batch.
pub mod worker;

pub mod frame;

pub mod headers;

pub mod flow;

pub mod policy;

pub mod transmit;

pub mod capture;

pub mod records;

// What both paths ask, and what their threads run on.
mod ask;
mod cores;
mod object;
mod prefetch;

pub mod pipeline;

// The same policy on connections instead of frames.
pub mod proxy;
