//! What can go wrong while a lab is built.

use std::fmt;
use std::io;

/// A step of building or using a lab failed.
#[derive(Debug)]
pub enum LabError {
    /// `ip` could not be started at all.
    NoIp(io::Error),
    /// An `ip` command was refused.
    Ip {
        /// The whole command line, as one could type it.
        command: String,
        /// What `ip` printed.
        message: String,
    },
    /// The namespace's file could not be opened or entered.
    Enter {
        /// The namespace.
        namespace: String,
        /// Why.
        error: io::Error,
    },
    /// A kernel setting could not be written.
    Setting {
        /// The namespace.
        namespace: String,
        /// Path of the setting under `/proc/sys`.
        key: String,
        /// Why.
        error: io::Error,
    },
    /// The lock file could not be opened.
    Lock {
        /// Its path.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// Another process holds the lock.
    Locked {
        /// The lock file.
        path: String,
        /// What the holder wrote into it: its process id.
        holder: String,
    },
}

impl fmt::Display for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoIp(error) => write!(f, "cannot run `ip`: {error}; install iproute2"),
            Self::Ip { command, message } => write!(f, "`{command}` failed: {message}"),
            Self::Enter { namespace, error } => write!(f, "cannot enter namespace {namespace}: {error}"),
            Self::Setting { namespace, key, error } => {
                write!(f, "cannot write /proc/sys/{key} in namespace {namespace}: {error}")
            }
            Self::Lock { path, error } => write!(f, "cannot open the lock file {path}: {error}"),
            Self::Locked { path, holder } => {
                write!(f, "another one is running (process {holder} holds {path}); end it or wait for it")
            }
        }
    }
}

impl std::error::Error for LabError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoIp(error)
            | Self::Enter { error, .. }
            | Self::Setting { error, .. }
            | Self::Lock { error, .. } => Some(error),
            Self::Ip { .. } | Self::Locked { .. } => None,
        }
    }
}
