//! Random estates and policies: small enough for the oracle, odd enough to meet every line of the semantics.

mod probe;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use control::policy::valid::{
    Enforcement, Labels, Listener, Mode, Network, Origin, Prefix, Tier, ValidPolicy, Workload,
};
pub use probe::{Probe, probe};
pub use rules::assertions;
use rules::{peers, rule, services};

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

/// A policy that obeys what `validate` guarantees, in the words of plain rules: allow and deny in four tiers.
#[must_use]
pub fn generate(random: &mut Random, size: Size) -> ValidPolicy {
    build(random, size, false)
}

/// As [`generate`], in every word of the language: further tiers, reject and pass, priorities, `same`, staged rules,
/// revocation, listeners, and negated networks.
#[must_use]
pub fn generate_whole(random: &mut Random, size: Size) -> ValidPolicy {
    build(random, size, true)
}

fn build(random: &mut Random, size: Size, whole: bool) -> ValidPolicy {
    let networks: Vec<Network> = (0..size.networks).map(|at| network(random, at)).collect();
    let mut taken = BTreeSet::new();
    let shape = Shape { workloads: size.workloads, networks: size.networks, whole };
    let workloads =
        (0..size.workloads).map(|at| workload(random, at, &networks, shape, &mut taken)).collect();
    let enforcement = (0..random.below(5)).map(|_| enforcement(random, shape)).collect();
    let mut policy = ValidPolicy {
        workloads,
        networks,
        tiers: tiers(),
        enforcement,
        ether_types: vec![0x88cc],
        ..ValidPolicy::default()
    };
    for at in 0..if shape.whole { random.below(3) } else { 0 } {
        let tier = Tier { name: format!("t{at}"), rules: Vec::new() };
        policy.tiers.insert(random.below(policy.tiers.len() + 1), tier);
    }
    for at in 0..size.rules {
        let tier = random.below(policy.tiers.len());
        let rule = rule(random, at, &policy.tiers[tier].name, shape);
        policy.tiers[tier].rules.push(rule);
    }
    policy.tiers.iter_mut().for_each(|tier| tier.rules.sort_by_key(|rule| rule.priority));
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
    /// Whether every word of the language is used.
    whole: bool,
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

fn workload(
    random: &mut Random,
    at: usize,
    networks: &[Network],
    shape: Shape,
    taken: &mut BTreeSet<IpAddr>,
) -> Workload {
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
        listeners: if shape.whole && random.one_in(3) { listeners(random) } else { Vec::new() },
        origin: origin(),
    }
}

/// One or two, whose services do not overlap.
fn listeners(random: &mut Random) -> Vec<Listener> {
    let mut all: Vec<Listener> = Vec::new();
    for at in 0..=random.below(2) {
        let mut services = services(random);
        services.retain(|range| {
            let meets =
                |one: &Listener| one.services.iter().any(|r| r.first <= range.last && range.first <= r.last);
            !all.iter().any(meets)
        });
        let mut labels = labels(random, 3);
        if labels.is_empty() {
            labels.insert("app".to_owned(), [value(random)].into());
        }
        if !services.is_empty() {
            all.push(Listener { name: format!("l{at}"), services, labels, origin: origin() });
        }
    }
    all
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

fn enforcement(random: &mut Random, shape: Shape) -> Enforcement {
    let mode = |random: &mut Random| (!random.one_in(3)).then(|| *random.pick(&MODES));
    Enforcement {
        select: peers(random, shape),
        ingress: mode(random),
        egress: mode(random),
        origin: origin(),
    }
}
