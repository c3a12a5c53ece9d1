//! Flows worth asking about.

use std::net::IpAddr;

use control::policy::valid::{Listener, ServiceRange, ValidPolicy};

use super::{edge, some_address};
use crate::random::Random;

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
    let listeners: Vec<&Listener> =
        policy.workloads.iter().flat_map(|workload| &workload.listeners).collect();
    if !listeners.is_empty() && random.one_in(3) {
        let listener = *random.pick(&listeners);
        let range = *random.pick(&listener.services);
        return *random.pick(&[range.first, range.last]);
    }
    let tier = random.pick(&policy.tiers);
    if tier.rules.is_empty() || random.one_in(8) {
        return u32::try_from(random.below(1 << 24)).unwrap_or(0);
    }
    let rule = random.pick(&tier.rules);
    let range = *random.pick(&rule.services);
    let edges = [range.first, range.last, range.first.saturating_sub(1), range.last + 1];
    (*random.pick(&edges)).min(ServiceRange::ANY.last)
}
