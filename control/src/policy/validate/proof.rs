//! Assertions and policy tests.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use dataplane::verdict::RuleId;

use super::enforcement::unknown_word;
use super::{Context, Known, names, selectors, services};
use crate::policy::diagnostics::{Code, Finding, Span, quote};
use crate::policy::service;
use crate::policy::source::{AssertionSource, PeersSource, PolicyTestSource, Word};
use crate::policy::valid::{Assertion, PolicyTest, Selector, ServiceRange, TestEnd, Tier, Verdict, Workload};
use crate::policy::words::nearest;

/// The verdicts that a test may expect.
pub(crate) const VERDICTS: [Verdict; 3] = [Verdict::Allow, Verdict::Deny, Verdict::Reject];
/// The longest name of a test, in bytes.
const TEST_NAME_MAX: usize = 1_024;

/// Every assertion, by name.
pub(super) fn assertions(
    source: &[AssertionSource],
    known: &Known<'_>,
    context: &mut Context<'_, '_>,
) -> Vec<Assertion> {
    let mut seen = HashMap::new();
    let mut all = Vec::with_capacity(source.len());
    for AssertionSource { kind, claim } in source {
        names::define(&claim.name, "assertion", true, &mut seen, |span| span, |span| *span, context);
        let except = services::resolve(&claim.except, known, context);
        let spoken = match claim.service.0.as_slice() {
            [] => vec![ServiceRange::ANY],
            _ => services::resolve(&claim.service, known, context),
        };
        let services = service::without(&spoken, &except);
        if services.is_empty() && context.sink.errors() == 0 {
            let text =
                format!("the assertion {} leaves out every service it is about", quote(&claim.name.value));
            context.error(Code::EmptyAssertion, claim.name.span, text);
        }
        // It is about labels that nobody may have yet, so a selector that matches nothing now is no fault.
        let mut side = |peers: &PeersSource| -> Vec<Selector> {
            let mut read: Vec<Selector> =
                selectors::read(peers, known, context).into_iter().map(|(selector, _)| selector).collect();
            read.sort();
            read.dedup();
            read
        };
        all.push(Assertion {
            name: claim.name.value.clone(),
            kind: *kind,
            from: side(&claim.from),
            to: side(&claim.to),
            services,
            except,
            origin: context.origin(claim.name.span),
        });
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// Every test, in the order written.
pub(super) fn tests(
    source: &[PolicyTestSource],
    workloads: &[Workload],
    tiers: &[Tier],
    known: &Known<'_>,
    context: &mut Context<'_, '_>,
) -> Vec<PolicyTest> {
    let rules: HashSet<&str> = if source.iter().any(|one| one.rule.is_some()) {
        let written = tiers.iter().flat_map(|tier| &tier.rules).map(|rule| rule.name.as_str());
        written.chain(RuleId::DEFAULT_NAMES).collect()
    } else {
        HashSet::new()
    };
    let mut seen: HashMap<String, Span> = HashMap::with_capacity(source.len());
    let mut all = Vec::with_capacity(source.len());
    for one in source {
        let test = test(one, workloads, known, &rules, context);
        if let Some(test) = test {
            let span = one.name.as_ref().map_or(one.span, |name| name.span);
            if let Some(first) = seen.insert(test.name.clone(), span) {
                let text = format!("there are two tests named {}", quote(&test.name));
                context.sink.push(Finding::error(Code::DuplicateName, span, text).also(first, "first here"));
            }
            all.push(test);
        }
    }
    all
}

fn test(
    source: &PolicyTestSource,
    workloads: &[Workload],
    known: &Known<'_>,
    rules: &HashSet<&str>,
    context: &mut Context<'_, '_>,
) -> Option<PolicyTest> {
    let (from, to) = (end(&source.from, known, context), end(&source.to, known, context));
    let service = one_service(&source.service, known, context);
    let expect = VERDICTS.into_iter().find(|verdict| verdict.name() == source.expect.value);
    if expect.is_none() {
        unknown_word(&source.expect, "a verdict", VERDICTS.iter().map(|verdict| verdict.name()), context);
    }
    if let Some(rule) = source.rule.as_ref().filter(|rule| !rules.contains(rule.value.as_str())) {
        unknown_rule(rule, rules, context);
    }
    let name = match &source.name {
        Some(name) => name.value.clone(),
        None => format!("{} -> {} {}", source.from.value, source.to.value, source.service.value),
    };
    if name.is_empty() || name.len() > TEST_NAME_MAX {
        let span = source.name.as_ref().map_or(source.span, |name| name.span);
        context.error(Code::BadName, span, format!("the name of a test has 1 to {TEST_NAME_MAX} bytes"));
    }
    let (from, to) = (from?, to?);
    if !share_family(&from, &to, workloads) {
        let text = format!(
            "{} and {} have no addresses of one family",
            quote(&source.from.value),
            quote(&source.to.value)
        );
        context.error(Code::BadTest, source.span, text);
    }
    Some(PolicyTest {
        name,
        source: from,
        destination: to,
        service: service?,
        expect: expect?,
        rule: source.rule.as_ref().map(|rule| rule.value.clone()),
        origin: context.origin(source.span),
    })
}

fn end(word: &Word, known: &Known<'_>, context: &mut Context<'_, '_>) -> Option<TestEnd> {
    if known.workloads.contains_key(word.value.as_str()) {
        return Some(TestEnd::Workload(word.value.clone()));
    }
    if let Ok(address) = word.value.parse::<IpAddr>() {
        return Some(TestEnd::Address(address.to_canonical()));
    }
    if context.whole {
        let text = format!("there is no workload {}, and it is no address", quote(&word.value));
        let mut finding = Finding::error(Code::UnknownWorkload, word.span, text);
        if context.sink.suggests()
            && let Some(meant) = nearest(&word.value, known.workloads.keys().copied())
        {
            finding = finding.help(format!("did you mean `{meant}`?"));
        }
        context.sink.push(finding);
    }
    None
}

/// One key of the service space: of a named service with one port, or as written.
fn one_service(word: &Word, known: &Known<'_>, context: &mut Context<'_, '_>) -> Option<u32> {
    if let Some((_, ranges)) = known.services.get(word.value.as_str())
        && let [range] = ranges.as_slice()
        && range.first == range.last
    {
        return Some(range.first);
    }
    match service::parse_one(&word.value) {
        Ok(key) => Some(key),
        Err(error) => {
            let help = "a test asks for one port, one ICMP type, or one protocol without ports";
            let finding = Finding::error(Code::BadService, word.span, error.to_string()).legal(error.legal());
            context.sink.push(finding.help(help));
            None
        }
    }
}

fn unknown_rule(word: &Word, rules: &HashSet<&str>, context: &mut Context<'_, '_>) {
    if !context.whole {
        return;
    }
    let text = format!("there is no rule {}", quote(&word.value));
    let mut finding = Finding::error(Code::UnknownRule, word.span, text);
    if context.sink.suggests()
        && let Some(meant) = nearest(&word.value, rules.iter().copied())
    {
        finding = finding.help(format!("did you mean `{meant}`?"));
    }
    context.sink.push(finding);
}

fn share_family(from: &TestEnd, to: &TestEnd, workloads: &[Workload]) -> bool {
    let families = |end: &TestEnd| match end {
        TestEnd::Address(address) => [address.is_ipv4(), !address.is_ipv4()],
        TestEnd::Workload(name) => {
            let found = workloads.binary_search_by(|workload| workload.name.as_str().cmp(name));
            let addresses = found.ok().and_then(|at| workloads.get(at)).map_or(&[][..], |one| &one.addresses);
            [true, false].map(|v4| addresses.iter().any(|address| address.is_ipv4() == v4))
        }
    };
    let ([a4, a6], [b4, b6]) = (families(from), families(to));
    (a4 && b4) || (a6 && b6)
}
