//! Proxies: what the shipped file shows, and what is refused.

use std::time::Duration;

use dataplane::proxy::preamble::Version;
use dataplane::proxy::{Balance, ListenMode, OnDeny, ProxyLimits, ProxyTimeouts};

use super::*;

/// The proxies of a text.
fn proxies(text: &str) -> Vec<Proxy> {
    parse(text).unwrap_or_else(|e| panic!("{text}\n{e}")).proxies
}

/// The example of the shipped file, which is a comment there.
fn shipped() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/ringfence.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let lines =
        text.lines().skip_while(|line| *line != "# proxies:").take_while(|line| line.starts_with('#'));
    lines.map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or(""))).collect()
}

#[test]
fn the_shipped_example_shows_the_defaults() {
    let text = shipped();
    let shown = proxies(&text);
    let minimal = proxies(
        "proxies:\n- {name: shop-db, listen: ['0.0.0.0:5432', '[::]:5432'], connect: ['10.0.2.10:5432', '10.0.2.11:5432']}",
    );
    assert_eq!(shown, minimal, "what the file shows as default is not what leaving it out means");
    let [proxy] = shown.as_slice() else { panic!("one proxy") };
    assert_eq!(proxy.timeouts, ProxyTimeouts::default());
    assert_eq!(proxy.limits, ProxyLimits::default());
    // What is shown as a comment inside the comment is right, too.
    let with_destination = proxies(&text.replace("# as:", "as:"));
    assert_eq!(with_destination[0].destination, Some("10.0.2.10:5432".parse().unwrap()));
}

#[test]
fn every_key_arrives() {
    let text = "
proxies:
- name: a
  listen: ['127.0.0.1:1']
  connect: ['127.0.0.1:2', '127.0.0.1:3']
  balance: least-connections
  as: '10.0.0.1:9'
  health: {interval_ms: 100, timeout_ms: 200, rise: 3, fall: 4}
  proxy_protocol: {in: v1v2, trusted: [127.0.0.0/8, '2001:db8::/32'], out: v2}
  keep_source: true
  on_deny: close
  early_refusal: off
  limits: {connections: 1, per_source: 2, connect_timeout_ms: 30, idle_timeout_ms: 4, preamble_timeout_ms: 50,
           stalled_timeout_ms: 6, drain_ms: 7, buffers: 16, pipes: 0}
  workers: 2
  cores: [1, 0]
- {name: b, listen: ['[::1]:1'], mode: tproxy}
- {name: c, listen: ['[::1]:2'], mode: redirect}
- {name: d, listen: ['[::1]:3'], connect: ['[::1]:4'], health: {check: off}, proxy_protocol: {out: v1}}
";
    let [a, b, c, d] = proxies(text).try_into().unwrap();
    assert_eq!((a.balance, a.on_deny, a.keep_source), (Balance::LeastConnections, OnDeny::Close, true));
    assert!(!a.early);
    assert_eq!(a.destination, Some("10.0.0.1:9".parse().unwrap()));
    let [interval, timeout] = [100, 200].map(Duration::from_millis);
    assert_eq!(a.health, Some(Health { interval, timeout, rise: 3, fall: 4 }));
    let trusted: Vec<_> = a.trusted.iter().map(|prefix| (prefix.address.to_string(), prefix.bits)).collect();
    assert_eq!(trusted, [("127.0.0.0".to_owned(), 8), ("2001:db8::".to_owned(), 32)]);
    assert_eq!(a.timeouts, ProxyTimeouts { connect_ms: 30, idle_ms: 4, header_ms: 50, stalled_ms: 6 });
    let limits = ProxyLimits { connections_max: 1, per_source_max: 2, buffers: 16, pipes: 0, ..a.limits };
    assert_eq!((a.limits, a.drain), (limits, Duration::from_millis(7)));
    assert_eq!((a.workers, a.cores, a.preamble), (2, vec![1, 0], Some(Version::V2)));
    assert_eq!((b.mode, b.health), (ListenMode::Tproxy, None));
    assert_eq!((c.mode, c.preamble), (ListenMode::Redirect, None));
    assert_eq!((d.health, d.preamble), (None, Some(Version::V1)));
}

const REFUSALS: &[Refusal] = &[
    ("no name", "proxies:\n- listen: ['127.0.0.1:1']\n", &[(2, 3, "name")]),
    ("unknown key", "proxies:\n- {name: a, listen: [], conect: []}\n", &[(2, 25, "conect")]),
    ("nowhere", "proxies:\n- {name: a, listen: [], connect: ['10.0.0.1:1']}\n", &[(2, 10, "listens nowhere")]),
    ("no server", "proxies:\n- {name: a, listen: ['127.0.0.1:1']}\n", &[(2, 10, "`connect` needs an address")]),
    (
        "addresses",
        "proxies:
- name: a
  listen: [here, '127.0.0.1:0', '224.0.0.1:1', '[::ffff:127.0.0.1]:1', '127.0.0.1']
  connect: ['0.0.0.0:1', 'db:5432', '10.0.0.1:1', '10.0.0.1:1']
  as: '[::]:1'
",
        &[
            (3, 12, "`here` is no address with a port"),
            (3, 18, "1 to 65535"),
            (3, 33, "one host"),
            (3, 48, "IPv4 address in IPv6 form"),
            (3, 72, "no address with a port"),
            (4, 13, "one host"),
            (4, 26, "no address with a port"),
            (4, 51, "there twice"),
            (5, 7, "one host"),
        ],
    ),
    (
        "taken",
        "wires: [{name: a, inside: {interface: e0}, outside: {interface: e1}}]
proxies:
- {name: a, listen: ['127.0.0.1:1'], connect: ['10.0.0.1:1']}
- {name: b, listen: ['127.0.0.1:1'], connect: ['127.0.0.1:1']}
",
        &[(3, 10, "`a` is used twice"), (4, 22, "listened on twice"), (4, 48, "itself listens")],
    ),
    (
        "transparent",
        "proxies:
- name: a
  listen: ['127.0.0.1:1']
  mode: tproxy
  connect: ['10.0.0.1:1']
  as: '10.0.0.1:1'
  health: {rise: 3}
",
        &[(5, 13, "leave `connect` out"), (6, 7, "leave `as` out"), (7, 18, "leave `health` out")],
    ),
    (
        "words",
        "proxies:
- {name: a, listen: ['127.0.0.1:1'], mode: magic, connect: ['10.0.0.1:1'], balance: random, on_deny: drop}
- {name: b, listen: ['127.0.0.1:2'], connect: ['10.0.0.1:1'], proxy_protocol: {in: v1, out: v3}, health: {check: http}}
",
        &[
            (2, 44, "`mode` cannot be `magic`"),
            (2, 85, "`balance` cannot be `random`"),
            (2, 102, "`on_deny` cannot be `drop`"),
            (3, 84, "`in` cannot be `v1`"),
            (3, 93, "`out` cannot be `v3`"),
            (3, 114, "`check` cannot be `http`"),
        ],
    ),
    (
        "whom to trust",
        "proxies:
- {name: a, listen: ['127.0.0.1:1'], connect: ['10.0.0.1:1'], proxy_protocol: {in: v1v2}}
- {name: b, listen: ['127.0.0.1:2'], connect: ['10.0.0.1:1'], proxy_protocol: {trusted: [10.0.0.0/8]}}
- name: c
  listen: ['127.0.0.1:3']
  connect: ['10.0.0.1:1']
  proxy_protocol: {in: v1v2, trusted: [10.0.0.0/33, 10.0.0.1, lb, '::ffff:10.0.0.0/104']}
",
        &[
            (2, 84, "needs `trusted`"),
            (3, 90, "write `in: v1v2`"),
            (7, 40, "no address prefix"),
            (7, 53, "no address prefix"),
            (7, 63, "no address prefix"),
            (7, 67, "no address prefix"),
        ],
    ),
    (
        "numbers",
        "proxies:
- name: a
  listen: ['127.0.0.1:1']
  connect: ['10.0.0.1:1']
  limits: {connections: 0, buffers: 15, drain_ms: 86400001, connect_timeout_ms: 1}
  workers: 65
  cores: [1024]
  health: {interval_ms: 99, fall: 0}
",
        &[
            (5, 25, "1 to 1048576"),
            (5, 37, "16 to 32768"),
            (5, 51, "0 to 86400000"),
            (5, 81, "10 to 600000"),
            (6, 12, "1 to 64"),
            (7, 11, "0 to 1023"),
            (8, 25, "100 to 600000"),
            (8, 35, "1 to 100"),
        ],
    ),
    (
        "two families",
        "proxies: [{name: a, listen: ['[::1]:1'], connect: ['10.0.0.1:1'], keep_source: true}]\n",
        &[(1, 80, "within one family")],
    ),
];

#[test]
fn every_fault_of_a_proxy_has_its_place() {
    assert_places(REFUSALS);
}
