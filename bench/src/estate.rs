//! Estates and policies to measure with: deterministic, of any size, shaped like real ones.
//!
//! Workloads come in applications of [`PER_APPLICATION`]; an application has four roles and lives in one of four
//! environments. Nine rules of ten name one role of one application on both ends, as rules that teams write do; the
//! others are wide: a role of one application open to a whole environment, or an environment closed to another.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use control::policy::valid::{
    Action, Gates, Labels, Network, Origin, Prefix, Requirement, Rule, Selector, ServiceRange, Tier,
    ValidPolicy, Workload,
};

/// Workloads of one application.
pub const PER_APPLICATION: u32 = 20;

const ROLES: [&str; 4] = ["web", "api", "queue", "db"];
const ENVIRONMENTS: [&str; 4] = ["prod", "staging", "test", "dev"];
/// The first port that rules name; rule `n` allows one of `PORTS` from here.
pub const FIRST_PORT: u16 = 8000;
const PORTS: u32 = 40;
/// One rule in so many is wide.
const WIDE: u32 = 10;
/// One wide rule in so many closes one environment to another.
const CLOSED: u32 = 10;

/// The IPv4 address of workload `n`, in 10.0.0.0/8.
#[must_use]
pub fn v4(n: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + n + 1)
}

/// The IPv6 address of workload `n`, in fd00::/64.
#[must_use]
pub fn v6(n: u32) -> Ipv6Addr {
    Ipv6Addr::from(0xfd00_u128 << 112 | u128::from(n + 1))
}

/// What rule `n` of an estate of `workloads` says, in numbers: application and role on both ends, and the port.
#[derive(Clone, Copy, Debug)]
pub struct Spoken {
    /// Application and role index of the initiators.
    pub from: (u32, u32),
    /// Application and role index of the responders.
    pub to: (u32, u32),
    /// Port, TCP and UDP.
    pub port: u16,
}

/// Applications of an estate.
#[must_use]
pub const fn applications(workloads: u32) -> u32 {
    workloads.div_ceil(PER_APPLICATION)
}

/// The application and role of workload `n`.
#[must_use]
pub const fn place(n: u32) -> (u32, u32) {
    (n / PER_APPLICATION, n % 4)
}

/// What rule `n` says.
#[must_use]
pub const fn spoken(n: u32, workloads: u32) -> Spoken {
    let applications = applications(workloads);
    // Odd multipliers scatter; a rule's position says nothing about its ends.
    let scattered = n.wrapping_mul(0x9e37_79b1);
    let from = (scattered >> 3) % applications;
    let to = (scattered >> 17).wrapping_mul(0x85eb_ca6b) % applications;
    Spoken { from: (from, n % 4), to: (to, (n / 4) % 4), port: FIRST_PORT + ((n / 16) % PORTS) as u16 }
}

/// A valid policy of so many workloads (a multiple of [`PER_APPLICATION`]; an IPv4 and an IPv6 address each) and
/// rules, with one network.
#[must_use]
pub fn policy(workloads: u32, rules: u32) -> ValidPolicy {
    let (closed, allowed): (Vec<u32>, Vec<u32>) = (0..rules).partition(|n| closes(*n));
    ValidPolicy {
        workloads: (0..workloads).map(workload).collect(),
        networks: vec![Network {
            name: "internet".into(),
            labels: labels(&[("zone", "internet".into())]),
            prefixes: vec![
                Prefix { address: Ipv4Addr::UNSPECIFIED.into(), len: 0 },
                Prefix { address: Ipv6Addr::UNSPECIFIED.into(), len: 0 },
            ],
            origin: origin(1),
        }],
        tiers: vec![
            Tier { name: "override".into(), rules: closed.into_iter().map(closing).collect() },
            Tier {
                name: "application".into(),
                rules: allowed.into_iter().map(|n| allowing(n, workloads)).collect(),
            },
        ],
        ..ValidPolicy::default()
    }
}

/// The same policy as a user would write it, to be read by [`control::policy::load_texts`].
#[must_use]
pub fn yaml(workloads: u32, rules: u32) -> String {
    let mut text = String::from("ringfence: 1\nworkloads:\n");
    let mut line = |written: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _ = text.write_fmt(written);
    };
    for n in 0..workloads {
        let (app, role) = place(n);
        let (role, env) = (ROLES[role as usize], environment(app));
        line(format_args!(
            "  - {{name: w{n}, labels: {{app: a{app}, role: {role}, env: {env}}}, addresses: [{}, \"{}\"]}}\n",
            v4(n),
            v6(n)
        ));
    }
    line(format_args!(
        "networks:\n  - {{name: internet, cidrs: [0.0.0.0/0, \"::/0\"], labels: {{zone: internet}}}}\n"
    ));
    line(format_args!("rules:\n"));
    for n in 0..rules {
        if closes(n) {
            let (from, to, port) = closed(n);
            line(format_args!(
                "  - {{name: r{n}, from: {{env: {from}}}, to: {{env: {to}}}, service: tcp/{port}, action: override-deny}}\n"
            ));
            continue;
        }
        let Spoken { from, to, port } = spoken(n, workloads);
        let to_role = ROLES[to.1 as usize];
        let from = if is_wide(n) {
            format!("env: {}", environment(to.0))
        } else {
            format!("app: a{}, role: {}", from.0, ROLES[from.1 as usize])
        };
        line(format_args!(
            "  - {{name: r{n}, from: {{{from}}}, to: {{app: a{}, role: {to_role}}}, service: [tcp/{port}, udp/{port}]}}\n",
            to.0
        ));
    }
    text
}

/// Member `n` of those that share an application and a role.
#[must_use]
pub const fn member((application, role): (u32, u32), n: u32) -> u32 {
    application * PER_APPLICATION + n % (PER_APPLICATION / 4) * 4 + role
}

/// Whether rule `n` names one role of one application on both ends, and allows.
#[must_use]
pub const fn is_exact(n: u32) -> bool {
    !is_wide(n) && !closes(n)
}

const fn is_wide(n: u32) -> bool {
    n.is_multiple_of(WIDE)
}

const fn closes(n: u32) -> bool {
    n % (WIDE * CLOSED) == WIDE * CLOSED - 1
}

/// Workload `n`.
#[must_use]
pub fn workload(n: u32) -> Workload {
    let (application, role) = place(n);
    Workload {
        name: format!("w{n}"),
        labels: labels(&[
            ("app", format!("a{application}")),
            ("role", ROLES[role as usize].into()),
            ("env", environment(application).into()),
        ]),
        addresses: vec![IpAddr::V4(v4(n)), IpAddr::V6(v6(n))],
        macs: Vec::new(),
        wire: None,
        listeners: Vec::new(),
        origin: origin(n + 2),
    }
}

const fn environment(application: u32) -> &'static str {
    ENVIRONMENTS[(application % 4) as usize]
}

fn allowing(n: u32, workloads: u32) -> Rule {
    let spoken = spoken(n, workloads);
    let to = members(spoken.to);
    let from = if is_wide(n) {
        Selector { requirements: vec![is("env", environment(spoken.to.0).into())] }
    } else {
        members(spoken.from)
    };
    rule(n, from, to, vec![key(6, spoken.port), key(17, spoken.port)], Action::Allow)
}

fn closing(n: u32) -> Rule {
    let (from, to, port) = closed(n);
    let env = |value: &str| Selector { requirements: vec![is("env", value.into())] };
    rule(n, env(from), env(to), vec![key(6, port)], Action::Deny)
}

/// From environment, to environment and port of a closing rule. No allow names these ports: rules of this kind cost
/// a probe of their layer, whatever they say.
fn closed(n: u32) -> (&'static str, &'static str, u16) {
    let which = n / (WIDE * CLOSED);
    let env = |n: u32| ENVIRONMENTS[n as usize % ENVIRONMENTS.len()];
    (env(which), env(which + 1), 100 + u16::try_from(which % 1000).unwrap_or(0))
}

fn rule(n: u32, from: Selector, to: Selector, services: Vec<ServiceRange>, action: Action) -> Rule {
    Rule {
        name: format!("r{n}"),
        from: vec![from],
        to: vec![to],
        services,
        action,
        gates: Gates { egress: true, ingress: true },
        origin: origin(n),
        ..Rule::default()
    }
}

fn members((application, role): (u32, u32)) -> Selector {
    Selector {
        requirements: vec![is("app", format!("a{application}")), is("role", ROLES[role as usize].into())],
    }
}

fn is(key: &str, value: String) -> Requirement {
    Requirement::In(key.into(), vec![value])
}

const fn key(protocol: u32, port: u16) -> ServiceRange {
    let key = protocol << 16 | port as u32;
    ServiceRange { first: key, last: key }
}

fn labels(pairs: &[(&str, String)]) -> Labels {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), BTreeSet::from([value.clone()])))
        .collect::<BTreeMap<_, _>>()
}

fn origin(line: u32) -> Origin {
    thread_local! {
        static FILE: Arc<str> = Arc::from("generated.yaml");
    }
    Origin { file: FILE.with(Arc::clone), line, column: 1 }
}

#[cfg(test)]
mod tests {
    use control::policy::{CompileOptions, SourceFile, compile, load_texts};
    use dataplane::address::Address;
    use dataplane::policy::ServiceKey;
    use dataplane::verdict::Verdict;

    use super::{is_exact, member, policy, spoken, v4, yaml};

    #[test]
    fn both_forms_say_the_same_and_rules_allow_what_they_speak_of() {
        let (workloads, rules) = (200, 300);
        let written = load_texts(&[SourceFile { name: "estate.yaml".into(), text: yaml(workloads, rules) }]);
        let written =
            compile(&written.expect("valid").policy, &CompileOptions::default()).expect("small").table;
        let made = compile(&policy(workloads, rules), &CompileOptions::default()).expect("small").table;
        for n in 0..rules {
            let rule = spoken(n, workloads);
            let (from, to) = (member(rule.from, n), member(rule.to, n + 1));
            for (protocol, port, allowed) in [(6, rule.port, true), (17, rule.port, true), (6, 9, false)] {
                let decided = [&made, &written].map(|table| {
                    let [from, to] =
                        [from, to].map(|n| table.resolve(Address::from(std::net::IpAddr::V4(v4(n)))));
                    table.decide(from, to, ServiceKey::new(protocol, port)).verdict
                });
                let what = format!("rule {n}, protocol {protocol}, port {port}");
                assert_eq!(decided[0], decided[1], "{what}");
                if is_exact(n) || !allowed {
                    assert_eq!(decided[0] == Verdict::Allow, allowed, "{what}");
                }
            }
        }
    }
}
