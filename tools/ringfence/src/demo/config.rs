//! Files of the demo's daemon, in a folder that goes with the demo.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::topology::{Family, LEDGER, wired};

/// The proxies on the ledger: names, ports, and the servers that only they reach. They are not checked: the demo
/// counts every connection that a server sees.
pub(crate) const PROXIES: [(&str, u16, &str); 2] =
    [("ledger-web", 80, "127.0.0.1:8080"), ("ledger-db", 5432, "127.0.0.1:6432")];

/// Where the page of the lab is looked for.
const PORTS: RangeInclusive<u16> = 7077..=7099;

/// The folder: configuration, policy, state, socket and log. Removed when dropped.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes the folder at `path`, instead of what an earlier run may have left there; with `page`, the daemon listens
    /// on a loopback address too, out here where browsers are.
    pub(crate) fn create(path: &Path, page: bool, proxies: bool) -> io::Result<Self> {
        if path.exists() {
            fs::remove_dir_all(path)?;
        }
        fs::DirBuilder::new().mode(0o700).create(path)?;
        let folder = Self(path.to_owned());
        let port = if page { Some(free_port()?) } else { None };
        fs::write(folder.config(), config_text(path, port, proxies))?;
        Ok(folder)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.0.join("ringfence.yaml")
    }

    pub(crate) fn policy(&self) -> PathBuf {
        self.0.join("policy.yaml")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("ringfence.sock")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("daemon.log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The next run removes what is left.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The page's port, or the next one that is free, so that the address is the same from demo to demo.
fn free_port() -> io::Result<u16> {
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let all = || io::Error::new(io::ErrorKind::AddrInUse, format!("the ports {PORTS:?} are all taken"));
    PORTS.into_iter().find(free).ok_or_else(all)
}

/// A configuration with one wire for each workload and the ledger's proxies, everything else beside it.
fn config_text(folder: &Path, port: Option<u16>, proxies: bool) -> String {
    let mut text = String::from("wires:\n");
    for host in wired() {
        let (inside, outside) = host.ports();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "  - {{name: {}, inside: {{interface: {inside}}}, outside: {{interface: {outside}}}}}",
            host.name
        );
    }
    text.push_str(if proxies { "proxies:\n" } else { "proxies: []\n" });
    for (name, port, server) in PROXIES.into_iter().filter(|_| proxies) {
        let [v4, v6] = Family::BOTH.map(|family| LEDGER.at(family, port));
        let _ = writeln!(
            text,
            "  - {{name: {name}, listen: [\"{v4}\", \"{v6}\"], connect: [\"{server}\"], health: {{check: off}}, limits: \
             {{connections: 1024, drain_ms: 500}}}}"
        );
    }
    let path = folder.display();
    let _ = write!(
        text,
        "policy: [policy.yaml]\nstate_dir: {path}/state\nsocket: {{path: {path}/ringfence.sock}}\n"
    );
    if let Some(port) = port {
        // The daemon lives in a namespace of its own, whose loopback nobody reaches.
        let here = std::process::id();
        let _ = writeln!(text, "http: {{listen: 127.0.0.1:{port}, namespace: /proc/{here}/ns/net}}");
    }
    text
}
