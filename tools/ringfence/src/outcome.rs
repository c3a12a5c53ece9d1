//! What a command ends with.

use std::fmt::Display;
use std::process::ExitCode;

/// What every command returns.
pub(crate) type Outcome = Result<(), Failure>;

/// Why a command did not do what it was asked.
#[derive(Debug)]
#[allow(dead_code, reason = "the commands that use them land one by one")]
pub(crate) enum Failure {
    /// Refused or failed, exit status 1: the message, complete with what to do.
    Failed(String),
    /// The same, but everything was said already (diagnostics, a table of failed expectations).
    Told,
    /// Bad usage that the argument parser cannot see, exit status 2.
    Usage(String),
}

impl Failure {
    /// Failed with this message.
    pub(crate) fn failed(message: impl Display) -> Self {
        Self::Failed(message.to_string())
    }

    /// Says what happened on stderr and gives the exit status.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Self::Failed(message) => {
                eprintln!("ringfence: {message}");
                ExitCode::from(1)
            }
            Self::Told => ExitCode::from(1),
            Self::Usage(message) => {
                eprintln!("ringfence: {message}\n\nFor more information, try '--help'.");
                ExitCode::from(2)
            }
        }
    }
}
