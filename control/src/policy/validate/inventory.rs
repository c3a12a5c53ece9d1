//! Workloads and networks.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

use super::{Context, Known, addresses, labels, names, services};
use crate::policy::diagnostics::{Code, Finding, Span, quote};
use crate::policy::source::{ListenerSource, NetworkSource, Word, WorkloadSource};
use crate::policy::valid::{Listener, Network, ServiceRange, Workload};

/// The most addresses of one workload.
const ADDRESSES_MAX: usize = 1_024;
/// The most Ethernet addresses of one workload.
const MACS_MAX: usize = 64;
/// The most listeners of one workload.
const LISTENERS_MAX: usize = 1_024;
/// The most prefixes of one network.
const PREFIXES_MAX: usize = 65_536;

/// Every workload, by name.
pub(super) fn workloads<'p>(
    source: &'p [WorkloadSource],
    known: &mut Known<'p>,
    context: &mut Context<'_, '_>,
) -> Vec<Workload> {
    let mut owners: HashMap<IpAddr, (&Word, Span)> = HashMap::with_capacity(source.len());
    let mut all = Vec::with_capacity(source.len());
    for workload in source {
        names::define(
            &workload.name,
            "workload",
            true,
            &mut known.workloads,
            |span| span,
            |span| *span,
            context,
        );
        let words = &workload.addresses.0;
        context.at_most(words.len(), ADDRESSES_MAX, "addresses", || Some(words.get(ADDRESSES_MAX)?.span));
        let mut own = Vec::with_capacity(words.len());
        for word in words {
            let Some(address) = addresses::address(word, context) else { continue };
            match owners.entry(address) {
                Entry::Vacant(free) => {
                    free.insert((&workload.name, word.span));
                    own.push(address);
                }
                Entry::Occupied(taken) => claimed_twice(address, word.span, *taken.get(), workload, context),
            }
        }
        let words = &workload.macs.0;
        context.at_most(words.len(), MACS_MAX, "Ethernet addresses", || Some(words.get(MACS_MAX)?.span));
        let mut macs: Vec<_> = words.iter().filter_map(|word| addresses::mac(word, context)).collect();
        own.sort_unstable();
        macs.sort_unstable();
        macs.dedup();
        all.push(Workload {
            name: workload.name.value.clone(),
            labels: labels::labels(&workload.labels, context),
            addresses: own,
            macs,
            wire: workload.wire.as_ref().and_then(|wire| wire_name(wire, context)),
            listeners: listeners(&workload.listeners, known, context),
            origin: context.origin(workload.name.span),
        });
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// The listeners of one workload, by name.
fn listeners(source: &[ListenerSource], known: &Known<'_>, context: &mut Context<'_, '_>) -> Vec<Listener> {
    context.at_most(source.len(), LISTENERS_MAX, "listeners", || Some(source.get(LISTENERS_MAX)?.name.span));
    let mut seen = HashMap::new();
    let mut taken: Vec<(ServiceRange, &Word)> = Vec::new();
    let mut all = Vec::with_capacity(source.len());
    for one in source {
        names::define(&one.name, "listener", true, &mut seen, |span| span, |span| *span, context);
        let services = services::resolve(&one.service, known, context);
        if one.labels.0.is_empty() {
            let text =
                format!("the listener {} has no labels, so it changes nothing", quote(&one.name.value));
            context.error(Code::EmptySet, one.name.span, text);
        }
        taken.extend(services.iter().map(|range| (*range, &one.name)));
        all.push(Listener {
            name: one.name.value.clone(),
            services,
            labels: labels::labels(&one.labels, context),
            origin: context.origin(one.name.span),
        });
    }
    taken.sort_by_key(|(range, name)| (*range, name.span));
    for pair in taken.windows(2) {
        if let [(below, first), (above, second)] = pair
            && above.first <= below.last
        {
            let text = format!("{} and {} both answer to {above}", quote(&first.value), quote(&second.value));
            let finding = Finding::error(Code::OverlappingListeners, second.span, text);
            context.sink.push(finding.also(first.span, "the other one"));
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn claimed_twice(
    address: IpAddr,
    span: Span,
    (owner, first): (&Word, Span),
    workload: &WorkloadSource,
    context: &mut Context<'_, '_>,
) {
    let text = if owner.span == workload.name.span {
        format!("the workload {} has the address {address} twice", quote(&owner.value))
    } else {
        format!("the address {address} belongs to the workload {} already", quote(&owner.value))
    };
    context.sink.push(Finding::error(Code::DuplicateAddress, span, text).also(first, "first here"));
}

fn wire_name(word: &Word, context: &mut Context<'_, '_>) -> Option<String> {
    let good = word.value.len() <= 63 && names::is_plain(&word.value, |b| b".-_".contains(&b));
    if !good {
        let text = format!("{} cannot be the name of a wire", quote(&word.value));
        let help = "a wire's name has up to 63 letters, digits, `.`, `_` and `-`";
        context.sink.push(Finding::error(Code::BadName, word.span, text).help(help));
    }
    good.then(|| word.value.clone())
}

/// Every network, by name.
pub(super) fn networks<'p>(
    source: &'p [NetworkSource],
    known: &mut Known<'p>,
    context: &mut Context<'_, '_>,
) -> Vec<Network> {
    let mut all = Vec::with_capacity(source.len());
    for network in source {
        names::define(
            &network.name,
            "network",
            true,
            &mut known.networks,
            |span| span,
            |span| *span,
            context,
        );
        let words = &network.cidrs.0;
        context.at_most(words.len(), PREFIXES_MAX, "prefixes", || Some(words.get(PREFIXES_MAX)?.span));
        let mut prefixes = Vec::with_capacity(words.len());
        let mut seen = HashMap::with_capacity(words.len());
        for word in words {
            let Some(prefix) = addresses::prefix(word, context) else { continue };
            if let Some(first) = seen.insert(prefix, word.span) {
                let text = format!("{} stands twice in this list", quote(&word.value));
                context
                    .sink
                    .push(Finding::warning(Code::DuplicateValue, word.span, text).also(first, "first here"));
            } else {
                prefixes.push(prefix);
            }
        }
        prefixes.sort_unstable();
        all.push(Network {
            name: network.name.value.clone(),
            labels: labels::labels(&network.labels, context),
            prefixes,
            origin: context.origin(network.name.span),
        });
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}
