//! Why a proxy cannot be started.

use core::fmt;
use core::net::SocketAddr;
use std::io;

/// Why a proxy cannot be started, and what to do.
#[derive(Debug)]
pub struct ProxyError {
    /// The proxy's name.
    pub proxy: String,
    /// What is wrong.
    pub problem: ProxyProblem,
}

/// What is wrong with a proxy.
#[derive(Debug)]
pub enum ProxyProblem {
    /// A number of the configuration is out of its limits: its name, its value, and what is legal.
    Setting(&'static str, u32, &'static str),
    /// Fields contradict each other.
    Fields(&'static str),
    /// Not one set of parts per worker, or not one listener per address: what, how many there are, how many there
    /// must be.
    Count(&'static str, usize, usize),
    /// An address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// `IP_TRANSPARENT` is not permitted.
    Transparent(io::Error),
    /// The kernel's io_uring lacks something, or may not be used.
    Ring(RingError),
    /// More files are needed than this process may open.
    Files {
        /// How many are needed.
        needed: u64,
        /// The hard limit.
        limit: u64,
    },
    /// Memory or another resource could not be had.
    Resources(&'static str, io::Error),
    /// A worker could not be pinned to this CPU.
    Core(u32, io::Error),
    /// A worker thread could not be started.
    Thread(io::Error),
}

/// Why a ring could not be set up.
#[derive(Debug)]
pub enum RingError {
    /// The kernel has no io_uring, or it is switched off.
    NoSupport(io::Error),
    /// The kernel's io_uring is too old: what is missing, and since when Linux has it.
    Lacks(&'static str, &'static str),
    /// A step failed.
    Failed(&'static str, io::Error),
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSupport(error) => write!(
                f,
                "io_uring cannot be used: {error}; it needs CONFIG_IO_URING and that the sysctl \
                 kernel.io_uring_disabled lets this process use it"
            ),
            Self::Lacks(what, since) => {
                write!(f, "this kernel's io_uring has no {what}: it needs Linux {since} or later")
            }
            Self::Failed(step, error) => write!(f, "io_uring: {step}: {error}"),
        }
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "proxy {}: ", self.proxy)?;
        match &self.problem {
            ProxyProblem::Setting(name, value, legal) => write!(f, "{name} is {value}; legal is {legal}"),
            ProxyProblem::Fields(what) => f.write_str(what),
            ProxyProblem::Count(what, are, must) => write!(f, "there are {are} {what}; there must be {must}"),
            ProxyProblem::Listen(address, error) => write!(f, "it cannot listen on {address}: {error}"),
            ProxyProblem::Transparent(error) => write!(
                f,
                "a transparent listener or a kept source address needs IP_TRANSPARENT: {error}; give the process \
                 CAP_NET_ADMIN"
            ),
            ProxyProblem::Ring(error) => error.fmt(f),
            ProxyProblem::Files { needed, limit } => write!(
                f,
                "connections_max and pipes of the proxies here need {needed} open files, and this process may have \
                 {limit}: raise the limit (LimitNOFILE= in a systemd unit) or lower connections_max"
            ),
            ProxyProblem::Resources(what, error) => write!(f, "no {what}: {error}"),
            ProxyProblem::Core(core, error) => {
                write!(
                    f,
                    "a worker cannot be pinned to CPU {core}: {error}; name one that this process may use"
                )
            }
            ProxyProblem::Thread(error) => write!(f, "a worker cannot be started: {error}"),
        }
    }
}

impl core::error::Error for ProxyError {}
