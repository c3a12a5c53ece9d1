//! Why a port cannot be used, in one line that says what to do.

use core::fmt;
use std::io;
use std::path::Path;

use super::redirect::RedirectError;
use crate::frame::xsk::SocketError;

/// Why a port cannot be used, and what to do.
#[derive(Debug)]
pub struct PortError {
    /// The device.
    pub interface: String,
    /// What is wrong.
    pub problem: PortProblem,
}

/// What is wrong with a port.
#[derive(Debug)]
pub enum PortProblem {
    /// No device of that name in this network namespace.
    Missing,
    /// The device is administratively down.
    Down,
    /// Frames of this MTU do not fit a chunk.
    MtuTooLarge {
        /// The device's MTU, bytes.
        mtu: u32,
        /// The largest that fits.
        largest: u32,
    },
    /// The device does not use exactly the queues that are served.
    Queues {
        /// Queues it receives on.
        receive: u32,
        /// Queues it transmits on.
        transmit: u32,
        /// Queues that are served.
        served: u32,
        /// The driver counts receive and transmit queues apart.
        separate: bool,
    },
    /// Another XDP program is on the device: its id, if the kernel told.
    Occupied(Option<u32>),
    /// The driver runs no XDP programs, and the mode demands it.
    NoNative,
    /// The driver refuses XDP at this MTU (on a veth: at its peer's).
    DriverMtu,
    /// The driver refuses XDP with these queues (on a veth: with its peer's).
    DriverQueues,
    /// The process may not load BPF programs.
    NotPermitted,
    /// The pin could not be made or removed.
    Pin(io::Error),
    /// Opening the socket of a queue failed.
    Socket {
        /// The queue.
        queue: u32,
        /// Why.
        error: SocketError,
    },
    /// The kernel could not be asked about the device.
    Query(io::Error),
    /// Loading or attaching the program failed otherwise, in the loader's words.
    Program(String),
}

impl PortProblem {
    /// From what the loader said; `attached` is the program that was on the device before.
    pub(super) fn of(error: RedirectError, attached: Option<u32>, pin: Option<&Path>) -> Self {
        match error {
            RedirectError::NotPermitted => Self::NotPermitted,
            RedirectError::Occupied => Self::Occupied(attached),
            RedirectError::NoNative => Self::NoNative,
            RedirectError::Mtu => Self::DriverMtu,
            RedirectError::Queues => Self::DriverQueues,
            RedirectError::Pin(error) => Self::Pin(match pin {
                Some(path) => io::Error::new(error.kind(), format!("{}: {error}", path.display())),
                None => error,
            }),
            RedirectError::Failed(message) => Self::Program(message),
        }
    }
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.interface;
        write!(f, "port {name}: ")?;
        match &self.problem {
            PortProblem::Missing => f.write_str("there is no such device in this network namespace"),
            PortProblem::Down => write!(f, "the device is down: `ip link set {name} up`"),
            PortProblem::MtuTooLarge { mtu, largest } => write!(
                f,
                "its MTU of {mtu} bytes does not fit the chunks: lower it (`ip link set {name} mtu {largest}`) or \
                 use chunks of 4096 bytes",
            ),
            PortProblem::Queues { receive, transmit, served, separate } => {
                write!(f, "it receives on {receive} and transmits on {transmit} queues, but {served} are served: ")?;
                match separate {
                    true => write!(f, "`ethtool -L {name} rx {served} tx {served}`"),
                    false => write!(f, "`ethtool -L {name} combined {served}`"),
                }
            }
            PortProblem::Occupied(id) => {
                f.write_str("another XDP program is on the device")?;
                match id {
                    Some(id) => {
                        write!(f, " (id {id}; `bpftool prog show id {id}` tells whose): stop its owner or detach it")
                    }
                    None => f.write_str(" (`bpftool net` tells whose): stop its owner or detach it"),
                }
            }
            PortProblem::NoNative => {
                f.write_str("its driver runs no XDP programs: use mode auto or generic")
            }
            PortProblem::DriverMtu => f.write_str(
                "its driver refuses XDP at this MTU; on a veth the MTU of the other end counts: lower it",
            ),
            PortProblem::DriverQueues => f.write_str(
                "its driver refuses XDP with these queues; a veth needs as many receive queues as its other end has \
                 transmit queues (`ethtool -L`)",
            ),
            PortProblem::NotPermitted => f.write_str(
                "loading the XDP program needs CAP_BPF and CAP_NET_ADMIN: run as root, or give the service those",
            ),
            PortProblem::Pin(error) => {
                write!(f, "the pin needs a BPF file system (`mount -t bpf bpf /sys/fs/bpf`): {error}")
            }
            PortProblem::Socket { queue, error } => write!(f, "queue {queue}: {error}"),
            PortProblem::Query(error) => write!(f, "the kernel cannot be asked about it: {error}"),
            PortProblem::Program(message) => write!(f, "the XDP program cannot be attached: {message}"),
        }
    }
}

impl core::error::Error for PortError {}
