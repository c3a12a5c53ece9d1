use super::kubernetes::of_a;
use super::{Meaning, check};

/// A policy for namespaces of team red.
fn cluster(name: &str, tier: &str, priority: u32, rules: &str) -> String {
    format!(
        "---\n{{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {{name: {name}}}, \
         spec: {{tier: {tier}, priority: {priority}, subject: {{namespaces: {{matchLabels: {{team: red}}}}}}, {rules}}}}}\n"
    )
}

#[test]
fn tiers_and_priorities() {
    let isolated = of_a("ingress: [{from: [{podSelector: {}}]}]");
    let from_blue = |action: &str| {
        format!("ingress: [{{action: {action}, from: [{{namespaces: {{matchLabels: {{team: blue}}}}}}]}}]")
    };
    let table: Vec<Meaning> = vec![
        (
            "an Accept of the Admin tier opens what a network policy closes",
            format!("{isolated}{}", cluster("p", "Admin", 5, &from_blue("Accept"))),
            &[("y/c x/a tcp/80", true), ("z/a x/a tcp/80", false), ("x/b x/a tcp/80", true)],
        ),
        (
            "the lower priority number comes first",
            format!(
                "{isolated}{}{}",
                cluster("p", "Admin", 5, &from_blue("Accept")),
                cluster("q", "Admin", 4, &from_blue("Deny"))
            ),
            &[("y/c x/a tcp/80", false), ("y/c x/b tcp/80", false)],
        ),
        (
            "Pass leaves the rest of the tier out",
            format!(
                "{isolated}{}{}",
                cluster("p", "Admin", 5, &from_blue("Deny")),
                cluster("q", "Admin", 4, &from_blue("Pass"))
            ),
            &[("y/c x/a tcp/80", false), ("y/c x/b tcp/80", true)],
        ),
        (
            "Baseline comes after network policies, and only for what they do not select",
            format!("{isolated}{}", cluster("p", "Baseline", 0, &from_blue("Accept"))),
            &[("y/c x/a tcp/80", false), ("y/c x/b tcp/80", true)],
        ),
        (
            "a Deny of Baseline closes what is open by default",
            cluster("p", "Baseline", 0, &from_blue("Deny")),
            &[("y/c x/a tcp/80", false), ("z/a x/a tcp/80", true), ("y/c z/a tcp/80", true)],
        ),
    ];
    check(&table);
}

#[test]
fn peers_and_ports() {
    let table: Vec<Meaning> = vec![
        (
            "networks match pods as well",
            cluster(
                "p",
                "Admin",
                1,
                "egress: [{action: Deny, to: [{networks: [10.0.2.0/24, '2001:db8::/32']}]}]",
            ),
            &[
                ("x/a y/a tcp/80", false),
                ("x/a z/a tcp/80", true),
                ("x/a 2001:db8::9 tcp/80", false),
                ("y/a x/a tcp/80", true),
            ],
        ),
        (
            "nodes by their labels",
            cluster(
                "p",
                "Admin",
                1,
                "egress: [{action: Deny, to: [{nodes: {matchLabels: {role: worker}}}]}]",
            ),
            &[("x/a 10.9.0.1 tcp/80", false), ("z/a 10.9.0.1 tcp/80", true), ("x/a 10.9.0.2 tcp/80", true)],
        ),
        (
            "ports by number, range and name",
            cluster(
                "p",
                "Admin",
                1,
                "ingress: [{action: Deny, from: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {number: 80}}}, \
                 {udp: {destinationPort: {range: {start: 10, end: 20}}}}, {destinationNamedPort: http}]}]",
            ),
            &[
                ("y/c x/a tcp/80", false),
                ("y/c x/a tcp/81", true),
                ("y/c x/a udp/20", false),
                ("y/c x/a udp/21", true),
                ("y/c x/a tcp/8080", false),
                ("y/c x/b tcp/8080", true),
                ("y/c x/b tcp/9090", false),
                ("192.0.2.1 x/a tcp/80", true),
            ],
        ),
    ];
    check(&table);
}
