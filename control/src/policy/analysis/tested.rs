//! Policy tests: one flow each, put to the compiled table.

use std::net::IpAddr;

use dataplane::address::Address;
use dataplane::policy::ServiceKey;
use serde::Serialize;

use crate::policy::compile::Named;
use crate::policy::valid::{Origin, PolicyTest, ServiceRange, TestEnd, ValidPolicy};

/// A test and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tested {
    /// Its name.
    pub name: String,
    /// Whether it got what it expects.
    pub passed: bool,
    /// Where it was written: the file.
    pub file: String,
    /// Its line, from 1.
    pub line: u32,
    /// `SOURCE -> DESTINATION SERVICE`.
    pub flow: String,
    /// The verdict, and if told the rule, that it expects.
    pub expected: Answer,
    /// The verdict and the rule that it got; `None` if the ends have no addresses of one family.
    pub got: Option<Answer>,
    /// Why it got that, in one line.
    pub why: String,
}

/// A verdict and its cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// `allow`, `deny` or `reject`.
    pub verdict: &'static str,
    /// The rule or named default; for what is expected, `None` if any will do.
    pub rule: Option<String>,
}

/// Runs the tests of `policy` on the table that was compiled from it, in their order.
#[must_use]
pub fn run_tests(policy: &ValidPolicy, compiled: Named<'_>) -> Vec<Tested> {
    policy.tests.iter().map(|test| run(policy, compiled, test)).collect()
}

fn run(policy: &ValidPolicy, compiled: Named<'_>, test: &PolicyTest) -> Tested {
    let service = ServiceRange { first: test.service, last: test.service };
    let expected = Answer { verdict: test.expect.name(), rule: test.rule.clone() };
    let told = |got: Option<Answer>, why: String| Tested {
        name: test.name.clone(),
        passed: got.as_ref().is_some_and(|got| {
            got.verdict == expected.verdict && (expected.rule.is_none() || got.rule == expected.rule)
        }),
        file: test.origin.file.as_ref().to_owned(),
        line: test.origin.line,
        flow: format!("{} -> {} {service}", test.source, test.destination),
        expected: expected.clone(),
        got,
        why,
    };
    let ends = ends(policy, &test.source, &test.destination).zip(ServiceKey::from_value(test.service));
    let Some(((source, destination), key)) = ends else {
        return told(None, "the ends have no addresses of one family (IPv4 or IPv6)".to_owned());
    };
    let resolve = |address: IpAddr| compiled.table.resolve(Address::from(address));
    let decision = compiled.table.decide(resolve(source), resolve(destination), key);
    let rule = compiled.rule_name(decision.rule);
    let info = compiled.rules.get(decision.rule.0 as usize);
    let written = info.and_then(|info| info.origin.as_ref()).map_or_else(String::new, place);
    let mut why = format!("{rule} at the {} gate{written}", decision.gate.name());
    if let Some(potential) = decision.potential {
        why.push_str(&format!("; {} would stop it if enforced", compiled.rule_name(potential)));
    }
    told(Some(Answer { verdict: decision.verdict.name(), rule: Some(rule.to_owned()) }), why)
}

fn place(origin: &Origin) -> String {
    if origin.line == 0 {
        String::new()
    } else {
        format!(" ({}:{}:{})", origin.file, origin.line, origin.column)
    }
}

/// The addresses of both ends: of a workload, the first whose family the other end has too.
fn ends(policy: &ValidPolicy, source: &TestEnd, destination: &TestEnd) -> Option<(IpAddr, IpAddr)> {
    let all = |end: &TestEnd| match end {
        TestEnd::Address(address) => vec![*address],
        TestEnd::Workload(name) => {
            let found = policy.workloads.iter().find(|workload| workload.name == *name);
            found.map_or_else(Vec::new, |workload| workload.addresses.clone())
        }
    };
    let (sources, destinations) = (all(source), all(destination));
    let alike = |address: &IpAddr| destinations.iter().find(|other| other.is_ipv4() == address.is_ipv4());
    sources.iter().find_map(|source| Some((*source, *alike(source)?)))
}
