//! The demo's network: who is where, and building it.
//!
//! Two segments with a router each and a link of smaller MTU between them. Every workload hangs on a wire: its
//! veth ends in the namespace of the daemon as the wire's inside port, and the wire's outside port is plugged into
//! the bridge of the segment. So even two neighbours of one subnet meet only through the daemon. The stranger and the
//! till are plugged into the bridge directly. The ledger is the daemon's own host: its servers listen where only the
//! daemon's proxies reach them.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lab::{End, LabError, Namespace, veth};

/// What the names of all namespaces of the demo begin with.
pub(crate) const PREFIX: &str = "rf-demo";
/// The MTU of the link between the two routers, bytes; everywhere else it is 1500.
pub(crate) const NARROW_MTU: u16 = 1400;

/// IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// `IPv4` or `IPv6`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// One host of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// Name of the workload and of its wire; the namespace is [`PREFIX`]`-name`.
    pub(crate) name: &'static str,
    /// 1 or 2.
    segment: u8,
    /// The host's number in its subnets.
    number: u8,
    /// Whether it is behind a wire.
    wired: bool,
}

pub(crate) const WEB: Host = Host { name: "web", segment: 1, number: 10, wired: true };
pub(crate) const DB: Host = Host { name: "db", segment: 1, number: 20, wired: true };
pub(crate) const BATCH: Host = Host { name: "batch", segment: 1, number: 30, wired: true };
pub(crate) const FRESH: Host = Host { name: "fresh", segment: 1, number: 40, wired: true };
pub(crate) const CRM: Host = Host { name: "crm", segment: 2, number: 10, wired: true };
pub(crate) const DEV: Host = Host { name: "dev", segment: 2, number: 20, wired: true };
pub(crate) const STRANGER: Host = Host { name: "stranger", segment: 1, number: 66, wired: false };

pub(crate) const TILL: Host = Host { name: "till", segment: 1, number: 50, wired: false };
/// The daemon's own host, on which its proxies listen. None of [`HOSTS`]: it has no namespace of its own.
pub(crate) const LEDGER: Host = Host { name: "ledger", segment: 1, number: 60, wired: false };

/// All hosts.
pub(crate) const HOSTS: [Host; 8] = [WEB, DB, BATCH, FRESH, CRM, DEV, STRANGER, TILL];

const SEGMENTS: [u8; 2] = [1, 2];

impl Host {
    /// Its address.
    pub(crate) const fn ip(self, family: Family) -> IpAddr {
        address(family, self.segment, self.number)
    }

    /// Its address with a port.
    pub(crate) const fn at(self, family: Family, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(family), port)
    }

    /// Its Ethernet address, the same on every run, so that the policy can name it.
    const fn mac(self) -> [u8; 6] {
        [2, 0x77, 0, 0, self.segment, spelled(self.number)]
    }

    /// Names of its wire's ports in the daemon's namespace: inside, outside.
    pub(crate) fn ports(self) -> (String, String) {
        (format!("{}-in", self.name), format!("{}-out", self.name))
    }
}

/// The number whose hexadecimal digits are the decimal digits of `number`: 10.77.1.20 and fd77:1::20 are one host.
const fn spelled(number: u8) -> u8 {
    number / 10 * 16 + number % 10
}

const fn address(family: Family, segment: u8, number: u8) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::new(10, 77, segment, number)),
        Family::V6 => {
            IpAddr::V6(Ipv6Addr::new(0xfd77, segment as u16, 0, 0, 0, 0, 0, spelled(number) as u16))
        }
    }
}

const fn prefix_len(family: Family) -> u8 {
    match family {
        Family::V4 => 24,
        Family::V6 => 64,
    }
}

/// The hosts behind wires.
pub(crate) fn wired() -> impl Iterator<Item = Host> {
    HOSTS.into_iter().filter(|host| host.wired)
}

/// The network, up until dropped. No wire forwards anything yet.
#[derive(Debug)]
pub(crate) struct Network {
    hosts: Vec<(Host, Namespace)>,
    _routers: Vec<Namespace>,
    _fabric: Namespace,
    /// Where the daemon runs and the wires' ports are.
    pub(crate) wire: Namespace,
}

impl Network {
    /// Builds it, of namespaces whose names begin with `prefix`. They must be free: call [`lab::remove_leftovers`] first.
    pub(crate) fn build(prefix: &str) -> Result<Self, LabError> {
        let fabric = Namespace::create(&format!("{prefix}-fabric"))?;
        let wire = Namespace::create(&format!("{prefix}-wire"))?;
        // The daemon's namespace has no business in these networks itself.
        wire.set("net/ipv6/conf/default/disable_ipv6", "1")?;
        fabric.set("net/ipv6/conf/default/disable_ipv6", "1")?;
        let mut routers = Vec::new();
        for segment in SEGMENTS {
            fabric.bridge(&bridge(segment))?;
            routers.push(router(prefix, &fabric, segment)?);
        }
        join(&routers)?;
        own_port(&wire, &fabric)?;
        let mut hosts = Vec::new();
        for host in HOSTS {
            hosts.push((host, plug_in(prefix, host, &fabric, &wire)?));
        }
        Ok(Self { hosts, _routers: routers, _fabric: fabric, wire })
    }

    /// The namespace of a host.
    pub(crate) fn of(&self, host: Host) -> &Namespace {
        let found = self.hosts.iter().find(|(known, _)| *known == host);
        &found.map_or(&self.hosts[0], |found| found).1
    }
}

/// Gives the daemon's namespace a port of its own, for what its proxies listen on.
fn own_port(wire: &Namespace, fabric: &Namespace) -> Result<(), LabError> {
    veth(&End::new(wire, LEDGER.name).mac(LEDGER.mac()), &End::new(fabric, LEDGER.name))?;
    fabric.plug(LEDGER.name, &bridge(LEDGER.segment))?;
    wire.set(&format!("net/ipv6/conf/{}/disable_ipv6", LEDGER.name), "0")?;
    for family in Family::BOTH {
        wire.address(LEDGER.name, &format!("{}/{}", LEDGER.ip(family), prefix_len(family)))?;
        wire.ip(&format!("route add default via {}", address(family, LEDGER.segment, 1)))?;
    }
    Ok(())
}

fn bridge(segment: u8) -> String {
    format!("segment{segment}")
}

fn router(prefix: &str, fabric: &Namespace, segment: u8) -> Result<Namespace, LabError> {
    let router = Namespace::create(&format!("{prefix}-router{segment}"))?;
    router.forward()?;
    let port = format!("router{segment}");
    veth(&End::new(&router, "lan"), &End::new(fabric, &port))?;
    fabric.plug(&port, &bridge(segment))?;
    for family in Family::BOTH {
        router.address("lan", &format!("{}/{}", address(family, segment, 1), prefix_len(family)))?;
    }
    Ok(router)
}

/// The narrow link between the two routers, and the routes over it.
fn join(routers: &[Namespace]) -> Result<(), LabError> {
    let [one, other] = routers else { return Ok(()) };
    veth(&End::new(one, "wan").mtu(NARROW_MTU), &End::new(other, "wan").mtu(NARROW_MTU))?;
    for (router, own, peer) in [(one, 1, 2), (other, 2, 1)] {
        for family in Family::BOTH {
            let len = prefix_len(family);
            router.address("wan", &format!("{}/{len}", address(family, 9, own)))?;
            let via = address(family, 9, peer);
            router.ip(&format!("route add {}/{len} via {via}", address(family, peer, 0)))?;
        }
    }
    Ok(())
}

fn plug_in(prefix: &str, host: Host, fabric: &Namespace, wire: &Namespace) -> Result<Namespace, LabError> {
    let namespace = Namespace::create(&format!("{prefix}-{}", host.name))?;
    let nic = End::new(&namespace, "eth0").mac(host.mac());
    if host.wired {
        let (inside, outside) = host.ports();
        veth(&nic, &End::new(wire, &inside))?;
        veth(&End::new(wire, &outside), &End::new(fabric, host.name))?;
    } else {
        veth(&nic, &End::new(fabric, host.name))?;
    }
    fabric.plug(host.name, &bridge(host.segment))?;
    for family in Family::BOTH {
        namespace.address("eth0", &format!("{}/{}", host.ip(family), prefix_len(family)))?;
        namespace.ip(&format!("route add default via {}", address(family, host.segment, 1)))?;
    }
    Ok(namespace)
}

/// The network as a picture for the terminal.
pub(crate) fn picture() -> String {
    let mut text = String::from(
        "\
      segment 1  10.77.1.0/24 fd77:1::/64                 segment 2  10.77.2.0/24 fd77:2::/64
   ───┬────────┬────────┬────────┬────────┬────[router]──MTU 1400──[router]────┬────────┬───
      │        │        │        │        │                                    │        │
    ══╪══    ══╪══    ══╪══    ══╪══      │     ══ a wire of ringfence       ══╪══    ══╪══
      │        │        │        │        │                                    │        │
     web       db     batch    fresh   stranger                               crm      dev
",
    );
    for (name, labels) in [
        ("web", "role web, app shop, env prod"),
        ("db", "role db, app shop and crm, env prod: one database for two applications"),
        ("batch", "role batch, app reports, env prod: the neighbour that must not"),
        ("fresh", "no labels yet: quarantine"),
        ("stranger", "nobody knows it, and no wire is in front of it"),
        ("till", "role till, app shop, env prod: in segment 1, without a wire"),
        ("ledger", "role ledger, app shop, env prod: on the daemon's own host, behind its proxies"),
        ("crm", "role web, app crm, env prod"),
        ("dev", "role web, app shop, env dev"),
    ] {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "     {name:<9} {labels}");
    }
    text
}
