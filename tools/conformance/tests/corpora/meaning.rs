//! The traps of other systems' policy languages, one by one: what a few lines mean for flows of a small cluster.

mod calico;
mod cilium;
mod cluster_policies;
mod kubernetes;

use std::net::IpAddr;

use control::policy::{SourceFile, load_texts, service};

use crate::estate::Estate;

/// The cluster: `x` is of team red, `y` of team blue, `z` has no labels and no manifest.
const CLUSTER: &str = "
{apiVersion: v1, kind: List, items: [
  {apiVersion: v1, kind: Namespace, metadata: {name: x, labels: {team: red}}},
  {apiVersion: v1, kind: Namespace, metadata: {name: y, labels: {team: blue}}},
  {apiVersion: v1, kind: Pod, metadata: {name: a, namespace: x, labels: {app: a, tier: web}},
    spec: {serviceAccountName: robot, containers: [{ports: [
      {name: http, containerPort: 8080}, {name: dns, containerPort: 53, protocol: UDP}]}]},
    status: {podIPs: [{ip: 10.0.1.1}, {ip: '2001:db8:1::1'}]}},
  {apiVersion: v1, kind: Pod, metadata: {name: b, namespace: x, labels: {app: b}},
    spec: {containers: [{ports: [{name: http, containerPort: 9090}]}]},
    status: {podIP: 10.0.1.2}},
  {apiVersion: v1, kind: Pod, metadata: {name: a, namespace: y, labels: {app: a, tier: web}}, status: {podIP: 10.0.2.1}},
  {apiVersion: v1, kind: Pod, metadata: {name: c, namespace: y}, status: {podIP: 10.0.2.2}},
  {apiVersion: v1, kind: Pod, metadata: {name: a, namespace: z, labels: {app: a}}, status: {podIP: 10.0.3.1}},
  {apiVersion: v1, kind: Node, metadata: {name: n, labels: {role: worker}},
    status: {addresses: [{type: InternalIP, address: 10.9.0.1}]}}
]}
---
";

/// A name, a policy, and flows with whether they are allowed: `source destination service`.
type Meaning = (&'static str, String, &'static [(&'static str, bool)]);

fn check(meanings: &[Meaning]) {
    for (name, policy, flows) in meanings {
        let text = format!("{CLUSTER}{policy}");
        let file = SourceFile { name: "policy.yaml".to_owned(), text };
        let estate = Estate::of(load_texts(&[file])).unwrap_or_else(|faults| panic!("{name}: {faults}"));
        for (flow, expected) in *flows {
            let [source, destination, spoken] = flow.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{name}: {flow} is no flow");
            };
            let v6 =
                [source, destination].iter().any(|end| end.parse().is_ok_and(|end: IpAddr| end.is_ipv6()));
            let end = |word: &str| match word.parse::<IpAddr>() {
                Ok(address) => address,
                Err(_) => {
                    let pod = estate.workload(word).unwrap_or_else(|| panic!("{name}: there is no {word}"));
                    let same_family = pod.addresses.iter().find(|address| address.is_ipv6() == v6);
                    *same_family.unwrap_or_else(|| panic!("{name}: {word} has no such address"))
                }
            };
            let key = service::parse_one(spoken).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(estate.allows(end(source), end(destination), key), *expected, "{name}: {flow}");
        }
    }
}
