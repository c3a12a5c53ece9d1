use super::{Meaning, check};

/// A policy of namespace `x` for the pods with `app: a`.
fn of_a(rest: &str) -> String {
    format!(
        "{{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {{name: p, namespace: x}}, \
         spec: {{endpointSelector: {{matchLabels: {{app: a}}}}, {rest}}}}}\n"
    )
}

fn clusterwide(rest: &str) -> String {
    format!(
        "---\n{{apiVersion: cilium.io/v2, kind: CiliumClusterwideNetworkPolicy, metadata: {{name: c}}, spec: {{{rest}}}}}\n"
    )
}

#[test]
fn what_is_empty_and_what_isolates() {
    let closed: &[(&str, bool)] = &[
        ("x/b x/a tcp/80", false),
        ("192.0.2.1 x/a tcp/80", false),
        ("x/a x/b tcp/80", true),
        ("x/a x/b icmp/8", true),
    ];
    let open: &[(&str, bool)] =
        &[("x/b x/a tcp/80", true), ("192.0.2.1 x/a tcp/80", true), ("x/a y/a udp/5", true)];
    let table: Vec<Meaning> = vec![
        ("an empty entry only isolates", of_a("ingress: [{}]"), closed),
        ("no entry does not isolate", of_a("ingress: []"), open),
        ("an empty list of peers is nobody", of_a("ingress: [{fromEndpoints: []}]"), closed),
        (
            "nobody, with a port",
            of_a("ingress: [{fromEndpoints: [], toPorts: [{ports: [{port: '80'}]}]}]"),
            closed,
        ),
        (
            "an empty selector is the namespace",
            of_a("ingress: [{fromEndpoints: [{}]}]"),
            &[("x/b x/a tcp/80", true), ("y/c x/a tcp/80", false), ("192.0.2.1 x/a tcp/80", false)],
        ),
        (
            "ports without peers are for everybody",
            of_a("ingress: [{toPorts: [{ports: [{port: '80', protocol: TCP}]}]}]"),
            &[("192.0.2.1 x/a tcp/80", true), ("y/c x/a tcp/80", true), ("y/c x/a udp/80", false)],
        ),
        (
            "a deny isolates like an allow",
            of_a("ingressDeny: [{fromEndpoints: [{matchLabels: {app: b}}]}]"),
            closed,
        ),
        (
            "unless it says otherwise",
            of_a(
                "enableDefaultDeny: {ingress: false}, ingressDeny: [{fromEndpoints: [{matchLabels: {app: b}}]}]",
            ),
            &[("x/b x/a tcp/80", false), ("y/c x/a tcp/80", true), ("x/a x/b tcp/80", true)],
        ),
        (
            "and without an entry",
            of_a("enableDefaultDeny: {egress: true}, ingress: [{fromEntities: [all]}]"),
            &[("x/b x/a tcp/80", true), ("x/a x/b tcp/80", false)],
        ),
    ];
    check(&table);
}

#[test]
fn whom_a_selector_means() {
    let from = |selector: &str| of_a(&format!("ingress: [{{fromEndpoints: [{selector}]}}]"));
    let table: Vec<Meaning> = vec![
        (
            "another namespace, by name",
            from("{matchLabels: {'k8s:io.kubernetes.pod.namespace': y, 'any:app': a}}"),
            &[("y/a x/a tcp/80", true), ("y/c x/a tcp/80", false), ("z/a x/a tcp/80", false)],
        ),
        (
            "any namespace",
            from("{matchExpressions: [{key: 'k8s:io.kubernetes.pod.namespace', operator: Exists}]}"),
            &[
                ("y/c x/a tcp/80", true),
                ("z/a x/a tcp/80", true),
                ("10.9.0.1 x/a tcp/80", false),
                ("192.0.2.1 x/a tcp/80", false),
            ],
        ),
        (
            "a label of the namespace",
            from("{matchLabels: {'k8s:io.cilium.k8s.namespace.labels.team': blue}}"),
            &[("y/c x/a tcp/80", true), ("x/b x/a tcp/80", false)],
        ),
        (
            "a service account",
            of_a("egress: [{toEndpoints: [{matchLabels: {io.cilium.k8s.policy.serviceaccount: default}}]}]"),
            &[("x/a x/b tcp/80", true), ("x/a y/a tcp/80", false)],
        ),
        (
            "a reserved identity",
            from("{matchLabels: {'reserved:world': ''}}"),
            &[("192.0.2.1 x/a tcp/80", true), ("x/b x/a tcp/80", false)],
        ),
        (
            "the whole cluster's empty selector is every pod",
            clusterwide("endpointSelector: {matchLabels: {app: a}}, ingress: [{fromEndpoints: [{}]}]"),
            &[
                ("y/c x/a tcp/80", true),
                ("y/c z/a tcp/80", true),
                ("192.0.2.1 y/a tcp/80", false),
                ("10.9.0.1 y/a tcp/80", false),
                ("192.0.2.1 y/c tcp/80", true),
            ],
        ),
        (
            "a policy for nodes",
            clusterwide("nodeSelector: {matchLabels: {role: worker}}, ingress: [{fromEntities: [cluster]}]"),
            &[
                ("x/a 10.9.0.1 tcp/22", true),
                ("192.0.2.1 10.9.0.1 tcp/22", false),
                ("10.9.0.1 192.0.2.1 tcp/22", true),
            ],
        ),
    ];
    check(&table);
}

#[test]
fn entities_and_prefixes() {
    let from = |entity: &str| of_a(&format!("ingress: [{{fromEntities: [{entity}]}}]"));
    let table: Vec<Meaning> = vec![
        (
            "all",
            from("all"),
            &[("192.0.2.1 x/a tcp/80", true), ("10.9.0.1 x/a tcp/80", true), ("z/a x/a icmp/8", true)],
        ),
        (
            "world",
            from("world"),
            &[("192.0.2.1 x/a tcp/80", true), ("10.9.0.1 x/a tcp/80", false), ("z/a x/a tcp/80", false)],
        ),
        (
            "world-ipv6",
            from("world-ipv6"),
            &[("192.0.2.1 x/a tcp/80", false), ("2001:db8::9 x/a tcp/80", true)],
        ),
        (
            "cluster",
            from("cluster"),
            &[("192.0.2.1 x/a tcp/80", false), ("10.9.0.1 x/a tcp/80", true), ("z/a x/a tcp/80", true)],
        ),
        ("nodes", from("host, remote-node"), &[("10.9.0.1 x/a tcp/80", true), ("z/a x/a tcp/80", false)]),
        (
            "prefixes never match pods or nodes",
            of_a("egress: [{toCIDR: [10.0.0.0/8]}]"),
            &[
                ("x/a 10.200.0.1 tcp/80", true),
                ("x/a x/b tcp/80", false),
                ("x/a 10.9.0.1 tcp/80", false),
                ("x/a 192.0.2.1 tcp/80", false),
            ],
        ),
        (
            "an address alone, and a set with exceptions",
            of_a(
                "egress: [{toCIDR: [192.0.2.1]}, {toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.96.0.0/12]}]}]",
            ),
            &[
                ("x/a 192.0.2.1 tcp/80", true),
                ("x/a 192.0.2.2 tcp/80", false),
                ("x/a 10.1.0.1 tcp/80", true),
                ("x/a 10.97.0.1 tcp/80", false),
            ],
        ),
        (
            "under Cilium, blocks of network policies do not match pods either",
            format!(
                "{}---\n{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: n, namespace: x}}, \
                 spec: {{podSelector: {{}}, egress: [{{to: [{{ipBlock: {{cidr: 10.0.0.0/8}}}}]}}], policyTypes: [Egress]}}}}\n",
                of_a("ingress: [{}]")
            ),
            &[("x/a 10.200.0.1 tcp/80", true), ("x/a y/c tcp/80", false), ("x/b y/c tcp/80", false)],
        ),
        (
            "a group of prefixes",
            format!(
                "{{apiVersion: cilium.io/v2, kind: CiliumCIDRGroup, metadata: {{name: g}}, spec: {{externalCIDRs: [192.0.2.0/24]}}}}\n---\n{}",
                of_a("egress: [{toCIDRSet: [{cidrGroupRef: g}]}]")
            ),
            &[("x/a 192.0.2.1 tcp/80", true), ("x/a 198.51.100.1 tcp/80", false)],
        ),
    ];
    check(&table);
}

#[test]
fn ports() {
    let to = |ports: &str| of_a(&format!("ingress: [{{toPorts: [{{ports: [{ports}]}}]}}]"));
    let table: Vec<Meaning> = vec![
        (
            "a missing protocol is any",
            to("{port: '80'}"),
            &[
                ("y/c x/a tcp/80", true),
                ("y/c x/a udp/80", true),
                ("y/c x/a sctp/80", true),
                ("y/c x/a icmp/8", false),
            ],
        ),
        (
            "ranges",
            to("{port: '1024', endPort: 2048, protocol: TCP}"),
            &[
                ("y/c x/a tcp/1024", true),
                ("y/c x/a tcp/2048", true),
                ("y/c x/a tcp/2049", false),
                ("y/c x/a udp/1024", false),
            ],
        ),
        (
            "port zero is every port",
            to("{port: '0', protocol: UDP}"),
            &[("y/c x/a udp/9", true), ("y/c x/a tcp/9", false)],
        ),
        ("ports by name", to("{port: http}"), &[("y/c x/a tcp/8080", true), ("y/c x/a tcp/9090", false)]),
        (
            "ICMP by type",
            of_a("ingress: [{icmps: [{fields: [{type: 8}, {type: EchoRequest, family: IPv6}]}]}]"),
            &[
                ("192.0.2.1 x/a icmp/8", true),
                ("192.0.2.1 x/a icmp/13", false),
                ("2001:db8::9 x/a icmpv6/128", true),
                ("2001:db8::9 x/a icmpv6/1", false),
                ("192.0.2.1 x/a tcp/8", false),
            ],
        ),
    ];
    check(&table);
}

#[test]
fn denies() {
    let table: Vec<Meaning> = vec![
        (
            "a deny beats an allow of another policy",
            format!(
                "{}{}",
                of_a("ingress: [{fromEntities: [all]}]"),
                clusterwide(
                    "endpointSelector: {}, ingressDeny: [{fromEntities: [world]}], enableDefaultDeny: {ingress: false}"
                )
            ),
            &[
                ("192.0.2.1 x/a tcp/80", false),
                ("y/c x/a tcp/80", true),
                ("192.0.2.1 y/c tcp/80", false),
                ("x/a y/c tcp/80", true),
            ],
        ),
        (
            "and an allow of Kubernetes",
            format!(
                "{}---\n{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: n, namespace: x}}, \
                 spec: {{podSelector: {{}}, ingress: [{{}}]}}}}\n",
                of_a(
                    "ingressDeny: [{fromEndpoints: [{}], toPorts: [{ports: [{port: '22', protocol: TCP}]}]}]"
                )
            ),
            &[
                ("x/b x/a tcp/22", false),
                ("x/b x/a tcp/80", true),
                ("y/c x/a tcp/22", true),
                ("x/a x/b tcp/22", true),
            ],
        ),
    ];
    check(&table);
}
