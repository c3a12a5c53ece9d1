//! Faults of rules, enforcement and what is built in.

use super::{Case, check};
use crate::policy::diagnostics::Code;
use crate::policy::diagnostics::Severity::{Error, Warning};

/// Fields of a rule beside its name.
const RULES: &[Case<'_>] = &[
    ("unknown action", "from: any, to: any, service: any, action: alow", Error, Code::UnknownWord, 3, 55),
    ("missing side", "from: any, service: any", Error, Code::MissingField, 3, 3),
    ("blank side", "from: any, to: , service: any", Error, Code::Blank, 3, 26),
    ("empty selector", "from: {}, to: any, service: any", Error, Code::BadSelector, 3, 19),
    ("empty list", "from: [], to: any, service: any", Error, Code::EmptySet, 3, 19),
    ("a word as selector", "from: web, to: any, service: any", Error, Code::BadSelector, 3, 19),
    ("any beside others", "from: [any, {role: web}], to: any, service: any", Error, Code::BadSelector, 3, 20),
    ("unknown test", "from: {role: {nor: a}}, to: any, service: any", Error, Code::BadSelector, 3, 27),
    ("empty test", "from: {role: {}}, to: any, service: any", Error, Code::BadSelector, 3, 26),
    ("test of a name", "from: {workload: {not: db}}, to: any, service: any", Error, Code::BadSelector, 3, 30),
    ("exists what", "from: {role: {exists: yes}}, to: any, service: any", Error, Code::UnknownWord, 3, 35),
    ("reserved key", "from: {same: a}, to: any, service: any", Error, Code::Reserved, 3, 20),
    ("unknown workload", "from: {workload: dv}, to: any, service: any", Error, Code::UnknownWorkload, 3, 30),
    ("unknown network", "from: any, to: {network: home}, service: any", Error, Code::UnknownNetwork, 3, 38),
    (
        "unknown service",
        "from: any, to: any, service: [postgres, postgre]",
        Error,
        Code::UnknownService,
        3,
        53,
    ),
    ("no such protocol", "from: any, to: any, service: tpc/80", Error, Code::BadService, 3, 42),
    ("no service", "from: any, to: any, service: []", Error, Code::EmptySet, 3, 42),
    (
        "dead selector",
        "from: [{role: bd}, {role: db}], to: any, service: any",
        Warning,
        Code::MatchesNothing,
        3,
        20,
    ),
    (
        "dead side",
        "from: any, to: {zone: office, role: db, env: x}, service: any",
        Warning,
        Code::NeverMatches,
        3,
        28,
    ),
];

const OTHERS: &[Case<'_>] = &[
    ("missing rule name", "rules:\n- {from: any, to: any, service: any}", Error, Code::MissingField, 3, 3),
    (
        "reserved name",
        "rules:\n- {name: default/x, from: any, to: any, service: any}",
        Error,
        Code::Reserved,
        3,
        10,
    ),
    (
        "reserved name",
        "rules:\n- {name: infrastructure/dns, from: any, to: any, service: any}",
        Error,
        Code::Reserved,
        3,
        10,
    ),
    ("no direction", "enforcement:\n- {select: any}", Error, Code::MissingField, 3, 3),
    ("unknown mode", "enforcement:\n- {select: any, ingress: fulll}", Error, Code::UnknownWord, 3, 26),
    (
        "dead enforcement",
        "enforcement:\n- {select: {role: x}, ingress: off}",
        Warning,
        Code::MatchesNothing,
        3,
        12,
    ),
    ("unknown built-in", "infrastructure: {dsn: true}", Error, Code::UnknownWord, 2, 18),
    ("built-in how", "infrastructure: {dns: maybe}", Error, Code::UnknownWord, 2, 23),
    ("ether type name", "ether_types: [lpdp]", Error, Code::UnknownWord, 2, 15),
    ("ether type length", "ether_types: 0x05ff", Error, Code::BadEtherType, 2, 14),
    ("ether type IPv4", "ether_types: 0x0800", Error, Code::BadEtherType, 2, 14),
    ("ether type too long", "ether_types: 0x10000", Error, Code::BadEtherType, 2, 14),
    ("mpls", "ether_types: ['0x8847']", Warning, Code::CarriesIp, 2, 15),
];

#[test]
fn rules_and_the_rest() {
    let rule = |fields: &str| format!("rules:\n- {{name: r, {fields}}}");
    let snippets: Vec<_> = RULES.iter().map(|(_, fields, ..)| rule(fields)).collect();
    let rules: Vec<_> = RULES
        .iter()
        .zip(&snippets)
        .map(|(&(name, _, a, b, c, d), text)| (name, text.as_str(), a, b, c, d))
        .collect();
    check(&rules);
    check(OTHERS);
}
