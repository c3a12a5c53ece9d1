//! A network namespace as a host: made, entered, configured, removed.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{LabError, ip};

/// Settings that make a fresh namespace a quiet host: no addresses or routes by themselves, no probing before an
/// address may be used, no second opinion on where a packet may come from.
const QUIET: [(&str, &str); 9] = [
    ("net/ipv6/conf/all/accept_ra", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/dad_transmits", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    // Unprivileged ICMP echo sockets for every group.
    ("net/ipv4/ping_group_range", "0 2147483647"),
];

/// A network namespace under `/run/netns`, visible to `ip netns`. Removed when dropped; sockets that were opened in
/// it keep its network alive until they are closed.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes the namespace, with loopback up and the kernel's own chatter off.
    ///
    /// # Errors
    /// If `ip` refuses (not root, name taken) or a setting cannot be written.
    pub fn create(name: &str) -> Result<Self, LabError> {
        ip::run(&["netns", "add", name])?;
        let namespace = Self { name: name.to_owned() };
        for (key, value) in QUIET {
            namespace.set(key, value)?;
        }
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its file, for programs that take a path.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// Runs `body` on a new thread inside the namespace, waits for it and returns what it returns. Sockets that it
    /// opens stay in the namespace, whichever thread uses them later. A panic in `body` goes on in the caller.
    ///
    /// # Errors
    /// If the namespace cannot be entered.
    pub fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        let failed = |error| LabError::Enter { namespace: self.name.clone(), error };
        let file = File::open(self.path()).map_err(failed)?;
        let entered = thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok(body())
            });
            inside.join().unwrap_or_else(|panic| resume_unwind(panic))
        });
        entered.map_err(|error: rustix::io::Errno| failed(error.into()))
    }

    /// Runs one `ip` command inside, for example `route add default via 10.0.0.1`.
    ///
    /// # Errors
    /// If `ip` refuses; the error shows the whole command line.
    pub fn ip(&self, command: &str) -> Result<String, LabError> {
        let mut arguments = vec!["-n", &self.name];
        arguments.extend(command.split_whitespace());
        ip::run(&arguments)
    }

    /// Gives `link` an address with its prefix length, v4 or v6, usable at once.
    ///
    /// # Errors
    /// If `ip` refuses.
    pub fn address(&self, link: &str, address: &str) -> Result<(), LabError> {
        let family = if address.contains(':') { "nodad" } else { "" };
        self.ip(&format!("address add {address} dev {link} {family}")).map(drop)
    }

    /// Makes a bridge that forwards at once, is up, and learns nothing by snooping.
    ///
    /// # Errors
    /// If `ip` refuses.
    pub fn bridge(&self, name: &str) -> Result<(), LabError> {
        self.ip(&format!("link add name {name} type bridge forward_delay 0 mcast_snooping 0"))?;
        self.ip(&format!("link set dev {name} up")).map(drop)
    }

    /// Plugs `link` into `bridge`.
    ///
    /// # Errors
    /// If `ip` refuses.
    pub fn plug(&self, link: &str, bridge: &str) -> Result<(), LabError> {
        self.ip(&format!("link set dev {link} master {bridge}")).map(drop)
    }

    /// Writes a setting of this namespace; `key` is its path under `/proc/sys`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn set(&self, key: &str, value: &str) -> Result<(), LabError> {
        let written = self.run(|| std::fs::write(PathBuf::from("/proc/sys").join(key), value))?;
        written.map_err(|error| LabError::Setting { namespace: self.name.clone(), key: key.into(), error })
    }

    /// Makes the namespace forward between its links, v4 and v6.
    ///
    /// # Errors
    /// If a setting cannot be written.
    pub fn forward(&self) -> Result<(), LabError> {
        self.set("net/ipv4/ip_forward", "1")?;
        self.set("net/ipv6/conf/all/forwarding", "1")
    }

    /// A command that will run inside, with the namespace's own `/sys`: `ip netns exec NAME program …`. The process
    /// id is the program's.
    #[must_use]
    pub fn command(&self, program: &std::ffi::OsStr) -> Command {
        let mut command = ip::command(&["netns", "exec", &self.name]);
        command.arg(program);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Nothing can be done about a failure here; the next run's `remove_leftovers` will try again.
        let _ = ip::run(&["netns", "delete", &self.name]);
    }
}
