//! Real programs through the proxy: nginx with curl and wrk, PostgreSQL with pgbench, Redis with redis-benchmark,
//! iperf3; and, with sockets of our own, the ends that connections come to.
//!
//! Everything is on the loopback network, where each host is an address; nothing needs a privilege. A program that is
//! not installed fails its test, with the name of its package.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing step must fail the test")]

#[path = "../common/mod.rs"]
mod common;
mod daemon;
mod ends;
mod iperf;
mod life;
mod many;
mod postgres;
mod program;
mod redis;
mod web;

use std::time::Duration;

/// Longer than anything here takes, unless it does not come.
const SOON: Duration = Duration::from_secs(60);
