//! The last stage: what is done with a frame that was decided, checksums that a local stack left unfinished, and the
//! frames made to tell a sender that it was refused.

pub mod checksum;
pub mod limit;
pub mod reject;
