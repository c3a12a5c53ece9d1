//! Why the demo could not go on.

use std::fmt;
use std::io;
use std::path::PathBuf;

use lab::LabError;

/// The demo ended before its last act. What an expectation can express is no such error.
#[derive(Debug)]
pub(crate) enum DemoError {
    /// The machine lacks something: what, and what to do.
    Missing(String),
    /// The network could not be built or used.
    Lab(LabError),
    /// The policy file could not be read.
    Policy(PathBuf, io::Error),
    /// Something outside the lab could not be done.
    Io(&'static str, io::Error),
    /// The daemon did not start, or did not answer, or answered nonsense.
    Daemon(String),
    /// ^C or SIGTERM.
    Interrupted,
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(what) => f.write_str(what),
            Self::Lab(error) => error.fmt(f),
            Self::Policy(path, error) => write!(f, "cannot read the policy {}: {error}", path.display()),
            Self::Io(what, error) => write!(f, "cannot {what}: {error}"),
            Self::Daemon(message) => f.write_str(message),
            Self::Interrupted => f.write_str("interrupted; the lab is gone"),
        }
    }
}

impl From<LabError> for DemoError {
    fn from(error: LabError) -> Self {
        Self::Lab(error)
    }
}
