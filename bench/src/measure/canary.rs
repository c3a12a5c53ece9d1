//! A fixed piece of work, timed before and after each trial: if it took longer than elsewhere in its round, somebody
//! else had the machine, and the round is void. And the kernel's own account of where the time went.

use std::fs;
use std::hint::black_box;
use std::thread;
use std::time::Instant;

use super::{CPU_CANDIDATE, CPU_ENDS, MeasureError, pin};

/// Steps of the integer loop and of the walk: some 20 ms each on the machine this was written on.
const INTEGER_STEPS: u64 = 20_000_000;
const WALK_STEPS: usize = 2_000_000;
/// Lines of the walk: 2 MiB, a second-level cache.
const WALK_LINES: usize = 1 << 15;

/// How long the canary's work took, nanoseconds, on each of the two CPUs at once.
///
/// # Errors
/// If a CPU cannot be had.
pub fn sing() -> Result<[u64; 2], MeasureError> {
    let [ends, candidate] = [CPU_ENDS, CPU_CANDIDATE].map(|cpu| thread::spawn(move || timed(cpu)));
    let join = |handle: thread::JoinHandle<std::io::Result<u64>>| -> Result<u64, MeasureError> {
        Ok(handle.join().map_err(|_| "the canary died")??)
    };
    Ok([join(ends)?, join(candidate)?])
}

fn timed(cpu: usize) -> std::io::Result<u64> {
    pin(cpu)?;
    let next = cycle();
    let started = Instant::now();
    let mut x = 1_u64;
    for step in 0..INTEGER_STEPS {
        x = black_box(x).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(step);
    }
    let mut at = 0;
    for _ in 0..WALK_STEPS {
        at = next[at * 16];
    }
    black_box((x, at));
    Ok(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

/// One cycle through all lines in a scrambled order; the index of the next line is in the first word of each.
fn cycle() -> Vec<usize> {
    let mut next = vec![0; WALK_LINES * 16];
    // An odd step in a power of two visits every line.
    for line in 0..WALK_LINES {
        next[line * 16] = (line + 12_345) % WALK_LINES;
    }
    next
}

/// Jiffies of one CPU since boot.
#[derive(Clone, Copy, Debug, Default)]
pub struct Jiffies {
    /// In all.
    pub total: u64,
    /// Idle.
    pub idle: u64,
    /// Taken by the hypervisor.
    pub steal: u64,
}

/// Reads `/proc/stat` for `cpu`.
///
/// # Errors
/// If it is not as proc(5) says.
pub fn jiffies(cpu: usize) -> Result<Jiffies, MeasureError> {
    let text = fs::read_to_string("/proc/stat")?;
    let name = format!("cpu{cpu} ");
    let line = text.lines().find(|line| line.starts_with(&name)).ok_or("no such CPU in /proc/stat")?;
    let numbers: Vec<u64> = line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    let [_user, _nice, _system, idle, iowait, _irq, _softirq, steal, ..] = numbers[..] else {
        return Err("/proc/stat has fewer columns than proc(5) says".into());
    };
    // Guest time is part of user time already.
    Ok(Jiffies { total: numbers.iter().take(8).sum(), idle: idle + iowait, steal })
}

impl Jiffies {
    /// Share of the time since `before` that the CPU was busy, and that it was taken, 0 to 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "hundredths of seconds")]
    pub fn shares(self, before: Self) -> (f64, f64) {
        let total = (self.total - before.total).max(1) as f64;
        let busy = total - (self.idle - before.idle) as f64;
        (busy / total, (self.steal - before.steal) as f64 / total)
    }
}
