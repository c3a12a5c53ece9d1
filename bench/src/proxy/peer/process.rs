//! A candidate's processes: started on their CPU, stopped while others are measured, weighed, and taken away.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddrV4;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Serialize;

use crate::measure::{CPU_CANDIDATE, MeasureError};

/// How long a candidate may take until it listens.
const STARTING: Duration = Duration::from_secs(20);

/// A process and its children, in a group of their own. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    group: Pid,
    log: PathBuf,
}

/// What a candidate holds, bytes.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Memory {
    /// Its resident set.
    pub resident: u64,
    /// The same with shared pages divided among those who share them.
    pub proportional: u64,
}

impl Process {
    /// Starts `program` and waits until it listens on `listen`.
    pub(super) fn start(
        name: &'static str,
        program: &Path,
        arguments: &[String],
        folder: &Path,
        listen: SocketAddrV4,
    ) -> Result<Self, MeasureError> {
        // The kernel closes what a process that was killed has listened on some time after it.
        let end = Instant::now() + STARTING;
        while listens(listen)? {
            if Instant::now() > end {
                return Err(format!("{name}: another process listens on {listen}").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let log = folder.join("log");
        let output = File::create(&log)?;
        // It dies with the comparison, even if that is killed.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "taskset", "-c", &CPU_CANDIDATE.to_string()])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .map_err(|error| format!("setpriv: {error}"))?;
        let group = Pid::from_child(&child);
        let mut process = Self { name, child, group, log };
        let end = Instant::now() + STARTING;
        while !listens(listen)? {
            if process.child.try_wait()?.is_some() || Instant::now() > end {
                return Err(process.failed(&format!("does not listen on {listen}")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(process)
    }

    /// The error that says so, with the last lines of what the program printed.
    #[must_use]
    pub fn failed(&self, what: &str) -> MeasureError {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(5)..].join("\n  ");
        format!("{} {what}; it said:\n  {last}", self.name).into()
    }

    /// Halts it, so that it cannot disturb others.
    ///
    /// # Errors
    /// If it is gone.
    pub fn halt(&self) -> io::Result<()> {
        Ok(kill_process_group(self.group, Signal::STOP)?)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// If it is gone.
    pub fn go_on(&mut self) -> Result<(), MeasureError> {
        if self.child.try_wait()?.is_some() {
            return Err(self.failed("ended"));
        }
        Ok(kill_process_group(self.group, Signal::CONT)?)
    }

    /// Weighs it and its children.
    ///
    /// # Errors
    /// If `/proc` is not as proc(5) says.
    pub fn memory(&self) -> Result<Memory, MeasureError> {
        let mut memory = Memory::default();
        for entry in fs::read_dir("/proc")?.flatten() {
            // A process may end while it is looked at.
            let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
            // The name, in brackets, may hold anything; the group is the third word after it.
            let group = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(2));
            if group.and_then(|group| group.parse().ok()) != Some(self.group.as_raw_nonzero().get()) {
                continue;
            }
            let Ok(rollup) = fs::read_to_string(entry.path().join("smaps_rollup")) else { continue };
            memory.resident += kibibytes(&rollup, "Rss:")? * 1024;
            memory.proportional += kibibytes(&rollup, "Pss:")? * 1024;
        }
        Ok(memory)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = kill_process_group(self.group, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// A figure of a `/proc` file of lines such as `Rss: 1234 kB`.
pub(in crate::proxy) fn kibibytes(text: &str, name: &str) -> Result<u64, MeasureError> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let figure = line.and_then(|line| line.split_whitespace().next());
    Ok(figure.ok_or_else(|| format!("no `{name}` in /proc"))?.parse()?)
}

/// Whether somebody listens, without connecting: a proxy would ask its back ends.
fn listens(address: SocketAddrV4) -> io::Result<bool> {
    // As the kernel prints it: the address's bytes in the machine's order.
    let wanted = format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port());
    let sockets = fs::read_to_string("/proc/thread-self/net/tcp")?;
    Ok(sockets.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some(&wanted) && words.nth(1) == Some("0A")
    }))
}
