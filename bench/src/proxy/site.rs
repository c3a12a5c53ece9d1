//! Where the comparison takes place: one network namespace with loopback, and its addresses.

use std::net::{Ipv4Addr, SocketAddrV4};

use lab::Namespace;

use crate::measure::MeasureError;

/// The first two bytes of clients that policy lets through.
pub const ALLOWED: [u8; 2] = [10, 1];
/// The first two bytes of clients that it does not.
pub const DENIED: [u8; 2] = [10, 2];
/// Back ends: many addresses, because a proxy needs a port of its own for each connection to one.
const SERVERS: u8 = 16;
const SERVER_PORT: u16 = 9000;
const PROXY: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 1);
const FIRST_PORT: u16 = 8000;
/// Instances of one candidate at a time, at most: further ones would listen among the back ends' ports.
pub const INSTANCES: u16 = 20;

/// Settings of the namespace: ports and queues for tens of thousands of connections.
const SETTINGS: [(&str, &str); 4] = [
    ("net/ipv4/ip_local_port_range", "10000 65535"),
    ("net/core/somaxconn", "65535"),
    ("net/ipv4/tcp_max_syn_backlog", "65535"),
    // A port that waited a second may be taken again by a connection to somewhere else.
    ("net/ipv4/tcp_tw_reuse", "1"),
];

/// Makes the namespace.
///
/// # Errors
/// If `ip` or a setting is refused.
pub fn build(name: &str) -> Result<Namespace, MeasureError> {
    let namespace = Namespace::create(name)?;
    for (key, value) in SETTINGS {
        namespace.set(key, value)?;
    }
    // On loopback an address makes its whole network local.
    for network in ["10.1.0.1/16", "10.2.0.1/16", "10.3.0.1/16", "10.8.0.1/16"] {
        namespace.address("lo", network)?;
    }
    Ok(namespace)
}

/// Where the back ends of the load with this number listen.
#[must_use]
pub fn servers(instance: u16) -> Vec<SocketAddrV4> {
    let at = |host| SocketAddrV4::new(Ipv4Addr::new(10, 3, 0, host), SERVER_PORT + instance);
    (1..=SERVERS).map(at).collect()
}

/// Where the proxy of this kind and number listens.
#[must_use]
pub fn proxy(kind: u16, instance: u16) -> SocketAddrV4 {
    SocketAddrV4::new(PROXY, FIRST_PORT + kind + 50 * instance)
}
