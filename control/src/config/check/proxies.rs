//! The proxies of the configuration file.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dataplane::proxy::preamble::Version;
use dataplane::proxy::{Balance, ListenMode, OnDeny, Prefix, ProxyConfig, ProxyLimits, ProxyTimeouts};
use serde_saphyr::Spanned;

use super::{Check, LIST_MAX, WIRES_MAX, file, span_of};
use crate::config::{Health, Proxy};
use crate::policy::diagnostics::{Code, Finding, Span};

/// Most addresses of one proxy.
const LISTEN_MAX: usize = 64;
/// The longest any time-out can be: a day, ms.
const DAY: u64 = 86_400_000;

const MODES: &[(&str, ListenMode)] =
    &[("explicit", ListenMode::Explicit), ("tproxy", ListenMode::Tproxy), ("redirect", ListenMode::Redirect)];
const BALANCES: &[(&str, Balance)] =
    &[("round-robin", Balance::RoundRobin), ("least-connections", Balance::LeastConnections)];
const ON_DENIES: &[(&str, OnDeny)] = &[("reset", OnDeny::Reset), ("close", OnDeny::Close)];
/// Whether every client is accepted before it is refused.
const EARLY: &[(&str, bool)] = &[("auto", false), ("off", true)];
const READS: &[(&str, bool)] = &[("off", false), ("v1v2", true)];
const WRITES: &[(&str, Option<Version>)] =
    &[("off", None), ("v1", Some(Version::V1)), ("v2", Some(Version::V2))];
/// Whether servers go unchecked.
const CHECKS: &[(&str, bool)] = &[("tcp", false), ("off", true)];

impl Check<'_> {
    /// The proxies, of which there are `wires` less than there may be.
    pub(super) fn proxies(
        &mut self,
        proxies: &[file::Proxy],
        wires: usize,
        names: &mut BTreeMap<String, Span>,
    ) -> Vec<Proxy> {
        let most = WIRES_MAX.saturating_sub(wires);
        if let Some(excess) = proxies.get(most) {
            let message = format!("there are more than {WIRES_MAX} wires and proxies together");
            self.fault(Code::Limit, &excess.name, message);
        }
        let mut taken = BTreeMap::new();
        proxies.iter().take(most).map(|proxy| self.proxy(proxy, names, &mut taken)).collect()
    }

    fn proxy(
        &mut self,
        proxy: &file::Proxy,
        names: &mut BTreeMap<String, Span>,
        taken: &mut BTreeMap<SocketAddr, Span>,
    ) -> Proxy {
        let name = self.name(&proxy.name, "proxy", names);
        let mode = self.word("mode", &proxy.mode, MODES);
        let listen = self.listen(proxy, taken);
        let connect = self.connect(proxy, mode);
        let keep_source = proxy.keep_source.as_ref().is_some_and(|keep| keep.value);
        if let Some(keep) = &proxy.keep_source
            && keep.value
            && mode == ListenMode::Explicit
            && listen
                .iter()
                .chain(&connect)
                .any(|address| Some(address.is_ipv4()) != listen.first().map(SocketAddr::is_ipv4))
        {
            let message = "a source address can be kept only within one family: `listen` and `connect` have both IPv4 \
                           and IPv6; write a proxy for each";
            self.fault(Code::BadAddress, keep, message.into());
        }
        Proxy {
            name,
            listen,
            mode,
            connect,
            balance: self.word("balance", &proxy.balance, BALANCES),
            destination: self.destination(&proxy.destination, mode),
            health: self.health(&proxy.health, mode),
            trusted: self.trusted(&proxy.proxy_protocol),
            preamble: self.word("out", &proxy.proxy_protocol.write, WRITES),
            keep_source,
            on_deny: self.word("on_deny", &proxy.on_deny, ON_DENIES),
            early: !self.word("early_refusal", &proxy.early_refusal, EARLY),
            workers: self.number("workers", &proxy.workers, 1, 1..=64),
            cores: self.cores("cores", &proxy.cores),
            timeouts: self.timeouts(&proxy.limits),
            limits: self.limits(&proxy.limits),
            drain: Duration::from_millis(self.number("drain_ms", &proxy.limits.drain_ms, 30_000, 0..=DAY)),
        }
    }

    /// An address with its port, of one host if it is not only listened on.
    fn address(&mut self, given: &Spanned<String>, one_host: bool) -> Option<SocketAddr> {
        let Ok(address) = given.value.parse::<SocketAddr>() else {
            let message = format!("`{}` is no address with a port", given.value);
            self.sink.push(
                Finding::error(Code::BadAddress, span_of(&given.referenced), message)
                    .help("write 192.0.2.1:443 or \"[2001:db8::1]:443\"; names are not looked up"),
            );
            return None;
        };
        let ip = address.ip();
        let mapped = matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
        let fault = if address.port() == 0 {
            Some("the port must be 1 to 65535")
        } else if mapped {
            Some("this is an IPv4 address in IPv6 form; write it as IPv4")
        } else if ip.is_multicast() || one_host && ip.is_unspecified() {
            Some("this is no address of one host")
        } else {
            None
        };
        if let Some(fault) = fault {
            self.fault(Code::BadAddress, given, format!("`{}`: {fault}", given.value));
        }
        fault.is_none().then_some(address)
    }

    fn listen(&mut self, proxy: &file::Proxy, taken: &mut BTreeMap<SocketAddr, Span>) -> Vec<SocketAddr> {
        if proxy.listen.is_empty() {
            let message =
                format!("the proxy `{}` listens nowhere: `listen` needs an address", proxy.name.value);
            self.fault(Code::EmptySet, &proxy.name, message);
        }
        if let Some(excess) = proxy.listen.get(LISTEN_MAX) {
            self.fault(Code::Limit, excess, format!("there are more than {LISTEN_MAX} addresses"));
        }
        let mut listen = Vec::new();
        for given in proxy.listen.iter().take(LISTEN_MAX) {
            let Some(address) = self.address(given, false) else { continue };
            let here = span_of(&given.referenced);
            if let Some(first) = taken.get(&address) {
                let message = format!("the address `{address}` is listened on twice");
                self.sink.push(
                    Finding::error(Code::DuplicateAddress, here, message).also(*first, "first used here"),
                );
            } else {
                taken.insert(address, here);
            }
            listen.push(address);
        }
        listen
    }

    fn connect(&mut self, proxy: &file::Proxy, mode: ListenMode) -> Vec<SocketAddr> {
        let explicit = mode == ListenMode::Explicit;
        match proxy.connect.first() {
            None if explicit => {
                let message =
                    format!("the proxy `{}` has no servers: `connect` needs an address", proxy.name.value);
                self.fault(Code::EmptySet, &proxy.name, message);
            }
            Some(first) if !explicit => {
                let message =
                    "a transparent proxy connects to where its clients wanted to; leave `connect` out";
                self.fault(Code::UnknownField, first, message.into());
            }
            _ => {}
        }
        if let Some(excess) = proxy.connect.get(ProxyConfig::BACKENDS_MAX) {
            let message = format!("there are more than {} addresses", ProxyConfig::BACKENDS_MAX);
            self.fault(Code::Limit, excess, message);
        }
        let mut connect = Vec::new();
        for given in proxy.connect.iter().take(ProxyConfig::BACKENDS_MAX) {
            let Some(address) = self.address(given, true) else { continue };
            let own = proxy.listen.iter().any(|listen| listen.value.parse() == Ok(address));
            if own || connect.contains(&address) {
                let why = if own { "where the proxy itself listens" } else { "there twice" };
                self.fault(Code::DuplicateAddress, given, format!("the server `{address}` is {why}"));
            }
            connect.push(address);
        }
        connect
    }

    fn destination(&mut self, given: &Option<Spanned<String>>, mode: ListenMode) -> Option<SocketAddr> {
        let given = given.as_ref()?;
        if mode != ListenMode::Explicit {
            let message = "a transparent proxy knows the destination of its clients; leave `as` out";
            self.fault(Code::UnknownField, given, message.into());
        }
        self.address(given, true)
    }

    fn health(&mut self, health: &file::Health, mode: ListenMode) -> Option<Health> {
        let numbers = [&health.interval_ms, &health.timeout_ms, &health.rise, &health.fall];
        if mode != ListenMode::Explicit
            && let Some(given) = numbers.into_iter().flatten().next()
        {
            let message = "a transparent proxy has no servers of its own to check; leave `health` out";
            self.fault(Code::UnknownField, given, message.into());
        }
        let off: bool = self.word("check", &health.check, CHECKS);
        let checked = Health {
            interval: self.millis("interval_ms", &health.interval_ms, 2_000, 100),
            timeout: self.millis("timeout_ms", &health.timeout_ms, 1_000, 10),
            rise: self.number("rise", &health.rise, 2, 1..=100),
            fall: self.number("fall", &health.fall, 3, 1..=100),
        };
        (!off && mode == ListenMode::Explicit).then_some(checked)
    }

    fn trusted(&mut self, protocol: &file::ProxyProtocol) -> Vec<Prefix> {
        let read: bool = self.word("in", &protocol.read, READS);
        match (&protocol.read, protocol.trusted.first()) {
            (Some(word), None) if read => {
                let message = "`in: v1v2` needs `trusted`: whoever sends a PROXY header says who it is";
                self.fault(Code::MissingField, word, message.into());
            }
            (_, Some(first)) if !read => {
                let message = "`trusted` says whose PROXY headers are read, and none are; write `in: v1v2`";
                self.fault(Code::UnknownField, first, message.into());
            }
            _ => {}
        }
        if let Some(excess) = protocol.trusted.get(LIST_MAX) {
            self.fault(Code::Limit, excess, format!("there are more than {LIST_MAX} prefixes"));
        }
        protocol.trusted.iter().take(LIST_MAX).filter_map(|given| self.range(given)).collect()
    }

    fn range(&mut self, given: &Spanned<String>) -> Option<Prefix> {
        let parsed = given.value.split_once('/').and_then(|(address, bits)| {
            let (address, bits): (IpAddr, u8) = (address.parse().ok()?, bits.parse().ok()?);
            let width = if address.is_ipv4() { 32 } else { 128 };
            (bits <= width && address.to_canonical() == address)
                .then_some(Prefix { address: address.into(), bits })
        });
        if parsed.is_none() {
            let message =
                format!("`{}` is no address prefix; write 192.0.2.0/24 or 2001:db8::/32", given.value);
            self.fault(Code::BadPrefix, given, message);
        }
        parsed
    }

    fn timeouts(&mut self, limits: &file::ProxyLimits) -> ProxyTimeouts {
        let default = ProxyTimeouts::default();
        ProxyTimeouts {
            connect_ms: self.number(
                "connect_timeout_ms",
                &limits.connect_timeout_ms,
                default.connect_ms.into(),
                10..=600_000,
            ),
            idle_ms: self.number("idle_timeout_ms", &limits.idle_timeout_ms, default.idle_ms.into(), 0..=DAY),
            header_ms: self.number(
                "preamble_timeout_ms",
                &limits.preamble_timeout_ms,
                default.header_ms.into(),
                10..=600_000,
            ),
            stalled_ms: self.number(
                "stalled_timeout_ms",
                &limits.stalled_timeout_ms,
                default.stalled_ms.into(),
                0..=DAY,
            ),
        }
    }

    fn limits(&mut self, limits: &file::ProxyLimits) -> ProxyLimits {
        let default = ProxyLimits::default();
        let most = ProxyLimits::CONNECTIONS_MAX.into();
        ProxyLimits {
            connections_max: self.number(
                "connections",
                &limits.connections,
                default.connections_max.into(),
                1..=most,
            ),
            per_source_max: self.number(
                "per_source",
                &limits.per_source,
                default.per_source_max.into(),
                0..=most,
            ),
            buffers: self.number("buffers", &limits.buffers, default.buffers.into(), 16..=32_768),
            pipes: self.number("pipes", &limits.pipes, default.pipes.into(), 0..=1024),
            ..default
        }
    }
}
