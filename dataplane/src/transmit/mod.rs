//! The last stage: what is done with a frame that was decided, and checksums that a local stack left unfinished.

pub mod checksum;
