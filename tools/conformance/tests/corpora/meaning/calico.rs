use super::kubernetes::of_a as kubernetes_of_a;
use super::{Meaning, check};

/// An object of Calico.
fn object(kind: &str, metadata: &str, spec: &str) -> String {
    format!(
        "---\n{{apiVersion: projectcalico.org/v3, kind: {kind}, metadata: {{{metadata}}}, spec: {{{spec}}}}}\n"
    )
}

/// A policy of namespace `x`.
fn policy(name: &str, spec: &str) -> String {
    object("NetworkPolicy", &format!("name: {name}, namespace: x"), spec)
}

fn global(name: &str, spec: &str) -> String {
    object("GlobalNetworkPolicy", &format!("name: {name}"), spec)
}

/// A policy that allows from this source to the pods with `app: a`.
fn from(source: &str) -> String {
    rule(&format!("source: {{{source}}}"))
}

/// A policy with one rule, an allow, for the pods with `app: a`.
fn rule(rest: &str) -> String {
    policy("p", &format!("selector: \"app == 'a'\", ingress: [{{action: Allow, {rest}}}]"))
}

fn tier(name: &str, rest: &str) -> String {
    object("Tier", &format!("name: {name}"), rest)
}

fn set(kind: &str, metadata: &str) -> String {
    object(kind, metadata, "nets: [198.51.100.0/24, 203.0.113.7]")
}

/// Allows what team blue opens to the pods with `app: a`.
const ALLOW: &str =
    "selector: \"app == 'a'\", ingress: [{action: Allow, source: {namespaceSelector: \"team == 'blue'\"}}]";

#[test]
fn selectors() {
    let table: Vec<Meaning> = vec![
        (
            "a selector stays in the policy's namespace",
            from("selector: \"has(app)\""),
            &[
                ("x/b x/a tcp/80", true),
                ("y/a x/a tcp/80", false),
                ("192.0.2.1 x/a tcp/80", false),
                ("y/a x/b tcp/80", true),
            ],
        ),
        (
            "unless it says which",
            from("selector: \"app == 'a' || !has(app)\", namespaceSelector: \"team in {'blue', 'green'}\""),
            &[
                ("y/a x/a tcp/80", true),
                ("y/c x/a tcp/80", true),
                ("x/b x/a tcp/80", false),
                ("z/a x/a tcp/80", false),
            ],
        ),
        (
            "a negated value takes what lacks the key",
            from("selector: \"app != 'a'\", namespaceSelector: all()"),
            &[
                ("x/b x/a tcp/80", true),
                ("y/c x/a tcp/80", true),
                ("y/a x/a tcp/80", false),
                ("192.0.2.1 x/a tcp/80", false),
            ],
        ),
        (
            "brackets, both operators, and not in",
            from(
                "selector: \"!(app == 'a' && tier == 'web') && app not in {'b'}\", namespaceSelector: all()",
            ),
            &[
                ("z/a x/a tcp/80", true),
                ("y/c x/a tcp/80", true),
                ("y/a x/a tcp/80", false),
                ("x/b x/a tcp/80", false),
            ],
        ),
    ];
    check(&table);
}

#[test]
fn selectors_of_namespaces_and_accounts() {
    let table: Vec<Meaning> = vec![
        (
            "a namespace by name",
            from(
                "namespaceSelector: \"projectcalico.org/name == 'z' || kubernetes.io/metadata.name == 'y'\"",
            ),
            &[("z/a x/a tcp/80", true), ("y/c x/a tcp/80", true), ("x/b x/a tcp/80", false)],
        ),
        (
            "nobody global among pods",
            from("namespaceSelector: global()"),
            &[("x/b x/a tcp/80", false), ("z/a x/a tcp/80", false)],
        ),
        (
            "service accounts by name",
            policy(
                "p",
                "types: [Egress], egress: [{action: Allow, destination: {serviceAccounts: {names: [robot]}}}]",
            ),
            &[("x/b x/a tcp/80", true), ("x/a x/b tcp/80", false)],
        ),
        (
            "everything but",
            global(
                "g",
                "selector: \"app == 'a'\", types: [Ingress], ingress: [{action: Allow, source: {notSelector: \"app == 'b'\"}}]",
            ),
            &[
                ("x/b x/a tcp/80", false),
                ("y/c x/a tcp/80", true),
                ("192.0.2.1 x/a tcp/80", true),
                ("10.9.0.1 x/a tcp/80", true),
            ],
        ),
        (
            "namespaces of a policy for the whole cluster",
            global("g", "namespaceSelector: \"team == 'blue'\", types: [Ingress]"),
            &[
                ("x/b y/a tcp/80", false),
                ("x/b y/c tcp/80", false),
                ("y/a x/b tcp/80", true),
                ("y/a z/a tcp/80", true),
            ],
        ),
    ];
    check(&table);
}

#[test]
fn order_tiers_and_ends() {
    let table: Vec<Meaning> = vec![
        (
            "the first of two policies by order",
            format!(
                "{}{}",
                policy("b", &format!("order: 2, {ALLOW}")),
                policy(
                    "a",
                    "order: 10, selector: \"app == 'a'\", ingress: [{action: Deny, protocol: TCP}, {action: Allow}]"
                )
            ),
            &[("y/c x/a tcp/80", true), ("x/b x/a tcp/80", false), ("x/b x/a udp/80", true)],
        ),
        (
            "without an order last, and by name among equals",
            format!(
                "{}{}",
                policy("a", "ingress: [{action: Deny}]"),
                policy("b", &format!("order: 5, {ALLOW}"))
            ),
            &[("y/c x/a tcp/80", true), ("z/a x/a tcp/80", false), ("y/c x/b tcp/80", false)],
        ),
    ];
    check(&table);
}

#[test]
fn tiers() {
    let table: Vec<Meaning> = vec![
        (
            "an earlier tier ends what it selects, and Pass goes on",
            format!(
                "{}{}{}",
                tier("first", "order: 10"),
                global(
                    "first.g",
                    "tier: first, order: 1, selector: \"app == 'a'\", types: [Ingress], ingress: [{action: Pass, protocol: TCP}]"
                ),
                policy("p", &format!("order: 2, {ALLOW}"))
            ),
            &[
                ("y/c x/a tcp/80", true),
                ("z/a x/a tcp/80", false),
                ("y/c x/a udp/80", false),
                ("x/b y/a tcp/80", true),
                ("x/b y/a udp/80", false),
                ("x/a x/b udp/80", true),
            ],
        ),
        (
            "a tier that passes by default",
            format!(
                "{}{}",
                tier("first", "order: 10, defaultAction: Pass"),
                global(
                    "g",
                    "tier: first, selector: \"app == 'a'\", types: [Ingress], ingress: [{action: Deny, protocol: UDP}]"
                )
            ),
            &[("y/c x/a tcp/80", true), ("y/c x/a udp/80", false)],
        ),
        (
            "Log says nothing",
            policy("p", "selector: \"app == 'a'\", ingress: [{action: Log}, {action: Allow, protocol: TCP}]"),
            &[("y/c x/a tcp/80", true), ("y/c x/a udp/80", false)],
        ),
    ];
    check(&table);
}

#[test]
fn beside_kubernetes() {
    let table: Vec<Meaning> = vec![
        (
            "network policies of Kubernetes stand at 1000 in the default tier",
            format!(
                "{}{}{}",
                kubernetes_of_a("ingress: [{from: [{namespaceSelector: {}}]}]"),
                policy(
                    "p",
                    "order: 999, ingress: [{action: Deny, source: {namespaceSelector: \"team == 'blue'\"}}]"
                ),
                policy("q", "order: 1001, ingress: [{action: Allow, protocol: UDP}]")
            ),
            &[
                ("y/c x/a tcp/80", false),
                ("z/a x/a tcp/80", true),
                ("192.0.2.1 x/a tcp/80", false),
                ("192.0.2.1 x/a udp/80", true),
                ("z/a x/b tcp/80", false),
            ],
        ),
        (
            "types by what there is",
            policy("p", "selector: \"app == 'a'\", egress: [{action: Allow}]"),
            &[("x/b x/a tcp/80", true), ("x/a 192.0.2.1 tcp/80", true)],
        ),
        (
            "no rule at all isolates ingress",
            policy("p", "selector: \"app == 'a'\""),
            &[("x/b x/a tcp/80", false), ("x/a x/b tcp/80", true)],
        ),
    ];
    check(&table);
}

#[test]
fn nets_and_ports() {
    let table: Vec<Meaning> = vec![
        (
            "nets but for others",
            rule("source: {nets: [10.0.0.0/8, '2001:db8::/32'], notNets: [10.7.0.0/16]}"),
            &[
                ("10.200.0.1 x/a tcp/80", true),
                ("10.7.0.1 x/a tcp/80", false),
                ("x/b x/a tcp/80", true),
                ("2001:db8::9 x/a tcp/80", true),
                ("192.0.2.1 x/a tcp/80", false),
            ],
        ),
        (
            "ports by number, range and name",
            rule("protocol: TCP, destination: {ports: [80, '1000:1002', http]}"),
            &[
                ("y/c x/a tcp/80", true),
                ("y/c x/a tcp/1002", true),
                ("y/c x/a tcp/1003", false),
                ("y/c x/a tcp/8080", true),
                ("y/c x/a udp/80", false),
            ],
        ),
        (
            "ports left out",
            rule("protocol: TCP, destination: {notPorts: [80, '1000:1002']}"),
            &[
                ("y/c x/a tcp/80", false),
                ("y/c x/a tcp/81", true),
                ("y/c x/a tcp/1001", false),
                ("y/c x/a udp/81", false),
            ],
        ),
    ];
    check(&table);
}

#[test]
fn protocols_and_sets() {
    let table: Vec<Meaning> = vec![
        (
            "a protocol left out",
            rule("notProtocol: TCP"),
            &[("y/c x/a tcp/80", false), ("y/c x/a udp/80", true), ("y/c x/a icmp/8", true)],
        ),
        (
            "ICMP by type, and a number for a protocol",
            policy(
                "p",
                "selector: \"app == 'a'\", ingress: [{action: Allow, protocol: ICMP, icmp: {type: 8}}, {action: Allow, protocol: 47}]",
            ),
            &[
                ("y/c x/a icmp/8", true),
                ("y/c x/a icmp/13", false),
                ("y/c x/a gre", true),
                ("y/c x/a tcp/80", false),
            ],
        ),
        (
            "one version of IP",
            rule("ipVersion: 6"),
            &[("2001:db8::9 x/a tcp/80", true), ("192.0.2.1 x/a tcp/80", false)],
        ),
        (
            "a set of networks by its labels",
            format!(
                "{}{}",
                set("GlobalNetworkSet", "name: s, labels: {kind: partner}"),
                global(
                    "g",
                    "selector: \"app == 'a'\", types: [Ingress], ingress: [{action: Allow, source: {selector: \"kind == 'partner'\"}}]"
                )
            ),
            &[
                ("198.51.100.9 x/a tcp/80", true),
                ("203.0.113.7 x/a tcp/80", true),
                ("203.0.113.8 x/a tcp/80", false),
                ("x/b x/a tcp/80", false),
            ],
        ),
        (
            "which a namespaced policy only means by global()",
            format!(
                "{}{}{}",
                set("GlobalNetworkSet", "name: s, labels: {kind: partner}"),
                rule("source: {selector: \"kind == 'partner'\"}"),
                policy(
                    "q",
                    "selector: \"app == 'b'\", ingress: [{action: Allow, source: {selector: \"kind == 'partner'\", namespaceSelector: global()}}]"
                )
            ),
            &[("198.51.100.9 x/a tcp/80", false), ("198.51.100.9 x/b tcp/80", true)],
        ),
        (
            "a set of the policy's own namespace",
            format!(
                "{}{}",
                set("NetworkSet", "name: s, namespace: x, labels: {kind: partner}"),
                rule("source: {selector: \"kind == 'partner'\"}")
            ),
            &[("198.51.100.9 x/a tcp/80", true), ("192.0.2.1 x/a tcp/80", false)],
        ),
    ];
    check(&table);
}
