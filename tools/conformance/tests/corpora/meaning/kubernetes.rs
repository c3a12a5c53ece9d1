use super::{Meaning, check};

/// A network policy of namespace `x` with this specification.
fn policy(spec: &str) -> String {
    format!(
        "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: p, namespace: x}}, spec: {spec}}}\n"
    )
}

/// As [`policy`], for the pods with `app: a`.
pub(super) fn of_a(rest: &str) -> String {
    policy(&format!("{{podSelector: {{matchLabels: {{app: a}}}}, {rest}}}"))
}

#[test]
fn the_four_kinds_of_empty() {
    let nothing: &[(&str, bool)] = &[
        ("x/b x/a tcp/80", false),
        ("192.0.2.1 x/a tcp/80", false),
        ("2001:db8::9 x/a udp/53", false),
        ("x/b x/a icmp/8", false),
        ("x/a x/b tcp/80", true),
        ("y/a x/b tcp/80", true),
    ];
    let everything: &[(&str, bool)] = &[
        ("x/b x/a tcp/80", true),
        ("192.0.2.1 x/a sctp/5", true),
        ("2001:db8::9 x/a udp/53", true),
        ("x/b x/a icmp/8", true),
        ("x/a x/b tcp/80", true),
    ];
    let table: Vec<Meaning> = vec![
        ("ingress absent", of_a(""), nothing),
        ("ingress null", of_a("ingress: null"), nothing),
        ("ingress of no rule", of_a("ingress: []"), nothing),
        ("ingress of an empty rule", of_a("ingress: [{}]"), everything),
        ("from absent, ports null", of_a("ingress: [{ports: null}]"), everything),
        ("from null", of_a("ingress: [{from: null}]"), everything),
        ("from of no peer", of_a("ingress: [{from: [], ports: []}]"), everything),
        (
            "a port that says nothing is every port of TCP",
            of_a("ingress: [{ports: [{}]}]"),
            &[
                ("y/c x/a tcp/1", true),
                ("y/c x/a tcp/65535", true),
                ("y/c x/a udp/1", false),
                ("y/c x/a sctp/1", false),
            ],
        ),
        (
            "podSelector absent, null and empty are every pod of the namespace",
            policy("{ingress: []}"),
            &[("y/a x/a tcp/80", false), ("y/a x/b tcp/80", false), ("x/a y/a tcp/80", true)],
        ),
        (
            "podSelector null",
            policy("{podSelector: null, ingress: []}"),
            &[("y/a x/b tcp/80", false), ("x/a y/a tcp/80", true)],
        ),
        (
            "a peer's empty selectors",
            of_a("ingress: [{from: [{namespaceSelector: {}}]}]"),
            &[
                ("z/a x/a tcp/80", true),
                ("y/c x/a tcp/80", true),
                ("192.0.2.1 x/a tcp/80", false),
                ("10.9.0.1 x/a tcp/80", false),
            ],
        ),
        (
            "an empty pod selector means the policy's own namespace",
            of_a("ingress: [{from: [{podSelector: {}}]}]"),
            &[("x/b x/a tcp/80", true), ("y/c x/a tcp/80", false)],
        ),
        (
            "a null selector beside another counts as absent",
            of_a("ingress: [{from: [{namespaceSelector: null, podSelector: {}}]}]"),
            &[("x/b x/a tcp/80", true), ("y/c x/a tcp/80", false)],
        ),
    ];
    check(&table);
}

#[test]
fn directions() {
    let table: Vec<Meaning> = vec![
        (
            "egress rules alone isolate both ways",
            of_a("egress: [{}]"),
            &[("x/a y/a tcp/80", true), ("y/a x/a tcp/80", false)],
        ),
        (
            "an empty list of egress rules does not isolate egress unless told",
            of_a("egress: []"),
            &[("x/a y/a tcp/80", true), ("y/a x/a tcp/80", false)],
        ),
        (
            "told",
            of_a("egress: [], policyTypes: [Egress]"),
            &[("x/a y/a tcp/80", false), ("y/a x/a tcp/80", true)],
        ),
        (
            "an empty list of types is the default",
            of_a("ingress: [], policyTypes: []"),
            &[("x/a y/a tcp/80", true), ("y/a x/a tcp/80", false)],
        ),
        (
            "rules of a direction that is not named have no effect",
            of_a("ingress: [], egress: [{}], policyTypes: [Ingress]"),
            &[("x/a y/a tcp/80", true), ("y/a x/a tcp/80", false)],
        ),
        (
            "both gates must be open",
            format!(
                "{}---\n{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: q, namespace: y}}, \
                 spec: {{policyTypes: [Ingress], podSelector: {{matchLabels: {{app: a}}}}}}}}\n",
                of_a(
                    "policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {team: blue}}}]}]"
                )
            ),
            &[
                ("x/a y/a tcp/80", false),
                ("x/a y/c tcp/80", true),
                ("x/a z/a tcp/80", false),
                ("x/b y/c tcp/80", true),
            ],
        ),
    ];
    check(&table);
}

#[test]
fn peers() {
    let from = |peers: &str| of_a(&format!("ingress: [{{from: [{peers}]}}]"));
    let table: Vec<Meaning> = vec![
        (
            "two selectors in one peer mean both",
            from("{namespaceSelector: {matchLabels: {team: blue}}, podSelector: {matchLabels: {app: a}}}"),
            &[
                ("y/a x/a tcp/80", true),
                ("y/c x/a tcp/80", false),
                ("x/b x/a tcp/80", false),
                ("z/a x/a tcp/80", false),
            ],
        ),
        (
            "two peers mean either",
            from("{namespaceSelector: {matchLabels: {team: blue}}}, {podSelector: {matchLabels: {app: b}}}"),
            &[
                ("y/a x/a tcp/80", true),
                ("y/c x/a tcp/80", true),
                ("x/b x/a tcp/80", true),
                ("z/a x/a tcp/80", false),
            ],
        ),
        (
            "every namespace carries its name, told or not",
            from("{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: z}}}"),
            &[("z/a x/a tcp/80", true), ("y/a x/a tcp/80", false)],
        ),
        (
            "NotIn takes what lacks the key",
            from(
                "{namespaceSelector: {}, podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [a]}]}}",
            ),
            &[
                ("x/b x/a tcp/80", true),
                ("y/c x/a tcp/80", true),
                ("y/a x/a tcp/80", false),
                ("192.0.2.1 x/a tcp/80", false),
            ],
        ),
        (
            "Exists and DoesNotExist",
            from(
                "{namespaceSelector: {matchExpressions: [{key: team, operator: DoesNotExist}]}}, \
                  {namespaceSelector: {}, podSelector: {matchExpressions: [{key: app, operator: Exists}, {key: tier, operator: DoesNotExist}]}}",
            ),
            &[
                ("z/a x/a tcp/80", true),
                ("x/b x/a tcp/80", true),
                ("y/a x/a tcp/80", false),
                ("y/c x/a tcp/80", false),
            ],
        ),
    ];
    check(&table);
}

#[test]
fn blocks() {
    let from = |peers: &str| of_a(&format!("ingress: [{{from: [{peers}]}}]"));
    let table: Vec<Meaning> = vec![
        (
            "a block but for exceptions, and the pods in it",
            from("{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.2.0/24, 10.7.0.0/16]}}"),
            &[
                ("10.200.0.1 x/a tcp/80", true),
                ("10.7.0.1 x/a tcp/80", false),
                ("11.0.0.1 x/a tcp/80", false),
                ("x/b x/a tcp/80", true),
                ("y/a x/a tcp/80", false),
                ("2001:db8::9 x/a tcp/80", false),
            ],
        ),
        (
            "an address in the exception of one block and inside another",
            from("{ipBlock: {cidr: 10.0.0.0/8, except: [10.7.0.0/16]}}, {ipBlock: {cidr: 10.7.7.0/24}}"),
            &[("10.7.7.1 x/a tcp/80", true), ("10.7.8.1 x/a tcp/80", false)],
        ),
        (
            "IPv6 blocks",
            from("{ipBlock: {cidr: '2001:db8::/32', except: ['2001:db8:7::/48']}}"),
            &[
                ("2001:db8::9 x/a tcp/80", true),
                ("2001:db8:7::1 x/a tcp/80", false),
                ("10.200.0.1 x/a tcp/80", false),
            ],
        ),
    ];
    check(&table);
}

#[test]
fn ports() {
    let to = |ports: &str| of_a(&format!("ingress: [{{ports: [{ports}]}}]"));
    let table: Vec<Meaning> = vec![
        (
            "a missing protocol is TCP",
            to("{port: 80}"),
            &[
                ("y/c x/a tcp/80", true),
                ("y/c x/a udp/80", false),
                ("y/c x/a sctp/80", false),
                ("y/c x/a tcp/81", false),
            ],
        ),
        (
            "ranges hold both their ends",
            to("{port: 8000, endPort: 8010, protocol: UDP}"),
            &[
                ("y/c x/a udp/8000", true),
                ("y/c x/a udp/8010", true),
                ("y/c x/a udp/7999", false),
                ("y/c x/a udp/8011", false),
                ("y/c x/a tcp/8005", false),
            ],
        ),
        (
            "SCTP alone still isolates TCP",
            to("{port: 5, protocol: SCTP}"),
            &[
                ("y/c x/a sctp/5", true),
                ("y/c x/a tcp/5", false),
                ("y/c x/a tcp/80", false),
                ("y/c x/b tcp/80", true),
            ],
        ),
        (
            "a port by name and protocol",
            to("{port: http}, {port: dns}"),
            &[
                ("y/c x/a tcp/8080", true),
                ("y/c x/a udp/53", false),
                ("y/c x/a tcp/9090", false),
                ("y/c x/a udp/8080", false),
            ],
        ),
        (
            "every destination has its own number for a name",
            policy("{policyTypes: [Egress], egress: [{to: [{podSelector: {}}], ports: [{port: http}]}]}"),
            &[
                ("x/b x/a tcp/8080", true),
                ("x/b x/a tcp/9090", false),
                ("x/a x/b tcp/9090", true),
                ("x/a x/b tcp/8080", false),
                ("x/a y/a tcp/8080", false),
            ],
        ),
        (
            "a name means nothing outside",
            policy("{policyTypes: [Egress], egress: [{ports: [{port: http}]}]}"),
            &[("x/a 192.0.2.1 tcp/8080", false), ("x/a x/b tcp/9090", true)],
        ),
    ];
    check(&table);
}

#[test]
fn native_rules_beside_other_systems() {
    let native = |rules: &str| {
        format!(
            "---\nringfence: 1\nworkloads: [{{name: old, labels: {{role: db}}, addresses: 10.50.0.1}}]\nrules:\n{rules}"
        )
    };
    let isolated = of_a("ingress: []");
    let table: Vec<Meaning> = vec![
        (
            "a native rule opens what a network policy isolates, and only that",
            format!(
                "{isolated}{}",
                native("- {name: n, from: {role: db}, to: {k8s/namespace: x}, service: tcp/80}\n")
            ),
            &[
                ("old x/a tcp/80", true),
                ("old x/a tcp/81", false),
                ("y/c x/a tcp/80", false),
                ("x/b old tcp/80", false),
                ("old 192.0.2.1 udp/53", false),
            ],
        ),
        (
            "an override-deny closes what is open by default",
            format!(
                "{isolated}{}",
                native(
                    "- {name: n, from: any, to: {k8s/namespace: y}, service: any, action: override-deny}\n"
                )
            ),
            &[("z/a y/c tcp/80", false), ("z/a x/b tcp/80", true)],
        ),
        (
            "without policy of another system the pods are inventory, closed by default",
            native("- {name: n, from: {role: db}, to: {k8s/namespace: x}, service: tcp/80}\n"),
            &[("old x/a tcp/80", true), ("y/c x/a tcp/80", false), ("x/a 192.0.2.1 udp/53", true)],
        ),
    ];
    check(&table);
}
