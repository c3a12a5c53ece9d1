//! Random estates and policies: small enough for the oracle, odd enough to meet every line of the semantics.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use control::policy::valid::{
    Action, Enforcement, Gates, Labels, Mode, Network, Origin, Prefix, Requirement, Rule, Selector,
    ServiceRange, Tier, ValidPolicy, Workload,
};

use crate::random::Random;

const KEYS: [&str; 5] = ["app", "env", "role", "loc", "zone"];
const VALUES: usize = 4;
const MODES: [Mode; 4] = [Mode::Off, Mode::Observe, Mode::Selective, Mode::Full];

/// How large an estate is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Workloads.
    pub workloads: usize,
    /// Networks.
    pub networks: usize,
    /// Rules, over all tiers.
    pub rules: usize,
}

/// A policy that obeys what `validate` guarantees.
#[must_use]
pub fn generate(random: &mut Random, size: Size) -> ValidPolicy {
    let networks: Vec<Network> = (0..size.networks).map(|at| network(random, at)).collect();
    let mut taken = BTreeSet::new();
    let workloads = (0..size.workloads).map(|at| workload(random, at, &networks, &mut taken)).collect();
    let shape = Shape { workloads: size.workloads, networks: size.networks };
    let enforcement = (0..random.below(5)).map(|_| enforcement(random, shape)).collect();
    let mut policy =
        ValidPolicy { workloads, networks, tiers: tiers(), enforcement, ether_types: vec![0x88cc] };
    for at in 0..size.rules {
        let tier = random.below(policy.tiers.len());
        let rule = rule(random, at, tier, shape);
        policy.tiers[tier].rules.push(rule);
    }
    if random.one_in(6) {
        // A front-end may order its tiers otherwise: infrastructure need not come first.
        policy.tiers.rotate_left(1);
    }
    policy
}

fn tiers() -> Vec<Tier> {
    let names = ["infrastructure", "override", "application", "boundary"];
    names.map(|name| Tier { name: name.to_owned(), rules: Vec::new() }).into()
}

#[derive(Clone, Copy)]
struct Shape {
    workloads: usize,
    networks: usize,
}

fn origin() -> Origin {
    Origin { file: "generated".into(), line: 1, column: 1 }
}

fn labels(random: &mut Random, most: usize) -> Labels {
    let mut labels = BTreeMap::new();
    for _ in 0..random.below(most + 1) {
        let values: BTreeSet<String> = (0..=random.below(2)).map(|_| value(random)).collect();
        labels.insert((*random.pick(&KEYS)).to_owned(), values);
    }
    labels
}

fn value(random: &mut Random) -> String {
    format!("v{}", random.below(VALUES))
}

/// Prefixes of a few roots, so that they nest and meet.
fn prefix(random: &mut Random) -> Prefix {
    if random.one_in(3) {
        let root = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0).to_bits();
        let len = *random.pick(&[0_u8, 32, 48, 56, 64, 65, 120, 126, 127, 128]);
        let bits = root | u128::from(random.below(4) as u64) << 72 | u128::from(random.below(8) as u64);
        let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
        return Prefix { address: IpAddr::V6(Ipv6Addr::from_bits(bits & mask)), len };
    }
    let len = *random.pick(&[0_u8, 1, 8, 15, 16, 17, 24, 25, 28, 31, 32]);
    let bits = Ipv4Addr::new(10, small(random, 3), small(random, 2), small(random, 32)).to_bits();
    let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
    Prefix { address: IpAddr::V4(Ipv4Addr::from_bits(bits & mask)), len }
}

fn small(random: &mut Random, limit: usize) -> u8 {
    u8::try_from(random.below(limit)).unwrap_or(0)
}

fn network(random: &mut Random, at: usize) -> Network {
    let prefixes: BTreeSet<Prefix> = (0..=random.below(3)).map(|_| prefix(random)).collect();
    Network {
        name: format!("n{at}"),
        labels: labels(random, 2),
        prefixes: prefixes.into_iter().collect(),
        origin: origin(),
    }
}

fn workload(random: &mut Random, at: usize, networks: &[Network], taken: &mut BTreeSet<IpAddr>) -> Workload {
    let mut addresses = Vec::new();
    while addresses.is_empty() || random.one_in(2) {
        let address = some_address(random, networks);
        if taken.insert(address) {
            addresses.push(address);
        }
    }
    let labels = if random.one_in(6) { Labels::new() } else { labels(random, 4) };
    Workload {
        name: format!("w{at}"),
        labels,
        addresses,
        macs: Vec::new(),
        wire: None,
        listeners: Vec::new(),
        origin: origin(),
    }
}

fn some_address(random: &mut Random, networks: &[Network]) -> IpAddr {
    if !networks.is_empty() && random.one_in(3) {
        let network = random.pick(networks);
        return edge(random, network.prefixes[0]);
    }
    if random.one_in(3) {
        let tail = random.next_bits() & 0x0300_0000_0000_00ff;
        return IpAddr::V6(Ipv6Addr::from_bits(
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0).to_bits() | u128::from(tail),
        ));
    }
    let bytes = [10, small(random, 3), small(random, 2), small(random, 64)];
    IpAddr::V4(Ipv4Addr::from(bytes))
}

/// The first or last address of a prefix, or the one beside it.
fn edge(random: &mut Random, prefix: Prefix) -> IpAddr {
    match prefix.address {
        IpAddr::V4(first) => {
            let first = first.to_bits();
            let last = first | u32::MAX.checked_shr(u32::from(prefix.len)).unwrap_or(0);
            let edges = [first, last, first.wrapping_sub(1), last.wrapping_add(1)];
            IpAddr::V4(Ipv4Addr::from_bits(*random.pick(&edges)))
        }
        IpAddr::V6(first) => {
            let first = first.to_bits();
            let last = first | u128::MAX.checked_shr(u32::from(prefix.len)).unwrap_or(0);
            let edges = [first, last, first.wrapping_sub(1), last.wrapping_add(1)];
            let chosen = *random.pick(&edges);
            // IPv4-mapped addresses are not IPv6 addresses here.
            let mapped = chosen >> 32 == 0xffff;
            IpAddr::V6(Ipv6Addr::from_bits(if mapped { 1 } else { chosen }))
        }
    }
}

fn requirement(random: &mut Random, shape: Shape) -> Requirement {
    let key = (*random.pick(&KEYS)).to_owned();
    let values = |random: &mut Random| -> Vec<String> {
        (0..=random.below(2)).map(|_| value(random)).collect::<BTreeSet<_>>().into_iter().collect()
    };
    match random.below(12) {
        0..=4 => Requirement::In(key, values(random)),
        5 | 6 => Requirement::NotIn(key, values(random)),
        7 => Requirement::Exists(key),
        8 => Requirement::NotExists(key),
        9 => Requirement::Workload(vec![format!("w{}", random.below(shape.workloads))]),
        10 => Requirement::Network(vec![format!("n{}", random.below(shape.networks))]),
        _ => Requirement::AnyWorkload,
    }
}

fn peers(random: &mut Random, shape: Shape) -> Vec<Selector> {
    if random.one_in(5) {
        return vec![Selector::default()];
    }
    let selector = |random: &mut Random| Selector {
        requirements: (0..=random.below(2)).map(|_| requirement(random, shape)).collect(),
    };
    (0..=random.below(2)).map(|_| selector(random)).collect()
}

/// A few ranges, merged as `validate` would.
fn services(random: &mut Random) -> Vec<ServiceRange> {
    let mut ranges: Vec<ServiceRange> = (0..=random.below(3)).map(|_| service(random)).collect();
    ranges.sort_unstable();
    let mut merged: Vec<ServiceRange> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.first <= last.last + 1 => last.last = last.last.max(range.last),
            _ => merged.push(range),
        }
    }
    merged
}

fn service(random: &mut Random) -> ServiceRange {
    let port = |random: &mut Random| {
        u32::from(*random.pick(&[0_u16, 1, 22, 53, 80, 443, 444, 8080, 65_534, u16::MAX]))
    };
    let protocol = *random.pick(&[6_u32, 6, 17, 132]);
    match random.below(8) {
        0 => ServiceRange::ANY,
        1 => ServiceRange { first: protocol << 16, last: protocol << 16 | 0xffff },
        2 => {
            // All codes of one ICMP or ICMPv6 type.
            let first =
                *random.pick(&[1_u32, 58]) << 16 | u32::from(*random.pick(&[0_u8, 3, 8, 128, 255])) << 8;
            ServiceRange { first, last: first | 0xff }
        }
        3 => {
            let first = *random.pick(&[47_u32, 50, 255]) << 16;
            ServiceRange { first, last: first | 0xffff }
        }
        4 => {
            let (a, b) = (port(random), port(random));
            ServiceRange { first: protocol << 16 | a.min(b), last: protocol << 16 | a.max(b) }
        }
        _ => {
            let key = protocol << 16 | port(random);
            ServiceRange { first: key, last: key }
        }
    }
}

fn rule(random: &mut Random, at: usize, tier: usize, shape: Shape) -> Rule {
    let gates = match random.below(8) {
        0 => Gates { egress: true, ingress: false },
        1 => Gates { egress: false, ingress: true },
        _ => Gates { egress: true, ingress: true },
    };
    Rule {
        name: format!("r{at}"),
        from: peers(random, shape),
        to: peers(random, shape),
        services: services(random),
        action: if tier == 1 || tier == 3 { Action::Deny } else { Action::Allow },
        gates,
        origin: origin(),
        ..Rule::default()
    }
}

fn enforcement(random: &mut Random, shape: Shape) -> Enforcement {
    let mode = |random: &mut Random| (!random.one_in(3)).then(|| *random.pick(&MODES));
    Enforcement {
        select: peers(random, shape),
        ingress: mode(random),
        egress: mode(random),
        origin: origin(),
    }
}

/// A flow worth asking about.
pub type Probe = (IpAddr, IpAddr, u32);

/// Flows at the edges: workload addresses, first and last addresses of prefixes and their neighbours, addresses
/// nobody knows; first and last keys of services and their neighbours.
pub fn probe(random: &mut Random, policy: &ValidPolicy) -> Probe {
    let source = probe_address(random, policy);
    (source, probe_address(random, policy), probe_service(random, policy))
}

fn probe_address(random: &mut Random, policy: &ValidPolicy) -> IpAddr {
    match random.below(6) {
        0..=2 if !policy.workloads.is_empty() => {
            let workload = random.pick(&policy.workloads);
            *random.pick(&workload.addresses)
        }
        3 | 4 if !policy.networks.is_empty() => {
            let network = random.pick(&policy.networks);
            let prefix = *random.pick(&network.prefixes);
            edge(random, prefix)
        }
        _ => some_address(random, &policy.networks),
    }
}

fn probe_service(random: &mut Random, policy: &ValidPolicy) -> u32 {
    let tier = random.pick(&policy.tiers);
    if tier.rules.is_empty() || random.one_in(8) {
        return u32::try_from(random.below(1 << 24)).unwrap_or(0);
    }
    let rule = random.pick(&tier.rules);
    let range = *random.pick(&rule.services);
    let edges = [range.first, range.last, range.first.saturating_sub(1), range.last + 1];
    (*random.pick(&edges)).min(ServiceRange::ANY.last)
}
