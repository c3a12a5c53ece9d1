//! Why a wire cannot be opened.

use core::fmt;
use std::io;

use crate::frame::port::PortError;

/// Why a wire cannot be opened, and what to do.
#[derive(Debug)]
pub struct WireError {
    /// The wire's name.
    pub wire: String,
    /// What is wrong.
    pub problem: WireProblem,
}

/// What is wrong with a wire.
#[derive(Debug)]
pub enum WireProblem {
    /// A number of the configuration is out of its limits: its name, its value, and what is legal.
    Setting(&'static str, u32, &'static str),
    /// Both ports are the same device.
    SamePort(String),
    /// The ports take frames of different size, so that some would pass one way only.
    Mtu {
        /// Device and MTU of the inside port.
        inside: (String, u32),
        /// Device and MTU of the outside port.
        outside: (String, u32),
    },
    /// A port cannot be used.
    Port(PortError),
    /// Memory for the chunks could not be mapped.
    Memory(io::Error),
    /// A worker thread could not be started.
    Thread(io::Error),
    /// A worker could not be pinned to this CPU.
    Core(u32, io::Error),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wire {}: ", self.wire)?;
        match &self.problem {
            WireProblem::Setting(name, value, legal) => write!(f, "{name} is {value}; legal is {legal}"),
            WireProblem::SamePort(name) => write!(f, "{name} is both its inside and its outside port"),
            WireProblem::Mtu { inside, outside } => {
                let (low, high) = if inside.1 < outside.1 { (inside, outside) } else { (outside, inside) };
                write!(
                    f,
                    "port {} has an MTU of {} bytes and port {} one of {}: make them equal (`ip link set {} mtu {}`)",
                    inside.0, inside.1, outside.0, outside.1, high.0, low.1
                )
            }
            WireProblem::Port(error) => error.fmt(f),
            WireProblem::Memory(error) => {
                write!(f, "no memory for its frames: {error}; use fewer frames_per_queue")
            }
            WireProblem::Thread(error) => write!(f, "a worker cannot be started: {error}"),
            WireProblem::Core(core, error) => {
                write!(
                    f,
                    "a worker cannot be pinned to CPU {core}: {error}; name one that this process may use"
                )
            }
        }
    }
}

impl core::error::Error for WireError {}
