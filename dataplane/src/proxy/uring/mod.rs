//! One ring of io_uring and all memory that its operations touch; safe to use from outside.
//!
//! The kernel reads and writes memory behind the language's back while an operation is under way, so everything it
//! is told the address of is owned here and lives as long as the ring: the buffers and their ring ([`pool`]), the
//! places for peers' addresses ([`seats`]), and the addresses to connect to until they are submitted. A [`Ring`] that
//! is dropped waits for its operations first.
//!
//! Sockets are ordinary descriptors and not entries of the ring's own file table: `shutdown(2)` through a ring goes
//! to a kernel thread (`io_shutdown_prep` forces it), and neither `splice(2)` nor `getsockname(2)` takes an entry.
//! What every operation of a kind names, the listeners and the wake-up, is in the table.
#![allow(unsafe_code, reason = "hands memory to the kernel and takes it back")]

mod mapping;
mod options;
mod pool;
mod ring;
mod seats;
mod setup;
#[cfg(test)]
mod tests;
mod token;

pub(super) use options::{allow_any_port, allow_foreign_addresses};
pub(super) use pool::Buffer;
pub(super) use ring::{Completion, Completions, Ring, Send};
pub(super) use setup::RingPlan;
pub(super) use token::{Op, Token};
