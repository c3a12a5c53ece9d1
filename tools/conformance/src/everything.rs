//! All flows that a small policy can tell apart, by brute force.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use control::policy::valid::{ServiceRange, ValidPolicy};

use crate::estate::Probe;

/// A flow for every pair of endpoints and every service that any of the policy's words could tell apart: each
/// workload address; of each stretch of the address space between two edges of prefixes, two addresses that no
/// workload has; of each service, listener and assertion, the first key and the key after the last. Flows from an
/// address to itself are left out.
#[must_use]
pub fn flows(policy: &ValidPolicy) -> Vec<Probe> {
    let (addresses, services) = (addresses(policy), services(policy));
    let pairs = addresses.iter().flat_map(|source| addresses.iter().map(move |to| (*source, *to)));
    let pairs = pairs.filter(|(source, to)| source != to && source.is_ipv4() == to.is_ipv4());
    pairs.flat_map(|(source, to)| services.iter().map(move |service| (source, to, *service))).collect()
}

fn addresses(policy: &ValidPolicy) -> BTreeSet<IpAddr> {
    let owned: BTreeSet<IpAddr> =
        policy.workloads.iter().flat_map(|workload| &workload.addresses).copied().collect();
    let mut v4 = BTreeSet::from([0_u32]);
    let mut v6 = BTreeSet::from([0_u128]);
    for prefix in policy.networks.iter().flat_map(|network| &network.prefixes) {
        match prefix.address {
            IpAddr::V4(first) => {
                let last = first.to_bits() | u32::MAX.checked_shr(u32::from(prefix.len)).unwrap_or(0);
                v4.extend([Some(first.to_bits()), last.checked_add(1)].into_iter().flatten());
            }
            IpAddr::V6(first) => {
                let last = first.to_bits() | u128::MAX.checked_shr(u32::from(prefix.len)).unwrap_or(0);
                v6.extend([Some(first.to_bits()), last.checked_add(1)].into_iter().flatten());
            }
        }
    }
    let mut all = owned.clone();
    let v4: Vec<u32> = v4.into_iter().collect();
    for (at, first) in v4.iter().enumerate() {
        let last = v4.get(at + 1).map_or(u32::MAX, |next| next - 1);
        let free = (*first..=last).map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)));
        all.extend(free.filter(|address| !owned.contains(address)).take(2));
    }
    let v6: Vec<u128> = v6.into_iter().collect();
    for (at, first) in v6.iter().enumerate() {
        let last = v6.get(at + 1).map_or(u128::MAX, |next| next - 1);
        let free = (*first..=last).map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)));
        all.extend(free.filter(|address| !owned.contains(address)).take(2));
    }
    all
}

fn services(policy: &ValidPolicy) -> BTreeSet<u32> {
    let rules = policy.tiers.iter().flat_map(|tier| &tier.rules).flat_map(|rule| &rule.services);
    let listeners = policy.workloads.iter().flat_map(|workload| &workload.listeners);
    let assertions = policy.assertions.iter().flat_map(|one| &one.services);
    let ranges = rules.chain(listeners.flat_map(|one| &one.services)).chain(assertions);
    let edges = ranges.flat_map(|range| [range.first, range.last + 1]);
    edges.chain([0]).filter(|key| *key <= ServiceRange::ANY.last).collect()
}
