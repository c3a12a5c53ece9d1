//! Where the comparison takes place. Without a cable, all are on one host and loopback: whoever sends also does the
//! kernel's work of receiving. With one, clients and back ends are on a host of their own, and each host's receiving is
//! done by its own CPU, as if both had a network card: all of a proxy's work is then on the proxy's CPU.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use lab::{End, Namespace, veth};

use crate::bed::receive_on;
use crate::measure::{CPU_CANDIDATE, CPU_ENDS, MeasureError};

/// What the names of the namespaces begin with.
pub const PREFIX: &str = "rf-prxbench-";
/// The first two bytes of clients that policy lets through.
pub const ALLOWED: [u8; 2] = [10, 1];
/// The first two bytes of clients that it does not.
pub const DENIED: [u8; 2] = [10, 2];
/// Back ends: many addresses, because a proxy needs a port of its own for each connection to one.
const SERVERS: u8 = 16;
const SERVER_PORT: u16 = 9000;
const PROXY: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 1);
/// Back ends on the proxies' host.
const BESIDE: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 2);
const FIRST_PORT: u16 = 8000;
/// Instances of one candidate at a time, at most: further ones would listen among the back ends' ports.
pub const INSTANCES: u16 = 20;
const ENDS: &str = "ends";
const MIDDLE: &str = "middle";
const LINK: &str = "eth0";

/// Settings of both hosts: ports and queues for tens of thousands of connections.
const SETTINGS: [(&str, &str); 4] = [
    ("net/ipv4/ip_local_port_range", "10000 65535"),
    ("net/core/somaxconn", "65535"),
    ("net/ipv4/tcp_max_syn_backlog", "65535"),
    // A port that waited a second may be taken again by a connection to somewhere else.
    ("net/ipv4/tcp_tw_reuse", "1"),
];

/// The hosts. Removed when dropped.
#[derive(Debug)]
pub struct Site {
    /// Proxies; without a cable everybody.
    pub middle: Namespace,
    /// Clients and back ends, behind a cable.
    pub ends: Option<Namespace>,
}

impl Site {
    /// Makes one host, or two and a cable.
    ///
    /// # Errors
    /// If `ip` or a setting is refused.
    pub fn build(cable: bool) -> Result<Self, MeasureError> {
        let middle = host(MIDDLE)?;
        middle.address("lo", "10.8.0.1/16")?;
        if !cable {
            give_networks(&middle)?;
            return Ok(Self { middle, ends: None });
        }
        let ends = host(ENDS)?;
        give_networks(&ends)?;
        veth(&End::new(&ends, LINK), &End::new(&middle, LINK))?;
        for (host, address, networks, via, cpu) in [
            (&ends, "10.9.0.1/30", "10.8.0.0/16", "10.9.0.2", CPU_ENDS),
            (&middle, "10.9.0.2/30", "10.0.0.0/14", "10.9.0.1", CPU_CANDIDATE),
        ] {
            host.address(LINK, address)?;
            host.ip(&format!("route add {networks} via {via}"))?;
            receive_on(host, LINK, cpu)?;
        }
        Ok(Self { middle, ends: Some(ends) })
    }
}

fn host(name: &str) -> Result<Namespace, MeasureError> {
    let host = Namespace::create(&format!("{PREFIX}{name}"))?;
    for (key, value) in SETTINGS {
        host.set(key, value)?;
    }
    Ok(host)
}

/// The addresses of clients and back ends: on loopback an address makes its whole network local.
fn give_networks(host: &Namespace) -> Result<(), MeasureError> {
    for network in ["10.1.0.1/16", "10.2.0.1/16", "10.3.0.1/16"] {
        host.address("lo", network)?;
    }
    Ok(())
}

/// The file of the namespace of clients and back ends, if they are on a host of their own.
#[must_use]
pub fn ends() -> Option<PathBuf> {
    Some(PathBuf::from(format!("/run/netns/{PREFIX}{ENDS}"))).filter(|file| file.exists())
}

/// Where the back ends of the load with this number listen.
#[must_use]
pub fn servers(instance: u16) -> Vec<SocketAddrV4> {
    let at = |host| SocketAddrV4::new(Ipv4Addr::new(10, 3, 0, host), SERVER_PORT + instance);
    (1..=SERVERS).map(at).collect()
}

/// Where a back end on the proxies' host listens.
#[must_use]
pub const fn beside() -> SocketAddrV4 {
    SocketAddrV4::new(BESIDE, SERVER_PORT)
}

/// Where the proxy of this kind and number listens.
#[must_use]
pub fn proxy(kind: u16, instance: u16) -> SocketAddrV4 {
    SocketAddrV4::new(PROXY, FIRST_PORT + kind + 50 * instance)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use lab::{LabLock, remove_leftovers, skip_unprivileged};

    use super::{LINK, PREFIX, Site, beside, ends};
    use crate::bed::output;
    use crate::measure::{CPU_CANDIDATE, CPU_ENDS};

    #[test]
    fn both_places_reach_the_middle_and_behind_a_cable_each_host_receives_on_its_own_cpu() {
        if skip_unprivileged() {
            return;
        }
        // Not beside a comparison that runs: its hosts have the same names.
        let _lock = LabLock::acquire("/run/ringfence-bench.lock".as_ref()).unwrap();
        for cable in [false, true] {
            remove_leftovers(PREFIX).unwrap();
            let site = Site::build(cable).unwrap();
            assert_eq!(ends().is_some(), cable);
            let clients = site.ends.as_ref().unwrap_or(&site.middle);
            let listener = site.middle.run(|| TcpListener::bind(beside()).unwrap()).unwrap();
            let client = clients.run(|| TcpStream::connect(beside()).unwrap()).unwrap();
            assert_eq!(listener.accept().unwrap().1, client.local_addr().unwrap());
            if let Some(ends) = &site.ends {
                for (host, cpu) in [(ends, CPU_ENDS), (&site.middle, CPU_CANDIDATE)] {
                    let mask = format!("/sys/class/net/{LINK}/queues/rx-0/rps_cpus");
                    let mask = output(host, "cat", &[&mask]).unwrap();
                    assert_eq!(mask.trim(), format!("{:x}", 1 << cpu));
                }
            }
        }
    }
}
