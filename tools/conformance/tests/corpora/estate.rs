//! A loaded policy that can be asked.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use conformance::oracle;
use control::policy::valid::{ServiceRange, ValidPolicy, Workload};
use control::policy::{
    CompileOptions, Compiled, Diagnostics, Loaded, SourceFile, WriteError, compile, load, load_texts, write,
};
use dataplane::address::Address;
use dataplane::policy::ServiceKey;
use dataplane::verdict::Verdict;

pub(crate) const TCP: u32 = 6;
pub(crate) const UDP: u32 = 17;
pub(crate) const SCTP: u32 = 132;

/// A policy, compiled.
pub(crate) struct Estate {
    pub(crate) policy: ValidPolicy,
    compiled: Compiled,
    /// What `ringfence import` makes of it, read back.
    native: Option<Compiled>,
}

impl Estate {
    pub(crate) fn load(paths: &[PathBuf]) -> Result<Self, Diagnostics> {
        Self::of(load(paths))
    }

    pub(crate) fn of(loaded: Result<Loaded, Diagnostics>) -> Result<Self, Diagnostics> {
        let loaded = loaded?;
        let compiled = compile(&loaded.policy, &CompileOptions::default()).expect("what loads compiles");
        let native = written(&loaded).map(|native| {
            assert_eq!(native.hash(), loaded.hash(), "what is written means what was read");
            compile(&native.policy, &CompileOptions::default()).expect("what is written compiles")
        });
        Ok(Self { policy: loaded.policy, compiled, native })
    }

    /// Whether a flow is allowed: the table's answer, which must be the oracle's.
    pub(crate) fn allows(&self, source: IpAddr, destination: IpAddr, service: u32) -> bool {
        let answer = oracle::decide(&self.policy, source, destination, service);
        for compiled in std::iter::once(&self.compiled).chain(&self.native) {
            let table = &compiled.table;
            let [from, to] = [source, destination].map(|address| table.resolve(Address::from(address)));
            let key = ServiceKey::from_value(service).expect("a service key");
            let decision = table.decide(from, to, key);
            let rule = compiled.rule_name(decision.rule);
            assert_eq!(
                (decision.verdict, decision.gate.name(), rule),
                (answer.verdict, answer.gate, answer.rule.as_str()),
                "table and oracle differ on {source} -> {destination} {service:#x}"
            );
        }
        answer.verdict == Verdict::Allow
    }

    /// The workload of this name.
    pub(crate) fn workload(&self, name: &str) -> Option<&Workload> {
        self.policy.workloads.iter().find(|workload| workload.name == name)
    }

    /// One port of every stretch of ports that no rule, no listener and none of `more` tells apart, for TCP, UDP and
    /// SCTP.
    pub(crate) fn probes(&self, more: &[ServiceRange]) -> Vec<u32> {
        let rules = self.policy.tiers.iter().flat_map(|tier| &tier.rules).flat_map(|rule| &rule.services);
        let listeners =
            self.policy.workloads.iter().flat_map(|one| &one.listeners).flat_map(|one| &one.services);
        let cuts = rules.chain(listeners).chain(more).flat_map(|range| [range.first, range.last + 1]);
        let mut probes = BTreeSet::new();
        for protocol in [TCP, UDP, SCTP] {
            probes.insert(protocol << 16 | 1);
            probes.insert(protocol << 16 | 0xffff);
        }
        let ported = |key: &u32| [TCP, UDP, SCTP].contains(&(key >> 16)) && key & 0xffff != 0;
        probes.extend(cuts.filter(ported));
        probes.into_iter().collect()
    }
}

/// `TCP 80`, `udp/53`, for messages.
pub(crate) fn shown(service: u32) -> String {
    ServiceRange { first: service, last: service }.to_string()
}

/// The policy in the native language, read back; `None` if it was native in part already.
fn written(loaded: &Loaded) -> Option<Loaded> {
    let text = match write(&loaded.policy) {
        Ok(text) => text,
        Err(WriteError::Native(_)) => return None,
    };
    let file = SourceFile { name: "imported.yaml".to_owned(), text };
    Some(load_texts(&[file]).unwrap_or_else(|faults| panic!("what is written does not load: {faults}")))
}
