//! What a killed process left behind.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpid, kill_process};

use crate::{LabError, ip};

/// How long a killed process may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(2);

/// The namespaces whose name begins with `prefix`, sorted.
#[must_use]
pub fn names_with_prefix(prefix: &str) -> Vec<String> {
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .collect();
    names.sort();
    names
}

/// Kills every process in the namespaces whose name begins with `prefix`, this process excepted, and removes the
/// namespaces. Returns their names. Call it only under the lock that guards the prefix.
///
/// # Errors
/// If `ip` cannot list the processes or delete a namespace.
pub fn remove_leftovers(prefix: &str) -> Result<Vec<String>, LabError> {
    let names = names_with_prefix(prefix);
    for name in &names {
        let listed = ip::run(&["netns", "pids", name]).unwrap_or_default();
        let pids = listed.split_whitespace().filter_map(|word| Pid::from_raw(word.parse().ok()?));
        pids.filter(|pid| *pid != getpid()).for_each(kill_and_wait);
        ip::run(&["netns", "delete", name])?;
    }
    Ok(names)
}

fn kill_and_wait(pid: Pid) {
    // A process that is gone already is what we want.
    let _ = kill_process(pid, Signal::KILL);
    let deadline = Instant::now() + GONE_WITHIN;
    // A zombie has left its namespaces already, whether or not its parent ever collects it.
    let namespace = format!("/proc/{}/ns/net", pid.as_raw_nonzero());
    while fs::read_link(&namespace).is_ok() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
}
