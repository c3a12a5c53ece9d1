//! Flows and endpoints in the user's words.

use std::fmt::Write;
use std::net::IpAddr;

use super::estate::{Flow, Placed};
use crate::policy::diagnostics::{Diagnostic, Related, quote};
use crate::policy::valid::{Prefix, ServiceRange, ValidPolicy};

/// `web-1 (10.0.0.1) -> 192.0.2.1 (unknown) tcp/443`.
pub(super) fn flow(policy: &ValidPolicy, flow: &Flow) -> String {
    let mut text = end(policy, flow.source);
    // Writing to a string cannot fail.
    let _ = write!(text, " -> {} {}", end(policy, flow.destination), service(flow.service));
    text
}

/// A workload by name, anything else by address and what contains it.
fn end(policy: &ValidPolicy, address: IpAddr) -> String {
    if let Some(workload) = policy.workloads.iter().find(|one| one.addresses.contains(&address)) {
        return format!("{} ({address})", workload.name);
    }
    let within = |prefix: &&Prefix| contains(prefix, address);
    let network = policy.networks.iter().filter_map(|network| {
        let narrowest = network.prefixes.iter().filter(within).map(|prefix| prefix.len).max()?;
        Some((narrowest, network))
    });
    match network.max_by_key(|(len, _)| *len) {
        Some((_, network)) => format!("{address} (network {})", network.name),
        None => format!("{address} (unknown)"),
    }
}

fn contains(prefix: &Prefix, address: IpAddr) -> bool {
    match (prefix.address, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.len)).unwrap_or(0);
            address.to_bits() & mask == network.to_bits()
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.len)).unwrap_or(0);
            address.to_bits() & mask == network.to_bits()
        }
        _ => false,
    }
}

/// `tcp/443`.
fn service(key: u32) -> ServiceRange {
    ServiceRange { first: key, last: key }
}

/// Where another rule stands, and which it is.
pub(super) fn related(one: &Placed<'_>) -> Related {
    Related::at(&one.rule.origin, format!("{} is here", quote(&one.rule.name)))
}

/// At most so many findings of one kind are told; the rest would not be read.
pub(super) const TOLD_MAX: usize = 100;

/// Findings of one kind, cut after [`TOLD_MAX`].
#[derive(Default)]
pub(super) struct Findings {
    pub(super) list: Vec<Diagnostic>,
    pub(super) left_out: usize,
}

impl Findings {
    pub(super) fn push(&mut self, finding: impl FnOnce() -> Diagnostic) {
        if self.list.len() < TOLD_MAX { self.list.push(finding()) } else { self.left_out += 1 }
    }
}
