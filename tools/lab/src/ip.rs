//! Running `ip`, the one program a lab needs.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::thread::{CapabilitySet, capabilities};

use crate::LabError;

/// `ip` with these arguments, in a process group of its own: a ^C at the terminal must not kill the clean-up.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new("ip");
    command.args(arguments).stdin(Stdio::null()).process_group(0);
    command
}

/// Runs `ip` and returns what it printed.
pub(crate) fn run(arguments: &[&str]) -> Result<String, LabError> {
    let output = command(arguments).output().map_err(LabError::NoIp)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(LabError::Ip { command: format!("ip {}", arguments.join(" ")), message: message(&output) })
}

fn message(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    match text.trim() {
        "" => output.status.to_string(),
        text => text.lines().collect::<Vec<_>>().join("; "),
    }
}

/// What this process lacks to build a lab, in one line with what to do about it; `None` if nothing.
#[must_use]
pub fn missing() -> Option<String> {
    let needed = CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW;
    match capabilities(None) {
        Ok(held) if held.effective.contains(needed) => {}
        _ => {
            return Some(
                "needs root (CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW); run it with sudo, in a container with \
                 --privileged"
                    .into(),
            );
        }
    }
    if let Err(error) = run(&["-V"]) {
        return Some(error.to_string());
    }
    if !Path::new("/proc/self/ns/net").exists() {
        return Some("this kernel has no network namespaces; use one built with CONFIG_NET_NS".into());
    }
    None
}

/// For tests that need a lab: whether to skip. Without the privileges a test must not pass silently, so this
/// panics, unless `RINGFENCE_UNPRIVILEGED=1` says that skipping is meant.
///
/// # Panics
/// If something is missing and the variable is not set.
#[must_use]
#[expect(clippy::panic, reason = "for tests, which must fail when they cannot test")]
pub fn skip_unprivileged() -> bool {
    let Some(missing) = missing() else { return false };
    if std::env::var_os("RINGFENCE_UNPRIVILEGED").is_some_and(|value| value == "1") {
        eprintln!("skipped: {missing}");
        return true;
    }
    panic!("{missing}, or set RINGFENCE_UNPRIVILEGED=1 to skip the tests that need it")
}
