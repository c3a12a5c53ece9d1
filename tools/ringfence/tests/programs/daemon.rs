//! The daemon with proxies, each from a listener to a server.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::SOON;
use crate::program::Folder;

/// A daemon with its folder; both end with the test.
pub(crate) struct Daemon {
    folder: Folder,
    child: Option<Child>,
}

impl Daemon {
    /// Starts one with a proxy for each pair of listener and server, `extra` lines in each of them, and `policy`.
    pub(crate) fn start(name: &str, proxies: &[(SocketAddr, SocketAddr)], extra: &str, policy: &str) -> Self {
        let folder = Folder::new(&format!("{name}-daemon"));
        folder.write("policy.yaml", policy);
        let mut config =
            String::from("policy: [policy.yaml]\nstate_dir: state\nsocket: {path: s.sock}\nproxies:\n");
        for (number, (listen, server)) in proxies.iter().enumerate() {
            config +=
                &format!("  - name: p{number}\n    listen: [\"{listen}\"]\n    connect: [\"{server}\"]\n");
            config += "    health: {check: off}\n";
            if !extra.contains("limits:") {
                config += "    limits: {connections: 1000}\n";
            }
            config += extra;
        }
        folder.write("ringfence.yaml", config);
        let mut daemon = Self { folder, child: None };
        daemon.child = Some(daemon.spawn(&[]));
        daemon
    }

    /// Starts a process on this folder, and waits until it says that it is ready.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
        command.args(["run", "--config"]).arg(self.folder.path().join("ringfence.yaml")).args(arguments);
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
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| eprintln!("{line}")));
        child
    }

    /// Puts `child` in the place of the daemon's process, and returns that.
    pub(crate) fn succeed(&mut self, child: Child) -> Child {
        self.child.replace(child).unwrap()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_ringfence"))
            .args(arguments)
            .env("RINGFENCE_SOCKET", self.folder.path().join("s.sock"))
            .output()
            .unwrap()
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The status of the first proxy.
    pub(crate) fn proxy(&self) -> Value {
        self.json(&["status", "--json"])["proxies"][0].clone()
    }

    pub(crate) fn publish(&self, policy: &str) {
        let path = self.folder.write("next.yaml", policy);
        let output = self.run(&["policy", "publish", path.to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The resident memory of the daemon, bytes.
    pub(crate) fn resident(&self) -> u64 {
        let id = self.child.as_ref().unwrap().id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    }

    pub(crate) fn terminate(&self) {
        let id = self.child.as_ref().unwrap().id();
        kill_process(Pid::from_raw(id.try_into().unwrap()).unwrap(), Signal::TERM).unwrap();
    }

    /// Waits for its end, and returns its exit status.
    pub(crate) fn end(&mut self) -> Option<i32> {
        end(&mut self.child.take().unwrap())
    }
}

/// Waits for the end of a daemon's process, and returns its exit status.
pub(crate) fn end(child: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(Instant::now() < deadline, "the daemon does not end");
        std::thread::sleep(Duration::from_millis(10));
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
