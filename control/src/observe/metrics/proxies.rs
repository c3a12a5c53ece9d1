//! What the proxies do, by proxy.

use dataplane::counters::Counter;
use dataplane::proxy::{Fate, ProxyCounters, ProxyStatus, Refusal};

use super::family::{Families, Labels, label};

pub(super) fn gather(proxies: &[ProxyStatus], into: &mut Families) {
    connections(proxies, into);
    into.counts(
        "ringfence_proxy_refused_connections",
        "Connections that a proxy refused, by reason",
        told_apart(
            proxies,
            "reason",
            Refusal::ALL,
            |reason| reason.name(),
            |counts, reason| counts.refused(*reason).get(),
        ),
    );
    into.counts(
        "ringfence_proxy_ended_connections",
        "Relayed connections that are over, by how they ended",
        told_apart(
            proxies,
            "ending",
            Fate::ALL,
            |fate| fate.name(),
            |counts, fate| counts.ended(*fate).get(),
        ),
    );
    let bytes = proxies.iter().flat_map(|proxy| {
        let labels = |from: &str| vec![("proxy", proxy.name.clone()), ("from", from.to_owned())];
        let (clients, servers) = (sum(proxy, |of| &of.from_clients), sum(proxy, |of| &of.from_servers));
        [(labels("clients"), clients), (labels("servers"), servers)]
    });
    into.counts("ringfence_proxy_bytes", "Bytes relayed, by who sent them", bytes);
    into.levels(
        "ringfence_proxy_servers",
        "Servers behind an explicit proxy",
        per_proxy(proxies, |proxy| proxy.backends.len() as u64),
    );
    into.levels(
        "ringfence_proxy_servers_healthy",
        "Of those, how many get new connections",
        per_proxy(proxies, |proxy| proxy.backends.iter().filter(|(_, healthy)| *healthy).count() as u64),
    );
}

/// One count of all workers of a proxy.
fn sum(proxy: &ProxyStatus, count: impl Fn(&ProxyCounters) -> &Counter) -> u64 {
    proxy.workers.iter().map(|worker| count(&worker.counters).get()).fold(0, u64::wrapping_add)
}

fn per_proxy(proxies: &[ProxyStatus], value: impl Fn(&ProxyStatus) -> u64) -> Vec<(Labels, u64)> {
    proxies.iter().map(|proxy| (label("proxy", &*proxy.name), value(proxy))).collect()
}

/// A count of every proxy and every one of a closed list of words.
fn told_apart<T>(
    proxies: &[ProxyStatus],
    key: &'static str,
    all: &[T],
    name: impl Fn(&T) -> &'static str,
    count: impl Fn(&ProxyCounters, &T) -> u64,
) -> Vec<(Labels, u64)> {
    let mut samples = Vec::new();
    for proxy in proxies {
        for one in all {
            let labels = vec![("proxy", proxy.name.clone()), (key, name(one).to_owned())];
            let counts = proxy.workers.iter().map(|worker| count(&worker.counters, one));
            samples.push((labels, counts.fold(0, u64::wrapping_add)));
        }
    }
    samples
}

fn connections(proxies: &[ProxyStatus], into: &mut Families) {
    let each = |count: fn(&ProxyCounters) -> &Counter| per_proxy(proxies, |proxy| sum(proxy, count));
    into.levels("ringfence_proxy_open_connections", "Connections relayed now", each(|of| &of.live));
    into.levels(
        "ringfence_proxy_pending_connections",
        "Connections accepted that are neither relayed nor refused yet",
        each(|of| &of.pending),
    );
    into.counts("ringfence_proxy_accepted_connections", "Connections accepted", each(|of| &of.accepted));
    into.counts(
        "ringfence_proxy_refused_early_connections",
        "Connections that the kernel refused, because policy had denied one like it; among the refused, not the accepted",
        each(|of| &of.early),
    );
    into.counts("ringfence_proxy_relayed_connections", "Connections relayed", each(|of| &of.opened));
}

/// Whether a proxy has servers and none of them is healthy.
pub(super) fn is_without_server(proxy: &ProxyStatus) -> bool {
    !proxy.backends.is_empty() && proxy.backends.iter().all(|(_, healthy)| !healthy)
}
