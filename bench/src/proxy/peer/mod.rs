//! What stands in the middle: how each candidate is configured and started, and which can be had here.

mod config;
mod process;
#[cfg(test)]
mod tests;

use std::fs;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub(super) use process::kibibytes;
pub use process::{Memory, Process};

use super::site;
use crate::measure::MeasureError;
use crate::measure::provenance::said;

/// A way from the clients to the back ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Candidate {
    /// A ringfence proxy: judges by labels.
    Ringfence,
    /// The same, but every client is accepted before it is refused.
    RingfenceAccepts,
    /// HAProxy with `splice-auto`: judges by the client's network.
    HaproxySplice,
    /// HAProxy without splice: judges by the client's network.
    Haproxy,
    /// nginx's stream module: judges by the client's network.
    Nginx,
    /// Envoy's TCP proxy: judges by the client's network.
    Envoy,
    /// sozu's TCP proxy: lets everybody through.
    Sozu,
    /// A minimal relay that splices: lets everybody through; a calibrator.
    RelaySplice,
    /// A minimal relay that copies: lets everybody through; a calibrator.
    RelayCopy,
    /// No proxy: back ends on the CPU where a proxy would be.
    Direct,
    /// No proxy, and back ends in the clients' own thread: what the load itself can do.
    Load,
}

/// Programs that are not part of the system.
#[derive(Clone, Debug)]
pub struct Tools {
    /// The `ringfence` binary.
    pub ringfence: PathBuf,
    /// The folder of peers that packages brought: `envoy/bin/envoy`, `bin/sozu`.
    pub peers: PathBuf,
    /// This program, for the relays.
    pub own: PathBuf,
    /// How many files a process may open: a proxy needs two for each connection.
    pub open_files: u64,
}

impl Candidate {
    /// Its name in tables and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ringfence => "ringfence",
            Self::RingfenceAccepts => "ringfence-accepts",
            Self::HaproxySplice => "haproxy-splice",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
            Self::Sozu => "sozu",
            Self::RelaySplice => "relay-splice",
            Self::RelayCopy => "relay-copy",
            Self::Direct => "direct",
            Self::Load => "load",
        }
    }

    /// Whether it judges: a client of the denied network must be refused, and no back end see it.
    #[must_use]
    pub const fn judges(self) -> bool {
        self.is_ringfence() || matches!(self, Self::HaproxySplice | Self::Haproxy | Self::Nginx | Self::Envoy)
    }

    /// Whether it is ringfence, in whichever way.
    #[must_use]
    pub const fn is_ringfence(self) -> bool {
        matches!(self, Self::Ringfence | Self::RingfenceAccepts)
    }

    /// Whether there is a process in the middle.
    #[must_use]
    pub const fn is_proxy(self) -> bool {
        !matches!(self, Self::Direct | Self::Load)
    }

    /// Where clients of one of its instances connect to: the proxy, or the first back end.
    #[must_use]
    pub fn target(self, instance: u16) -> SocketAddrV4 {
        match self {
            Self::Direct => site::beside(),
            Self::Load => site::servers(instance)[0],
            _ => site::proxy(self as u16, instance),
        }
    }

    /// The program that it is, and what makes it tell its version; none if it is no program of its own.
    fn program(self, tools: &Tools) -> Option<(PathBuf, &'static str)> {
        match self {
            Self::Ringfence | Self::RingfenceAccepts => Some((tools.ringfence.clone(), "--version")),
            Self::HaproxySplice | Self::Haproxy => Some(("haproxy".into(), "-v")),
            Self::Nginx => Some(("nginx".into(), "-v")),
            Self::Envoy => Some((tools.peers.join("envoy/bin/envoy"), "--version")),
            Self::Sozu => Some((tools.peers.join("bin/sozu"), "--version")),
            Self::RelaySplice | Self::RelayCopy | Self::Direct | Self::Load => None,
        }
    }

    /// Its version.
    ///
    /// # Errors
    /// Why it cannot be compared here.
    pub fn version(self, tools: &Tools) -> Result<Option<String>, String> {
        let Some((program, argument)) = self.program(tools) else { return Ok(None) };
        let version = said(&program.to_string_lossy(), &[argument]);
        // Some begin with the path they were called by, which is nobody's business.
        let version = match program.components().count() > 1 {
            true => version.map(|version| version.replace(&*program.to_string_lossy(), self.name())),
            false => version,
        };
        version.map(Some).ok_or_else(|| format!("{} cannot be run", program.display()))
    }

    /// Starts it on the candidate's CPU, in the network namespace of the calling thread, with its files in a folder of
    /// its own below `folder`. None if it is no process.
    ///
    /// # Errors
    /// If it cannot be started or does not listen in time; the error holds its last words.
    pub fn start(self, tools: &Tools, folder: &Path, instance: u16) -> Result<Option<Process>, MeasureError> {
        let folder = folder.join(format!("{}-{instance}", self.name()));
        fs::create_dir_all(&folder)?;
        let listen = self.target(instance);
        let program = self.program(tools).map_or_else(|| tools.own.clone(), |(program, _)| program);
        let asked = config::Asked {
            folder: &folder,
            listen,
            servers: &site::servers(instance),
            connections: tools.connections(),
        };
        let Some(arguments) = asked.write(self)? else { return Ok(None) };
        Process::start(self.name(), &program, &arguments, &folder, listen).map(Some)
    }
}

impl Tools {
    /// Connections that one process can hold here: two files each, and some to spare for pipes and its own.
    #[must_use]
    pub fn connections(&self) -> u32 {
        u32::try_from(self.open_files.saturating_sub(2 * u64::from(config::PIPES) + 500) / 2)
            .unwrap_or(u32::MAX)
            .min(200_000)
    }
}
