//! How much of a core each worker uses, as the kernel accounts it: read from `/proc` where the daemon is on this
//! machine, in this namespace of processes, and its threads can be told apart by their names.

use std::collections::HashMap;
use std::fs;

use serde_json::Value;

use crate::cli::print::{list, word};

/// The longest name that the kernel keeps for a thread.
const NAME_MAX: usize = 15;

/// Ticks of a core that each worker has used, by the worker's number.
#[derive(Debug, Default)]
pub(super) struct Loads {
    ticks: HashMap<u64, u64>,
    per_second: u64,
}

impl Loads {
    /// Of the daemon that answered `status`; empty if that cannot be told.
    pub(super) fn read(status: &Value) -> Self {
        let Some(pid) = status["pid"].as_u64() else { return Self::default() };
        let mut threads: HashMap<String, Option<u64>> = HashMap::new();
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
            // Two threads with one name cannot be told apart.
            let ticks = ticks(&read("stat"));
            threads
                .entry(read("comm").trim_end().to_owned())
                .and_modify(|known| *known = None)
                .or_insert(ticks);
        }
        let ticks = list(&status["workers"]).iter().filter_map(|worker| {
            let mut name = format!("{}/{}", word(&worker["wire"]), worker["queue"]);
            name.truncate(name.floor_char_boundary(NAME_MAX));
            Some((worker["number"].as_u64()?, threads.get(&name).copied().flatten()?))
        });
        Self { ticks: ticks.collect(), per_second: rustix::param::clock_ticks_per_second() }
    }

    /// The share of a core that a worker used since `before`, `seconds` ago.
    pub(super) fn share(&self, before: &Self, worker: u64, seconds: f64) -> Option<f64> {
        let used = self.ticks.get(&worker)?.checked_sub(*before.ticks.get(&worker)?)?;
        Some(used as f64 / self.per_second.max(1) as f64 / seconds)
    }
}

/// User and system time of `/proc/PID/task/TID/stat` (proc(5)): fields 14 and 15, the second may hold anything in
/// parentheses.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let (user, system) = (fields.next()?.parse::<u64>().ok()?, fields.next()?.parse::<u64>().ok()?);
    user.checked_add(system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_thread_is_read_whatever_its_name() {
        let stat = "77 (up) link/0) S 1 77 77 0 -1 4194304 1 2 3 4 123 45 0 0 20 0 1 0 100 0 0";
        assert_eq!(ticks(stat), Some(168));
        assert_eq!(ticks(""), None);
        assert_eq!(ticks("1 (x) S 1"), None);
    }

    #[test]
    fn a_busy_thread_uses_a_share_of_a_core() {
        let busy = std::thread::Builder::new().name("busy/3".into());
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread =
            busy.spawn(move || while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {});
        let status = serde_json::json!({"pid": std::process::id(),
            "workers": [{"number": 8, "wire": "busy", "queue": 3}, {"number": 9, "wire": "none", "queue": 0}]});
        // A thread gives itself its name a moment after it began.
        let mut before = Loads::read(&status);
        while before.ticks.is_empty() {
            before = Loads::read(&status);
        }
        let start = std::time::Instant::now();
        let (mut after, mut share) = (Loads::read(&status), None);
        while share.is_none_or(|share| share <= 0.0) && start.elapsed().as_secs() < 60 {
            after = Loads::read(&status);
            share = after.share(&before, 8, start.elapsed().as_secs_f64());
        }
        drop(stop);
        thread.unwrap().join().unwrap();
        assert!(share.is_some_and(|share| share > 0.0 && share < 1.5), "{share:?}");
        assert_eq!(after.share(&before, 9, 1.0), None, "there is no such thread");
    }
}
