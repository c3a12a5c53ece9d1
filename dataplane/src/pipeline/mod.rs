//! The whole path of a batch, from received frames to dispositions, as a function over memory.
//!
//! The worker calls it between its rings; tests, fuzzing, `ringfence replay` and the benches call it with frames
//! they made themselves. Nothing here knows a ring, a socket or a clock.

mod stage;

pub use stage::{Arrival, Outbox, Stage};
