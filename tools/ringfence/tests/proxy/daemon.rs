//! The daemon as a process.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::SOON;
use crate::traffic::Server;

pub(crate) const POLICY: &str = "ringfence: 1
workloads:
  - {name: web, labels: {role: web}, addresses: [127.0.77.10]}
  - {name: batch, labels: {role: batch}, addresses: [127.0.77.11]}
  - {name: crm, labels: {role: crm}, addresses: [127.0.77.13]}
  - {name: db, labels: {role: db}, addresses: [127.0.77.20]}
rules:
  - {name: web-to-db, from: {role: web}, to: {role: db}, service: tcp}
  - {name: crm-to-db, from: {role: crm}, to: {role: db}, service: tcp}
";

/// A daemon with its folder; both end with the test.
pub(crate) struct Daemon {
    folder: PathBuf,
    at: SocketAddr,
    pub(crate) child: Option<Child>,
}

impl Daemon {
    /// Starts one whose proxy leads to `server`, with `PORT` and `SERVER` in the configuration replaced.
    pub(crate) fn start(name: &str, config: &str, server: &Server) -> Self {
        let mut daemon = Self::prepare(name, config, server);
        daemon.child = Some(daemon.spawn(&[]));
        daemon
    }

    /// The folder and the address alone.
    pub(crate) fn prepare(name: &str, config: &str, server: &Server) -> Self {
        // Free a moment ago; nobody else uses this address.
        let at = TcpListener::bind("127.0.77.20:0").unwrap().local_addr().unwrap();
        let config = config
            .replace("PORT", &at.port().to_string())
            .replace("SERVER", &server.address().port().to_string());
        let mut daemon = Self::folder(name, &config, POLICY);
        daemon.at = at;
        daemon
    }

    /// A folder for any configuration and policy.
    pub(crate) fn folder(name: &str, config: &str, policy: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("ringfence-proxy-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("policy.yaml"), policy).unwrap();
        let config = format!("policy: [policy.yaml]\nstate_dir: state\nsocket: {{path: s.sock}}\n{config}");
        fs::write(folder.join("ringfence.yaml"), config).unwrap();
        Self { folder, at: SocketAddr::from(([0; 4], 0)), child: None }
    }

    /// Starts it on a host of a lab.
    pub(crate) fn start_in(&mut self, host: &lab::Namespace) {
        let mut command = host.command(env!("CARGO_BIN_EXE_ringfence").as_ref());
        command.args(["run", "--config"]).arg(self.folder.join("ringfence.yaml"));
        self.child = Some(ready(&mut command));
    }

    /// Where the proxy listens.
    pub(crate) const fn at(&self) -> SocketAddr {
        self.at
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
        command.args(["run", "--config"]).arg(self.folder.join("ringfence.yaml"));
        command
    }

    /// Starts a process on this folder, and waits until it says that it is ready.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = self.command();
        command.args(arguments);
        ready(&mut command)
    }

    /// Starts a process whose listener the service manager would have opened.
    pub(crate) fn spawn_with(&self, listener: OwnedFd) -> Child {
        let mut command = Command::new("sh");
        let line = "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" run --config \"$1\" 3<&0 </dev/null";
        command.args(["-c", line, env!("CARGO_BIN_EXE_ringfence")]).arg(self.folder.join("ringfence.yaml"));
        command.stdin(Stdio::from(listener));
        ready(&mut command)
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_ringfence"))
            .args(arguments)
            .env("RINGFENCE_SOCKET", self.folder.join("s.sock"))
            .output()
            .unwrap()
    }

    pub(crate) fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.text(arguments)).unwrap()
    }

    pub(crate) fn publish(&self, policy: &str) {
        let path = self.folder.join("next.yaml");
        fs::write(&path, policy).unwrap();
        self.text(&["policy", "publish", path.to_str().unwrap()]);
    }

    /// Makes the policy file that the configuration names one that is refused.
    pub(crate) fn spoil_policy(&self) {
        fs::write(self.folder.join("policy.yaml"), "ringfence: 1\nrules: 5\n").unwrap();
    }

    /// Waits until the status is as wanted.
    pub(crate) fn wait(&self, wanted: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + SOON;
        loop {
            let status = self.json(&["status", "--json"]);
            if wanted(&status) {
                return;
            }
            assert!(Instant::now() < deadline, "{status:#}");
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        signal_to(self.child.as_ref().unwrap(), signal);
    }
}

pub(crate) fn signal_to(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id().try_into().unwrap()).unwrap(), signal).unwrap();
}

fn ready(command: &mut Command) -> Child {
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

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}
