//! Faults of workloads, networks and services.

use super::{Case, check};
use crate::policy::diagnostics::Code;
use crate::policy::diagnostics::Severity::{Error, Warning};

const FAULTS: &[Case<'_>] = &[
    ("duplicate workload", "workloads:\n- {name: db, addresses: 1.1.1.1}", Error, Code::DuplicateName, 7, 12),
    (
        "address of another",
        "workloads:\n- {name: a, addresses: 10.9.0.1}",
        Error,
        Code::DuplicateAddress,
        7,
        48,
    ),
    (
        "address twice",
        "workloads:\n- {name: a, addresses: [1.1.1.1, 1.1.1.1]}",
        Error,
        Code::DuplicateAddress,
        3,
        34,
    ),
    ("no address", "workloads:\n- {name: a, addresses: []}", Error, Code::EmptySet, 3, 24),
    ("addresses missing", "workloads:\n- {name: a}", Error, Code::MissingField, 3, 3),
    ("bad address", "workloads:\n- {name: a, addresses: 10.0.0}", Error, Code::BadAddress, 3, 24),
    ("leading zero", "workloads:\n- {name: a, addresses: 10.0.0.01}", Error, Code::BadAddress, 3, 24),
    ("with a length", "workloads:\n- {name: a, addresses: 10.0.0.1/32}", Error, Code::BadAddress, 3, 24),
    ("mapped", "workloads:\n- {name: a, addresses: '::ffff:1.2.3.4'}", Error, Code::MappedAddress, 3, 24),
    ("multicast", "workloads:\n- {name: a, addresses: ['ff02::1']}", Error, Code::NotAHost, 3, 25),
    ("unspecified", "workloads:\n- {name: a, addresses: 0.0.0.0}", Error, Code::NotAHost, 3, 24),
    (
        "bad mac",
        "workloads:\n- {name: a, addresses: 1.1.1.1, macs: '2:0:0:0:0:5'}",
        Error,
        Code::BadMac,
        3,
        39,
    ),
    (
        "group mac",
        "workloads:\n- {name: a, addresses: 1.1.1.1, macs: ['01:00:5e:00:00:01']}",
        Error,
        Code::BadMac,
        3,
        40,
    ),
    ("bad wire", "workloads:\n- {name: a, addresses: 1.1.1.1, wire: a/b}", Error, Code::BadName, 3, 39),
    ("bad name", "workloads:\n- {name: a b, addresses: 1.1.1.1}", Error, Code::BadName, 3, 10),
    ("address as name", "workloads:\n- {name: 10.0.0.1, addresses: 1.1.1.1}", Error, Code::BadName, 3, 10),
    ("host bits", "networks:\n- {name: a, cidrs: 10.0.0.1/8}", Error, Code::HostBits, 3, 20),
    ("no length", "networks:\n- {name: a, cidrs: 10.0.0.0}", Error, Code::BadPrefix, 3, 20),
    ("length too long", "networks:\n- {name: a, cidrs: 10.0.0.0/33}", Error, Code::BadPrefix, 3, 20),
    ("length with sign", "networks:\n- {name: a, cidrs: 10.0.0.0/+8}", Error, Code::BadPrefix, 3, 20),
    ("mapped prefix", "networks:\n- {name: a, cidrs: '::ffff:0:0/96'}", Error, Code::MappedAddress, 3, 20),
    (
        "prefix twice",
        "networks:\n- {name: a, cidrs: [1.0.0.0/8, 1.0.0.0/8]}",
        Warning,
        Code::DuplicateValue,
        3,
        32,
    ),
    (
        "empty values",
        "workloads:\n- {name: a, labels: {k: []}, addresses: 1.1.1.1}",
        Error,
        Code::EmptySet,
        3,
        25,
    ),
    ("blank value", "workloads:\n- {name: a, labels: {k: }, addresses: 1.1.1.1}", Error, Code::Blank, 3, 23),
    (
        "bad value",
        "workloads:\n- {name: a, labels: {k: a b}, addresses: 1.1.1.1}",
        Error,
        Code::BadLabel,
        3,
        25,
    ),
    ("bad key", "workloads:\n- {name: a, labels: {-k: a}, addresses: 1.1.1.1}", Error, Code::BadLabel, 3, 22),
    (
        "reserved key",
        "workloads:\n- {name: a, labels: {network: a}, addresses: 1.1.1.1}",
        Error,
        Code::Reserved,
        3,
        22,
    ),
    (
        "value twice",
        "workloads:\n- {name: a, labels: {k: [v, v]}, addresses: 1.1.1.1}",
        Warning,
        Code::DuplicateValue,
        3,
        29,
    ),
    ("service without ports", "services:\n- {name: a, ports: []}", Error, Code::EmptySet, 3, 20),
    ("service like a protocol", "services:\n- {name: tcp, ports: tcp/1}", Error, Code::Reserved, 3, 10),
    ("port 0", "services:\n- {name: a, ports: tcp/0}", Error, Code::BadService, 3, 20),
    ("port backwards", "services:\n- {name: a, ports: [tcp/9-8]}", Error, Code::BadService, 3, 21),
    ("icmp type", "services:\n- {name: a, ports: icmp/echo}", Error, Code::BadService, 3, 20),
];

#[test]
fn inventory() {
    check(FAULTS);
}
