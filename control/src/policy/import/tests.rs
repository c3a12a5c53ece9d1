//! What is refused, left out and warned of, with the place; meanings are tested against the oracle in
//! `tools/conformance`.

use crate::policy::diagnostics::{Code, Severity};
use crate::policy::{Diagnostics, Loaded, SourceFile, load_texts};

fn load(text: &str) -> Result<Loaded, Diagnostics> {
    load_texts(&[SourceFile { name: "x.yaml".to_owned(), text: text.to_owned() }])
}

/// Errors as code, line and column.
fn errors(text: &str) -> Vec<(Code, u32, u32)> {
    let faults = load(text).err().unwrap_or_default();
    let errors = faults.iter().filter(|one| one.severity == Severity::Error);
    errors.map(|one| (one.code, one.line, one.column)).collect()
}

fn warnings(text: &str) -> Vec<Code> {
    let loaded = load(text).unwrap_or_else(|faults| panic!("{faults}"));
    loaded.warnings.iter().map(|one| one.code).collect()
}

#[test]
fn what_calico_asks_and_cannot_be_done_is_refused_or_only_narrows() {
    let policy = |spec: &str| {
        format!(
            "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {{name: p}}\nspec: {{{spec}}}\n"
        )
    };
    let wide: Vec<String> = (0..9).map(|n| format!("(a{n} == 'x' || b{n} == 'x')")).collect();
    let wide = format!("selector: \"{}\"", wide.join(" && "));
    let refused = [
        ("parts of a value", "selector: \"a starts with 'b'\"", Code::Unsupported),
        ("no value", "selector: \"a ==\"", Code::BadSelector),
        ("no bracket", "selector: \"(a == 'b'\"", Code::BadSelector),
        ("a value that is not closed", "selector: \"a == 'b\"", Code::BadSelector),
        ("more than a selector", "selector: \"a == 'b' c\"", Code::BadSelector),
        ("an unknown operator", "selector: \"a like 'b'\"", Code::BadSelector),
        ("a selector that explodes", wide.as_str(), Code::Limit),
        ("labels of service accounts", "serviceAccountSelector: \"a == 'b'\"", Code::Unsupported),
        ("interfaces of hosts", "applyOnForward: true", Code::Unsupported),
        ("layer 7", "ingress: [{action: Allow, http: {methods: [GET]}}]", Code::Unsupported),
        (
            "ports of the source",
            "ingress: [{action: Allow, protocol: TCP, source: {ports: [1]}}]",
            Code::Unsupported,
        ),
        (
            "ports without a protocol",
            "ingress: [{action: Allow, destination: {ports: [1]}}]",
            Code::BadService,
        ),
        (
            "domains, denied",
            "egress: [{action: Deny, destination: {domains: [a.example]}}]",
            Code::Unsupported,
        ),
        ("an unknown action", "ingress: [{action: Accept}]", Code::UnknownWord),
        ("an unknown protocol", "ingress: [{action: Allow, protocol: XTP}]", Code::UnknownWord),
        ("an unknown tier", "tier: security", Code::UnknownWord),
        ("an unknown field", "ingres: []", Code::UnknownField),
        ("an order that is none", "order: first", Code::BadNumber),
    ];
    for (name, spec, code) in refused {
        let found = errors(&policy(spec));
        assert!(found.iter().any(|one| one.0 == code), "{name}: {found:?}");
    }
    let narrower = "egress: [{action: Allow, destination: {domains: [a.example]}}]";
    assert_eq!(warnings(&policy(narrower)), [Code::Narrowed]);
    // A negation may not nest without end.
    let deep = format!("selector: \"{}all()\"", "!".repeat(5000));
    assert_eq!(errors(&policy(&deep)).first().map(|one| one.0), Some(Code::BadSelector));
}

/// A network policy with this specification, in flow style from the fourth line on.
fn network_policy(spec: &str) -> String {
    format!("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p}}\nspec: {spec}\n")
}

#[test]
fn faults_of_network_policies_are_named_with_their_place() {
    let table = [
        ("a peer that says nothing", "{ingress: [{from: [{}]}]}", Code::MissingField, "{}"),
        ("a peer of nulls", "{ingress: [{from: [{podSelector: null}]}]}", Code::MissingField, "{podSelector"),
        (
            "block and pods",
            "{ingress: [{from: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}]}",
            Code::BadSelector,
            "{podSelector",
        ),
        (
            "an exception outside",
            "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}]}",
            Code::BadPrefix,
            "11.0",
        ),
        ("no prefix", "{ingress: [{from: [{ipBlock: {cidr: A}}]}]}", Code::BadPrefix, "A}"),
        ("a typing error", "{ingress: [{form: []}]}", Code::UnknownField, "form"),
        ("an unknown field", "{ingres: []}", Code::UnknownField, "ingres"),
        ("an unknown protocol", "{ingress: [{ports: [{protocol: tcp}]}]}", Code::UnknownWord, "tcp"),
        ("an unknown policy type", "{policyTypes: [Inbound]}", Code::UnknownWord, "Inbound"),
        ("a port beyond", "{ingress: [{ports: [{port: 65536}]}]}", Code::BadNumber, "65536"),
        ("a range from a name", "{ingress: [{ports: [{port: http, endPort: 90}]}]}", Code::BadService, "90}"),
        ("a range without a port", "{ingress: [{ports: [{endPort: 90}]}]}", Code::MissingField, "90}"),
        (
            "a range backwards",
            "{ingress: [{ports: [{port: 90, endPort: 80}]}]}",
            Code::BadService,
            "{port: 90",
        ),
        ("a bad key", "{podSelector: {matchLabels: {a@b: c}}}", Code::BadLabel, "a@b"),
        (
            "an operator without values",
            "{podSelector: {matchExpressions: [{key: a, operator: In}]}}",
            Code::EmptySet,
            "{key",
        ),
        (
            "values without need",
            "{podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}",
            Code::BadSelector,
            "{key",
        ),
        (
            "an unknown operator",
            "{podSelector: {matchExpressions: [{key: a, operator: Gt, values: [b]}]}}",
            Code::UnknownWord,
            "Gt",
        ),
        ("a list for a mapping", "{podSelector: []}", Code::WrongType, "[]"),
    ];
    for (name, spec, code, place) in table {
        let column = u32::try_from("spec: ".len() + spec.find(place).unwrap() + 1).unwrap();
        assert_eq!(errors(&network_policy(spec)), [(code, 4, column)], "{name}");
    }
}

#[test]
fn faults_of_cluster_policies_are_named_with_their_place() {
    let policy = |spec: &str| {
        format!(
            "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {{name: p}}\n\
             spec: {{tier: Admin, priority: 1, subject: {{namespaces: {{}}}}, {spec}}}\n"
        )
    };
    let rule = |action: &str, peer: &str| format!("egress: [{{action: {action}, to: [{peer}]}}]");
    let table = [
        ("an unknown action", policy(&rule("Allow", "{namespaces: {}}")), Code::UnknownWord),
        ("no peer", policy("egress: [{action: Accept}]"), Code::MissingField),
        ("an empty peer", policy(&rule("Deny", "{}")), Code::BadSelector),
        ("two peers in one", policy(&rule("Deny", "{namespaces: {}, pods: {}}")), Code::BadSelector),
        (
            "names of domains, denied",
            policy(&rule("Deny", "{domainNames: [example.org]}")),
            Code::Unsupported,
        ),
        ("unknown nodes, denied", policy(&rule("Deny", "{nodes: {}}")), Code::Unsupported),
        (
            "an empty protocol",
            policy("egress: [{action: Deny, to: [{namespaces: {}}], protocols: [{}]}]"),
            Code::BadService,
        ),
        (
            "no protocol",
            policy("egress: [{action: Deny, to: [{namespaces: {}}], protocols: []}]"),
            Code::EmptySet,
        ),
        (
            "a network as source",
            policy("ingress: [{action: Deny, from: [{networks: [10.0.0.0/8]}]}]"),
            Code::UnknownField,
        ),
        (
            "a later version's field",
            policy("egress: [{action: Deny, to: [{namespaces: {}}], log: true}]"),
            Code::UnknownField,
        ),
    ];
    for (name, text, code) in table {
        let found = errors(&text);
        assert!(found.iter().any(|one| (one.0, one.1) == (code, 4)), "{name}: {found:?}");
    }
    let narrower =
        [policy(&rule("Accept", "{domainNames: [example.org]}")), policy(&rule("Accept", "{nodes: {}}"))];
    for text in narrower {
        assert_eq!(warnings(&text), [Code::Narrowed], "{text}");
    }
}

#[test]
fn policies_of_equal_priority_that_disagree_about_a_pod_are_refused() {
    let pod =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {app: a}}\nstatus: {podIP: 10.0.0.1}\n---\n";
    let policy = |name: &str, app: &str, action: &str| {
        format!(
            "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {{name: {name}}}\n\
             spec: {{tier: Admin, priority: 1, subject: {{pods: {{podSelector: {{matchLabels: {{app: {app}}}}}}}}},\n  \
             ingress: [{{action: {action}, from: [{{namespaces: {{}}}}]}}]}}\n---\n"
        )
    };
    let table = [
        ("the same pod, another action", policy("q", "a", "Accept"), vec![(Code::Conflict, 14, 18)]),
        ("the same pod, the same action", policy("q", "a", "Deny"), vec![]),
        ("another pod", policy("q", "b", "Accept"), vec![]),
    ];
    for (name, other, expected) in table {
        assert_eq!(errors(&format!("{pod}{}{other}", policy("p", "a", "Deny"))), expected, "{name}");
    }
}

#[test]
fn kinds_that_carry_policy_are_never_passed_over() {
    let refused = [
        "{apiVersion: k8s.ovn.org/v1, kind: UserDefinedNetwork}",
        "{apiVersion: k8s.cni.cncf.io/v1beta1, kind: MultiNetworkPolicy}",
        "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy}",
        "{apiVersion: crd.antrea.io/v1beta1, kind: ClusterNetworkPolicy}",
        "{apiVersion: example.org/v1, kind: SomethingPolicy}",
    ];
    for text in refused {
        assert_eq!(errors(text).first().map(|one| one.0), Some(Code::Unsupported), "{text}");
    }
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nstatus: {podIP: 10.0.0.1}\n---\n";
    for text in ["{apiVersion: v1, kind: Service}", "{apiVersion: v1, kind: ConfigMap, data: {a: b}}"] {
        assert_eq!(warnings(&format!("{pod}{text}")), [Code::Skipped], "{text}");
    }
}

#[test]
fn inventory_that_cannot_be_is_refused() {
    let pod = |name: &str, rest: &str| {
        format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n{rest}\n---\n")
    };
    let table = [
        (
            "one address, two pods",
            format!("{}{}", pod("a", "status: {podIP: 10.0.0.1}"), pod("b", "status: {podIP: 10.0.0.1}")),
            Code::DuplicateAddress,
        ),
        (
            "one name, two pods",
            format!("{}{}", pod("a", "status: {podIP: 10.0.0.1}"), pod("a", "status: {podIP: 10.0.0.2}")),
            Code::DuplicateName,
        ),
        ("no address", pod("a", "status: {podIP: nowhere}"), Code::BadAddress),
        ("no name", "{apiVersion: v1, kind: Pod, metadata: {}}".to_owned(), Code::MissingField),
        (
            "our own key",
            "{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {k8s/namespace: prod}}}".to_owned(),
            Code::Reserved,
        ),
    ];
    for (name, text, code) in table {
        assert_eq!(errors(&text).iter().map(|one| one.0).collect::<Vec<_>>(), [code], "{name}");
    }
}

#[test]
fn pods_stand_for_what_made_them_and_controllers_for_pods_that_are_not_told() {
    let text = "
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}, spec: {replicas: 2, template: {}}}
---
{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db}, spec: {replicas: 2, ordinals: {start: 5}, template: {}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: api}, spec: {template: {}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: api-5d-x, labels: {pod-template-hash: 5d},
  ownerReferences: [{kind: ReplicaSet, name: api-5d}]}, status: {podIPs: [{ip: 10.0.0.1}, {ip: '2001:db8::1'}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: done}, status: {podIP: 10.0.0.1, phase: Succeeded}}
---
{apiVersion: v1, kind: Node, metadata: {name: n1}, status: {addresses: [{type: InternalIP, address: 192.0.2.1}, {type: Hostname, address: n1}]}}
";
    let loaded = load(text).unwrap_or_else(|faults| panic!("{faults}"));
    let found: Vec<(&str, usize)> =
        loaded.policy.workloads.iter().map(|one| (one.name.as_str(), one.addresses.len())).collect();
    assert_eq!(
        found,
        [("default/api-5d-x", 2), ("default/db-5", 2), ("default/db-6", 2), ("node/n1", 1), ("shop/web", 4)]
    );
    let again = load(text).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(loaded.hash(), again.hash(), "addresses that stand in for others are the same at every load");
}

#[test]
fn what_cilium_asks_and_cannot_be_done_is_refused_or_only_narrows() {
    let policy = |rest: &str| {
        format!(
            "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: p}}\n\
             spec: {{endpointSelector: {{}}, {rest}}}\n"
        )
    };
    let refused = [
        (
            "layer 7",
            "ingress: [{toPorts: [{ports: [{port: '80'}], rules: {http: [{}]}}]}]",
            Code::Unsupported,
        ),
        (
            "names of servers",
            "egress: [{toPorts: [{ports: [{port: '443'}], serverNames: [a]}]}]",
            Code::Unsupported,
        ),
        ("requirements", "ingress: [{fromRequires: [{matchLabels: {a: b}}]}]", Code::Unsupported),
        (
            "authentication",
            "ingress: [{fromEndpoints: [{}], authentication: {mode: required}}]",
            Code::Unsupported,
        ),
        ("the host, denied", "egressDeny: [{toEntities: [host]}]", Code::Unsupported),
        (
            "services, denied",
            "egressDeny: [{toServices: [{k8sService: {serviceName: a}}]}]",
            Code::Unsupported,
        ),
        (
            "another cluster",
            "ingress: [{fromEndpoints: [{matchLabels: {io.cilium.k8s.policy.cluster: b}}]}]",
            Code::Unsupported,
        ),
        (
            "another source",
            "ingress: [{fromEndpoints: [{matchLabels: {'container:a': b}}]}]",
            Code::Unsupported,
        ),
        ("an unknown entity", "ingress: [{fromEntities: [word]}]", Code::UnknownWord),
        ("two kinds of peers", "ingress: [{fromEntities: [all], fromCIDR: [10.0.0.0/8]}]", Code::BadSelector),
        ("an empty deny", "ingressDeny: [{}]", Code::EmptySet),
        ("no port", "ingress: [{toPorts: [{ports: []}]}]", Code::EmptySet),
        ("ports of ICMP", "ingress: [{toPorts: [{ports: [{port: '8', protocol: ICMP}]}]}]", Code::BadService),
        (
            "ports and types",
            "ingress: [{toPorts: [{ports: [{port: '8'}]}], icmps: [{fields: [{type: 8}]}]}]",
            Code::BadService,
        ),
        ("an unknown field", "ingress: [{fromEndpoint: [{}]}]", Code::UnknownField),
        ("an unknown group", "egress: [{toCIDRSet: [{cidrGroupRef: g}]}]", Code::UnknownNetwork),
        ("two selectors", "nodeSelector: {}, ingress: []", Code::BadSelector),
    ];
    for (name, rest, code) in refused {
        let found = errors(&policy(rest));
        assert!(found.iter().any(|one| (one.0, one.1) == (code, 4)), "{name}: {found:?}");
    }
    let narrower = [
        "egress: [{toFQDNs: [{matchName: a.example}]}]",
        "egress: [{toServices: [{k8sService: {serviceName: a}}]}]",
        "egress: [{toEntities: [host]}]",
        "ingress: [{fromEntities: [kube-apiserver]}]",
        "ingress: [{fromNodes: [{matchLabels: {a: b}}]}]",
    ];
    for rest in narrower {
        assert_eq!(warnings(&policy(rest)), [Code::Narrowed], "{rest}");
    }
}
