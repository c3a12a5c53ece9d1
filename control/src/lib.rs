//! The slow side: policy from text to table, the socket, the store, what operators see. May allocate, may fail,
//! must explain.

pub mod config;
pub mod daemon;
pub mod engine;
pub mod observe;
pub mod policy;
pub mod socket;
pub mod store;
