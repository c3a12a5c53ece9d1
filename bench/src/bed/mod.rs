//! The test bed of the lab comparison: three namespaces in a row, traffic at one end, a sink at the other, and a place in
//! between for whatever forwards.
//!
//! ```text
//!        gen             dut               snk
//!   traffic ► g0 ═══ d0 candidate d1 ═══ s0 ► sink
//! ```
//!
//! Generator and sinks run on [`CPU_ENDS`], all that the candidate does on [`CPU_CANDIDATE`]: the NAPI contexts of
//! `d0` and `d1` are threads pinned there, and receive packet steering takes what leaves `d1` back to the first.

pub mod candidate;
pub mod intent;
pub mod kernel;
pub mod record;
pub mod traffic;
pub mod trial;
pub mod wire;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;

use dataplane::address::Mac;
use lab::{End, LabError, Namespace, veth};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::process::Pid;
use rustix::thread::sched_setaffinity;

pub use crate::measure::{CPU_CANDIDATE, CPU_ENDS, pin};
use crate::measure::{MeasureError, cpu_set};

/// Link names: the generator's end, the candidate's two, the sink's.
pub const LINKS: [&str; 4] = ["rfg0", "rfd0", "rfd1", "rfs0"];
/// Their Ethernet addresses.
pub const MACS: [Mac; 4] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 3], [2, 0, 0, 0, 0, 4]];

/// Names of the namespaces, after the prefix: generator, candidate, sink.
pub const ROLES: [&str; 3] = ["gen", "dut", "snk"];

/// Why the comparison cannot go on.
pub type BedError = MeasureError;

/// The three namespaces and the two cables. Removed when dropped.
#[derive(Debug)]
pub struct Bed {
    /// What the names of its namespaces begin with.
    pub prefix: String,
    /// Where the generator is.
    pub generator: Namespace,
    /// Where the candidate is.
    pub candidate: Namespace,
    /// Where the sink is.
    pub sink: Namespace,
}

impl Bed {
    /// Builds the bed; the names of its namespaces begin with `prefix`.
    ///
    /// # Errors
    /// If a namespace, a cable or a setting is refused, or `ethtool` is missing.
    pub fn build(prefix: &str) -> Result<Self, BedError> {
        let make = |role: &str| -> Result<Namespace, LabError> {
            let namespace = Namespace::create(&format!("{prefix}{role}"))?;
            // The bed's own frames and nothing else: no neighbour discovery, no listener reports.
            namespace.set("net/ipv6/conf/all/disable_ipv6", "1")?;
            namespace.set("net/ipv6/conf/default/disable_ipv6", "1")?;
            Ok(namespace)
        };
        let [generator, candidate, sink] = [make(ROLES[0])?, make(ROLES[1])?, make(ROLES[2])?];
        let bed = Self { prefix: prefix.into(), generator, candidate, sink };
        let [g0, d0, d1, s0] = LINKS;
        veth(&End::new(&bed.generator, g0).mac(MACS[0]), &End::new(&bed.candidate, d0).mac(MACS[1]))?;
        veth(&End::new(&bed.candidate, d1).mac(MACS[2]), &End::new(&bed.sink, s0).mac(MACS[3]))?;
        for link in [d0, d1] {
            // GRO gives a veth the NAPI context that frames redirected into it need (`veth_ndo_xdp_xmit`).
            exec(&bed.candidate, "ethtool", &["-K", link, "gro", "on"])?;
            write_sys(&bed.candidate, link, "threaded", "1")?;
        }
        for (namespace, link) in [(&bed.generator, g0), (&bed.sink, s0)] {
            receive_on(namespace, link, CPU_ENDS)?;
        }
        bed.pin_napi()?;
        Ok(bed)
    }

    /// Frames that the kernel counts as dropped on the four links since they were made, by link and counter.
    ///
    /// # Errors
    /// If a namespace cannot be entered.
    pub fn link_drops(&self) -> Result<BTreeMap<String, u64>, BedError> {
        let script = "cd /sys/class/net && grep -H . rf*/statistics/?x_dropped";
        let mut drops = BTreeMap::new();
        for namespace in [&self.generator, &self.candidate, &self.sink] {
            for line in output(namespace, "sh", &["-c", script])?.lines() {
                let (path, count) = line.split_once(':').ok_or("no count")?;
                drops.insert(path.replace("/statistics/", "."), count.trim().parse()?);
            }
        }
        Ok(drops)
    }

    /// Pins the NAPI threads of the candidate's links to its CPU. To be called again after anything that made new
    /// ones: attaching an XDP program does.
    ///
    /// # Errors
    /// If `/proc` cannot be read or a thread cannot be moved.
    pub fn pin_napi(&self) -> io::Result<()> {
        for entry in fs::read_dir("/proc")?.flatten() {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            let ours = LINKS.iter().any(|link| name.starts_with(&format!("napi/{link}-")));
            let pid = entry.file_name().to_string_lossy().parse().ok().and_then(Pid::from_raw);
            if let (true, Some(pid)) = (ours, pid) {
                sched_setaffinity(Some(pid), &cpu_set(CPU_CANDIDATE))?;
            }
        }
        Ok(())
    }
}

/// Index of a link in its namespace.
///
/// # Errors
/// If the namespace cannot be entered or has no such link.
pub fn index(namespace: &Namespace, link: &str) -> Result<u32, BedError> {
    Ok(namespace.run(|| index_here(link))??)
}

/// Index of a link in the namespace of the calling thread.
///
/// # Errors
/// If it has no such link.
pub fn index_here(link: &str) -> io::Result<u32> {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    Ok(name_to_index(socket, link)?)
}

/// Runs a program inside a namespace and returns what it printed.
///
/// # Errors
/// If it cannot be started or fails; the error holds its own words.
pub fn output(namespace: &Namespace, program: &str, arguments: &[&str]) -> Result<String, BedError> {
    let ran = namespace.command(OsStr::new(program)).args(arguments).output()?;
    if ran.status.success() {
        return Ok(String::from_utf8_lossy(&ran.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&ran.stderr).trim().replace('\n', "; ");
    Err(format!("`{program} {}` in {}: {said}", arguments.join(" "), namespace.name()).into())
}

/// As [`output`], for programs that have nothing to say.
///
/// # Errors
/// As [`output`].
pub fn exec(namespace: &Namespace, program: &str, arguments: &[&str]) -> Result<(), BedError> {
    output(namespace, program, arguments).map(drop)
}

/// Has what `link` receives worked on by this CPU (receive packet steering).
///
/// # Errors
/// As [`output`].
pub fn receive_on(namespace: &Namespace, link: &str, cpu: usize) -> Result<(), BedError> {
    write_sys(namespace, link, "queues/rx-0/rps_cpus", &format!("{:x}", 1 << cpu))
}

/// Writes an attribute of a link; `/sys` shows the links of the namespace it was mounted in, hence the detour.
fn write_sys(namespace: &Namespace, link: &str, attribute: &str, value: &str) -> Result<(), BedError> {
    exec(namespace, "sh", &["-c", &format!("echo {value} > /sys/class/net/{link}/{attribute}")])
}
