//! The daemon with proxies, each from a listener to a server.

use std::net::SocketAddr;
use std::process::Child;

use serde_json::Value;

pub(crate) use crate::common::Daemon;
use crate::common::ready;

impl Daemon {
    /// Starts one with a proxy for each pair of listener and server, `extra` lines in each of them, and `policy`.
    pub(crate) fn start(name: &str, proxies: &[(SocketAddr, SocketAddr)], extra: &str, policy: &str) -> Self {
        let mut config = String::from("proxies:\n");
        for (number, (listen, server)) in proxies.iter().enumerate() {
            config +=
                &format!("  - name: p{number}\n    listen: [\"{listen}\"]\n    connect: [\"{server}\"]\n");
            config += "    health: {check: off}\n";
            if !extra.contains("limits:") {
                config += "    limits: {connections: 1000}\n";
            }
            config += extra;
        }
        let mut daemon = Self::prepare(&format!("{name}-daemon"), policy, &config);
        daemon.run();
        daemon
    }

    /// Puts a new process in the place of the daemon's, which it takes over from, and returns that.
    pub(crate) fn succeed(&mut self) -> Child {
        let new = ready(self.command().arg("--take-over"));
        self.child.replace(new).unwrap()
    }

    /// The status of the first proxy.
    pub(crate) fn proxy(&self) -> Value {
        self.json(&["status"])["proxies"][0].clone()
    }

    pub(crate) fn publish(&self, policy: &str) {
        let path = self.file("next.yaml");
        std::fs::write(&path, policy).unwrap();
        self.json(&["policy", "publish", path.to_str().unwrap()]);
    }

    /// The resident memory of the daemon, bytes.
    pub(crate) fn resident(&self) -> u64 {
        let id = self.child.as_ref().unwrap().id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    }
}
