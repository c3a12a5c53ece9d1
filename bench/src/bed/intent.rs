//! What every candidate that judges is told, each in its own best idiom: the hosts on the near side are ten groups,
//! those on the far side ten others; rule `k` lets group `k % 10` speak to group `k / 10 % 10` on one port, TCP and
//! UDP. The first hundred rules allow [`ALLOWED_PORT`], all others a port of their own; nothing allows
//! [`DENIED_PORT`](super::traffic::DENIED_PORT).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use control::policy::valid::{
    Action, Gates, Labels, Origin, Requirement, Rule, Selector, ServiceRange, Tier, ValidPolicy, Workload,
};

use super::traffic::{ALLOWED_PORT, HOSTS};

const GROUPS: u32 = 10;

/// The IPv4 address of host `n` on the near side (`far` false) or the far side; as the generator makes them.
#[must_use]
pub fn host(far: bool, n: u32) -> Ipv4Addr {
    Ipv4Addr::from(if far { 0x0a01_0001 } else { 0x0a00_0001 } + n)
}

/// From group, to group and port of rule `k`.
fn rule(k: u32) -> (u32, u32, u16) {
    let block = u16::try_from(k / (GROUPS * GROUPS)).unwrap_or(u16::MAX - 2000);
    (k % GROUPS, k / GROUPS % GROUPS, if block == 0 { ALLOWED_PORT } else { 2000 + block })
}

/// For ringfence.
#[must_use]
pub fn policy(rules: u32) -> ValidPolicy {
    let origin = Origin { file: Arc::from("lab"), line: 1, column: 1 };
    let workloads = [false, true].into_iter().flat_map(|far| {
        let origin = origin.clone();
        (0..HOSTS).map(move |n| Workload {
            name: format!("{}{n}", side(far)),
            labels: Labels::from([("group".into(), BTreeSet::from([group(far, n % GROUPS)]))]),
            addresses: vec![IpAddr::V4(host(far, n))],
            macs: Vec::new(),
            wire: None,
            listeners: Vec::new(),
            origin: origin.clone(),
        })
    });
    let is = |group| Selector { requirements: vec![Requirement::In("group".into(), vec![group])] };
    let rules = (0..rules).map(|k| {
        let (from, to, port) = rule(k);
        Rule {
            name: format!("r{k}"),
            from: vec![is(group(false, from))],
            to: vec![is(group(true, to))],
            services: [6_u32, 17]
                .map(|protocol| protocol << 16 | u32::from(port))
                .map(|key| ServiceRange { first: key, last: key })
                .into(),
            action: Action::Allow,
            gates: Gates { egress: true, ingress: true },
            origin: origin.clone(),
            ..Rule::default()
        }
    });
    ValidPolicy {
        workloads: workloads.collect(),
        tiers: vec![Tier { name: "application".into(), rules: rules.collect() }],
        ..ValidPolicy::default()
    }
}

/// For nft: recipe N1, conntrack first, then address to label and labels to verdict by maps.
#[must_use]
pub fn nft(rules: u32) -> String {
    let join = |far: bool, label: fn(u32) -> String| {
        (0..HOSTS).map(|n| format!("{} : {}", host(far, n), label(n % GROUPS))).collect::<Vec<_>>().join(", ")
    };
    let mark = |group: u32| format!("{:#x}", 0x10 + group);
    let class = |group: u32| format!("1:{:x}", 1 + group);
    let mut pairs = String::new();
    for k in 0..rules {
        let (from, to, port) = rule(k);
        for protocol in ["tcp", "udp"] {
            // Writing to a string cannot fail.
            let _ = write!(pairs, "{} . {} . {protocol} . {port} : accept, ", mark(from), class(to));
        }
    }
    format!(
        "table inet seg {{
  map srclbl {{ type ipv4_addr : mark; flags interval; elements = {{ {} }} }}
  map dstlbl {{ type ipv4_addr : classid; flags interval; elements = {{ {} }} }}
  map pol {{ typeof meta mark . meta priority . meta l4proto . th dport : verdict; elements = {{ {} }} }}
  chain cfwd {{ type filter hook forward priority 0; policy drop;
    ct state established,related accept
    ct state invalid drop
    meta mark set ip saddr map @srclbl
    meta priority set ip daddr map @dstlbl
    meta mark . meta priority . meta l4proto . th dport vmap @pol
  }}
}}
",
        join(false, mark),
        join(true, class),
        pairs.trim_end_matches(", "),
    )
}

const fn side(far: bool) -> &'static str {
    if far { "far" } else { "near" }
}

fn group(far: bool, group: u32) -> String {
    format!("{}-{group}", side(far))
}
