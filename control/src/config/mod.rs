//! The daemon's configuration file: every key is explained in `config/ringfence.yaml`.

mod accounts;
mod check;
mod export;
mod file;
mod proxy;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use accounts::Principals;
pub use proxy::{Health, Proxy};

use crate::policy::{Diagnostics, SourceFile};
use crate::store;

/// Where the daemon's socket is unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/ringfence/ringfence.sock";

/// Everything the daemon is told at its start. Made only by [`Config::load`] and [`Config::parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The wires, by position [`dataplane::verdict::WireId`]; names unique, no interface twice.
    pub wires: Vec<Wire>,
    /// The proxies; those after the wires in the count of [`dataplane::verdict::WireId`].
    pub proxies: Vec<Proxy>,
    /// Policy files and directories for the first start and for SIGHUP.
    pub policy: Vec<PathBuf>,
    /// Where published policies are kept.
    pub state_dir: PathBuf,
    /// How much of them is kept.
    pub history: store::Limits,
    /// The control socket.
    pub socket: Socket,
    /// The same over a loopback address, for browsers and scrapers.
    pub http: Option<Http>,
    /// Who may ask, besides root and the daemon's own user.
    pub read: Principals,
    /// Who may ask and change, besides root and the daemon's own user.
    pub change: Principals,
    /// Flows at a time, 1024 to 2^26.
    pub flows: u32,
    /// How long after the start TCP connections may be picked up mid-stream.
    pub pickup: Duration,
    /// How workers tell of flows.
    pub records: Records,
    /// A directory in a BPF file system for programs that outlive the process.
    pub pin: Option<PathBuf>,
    /// Cores for the workers, in order, repeated; empty: those that the process may use.
    pub cores: Vec<u16>,
    /// How long a publish waits for the workers.
    pub publish_timeout: Duration,
    /// Where flow events are sent to.
    pub export: crate::observe::export::Config,
}

/// Two ports and how they are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    /// Its name; what `wire:` of a workload refers to.
    pub name: String,
    /// The port towards the workloads.
    pub inside: Port,
    /// The port towards the network.
    pub outside: Port,
    /// What passes when no process serves the wire.
    pub fail: Fail,
    /// Queue pairs, 1 to 64; `None`: all that the ports have.
    pub queues: Option<u16>,
    /// Frames that a worker owns; a power of two, 256 to 65,536.
    pub frames_per_queue: u32,
    /// Bytes of one frame's buffer: 2048 or 4096.
    pub chunk_bytes: u32,
    /// Whether workers poll the driver.
    pub busy_poll: bool,
    /// How strictly a source address must be where the policy says it is.
    pub source_check: SourceCheck,
}

/// A network interface and the mode it is opened in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Name of the interface, 1 to 15 bytes.
    pub interface: String,
    /// The mode wished for.
    pub mode: Mode,
}

/// How the kernel hands over frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The best the port can do.
    #[default]
    Auto,
    /// The driver writes into the UMEM.
    ZeroCopy,
    /// The driver's XDP hook, with one copy.
    NativeCopy,
    /// The generic hook behind the driver, with one copy.
    Generic,
}

/// What passes when no process serves the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fail {
    /// Nothing.
    #[default]
    Closed,
    /// Everything, at kernel speed.
    Open,
}

/// What may come in from the inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceCheck {
    /// Workloads that may be there.
    #[default]
    Strict,
    /// Those, and addresses that no workload owns.
    Known,
}

/// The control socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its path, at most 107 bytes.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// Its group; the daemon's own if not told.
    pub group: Option<u32>,
    /// The largest request, bytes.
    pub body_bytes: usize,
    /// Connections at a time.
    pub connections: usize,
    /// Time to send a request, and to take its answer.
    pub timeout: Duration,
}

/// The control socket's requests over a loopback address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// The address; port 0 is any that is free.
    pub listen: SocketAddr,
    /// The network namespace to listen in; the daemon's own if not told.
    pub namespace: Option<PathBuf>,
    /// Who may read.
    pub read: Admission,
    /// Who may read the metrics.
    pub metrics: Admission,
}

/// Who may read over the loopback address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admission {
    /// Who shows a token.
    #[default]
    Token,
    /// Every local user.
    Anyone,
}

/// How workers tell of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Records {
    /// How often of a live flow; zero: only of its end.
    pub update: Duration,
    /// Events that a worker may be ahead of the control thread, 64 to 2^20.
    pub queue: usize,
}

impl Config {
    /// Reads and checks a configuration file of at most 1 MiB. Paths in it are relative to its directory.
    ///
    /// # Errors
    /// Every fault with its place: the file cannot be read, is not YAML, or says what it may not.
    pub fn load(path: &Path) -> Result<Self, Diagnostics> {
        let name = path.display().to_string();
        match file::read(path) {
            Ok(text) => {
                let base = path.parent().unwrap_or(Path::new(""));
                Self::parse(SourceFile { name, text }, base)
            }
            Err(error) => Err(file::unreadable(name, &error)),
        }
    }

    /// Checks the text of a configuration file; relative paths in it are relative to `base`.
    ///
    /// # Errors
    /// Every fault with its place.
    pub fn parse(source: SourceFile, base: &Path) -> Result<Self, Diagnostics> {
        let files = [source];
        let raw = file::parse(&files)?;
        check::check(raw, &files, base)
    }
}
