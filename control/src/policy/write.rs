//! A valid policy in the native language: what `ringfence import` prints. Read back, it is the same policy, by its
//! hash.

use std::fmt::{self, Write};
use std::net::IpAddr;

use super::shown::{Scalar, Values, revocation};
use super::valid::{
    INFRASTRUCTURE, Listener, Network, OnRevoke, Origin, Rule, Selector, ServiceRange, Tier, ValidPolicy,
    Workload,
};
use super::validate::BUILT_IN;

/// Tiers that the native language brings itself, with their orders.
const NATIVE: [(&str, i32); 4] =
    [(INFRASTRUCTURE, 0), ("override", 1000), ("application", 2000), ("boundary", 3000)];

/// What keeps a policy from being written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// It has rules in a native tier, or enforcement, assertions or tests: it was native in part already.
    Native(&'static str),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native(what) => write!(
                f,
                "the policy has {what}, which are native already: give the other systems' files alone"
            ),
        }
    }
}

impl std::error::Error for WriteError {}

/// The text of a policy that other systems' documents became.
///
/// # Errors
/// [`WriteError::Native`] if anything in it was native.
pub fn write(policy: &ValidPolicy) -> Result<String, WriteError> {
    let native_rules =
        |tier: &Tier| tier.name != INFRASTRUCTURE && is_native(&tier.name) && !tier.rules.is_empty();
    let refuse = [
        (policy.tiers.iter().any(native_rules), "rules of a native tier"),
        (!policy.enforcement.is_empty(), "enforcement entries"),
        (!policy.assertions.is_empty(), "assertions"),
        (!policy.tests.is_empty(), "tests"),
        (!policy.ether_types.is_empty(), "EtherTypes"),
    ];
    if let Some((_, what)) = refuse.into_iter().find(|(has, _)| *has) {
        return Err(WriteError::Native(what));
    }
    let mut text = String::from("ringfence: 1\n");
    // Writing to a string cannot fail.
    let _ = whole(policy, &mut text);
    Ok(text)
}

fn is_native(name: &str) -> bool {
    NATIVE.iter().any(|(native, _)| *native == name)
}

fn whole(policy: &ValidPolicy, text: &mut String) -> fmt::Result {
    infrastructure(policy, text)?;
    if !policy.workloads.is_empty() {
        text.push_str("\nworkloads:\n");
        policy.workloads.iter().try_for_each(|one| workload(one, text))?;
    }
    if !policy.networks.is_empty() {
        text.push_str("\nnetworks:\n");
        policy.networks.iter().try_for_each(|one| network(one, text))?;
    }
    let mut order = 0;
    let mut began = false;
    for tier in &policy.tiers {
        if let Some((_, native)) = NATIVE.iter().find(|(name, _)| *name == tier.name) {
            order = *native;
            continue;
        }
        order += 1;
        if !began {
            text.push_str("\ntiers:\n");
            began = true;
        }
        write!(text, "- name: {}\n  order: {order}\n  rules:\n", Scalar(&tier.name))?;
        let mut last = None;
        for one in &tier.rules {
            rule(one, &mut last, text)?;
        }
    }
    Ok(())
}

/// Switches off what is not there.
fn infrastructure(policy: &ValidPolicy, text: &mut String) -> fmt::Result {
    let there = |name: &str| {
        let rules =
            policy.tiers.iter().filter(|tier| tier.name == INFRASTRUCTURE).flat_map(|tier| &tier.rules);
        rules.into_iter().any(|rule| rule.name.strip_prefix("infrastructure/") == Some(name))
    };
    let off: Vec<&str> = BUILT_IN.iter().map(|rule| rule.name).filter(|name| !there(name)).collect();
    if off.is_empty() {
        return Ok(());
    }
    text.push_str("# Other systems have no such rules.\ninfrastructure:\n");
    off.iter().try_for_each(|name| writeln!(text, "  {name}: false"))
}

fn workload(one: &Workload, text: &mut String) -> fmt::Result {
    comment(&one.origin, "", text)?;
    writeln!(text, "- name: {}", Scalar(&one.name))?;
    if !one.labels.is_empty() {
        writeln!(text, "  labels:")?;
        for (key, values) in &one.labels {
            let values: Vec<String> = values.iter().cloned().collect();
            writeln!(text, "    {}: {}", Scalar(key), Values(&values))?;
        }
    }
    let addresses: Vec<String> = one.addresses.iter().map(address).collect();
    writeln!(text, "  addresses: [{}]", addresses.join(", "))?;
    if !one.listeners.is_empty() {
        writeln!(text, "  listeners:")?;
        one.listeners.iter().try_for_each(|one| listener(one, text))?;
    }
    Ok(())
}

/// In quotes if YAML would take its colons for more.
fn address(address: &IpAddr) -> String {
    if address.is_ipv6() { format!("'{address}'") } else { address.to_string() }
}

fn listener(one: &Listener, text: &mut String) -> fmt::Result {
    let labels: Vec<String> = one
        .labels
        .iter()
        .map(|(key, values)| {
            let values: Vec<String> = values.iter().cloned().collect();
            format!("{}: {}", Scalar(key), Values(&values))
        })
        .collect();
    let (name, service) = (Scalar(&one.name), services(&one.services));
    writeln!(text, "    - {{name: {name}, service: {service}, labels: {{{}}}}}", labels.join(", "))
}

fn network(one: &Network, text: &mut String) -> fmt::Result {
    let cidrs: Vec<String> =
        one.prefixes.iter().map(|prefix| format!("'{}/{}'", prefix.address, prefix.len)).collect();
    writeln!(text, "- {{name: {}, cidrs: [{}]}}", Scalar(&one.name), cidrs.join(", "))
}

fn services(ranges: &[ServiceRange]) -> String {
    let words: Vec<String> = ranges.iter().map(ToString::to_string).collect();
    format!("[{}]", words.join(", "))
}

fn rule<'r>(one: &'r Rule, last: &mut Option<&'r Origin>, text: &mut String) -> fmt::Result {
    if *last != Some(&one.origin) {
        comment(&one.origin, "  ", text)?;
        *last = Some(&one.origin);
    }
    writeln!(text, "  - name: {}", Scalar(&one.name))?;
    if one.priority != 0 {
        writeln!(text, "    priority: {}", one.priority)?;
    }
    match (one.gates.egress, one.gates.ingress) {
        (true, false) => writeln!(text, "    gates: egress")?,
        (false, true) => writeln!(text, "    gates: ingress")?,
        _ => {}
    }
    side("from", &one.from, text)?;
    side("to", &one.to, text)?;
    writeln!(text, "    service: {}", services(&one.services))?;
    writeln!(text, "    action: {}", one.action.name())?;
    if !one.same.is_empty() {
        writeln!(text, "    same: {}", Values(&one.same))?;
    }
    if one.on_revoke != OnRevoke::Cut {
        writeln!(text, "    on_revoke: {}", revocation(one.on_revoke))?;
    }
    if one.staged {
        writeln!(text, "    staged: true")?;
    }
    Ok(())
}

/// Where it came from.
fn comment(origin: &Origin, indent: &str, text: &mut String) -> fmt::Result {
    // A name of a file could hold anything, and a line break would end the comment.
    let file: String = origin.file.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    writeln!(text, "{indent}# {file}:{}", origin.line)
}

fn side(name: &str, selectors: &[Selector], text: &mut String) -> fmt::Result {
    match selectors {
        [only] => writeln!(text, "    {name}: {only}"),
        several => {
            writeln!(text, "    {name}:")?;
            several.iter().try_for_each(|one| writeln!(text, "      - {one}"))
        }
    }
}
