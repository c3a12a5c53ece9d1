//! What the daemon exports, read by the programs that people read it with: nfcapd and nfdump, tshark, promtool,
//! Prometheus. Real traffic over a real wire, in namespaces of these tests' own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing step must fail the test")]

mod bed;
mod consumers;
mod disk;
mod flows;
mod metrics;
