//! From addresses to the words people use for them.

use std::collections::{BTreeSet, HashMap};

use dataplane::address::Address;
use dataplane::policy::PolicyTable;
use serde::Serialize;
use utoipa::ToSchema;

use crate::policy::valid::{Labels, ValidPolicy};

/// What an address is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase", tag = "kind", content = "name")]
pub enum Who {
    /// A workload.
    Workload(String),
    /// No workload; the narrowest network that holds the address.
    Network(String),
    /// Neither.
    Unknown,
}

/// The networks of a policy, by prefix.
#[derive(Debug, Default)]
pub struct Names {
    /// The prefix lengths in use, over 128 bits (IPv4 mapped), longest first; at most 129.
    lens: Vec<u8>,
    /// (length, network bits) to the network's index.
    prefixes: HashMap<(u8, u128), u32>,
}

fn mask(len: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0)
}

impl Names {
    /// Of `policy`.
    #[must_use]
    pub fn new(policy: &ValidPolicy) -> Self {
        let mut names = Self::default();
        for (index, network) in (0u32..).zip(&policy.networks) {
            for prefix in &network.prefixes {
                let len = if prefix.address.is_ipv4() { prefix.len + 96 } else { prefix.len };
                // Two networks with the same prefix: the first gives the name.
                names
                    .prefixes
                    .entry((len, Address::from(prefix.address).bits() & mask(len)))
                    .or_insert(index);
                names.lens.push(len);
            }
        }
        names.lens.sort_unstable_by(|a, b| b.cmp(a));
        names.lens.dedup();
        names
    }

    fn network(&self, address: Address) -> Option<u32> {
        // ::/0 is 128 bits of prefix shorter than 0.0.0.0/0 (96), so v4 addresses must not match v6 prefixes.
        let v4 = address.is_v4();
        let lens = self.lens.iter().filter(|&&len| !v4 || len >= 96);
        lens.filter_map(|&len| self.prefixes.get(&(len, address.bits() & mask(len)))).next().copied()
    }

    /// What `address` is called under `policy`, from which `self` and `table` were made.
    #[must_use]
    pub fn who(&self, address: Address, table: &PolicyTable, policy: &ValidPolicy) -> Who {
        if let Some(owner) = table.resolve(address).owner()
            && let Some(workload) = policy.workloads.get(owner.index() as usize)
        {
            return Who::Workload(workload.name.clone());
        }
        let network = self.network(address).and_then(|index| policy.networks.get(index as usize));
        network.map_or(Who::Unknown, |network| Who::Network(network.name.clone()))
    }

    /// The own labels of the workload or the narrowest network that holds `address`.
    #[must_use]
    pub fn labels<'a>(
        &self,
        address: Address,
        table: &PolicyTable,
        policy: &'a ValidPolicy,
    ) -> Option<&'a Labels> {
        if let Some(owner) = table.resolve(address).owner() {
            return policy.workloads.get(owner.index() as usize).map(|workload| &workload.labels);
        }
        let network = policy.networks.get(self.network(address)? as usize)?;
        Some(&network.labels)
    }

    /// What policy can tell of `address` but for its name: the labels of its workload, `unlabelled` if it has none,
    /// `network NAME`, or [`UNKNOWN`].
    #[must_use]
    pub fn in_labels(&self, address: Address, table: &PolicyTable, policy: &ValidPolicy) -> String {
        match self.who(address, table, policy) {
            Who::Workload(_) => match self.labels(address, table, policy) {
                Some(labels) if !labels.is_empty() => label_words(labels),
                _ => "unlabelled".into(),
            },
            Who::Network(name) => format!("network {name}"),
            Who::Unknown => UNKNOWN.into(),
        }
    }
}

/// The words for an address that neither a workload nor a network holds.
pub const UNKNOWN: &str = "unknown";

/// Labels in one word: `app=crm+shop,role=db`.
#[must_use]
pub fn label_words(labels: &Labels) -> String {
    let one = |(key, values): (&String, &BTreeSet<String>)| {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        format!("{key}={}", values.join("+"))
    };
    labels.iter().map(one).collect::<Vec<_>>().join(",")
}

/// `tcp/443`, `icmp/8/0`, `gre`, …: a point of the service space for people, in a form that the policy accepts.
#[must_use]
pub fn service_name(key: u32) -> String {
    let (protocol, low) = (key >> 16, key & 0xffff);
    match protocol {
        1 => format!("icmp/{}/{}", low >> 8, low & 0xff),
        6 => format!("tcp/{low}"),
        17 => format!("udp/{low}"),
        47 => "gre".into(),
        50 => "esp".into(),
        51 => "ah".into(),
        58 => format!("icmpv6/{}/{}", low >> 8, low & 0xff),
        132 => format!("sctp/{low}"),
        2 => "igmp".into(),
        other => format!("proto/{other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{CompileOptions, SourceFile, compile, load_texts};

    #[test]
    fn the_narrowest_name_wins() {
        let text = "ringfence: 1
workloads:
  - {name: web, labels: {app: shop}, addresses: [10.1.1.1, \"fd00:1::1\"]}
networks:
  - {name: everything-4, cidrs: [0.0.0.0/0], labels: {zone: world}}
  - {name: site, cidrs: [10.0.0.0/8, \"fd00::/16\"], labels: {zone: site}}
  - {name: rack, cidrs: [10.1.1.0/24, \"fd00:1::/64\"], labels: {zone: rack}}
rules: []
";
        let files = [SourceFile { name: "p".into(), text: text.into() }];
        let policy = load_texts(&files).unwrap_or_else(|faults| panic!("{faults}")).policy;
        let compiled = compile(&policy, &CompileOptions::default()).unwrap();
        let names = Names::new(&policy);
        let network = |name: &str| Who::Network(name.into());
        for (address, who, zone) in [
            ("10.1.1.1", Who::Workload("web".into()), None),
            ("fd00:1::1", Who::Workload("web".into()), None),
            ("10.1.1.2", network("rack"), Some("rack")),
            ("10.1.2.2", network("site"), Some("site")),
            ("11.0.0.1", network("everything-4"), Some("world")),
            ("fd00:1::2", network("rack"), Some("rack")),
            ("fd00:2::2", network("site"), Some("site")),
            ("fd01::1", Who::Unknown, None),
        ] {
            let at = Address::from(address.parse::<std::net::IpAddr>().unwrap());
            assert_eq!(names.who(at, &compiled.table, &policy), who, "{address}");
            let labels = names.labels(at, &compiled.table, &policy);
            let found = labels.and_then(|labels| labels.get("zone")).and_then(|values| values.first());
            assert_eq!(found.map(String::as_str), zone, "{address}");
        }
    }

    #[test]
    fn services_are_written_as_policy_reads_them() {
        for (key, expected) in [
            (6 << 16 | 443, "tcp/443"),
            (17 << 16 | 53, "udp/53"),
            (132 << 16 | 7, "sctp/7"),
            (1 << 16 | 8 << 8, "icmp/8/0"),
            (58 << 16 | 1 << 8 | 4, "icmpv6/1/4"),
            (47 << 16, "gre"),
            (2 << 16, "igmp"),
            (253 << 16, "proto/253"),
        ] {
            let name = service_name(key);
            assert_eq!(name, expected);
            assert_eq!(crate::policy::service::parse_one(&name).ok(), Some(key), "{name}");
        }
    }
}
