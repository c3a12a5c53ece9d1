//! The daemon with one proxy, and where that listens.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::ops::{Deref, DerefMut};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::SOON;
use crate::common::{self, ready};
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

/// A daemon whose proxy listens at an address that was free.
pub(crate) struct Daemon {
    daemon: common::Daemon,
    at: SocketAddr,
}

impl Daemon {
    /// Starts one whose proxy leads to `server`, with `PORT` and `SERVER` in the configuration replaced.
    pub(crate) fn start(name: &str, config: &str, server: &Server) -> Self {
        let mut daemon = Self::prepare(name, config, server);
        daemon.run();
        daemon
    }

    /// The folder and the address alone.
    pub(crate) fn prepare(name: &str, config: &str, server: &Server) -> Self {
        // Free a moment ago; nobody else uses this address.
        let at = TcpListener::bind("127.0.77.20:0").unwrap().local_addr().unwrap();
        let config = config
            .replace("PORT", &at.port().to_string())
            .replace("SERVER", &server.address().port().to_string());
        Self { daemon: common::Daemon::prepare(name, POLICY, &config), at }
    }

    /// Where the proxy listens.
    pub(crate) const fn at(&self) -> SocketAddr {
        self.at
    }
}

impl Deref for Daemon {
    type Target = common::Daemon;

    fn deref(&self) -> &common::Daemon {
        &self.daemon
    }
}

impl DerefMut for Daemon {
    fn deref_mut(&mut self) -> &mut common::Daemon {
        &mut self.daemon
    }
}

impl common::Daemon {
    /// Starts it on a host of a lab.
    pub(crate) fn run_in(&mut self, host: &lab::Namespace) {
        let mut command = host.command(env!("CARGO_BIN_EXE_ringfence").as_ref());
        command.args(["run", "--config"]).arg(self.file("ringfence.yaml"));
        self.child = Some(ready(&mut command));
    }

    /// Starts a process that takes over from the one that runs.
    pub(crate) fn successor(&self) -> Child {
        ready(self.command().arg("--take-over"))
    }

    /// Starts it with a listener that the service manager would have opened.
    pub(crate) fn run_with(&mut self, listener: OwnedFd) {
        let mut command = Command::new("sh");
        let line = "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" run --config \"$1\" 3<&0 </dev/null";
        command.args(["-c", line, env!("CARGO_BIN_EXE_ringfence")]).arg(self.file("ringfence.yaml"));
        command.stdin(Stdio::from(listener));
        self.child = Some(ready(&mut command));
    }

    /// What a client command that succeeds prints.
    pub(crate) fn text(&self, arguments: &[&str]) -> String {
        let output = self.ask(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn publish(&self, policy: &str) {
        let path = self.file("next.yaml");
        fs::write(&path, policy).unwrap();
        self.text(&["policy", "publish", path.to_str().unwrap()]);
    }

    /// Makes the policy file that the configuration names one that is refused.
    pub(crate) fn spoil_policy(&self) {
        fs::write(self.file("policy.yaml"), "ringfence: 1\nrules: 5\n").unwrap();
    }

    /// Waits until the status is as wanted.
    pub(crate) fn wait(&self, wanted: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + SOON;
        loop {
            let status = self.json(&["status"]);
            if wanted(&status) {
                return;
            }
            assert!(Instant::now() < deadline, "{status:#}");
        }
    }
}
