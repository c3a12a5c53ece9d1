//! AF_XDP sockets: rings shared with the kernel, and the two ends that a worker holds.
//!
//! A [`Receiver`] lends chunks and takes frames; a [`Transmitter`] takes frames and gets chunks back. On one device
//! and queue they are two halves of one socket, because the kernel allows one buffer pool per queue
//! (`xsk_get_pool_from_qid` in `net/xdp/xsk.c`); nothing else assumes that they share a device.
#![allow(unsafe_code, reason = "owns the rings shared with the kernel")]

mod cursor;
mod ends;
mod ethtool;
mod options;
mod rings;
mod socket;

#[cfg(test)]
pub(crate) use ends::{Device, without_kernel};
pub(crate) use ends::{Kick, Receiver, Transmitter};
pub(crate) use ethtool::{Channels, channels, merges, set_merges};
pub(crate) use socket::{Bind, Plan, Socket, open};
pub use socket::{BusyPoll, SocketError};
