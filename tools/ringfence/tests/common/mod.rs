//! A daemon as a process, for all tests that start one: its folder, its start, its clients, its end.
//!
//! What only some of them need is in their own `impl Daemon`, so that nothing here is unused anywhere.

mod folder;

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

pub(crate) use folder::Folder;

/// How every configuration here begins.
pub(crate) const CONFIG: &str = "policy: [policy.yaml]\nstate_dir: state\nsocket: {path: s.sock}\n";

/// Longer than a daemon takes to end when it is told to.
const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon and its folder; both end with the test.
pub(crate) struct Daemon {
    folder: Folder,
    pub(crate) child: Option<Child>,
}

impl Daemon {
    /// The folder alone, with a policy and `extra` after [`CONFIG`]; `name` tells the tests of a process apart.
    pub(crate) fn prepare(name: &str, policy: &str, extra: &str) -> Self {
        let folder = Folder::new(name);
        folder.write("policy.yaml", policy);
        folder.write("ringfence.yaml", format!("{CONFIG}{extra}"));
        Self { folder, child: None }
    }

    /// The path of a file of its folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command that starts a process on this folder.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
        command.args(["run", "--config"]).arg(self.file("ringfence.yaml"));
        command
    }

    /// Starts the daemon and waits until it says that it is ready.
    pub(crate) fn run(&mut self) {
        self.child = Some(ready(&mut self.command()));
    }

    /// What a client command does.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Output {
        let mut client = Command::new(env!("CARGO_BIN_EXE_ringfence"));
        client.args(arguments).env("RINGFENCE_SOCKET", self.file("s.sock")).output().unwrap()
    }

    /// What a client command that succeeds prints as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.ask(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        signal_to(self.child.as_ref().unwrap(), signal);
    }

    /// Waits for its end; its exit status, `None` if a signal ended it.
    pub(crate) fn end(&mut self) -> Option<i32> {
        let status = end(self.child.as_mut().unwrap());
        self.child = None;
        status
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts a daemon and waits until it says that it is ready.
pub(crate) fn ready(command: &mut Command) -> Child {
    command.env_remove("RUST_LOG").env("NO_COLOR", "1").stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut log = String::new();
    loop {
        let Some(Ok(line)) = lines.next() else { panic!("it ended before it was ready: {log}") };
        log.push_str(&line);
        log.push('\n');
        if line.contains("ready") {
            break;
        }
    }
    // Somebody must read the rest, or the daemon would wait for room in the pipe.
    thread::spawn(move || lines.map_while(Result::ok).for_each(|line| eprintln!("{line}")));
    child
}

pub(crate) fn signal_to(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id().try_into().unwrap()).unwrap(), signal).unwrap();
}

/// Waits for the end of a daemon's process; its exit status, `None` if a signal ended it.
pub(crate) fn end(child: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(Instant::now() < deadline, "the daemon does not end");
        thread::sleep(Duration::from_millis(5));
    }
}
