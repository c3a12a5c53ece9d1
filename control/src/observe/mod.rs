//! What operators see: counters, drops, flows, all in the policy's own words.

pub mod advice;
pub mod capture;
pub mod drops;
pub mod export;
pub mod flows;
pub mod follow;
pub mod hits;
pub mod live;
pub mod map;
pub mod metrics;
pub mod names;
pub mod worker;
